//! The URLs that can be fetched.

/// An http or https URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) secure: bool,
    /// A name or an address; IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, from the first slash.
    pub(super) target: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let rest = rest.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, local) = (rest.get(..end)?, rest.get(end..)?);
        // Who writes a password into a URL would be surprised by where it ends up.
        if authority.contains('@') {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(literal) => {
                let (host, port) = literal.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")))
            }
            None => {
                let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
                (host, Some(port))
            }
        };
        let port = match port? {
            "" if secure => 443,
            "" => 80,
            digits => digits.parse().ok().filter(|port| *port != 0)?,
        };
        let printable = local.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !printable || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let slash = if local.starts_with('/') { "" } else { "/" };
        Some(Self { secure, host: host.to_owned(), port, target: format!("{slash}{local}") })
    }

    /// Where a redirect leads; from https not to http.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        let scheme = if self.secure { "https" } else { "http" };
        let url = if location.contains("://") {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{scheme}://{}{location}", self.authority()))
        } else {
            let path = self.target.split('?').next()?;
            let folder = path.get(..=path.rfind('/')?)?;
            Self::parse(&format!("{scheme}://{}{folder}{location}", self.authority()))
        };
        url.filter(|url| url.secure || !self.secure)
    }

    /// Host and port as `Host` has them.
    pub(super) fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        for (text, secure, host, port, target) in [
            ("https://a.example/derpmap/default", true, "a.example", 443, "/derpmap/default"),
            ("HTTP://a.example", false, "a.example", 80, "/"),
            ("http://a:8080?x=1#frag", false, "a", 8080, "/?x=1"),
            ("https://[fd7a::1]:8443/", true, "fd7a::1", 8443, "/"),
            ("https://[fd7a::1]", true, "fd7a::1", 443, "/"),
            (" https://10.0.0.1:443/x ", true, "10.0.0.1", 443, "/x"),
        ] {
            let (host, target) = (host.to_owned(), target.to_owned());
            assert_eq!(Url::parse(text), Some(Url { secure, host, port, target }), "{text}");
        }
        for text in [
            "",
            "a.example",
            "ftp://a/",
            "https://",
            "https:///x",
            "https://u:p@a/",
            "http://a:0/",
            "http://a:99999/",
            "http://a:x/",
            "http://[a]/",
            "http://[::1/",
            "http://[::1]x/",
            "http://a/b c",
            "http://a/\r\nX: y",
            "http://a b/",
            "http://::1/",
        ] {
            assert_eq!(Url::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn joins() {
        let base = Url::parse("https://a:8443/d/e?q").unwrap();
        for (to, expected) in [
            ("https://b/x", Some("https://b/x")),
            ("http://b/x", None),
            ("/x?y", Some("https://a:8443/x?y")),
            ("//b/x", Some("https://b/x")),
            ("f", Some("https://a:8443/d/f")),
            ("?z", Some("https://a:8443/d/?z")),
            ("mailto://x", None),
        ] {
            assert_eq!(base.join(to), expected.and_then(Url::parse), "{to}");
        }
        let plain = Url::parse("http://[::1]:81/").unwrap();
        assert_eq!(plain.join("https://b"), Url::parse("https://b"));
        assert_eq!(plain.authority(), "[::1]:81");
        assert_eq!(Url::parse("http://a:80/").unwrap().authority(), "a");
    }
}
