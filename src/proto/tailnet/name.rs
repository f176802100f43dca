//! DNS labels of nodes, and names of users and tags.

/// Most bytes of a DNS label (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// Turns a host name into a DNS label: the part before the first dot, lower case, separators as
/// `-`, everything else left out. An empty result becomes `node`.
pub fn label(hostname: &str) -> String {
    // A name such as "Ann's.iPad" is not a DNS name: only a known suffix says that it is one.
    let stem = ["local", "localdomain", "lan"]
        .iter()
        .find_map(|suffix| hostname.strip_suffix(suffix)?.strip_suffix('.'))
        .unwrap_or(hostname);
    let mut label = String::new();
    for c in stem.chars() {
        match c {
            'a'..='z' | '0'..='9' => label.push(c),
            'A'..='Z' => label.push(c.to_ascii_lowercase()),
            '-' | '.' | '_' | '@' | ' ' if !label.is_empty() => label.push('-'),
            _ => {}
        }
        if label.len() == LABEL_MAX {
            break;
        }
    }
    label.truncate(label.trim_end_matches('-').len());
    if label.is_empty() { "node".to_owned() } else { label }
}

/// The first of `base`, `base-1`, `base-2`, ... that is free.
pub fn unique(base: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(base) {
        return base.to_owned();
    }
    let mut number = 1_u32;
    loop {
        let suffix = format!("-{number}");
        let stem = base.get(..base.len().min(LABEL_MAX - suffix.len())).unwrap_or(base);
        let name = format!("{}{suffix}", stem.trim_end_matches('-'));
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}

/// Whether `text` is a DNS label in lower case.
pub fn is_label(text: &str) -> bool {
    (1..=LABEL_MAX).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Whether `text` can be a user's name.
pub fn is_user(text: &str) -> bool {
    (2..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._@".contains(&b))
        && text.bytes().filter(|b| *b == b'@').count() <= 1
}

/// Whether `text` is `tag:` and a name.
pub fn is_tag(text: &str) -> bool {
    text.strip_prefix("tag:").is_some_and(|name| {
        name.len() <= LABEL_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (hostname, expect) in [
            ("laptop", "laptop"),
            ("Ann's MacBook Pro", "anns-macbook-pro"),
            ("DESKTOP_1.local", "desktop-1"),
            ("web.example.com", "web-example-com"),
            ("-x-", "x"),
            ("日本", "node"),
            ("", "node"),
        ] {
            assert_eq!(label(hostname), expect);
            assert!(is_label(expect));
        }
        assert_eq!(label(&"a".repeat(99)).len(), LABEL_MAX);
        for bad in ["", "-a", "a-", "A", "a.b", "é", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }

    #[test]
    fn unique_labels() {
        assert_eq!(unique("a", |_| false), "a");
        assert_eq!(unique("a", |name| ["a", "a-1"].contains(&name)), "a-2");
        let long = "b".repeat(LABEL_MAX);
        assert_eq!(unique(&long, |name| name == long), format!("{}-1", "b".repeat(61)));
    }

    #[test]
    fn users_and_tags() {
        for good in ["ann", "a.b", "ann@example.com", "x-1"] {
            assert!(is_user(good), "{good}");
        }
        for bad in ["", "a", "1a", "a b", "a@b@c", "ann\"", "é1"] {
            assert!(!is_user(bad), "{bad}");
        }
        assert!(is_tag("tag:web-1") && !is_tag("tag:") && !is_tag("tag:1") && !is_tag("web"));
        assert!(!is_tag("tag:Web"));
    }
}
