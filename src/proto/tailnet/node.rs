//! What administrators do to nodes.

use super::change::Change;
use super::key::is_expired;
use super::record::{Expiry, NodeId};
use super::write::Write;
use super::{Now, Random, Refusal, Tailnet, name};
use crate::wire::prefix::Prefix;

impl Tailnet {
    /// Gives a node a name that no longer follows its host name.
    pub fn rename_node(&mut self, id: NodeId, name: &str) -> Result<(), Refusal> {
        let member = self.nodes.get(&id).ok_or(Refusal::NoNode(id))?;
        let lower = name.to_ascii_lowercase();
        if !name::is_label(&lower) {
            return Err(Refusal::NodeName(name.to_owned()));
        }
        if member.node.name != lower && self.names.contains(&lower) {
            return Err(Refusal::NodeNameTaken(lower));
        }
        self.edit(id, |node| {
            node.name = lower;
            node.renamed = true;
        })?;
        Ok(())
    }

    /// Ends a node's key now: its client asks for a new login.
    pub fn expire_node(&mut self, id: NodeId, now: Now) -> Result<(), Refusal> {
        let member = self.nodes.get(&id).ok_or(Refusal::NoNode(id))?;
        if is_expired(member.node.expiry, now) {
            return Ok(());
        }
        self.set_expiry(id, Some(Expiry::At(now.wall)), now)
    }

    /// Sets when a node's key expires; `None` is never.
    pub fn set_expiry(
        &mut self,
        id: NodeId,
        expiry: Option<Expiry>,
        now: Now,
    ) -> Result<(), Refusal> {
        self.edit(id, |node| node.expiry = expiry)?;
        // An order to expire now is meant, whatever the clock's standing.
        let at_once = matches!(expiry, Some(Expiry::At(at)) if at <= now.wall);
        if let Some(member) = self.nodes.get_mut(&id) {
            member.expired = at_once;
        }
        Ok(())
    }

    /// Deletes a node. Its client is told to log in again.
    pub fn delete_node(&mut self, id: NodeId) -> Result<(), Refusal> {
        let member = self.nodes.get(&id).ok_or(Refusal::NoNode(id))?;
        let slot = member.slot;
        self.batch.undo_node(id, Some(member));
        self.batch.write(Write::DeleteNode(id));
        self.batch.tell(Change::NodeGone { id, slot });
        self.batch.free(slot);
        self.remove(id);
        self.elect();
        Ok(())
    }

    /// Lets a node in that waits for it.
    pub fn approve_node(&mut self, id: NodeId) -> Result<(), Refusal> {
        self.edit(id, |node| node.approved = true)?;
        self.elect();
        Ok(())
    }

    /// Makes a node belong to these tags, and no longer to its user.
    pub fn set_tags(&mut self, id: NodeId, tags: &[String]) -> Result<(), Refusal> {
        self.nodes.get(&id).ok_or(Refusal::NoNode(id))?;
        if tags.is_empty() {
            return Err(Refusal::TagsEmpty);
        }
        for tag in tags {
            if !name::is_tag(tag) {
                return Err(Refusal::TagSyntax(tag.clone()));
            }
            if !self.is_tag_defined(tag) {
                return Err(Refusal::TagUndefined(tag.clone()));
            }
        }
        let mut tags = tags.to_vec();
        tags.sort_unstable();
        tags.dedup();
        self.edit(id, |node| {
            node.tags = tags;
            node.user = None;
            node.expiry = None;
        })?;
        if let Some(member) = self.nodes.get_mut(&id) {
            member.expired = false;
        }
        self.auto_approve(id)?;
        self.elect();
        Ok(())
    }

    /// Sets which routes of a node are approved, advertised or not. One of the two default
    /// routes means both.
    pub fn approve_routes(&mut self, id: NodeId, routes: &[Prefix]) -> Result<(), Refusal> {
        let mut routes = routes.to_vec();
        if routes.iter().any(Prefix::is_exit) {
            routes.extend([Prefix::ALL_V4, Prefix::ALL_V6]);
        }
        routes.sort_unstable();
        routes.dedup();
        self.edit(id, |node| node.approved_routes = routes)?;
        self.elect();
        Ok(())
    }

    /// Gives nodes the addresses they lack since the prefixes were changed, and takes those of a
    /// family without a prefix. Returns a sentence for each change.
    pub fn backfill_addresses(&mut self, random: Random<'_>) -> Result<Vec<String>, Refusal> {
        let mut done = Vec::new();
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(member) = self.nodes.get(&id) else { continue };
            let (old_v4, old_v6, name) = (member.node.v4, member.node.v6, member.node.name.clone());
            let (user, tags) = (member.node.user, &member.node.tags);
            let (free_v4, free_v6) = self.free_addresses(user, tags, random)?;
            let free_v4 = free_v4.and_then(|a| a.to_string().parse().ok());
            let free_v6 = free_v6.and_then(|a| a.to_string().parse().ok());
            let v4 = self.rules.v4.and(old_v4.or(free_v4));
            let v6 = self.rules.v6.and(old_v6.or(free_v6));
            self.edit(id, |node| {
                node.v4 = v4;
                node.v6 = v6;
            })?;
            let mut note = |old: Option<String>, new: Option<String>| match (old, new) {
                (None, Some(new)) => done.push(format!("assigned {new} to node {id} ({name})")),
                (Some(old), None) => done.push(format!("removed {old} from node {id} ({name})")),
                _ => {}
            };
            note(old_v4.map(|a| a.to_string()), v4.map(|a| a.to_string()));
            note(old_v6.map(|a| a.to_string()), v6.map(|a| a.to_string()));
        }
        Ok(done)
    }

    /// Lets the name follow a changed host name, unless an administrator chose it.
    pub(super) fn follow_hostname(&mut self, id: NodeId, hostname: &str) -> Result<(), Refusal> {
        let Some(member) = self.nodes.get(&id) else { return Ok(()) };
        let node = &member.node;
        let label = name::label(hostname);
        // `laptop-1` is how a second `laptop` is called: it keeps that name.
        let stem = node.name.rsplit_once('-').filter(|(_, n)| n.parse::<u32>().is_ok());
        let fits = node.name == label || stem.is_some_and(|(stem, _)| stem == label);
        let name = if node.renamed || fits {
            node.name.clone()
        } else {
            name::unique(&label, |name| self.names.contains(name))
        };
        let hostname = hostname.to_owned();
        self.edit(id, |node| {
            node.hostname = hostname;
            node.name = name;
        })?;
        Ok(())
    }
}
