//! What the language has and this server has not: refused by name, for a rule that is ignored is
//! an open door.

use super::attribute::DISABLE_IPV4;
use super::document::Policy;

impl Policy {
    /// A member of the document that the server can't act on, and what to do about it.
    pub fn beyond_server(&self) -> Option<&'static str> {
        let attributes = || self.attributes.iter();
        if attributes().any(|grant| grant.names.iter().any(|name| name == DISABLE_IPV4)) {
            return Some("nodeAttrs: the attribute disable-ipv4 is not supported yet; remove it");
        }
        if attributes().any(|grant| !grant.pool.is_empty()) {
            return Some("nodeAttrs: ipPool is not supported yet; remove it");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<&'static str> {
        Policy::parse(text).unwrap().beyond_server()
    }

    #[test]
    fn by_name() {
        let attr = r#"{"nodeAttrs":[{"target":["*"],"attr":["ATTR"]}]}"#;
        assert!(refused(&attr.replace("ATTR", "disable-ipv4")).unwrap().contains("ipv4"));
        assert_eq!(refused(&attr.replace("ATTR", "magicdns-aaaa")), None);
        let pool = r#"{"nodeAttrs":[{"target":["*"],"ipPool":["100.81.0.0/16"]}]}"#;
        assert!(refused(pool).unwrap().contains("ipPool"));
    }
}
