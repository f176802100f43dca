//! Registration: how machines become nodes, change their keys, and leave.

use std::net::IpAddr;

use super::change::Change;
use super::key::is_expired;
use super::login::{Login, LoginId, LoginState, Verdict};
use super::record::{
    AuthKey, AuthKeyId, Expiry, Host, Node, NodeId, RegisterMethod, Service, Soft, UserId,
};
use super::write::Write;
use super::{Member, Now, Random, Refusal, Tailnet, name};
use crate::wire::key::{MachineKey, NodeKey};
use crate::wire::tailcfg::{Hostinfo, LIST_MAX, RegisterRequest, cut};
use crate::wire::time::Timestamp;

/// Before this (the year 2000) an expiry that a client sends is a logout, whatever our own clock
/// says: clients send 1970-01-01T00:02:03Z (`controlclient` `direct.go`).
const LOGOUT_BEFORE: Timestamp = Timestamp::from_secs(946_684_800);

/// The outcome of a registration request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The node is registered.
    Accepted(NodeId),
    /// The key has expired: the client makes a new one and asks again.
    Expired,
    /// Somebody has to approve it at the login URL of this id.
    Login(LoginId),
    /// The machine is logged out, or was never in.
    LoggedOut,
    /// The request waits for the verdict on a login it was given before.
    Wait(LoginId),
}

/// Whom a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    Tags(Vec<String>),
    User(UserId),
}

/// What is known of a node that comes in.
struct Entry {
    machine: MachineKey,
    key: NodeKey,
    old_key: Option<NodeKey>,
    hostname: String,
    host: Host,
    version: u16,
    owner: Owner,
    expiry: Option<Expiry>,
    ephemeral: bool,
    method: RegisterMethod,
    auth_key: Option<AuthKeyId>,
    /// Somebody has let it in already.
    approved: bool,
}

impl Tailnet {
    /// Answers a registration request of the machine that proved to own `machine`.
    pub fn register(
        &mut self,
        machine: MachineKey,
        request: &RegisterRequest,
        now: Now,
        random: Random<'_>,
    ) -> Result<Registered, Refusal> {
        let key = request.nodekey.filter(|key| !key.is_zero()).ok_or(Refusal::MachineMismatch)?;
        let expiry = request.expiry().unwrap_or_default();
        if expiry.is_some_and(|at| at < LOGOUT_BEFORE || (now.trusted && at <= now.wall)) {
            return self.log_out(machine, &key, now);
        }
        if request.auth_key().is_none()
            && let Some(member) = self.node_by_key(&key)
        {
            let known = member.node.machine == machine;
            let id = member.node.id;
            if known && (member.expired || is_expired(member.node.expiry, now)) {
                return Ok(Registered::Expired);
            }
            if known {
                return self.shorten(id, expiry, now);
            }
            return Err(Refusal::KeyInUse);
        }
        let mut login = Login::new(machine, key, now);
        login.old_key = request.oldnodekey.filter(|key| !key.is_zero());
        login.version = request.version;
        login.expiry = expiry;
        login.ephemeral = request.ephemeral == Some(true);
        if let Some(info) = &request.hostinfo {
            login.hostname = cut(info.hostname.as_deref().unwrap_or_default());
            login.host = host(info);
        }
        if let Some(text) = request.auth_key() {
            return self.register_with_key(text, login, now, random);
        }
        if let Some(id) = request.followup.as_deref().and_then(followed) {
            match self.logins.state(id, &machine) {
                LoginState::Waiting => return Ok(Registered::Wait(id)),
                // The node that a login made is known by its key, above; so this is another key.
                LoginState::Decided(_) | LoginState::Unknown => {}
            }
        }
        Ok(Registered::Login(self.logins.add(login, random)))
    }

    /// How the login stands that this machine waits for.
    pub fn login_state(&self, id: LoginId, machine: &MachineKey) -> LoginState {
        self.logins.state(id, machine)
    }

    /// A login that waits.
    pub fn login(&self, id: LoginId) -> Option<&Login> {
        self.logins.waiting(id)
    }

    /// All logins that wait.
    pub fn logins(&self) -> impl Iterator<Item = (LoginId, &Login)> {
        self.logins.all()
    }

