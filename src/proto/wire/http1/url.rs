//! Escapes of URLs and forms.

use std::borrow::Cow;

/// Resolves `%xx`, and `plus` signs to spaces as forms have them. `None` for a broken escape or
/// what is not UTF-8.
pub fn percent_decode(text: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !text.contains(|c| c == '%' || (plus && c == '+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Appends `text` with everything escaped that is not unreserved (RFC 3986 section 2.3).
pub fn encode(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)].into());
            out.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
}

/// The pairs of a form (`application/x-www-form-urlencoded`), as of a query; a broken one is
/// left out.
pub fn form(body: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(std::str::from_utf8(body).unwrap_or_default())
}

pub(super) fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    text.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((percent_decode(key, true)?, percent_decode(value, true)?))
    })
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes() {
        for (text, plain) in [
            ("", Some("")),
            ("a+b", Some("a b")),
            ("%41%c3%A9", Some("A\u{e9}")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decode(text, true).as_deref(), plain, "{text}");
        }
        assert_eq!(percent_decode("a+b%20", false).as_deref(), Some("a+b "));
    }

    #[test]
    fn encodes() {
        let mut out = String::new();
        encode("a b/\u{e9}-._~+", &mut out);
        assert_eq!(out, "a%20b%2F%C3%A9-._~%2B");
        assert_eq!(percent_decode(&out, true).as_deref(), Some("a b/\u{e9}-._~+"));
    }

    #[test]
    fn forms() {
        let pairs: Vec<_> = form(b"a=1&&b=%20&c&%zz=1&d=x=y").collect();
        let expected = [("a", "1"), ("b", " "), ("c", ""), ("d", "x=y")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.into(), v.into())));
        assert_eq!(form(b"a=\xff").count(), 0);
    }
}
