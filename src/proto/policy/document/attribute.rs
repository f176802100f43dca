//! Node attributes: what clients of some nodes are told to do or may do.

use crate::policy::range;
use crate::wire::hujson::Kind;
use crate::wire::json::Json;
use crate::wire::prefix::Prefix;

use super::alias::{self, Names, Position};
use super::fault::Fault;
use super::table::Table;
use super::walk::At;

/// Every client chooses its port at random (nodecap.go).
pub(super) const RANDOMIZE_CLIENT_PORT: &str = "randomize-client-port";

/// The node gets no IPv4 address (nodecap.go).
pub(crate) const DISABLE_IPV4: &str = "disable-ipv4";

/// A member of `nodeAttrs`.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Places in the table's aliases; none is every node.
    pub(crate) targets: Option<Vec<usize>>,
    /// Attributes without a value.
    pub(crate) names: Vec<String>,
    /// Attributes with values: names and JSON values.
    pub(crate) values: Vec<(String, Vec<Vec<u8>>)>,
    /// Where the addresses of these nodes come from.
    pub(crate) pool: Vec<Prefix>,
}

impl Grant {
    pub(super) fn everywhere(name: &str) -> Self {
        let names = vec![name.to_owned()];
        Self { targets: None, names, values: Vec::new(), pool: Vec::new() }
    }

    pub(super) fn read(at: &At<'_>, names: &Names, table: &mut Table) -> Result<Self, Fault> {
        at.only(&["target", "attr", "app", "ipPool"])?;
        let mut targets = Vec::new();
        at.texts("target", &mut |at, text| {
            let alias = names.alias(at, text, Position::Target)?;
            targets.push(table.alias(alias, at.offset()));
            Ok(())
        })?;
        let mut grant = Self { targets: Some(targets), ..Self::everywhere("") };
        grant.names.clear();
        at.texts("attr", &mut |at, text| {
            grant.names.push(attribute(at, text)?);
            Ok(())
        })?;
        if let Some(at) = at.member("app")? {
            for (name, at) in at.members()? {
                let Kind::Array(items) = &at.value().kind else {
                    return Err(at.expected("an array of values"));
                };
                let render = |value: &crate::wire::hujson::Value<'_>| {
                    let mut out = Vec::new();
                    value.render(&mut Json::new(&mut out));
                    out
                };
                let values = items.iter().map(render).collect();
                grant.values.push((attribute(&at, name)?, values));
            }
        }
        at.texts("ipPool", &mut |at, text| {
            let prefix = alias::prefix(text).filter(range::in_cgnat).ok_or_else(|| {
                at.fault(format!(
                    "\"{text}\" is no prefix of 100.64.0.0/10; such as 100.81.0.0/16 is expected"
                ))
            })?;
            grant.pool.push(prefix);
            Ok(())
        })?;
        Ok(grant)
    }
}

fn attribute(at: &At<'_>, text: &str) -> Result<String, Fault> {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(at.fault(format!("\"{text}\" is no name of an attribute")));
    }
    Ok(text.to_owned())
}