    /// Lets a waiting machine in as a node of `user`, or with the tags it asks for where the
    /// policy makes `user` their owner.
    pub fn approve_login(
        &mut self,
        id: LoginId,
        user: UserId,
        method: RegisterMethod,
        now: Now,
        random: Random<'_>,
    ) -> Result<NodeId, Refusal> {
        self.users.get(&user).ok_or(Refusal::NoUser(user))?;
        let login = self.logins.waiting(id).cloned();
        let login = login.ok_or_else(|| Refusal::NoLogin(id.to_string()))?;
        let tags = login.host.request_tags.clone();
        let refused: Vec<_> =
            tags.iter().filter(|tag| !self.may_request_tag(user, tag)).cloned().collect();
        if !refused.is_empty() {
            return Err(Refusal::TagsRefused(refused));
        }
        let owner = if tags.is_empty() { Owner::User(user) } else { Owner::Tags(tags) };
        let node = self.admit(entry(login, owner, method, None), now, random)?;
        self.logins.decide(id, Some(Verdict::Registered(node)));
        self.batch.tell(Change::Login(id));
        Ok(node)
    }

    /// Refuses a waiting machine; it can't be approved afterwards.
    pub fn reject_login(&mut self, id: LoginId) -> Result<(), Refusal> {
        self.logins.waiting(id).ok_or_else(|| Refusal::NoLogin(id.to_string()))?;
        self.logins.decide(id, Some(Verdict::Rejected));
        self.batch.tell(Change::Login(id));
        Ok(())
    }

    /// Takes back a verdict that could not be stored, so that it can be given again.
    pub(super) fn reopen_login(&mut self, id: LoginId) {
        self.logins.decide(id, None);
    }

    fn log_out(
        &mut self,
        machine: MachineKey,
        key: &NodeKey,
        now: Now,
    ) -> Result<Registered, Refusal> {
        let Some(member) = self.node_by_key(key) else { return Ok(Registered::LoggedOut) };
        if member.node.machine != machine {
            return Err(Refusal::MachineMismatch);
        }
        let (id, ephemeral) = (member.node.id, member.node.ephemeral);
        if ephemeral {
            self.delete_node(id)?;
        } else {
            self.expire_node(id, now)?;
            self.leave(id, now);
        }
        Ok(Registered::LoggedOut)
    }

    /// A known client that starts again; it may bring its own expiry forward.
    fn shorten(
        &mut self,
        id: NodeId,
        expiry: Option<Timestamp>,
        now: Now,
    ) -> Result<Registered, Refusal> {
        if let Some(at) = expiry {
            let current = self.nodes.get(&id).and_then(|member| member.node.expiry);
            let earlier = match current {
                Some(Expiry::At(current)) => at <= current,
                Some(Expiry::In(_)) => false,
                None => true,
            };
            if !earlier {
                return Err(Refusal::KeyExtension);
            }
            self.set_expiry(id, Some(Expiry::At(at)), now)?;
        }
        Ok(Registered::Accepted(id))
    }

    fn register_with_key(
        &mut self,
        text: &str,
        login: Login,
        now: Now,
        random: Random<'_>,
    ) -> Result<Registered, Refusal> {
        let Some(key) = self.auth_key_by_text(text).cloned() else {
            // A container that starts again brings the key it was made with, which may have been
            // deleted since; without one it would be let in as well.
            let known = self.node_by_key(&login.key).map(|member| &member.node);
            let known = known.filter(|node| node.machine == login.machine);
            let valid = known.filter(|node| !is_expired(node.expiry, now));
            return valid.map(|node| Registered::Accepted(node.id)).ok_or(Refusal::BadAuthKey);
        };
        let owner = match key.user {
            _ if !key.tags.is_empty() => Owner::Tags(key.tags.clone()),
            Some(user) => Owner::User(user),
            None => return Err(Refusal::BadAuthKey),
        };
        // A container that starts again brings the key it was made with, spent or not.
        if let Some(member) = self.node_by_key(&login.key) {
            let node = &member.node;
            if node.machine != login.machine {
                return Err(Refusal::KeyInUse);
            }
            let same_owner = match &owner {
                Owner::Tags(tags) => node.tags == *tags,
                Owner::User(user) => node.user == Some(*user),
            };
            if same_owner && !is_expired(node.expiry, now) {
                return Ok(Registered::Accepted(node.id));
            }
        }
        if is_expired(key.expiry, now) {
            return Err(Refusal::AuthKeyExpired);
        }
        let begun = match key.used && !key.reusable {
            true => Some(self.login_begun_with(&key, login.machine, now)?),
            false => None,
        };
        if !login.host.request_tags.is_empty() && login.host.request_tags != key.tags {
            return Err(Refusal::TagsRefused(login.host.request_tags));
        }
        let mut login = login;
        login.ephemeral |= key.ephemeral;
        let mut entry = entry(login, owner, RegisterMethod::AuthKey, Some(key.id));
        entry.approved = key.preapproved;
        let id = self.admit(entry, now, random)?;
        if let Some(expiry) = begun {
            self.edit(id, |node| node.expiry = expiry)?;
        }
        if !key.used {
            let mut used = key;
            used.used = true;
            self.put_auth_key(used);
        }
        Ok(Registered::Accepted(id))
    }

