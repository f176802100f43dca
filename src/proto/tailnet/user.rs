//! Commands on users.

use super::change::Change;
use super::record::{User, UserId};
use super::write::Write;
use super::{Now, Refusal, Tailnet, name};
use crate::policy::Role;

/// A user to be made.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The name that commands and policies use.
    pub name: String,
    /// The name for people; may be empty.
    pub display_name: String,
    /// May be empty.
    pub email: String,
    /// May be empty.
    pub picture_url: String,
    /// Its role.
    pub role: Role,
}

impl Tailnet {
    /// The user with this name, or with this number written out.
    pub fn find_user(&self, text: &str) -> Result<&User, Refusal> {
        let missing = || Refusal::NoUserName(text.to_owned());
        let by_name = self.users.values().find(|user| user.name == text);
        by_name.or_else(|| self.users.get(&UserId(text.parse().ok()?))).ok_or_else(missing)
    }

    /// Makes a user.
    pub fn create_user(&mut self, new: NewUser, now: Now) -> Result<UserId, Refusal> {
        self.check_user_name(&new.name)?;
        if let Some(owner) = self.owner().filter(|_| new.role == Role::Owner) {
            return Err(Refusal::OwnerExists(owner.name.clone()));
        }
        let id = UserId(self.next_id(|next| &mut next.user.0));
        let user = User {
            id,
            name: new.name,
            display_name: new.display_name,
            email: new.email,
            provider_id: String::new(),
            provider: String::new(),
            picture_url: new.picture_url,
            created: now.wall,
            role: new.role,
        };
        self.batch.undo_user(id, None);
        self.batch.write(Write::PutUser(user.clone()));
        self.users.insert(id, user);
        self.recount_users()?;
        Ok(id)
    }

    /// Gives a user another name.
    pub fn rename_user(&mut self, id: UserId, name: &str) -> Result<(), Refusal> {
        let user = self.users.get(&id).ok_or(Refusal::NoUser(id))?;
        if !user.provider.is_empty() {
            return Err(Refusal::UserFromProvider);
        }
        if user.name == name {
            return Ok(());
        }
        self.check_user_name(name)?;
        let mut renamed = user.clone();
        renamed.name = name.to_owned();
        self.batch.undo_user(id, Some(user));
        self.batch.write(Write::PutUser(renamed.clone()));
        self.batch.tell(Change::User(id));
        self.users.insert(id, renamed);
        self.recount_users()
    }

    /// Gives a user a role. While somebody is the owner nobody else can become it, but by
    /// `transfer`, which makes the former one an administrator.
    pub fn set_role(&mut self, id: UserId, role: Role, transfer: bool) -> Result<(), Refusal> {
        if !self.users.contains_key(&id) {
            return Err(Refusal::NoUser(id));
        }
        let owner = self.owner().filter(|owner| role == Role::Owner && owner.id != id);
        match owner.map(|owner| (owner.id, owner.name.clone())) {
            Some((_, name)) if !transfer => return Err(Refusal::OwnerExists(name)),
            Some((owner, _)) => self.change_role(owner, Role::Admin)?,
            None => {}
        }
        self.change_role(id, role)
    }

    fn change_role(&mut self, id: UserId, role: Role) -> Result<(), Refusal> {
        let user = self.users.get(&id).ok_or(Refusal::NoUser(id))?;
        if user.role == role {
            return Ok(());
        }
        let changed = User { role, ..user.clone() };
        self.batch.undo_user(id, Some(user));
        self.batch.write(Write::PutUser(changed.clone()));
        self.users.insert(id, changed);
        self.recount_role(id)
    }

    fn owner(&self) -> Option<&User> {
        self.users.values().find(|user| user.role == Role::Owner)
    }

    /// Deletes a user without nodes, and its preauth keys.
    pub fn delete_user(&mut self, id: UserId) -> Result<(), Refusal> {
        let user = self.users.get(&id).ok_or(Refusal::NoUser(id))?;
        let nodes = self.nodes.values().filter(|m| m.node.user == Some(id)).count();
        if nodes > 0 {
            return Err(Refusal::UserHasNodes(nodes));
        }
        self.batch.undo_user(id, Some(user));
        self.batch.write(Write::DeleteUser(id));
        self.users.remove(&id);
        self.recount_users()?;
        let keys = self.auth_keys.values().filter(|key| key.user == Some(id));
        for key in keys.map(|key| key.id).collect::<Vec<_>>() {
            self.delete_auth_key(key)?;
        }
        Ok(())
    }

    fn check_user_name(&self, new: &str) -> Result<(), Refusal> {
        if !name::is_user(new) {
            return Err(Refusal::UserName(new.to_owned()));
        }
        if self.users.values().any(|user| user.name == new) {
            return Err(Refusal::UserNameTaken(new.to_owned()));
        }
        Ok(())
    }
}