    /// When the login ends that this machine has by this very key, which is spent. Clients that
    /// are made to log in anew (`--force-reauth`) may use a key twice: with the node key that they
    /// have, then with a new one, which is the same login and lasts no longer.
    fn login_begun_with(
        &self,
        key: &AuthKey,
        machine: MachineKey,
        now: Now,
    ) -> Result<Option<Expiry>, Refusal> {
        self.nodes()
            .map(|member| &member.node)
            .find(|node| node.machine == machine && node.auth_key == Some(key.id))
            .filter(|node| !is_expired(node.expiry, now))
            .map(|node| node.expiry)
            .ok_or(Refusal::AuthKeyUsed)
    }

    /// Makes a node, or gives the machine's node of the same owner its new key.
    fn admit(&mut self, entry: Entry, now: Now, random: Random<'_>) -> Result<NodeId, Refusal> {
        if let Some(holder) = self.node_by_key(&entry.key)
            && holder.node.machine != entry.machine
        {
            return Err(Refusal::KeyInUse);
        }
        let expiry = match &entry.owner {
            Owner::Tags(_) => None,
            Owner::User(_) => {
                let default = self.rules.node_expiry.map(|by| now.expiry_in(by));
                match (entry.expiry, default) {
                    (Some(Expiry::At(asked)), Some(Expiry::At(most))) => {
                        Some(Expiry::At(asked.min(most)))
                    }
                    (asked, default) => asked.or(default),
                }
            }
        };
        let id = match self.existing(&entry) {
            Some(id) => {
                let keep_tags = entry.method == RegisterMethod::AuthKey;
                let hostname = entry.hostname.clone();
                self.edit(id, |node| {
                    node.key = entry.key;
                    node.hostname = entry.hostname.clone();
                    node.ephemeral = entry.ephemeral;
                    node.method = entry.method;
                    node.auth_key = entry.auth_key.or(node.auth_key);
                    node.approved |= entry.approved;
                    match &entry.owner {
                        Owner::Tags(tags) => {
                            node.tags.clone_from(tags);
                            node.user = None;
                        }
                        // Tags that an administrator gave stay when the key is renewed.
                        Owner::User(_) if keep_tags && node.is_tagged() => {}
                        Owner::User(user) => {
                            node.tags.clear();
                            node.user = Some(*user);
                        }
                    }
                    node.expiry = if node.is_tagged() { None } else { expiry };
                })?;
                self.follow_hostname(id, &hostname)?;
                id
            }
            None => self.create_node(&entry, expiry, now, random)?,
        };
        if let Some(member) = self.nodes.get_mut(&id) {
            member.expired = false;
            member.soft.version = entry.version;
            if member.soft.host != entry.host {
                member.soft.host = entry.host;
                self.unsaved.insert(id);
                self.batch.tell(Change::Node(id));
            }
        }
        self.auto_approve(id)?;
        self.elect();
        Ok(id)
    }

    /// The node of this machine that a registration renews: of the same owner, or, where the
    /// client names the key it replaces, whoever owns that.
    fn existing(&self, entry: &Entry) -> Option<NodeId> {
        let of_machine = || self.nodes.values().filter(|m| m.node.machine == entry.machine);
        let replaced = |m: &&Member| {
            m.node.key == entry.key || entry.old_key.is_some_and(|old| m.node.key == old)
        };
        let same_owner = |m: &&Member| match &entry.owner {
            Owner::Tags(_) => m.node.is_tagged(),
            Owner::User(user) => m.node.user == Some(*user),
        };
        // Becoming tagged, or ceasing to be, keeps the node; another user gets one of its own.
        let same_kind = |m: &&Member| match &entry.owner {
            Owner::Tags(_) => true,
            Owner::User(_) => m.node.is_tagged(),
        };
        of_machine()
            .find(same_owner)
            .or_else(|| of_machine().find(|m| replaced(m) && same_kind(m)))
            .map(|m| m.node.id)
    }

    fn create_node(
        &mut self,
        entry: &Entry,
        expiry: Option<Expiry>,
        now: Now,
        random: Random<'_>,
    ) -> Result<NodeId, Refusal> {
        let (user, tags) = match &entry.owner {
            Owner::Tags(tags) => (None, tags.clone()),
            Owner::User(user) => (Some(*user), Vec::new()),
        };
        let (v4, v6) = self.free_addresses(user, &tags, random)?;
        // The machine's node of another user may hold the key; it gets logged out.
        if let Some(holder) = self.node_by_key(&entry.key).map(|m| m.node.id) {
            self.edit(holder, |node| node.key = NodeKey::default())?;
        }
        let id = NodeId(self.next_id(|next| &mut next.node.0));
        let label = name::label(&entry.hostname);
        let node = Node {
            id,
            machine: entry.machine,
            key: entry.key,
            user,
            tags,
            hostname: entry.hostname.clone(),
            name: name::unique(&label, |name| self.names.contains(name)),
            renamed: false,
            v4: v4.and_then(|addr| if let IpAddr::V4(a) = addr { Some(a) } else { None }),
            v6: v6.and_then(|addr| if let IpAddr::V6(a) = addr { Some(a) } else { None }),
            created: now.wall,
            expiry,
            ephemeral: entry.ephemeral,
            method: entry.method,
            auth_key: entry.auth_key,
            approved_routes: Vec::new(),
            approved: entry.approved || !self.rules.approval,
        };
        let soft = Soft { host: entry.host.clone(), version: entry.version, ..Soft::default() };
        self.batch.undo_node(id, None);
        self.batch.write(Write::PutNode(node.clone()));
        self.batch.write(Write::PutSoft(id, soft.clone()));
        self.batch.tell(Change::Node(id));
        self.insert(node, soft);
        if let Some(member) = self.nodes.get_mut(&id) {
            member.live.left = now.uptime;
        }
        Ok(id)
    }
}

fn entry(login: Login, owner: Owner, method: RegisterMethod, auth_key: Option<AuthKeyId>) -> Entry {
    Entry {
        machine: login.machine,
        key: login.key,
        old_key: login.old_key,
        hostname: login.hostname,
        host: login.host,
        version: login.version,
        owner,
        expiry: login.expiry.map(Expiry::At),
        ephemeral: login.ephemeral,
        method,
        auth_key,
        // Whoever approves a login by command is the administrator.
        approved: method == RegisterMethod::Cli,
    }
}

/// The login that a followup URL names: its last path segment.
fn followed(url: &str) -> Option<LoginId> {
    LoginId::parse(url.rsplit('/').next()?)
}

/// The part of a Hostinfo that is kept.
pub(super) fn host(info: &Hostinfo) -> Host {
    let text = |text: &Option<String>| cut(text.as_deref().unwrap_or_default());
    Host {
        os: text(&info.os),
        os_version: text(&info.osversion),
        client: text(&info.ipnversion),
        routes: info.routes(),
        request_tags: info.request_tags(),
        services: info
            .services()
            .take(LIST_MAX)
            .map(|service| Service {
                proto: text(&service.proto),
                port: service.port.unwrap_or_default(),
                description: text(&service.description),
            })
            .collect(),
        ssh_host_keys: info.ssh_host_keys(),
        shields_up: info.shieldsup == Some(true),
        app_connector: info.is_app_connector(),
        peer_relay: info.is_peer_relay(),
    }
}
