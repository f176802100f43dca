//! Header fields to a request (RFC 9113, section 8).

/// Bytes of all header fields of a request at most, each counted with 32 more (RFC 9113, section
/// 6.5.2). The clients send some 300.
pub(super) const MAX_HEADER_LIST: usize = 16384;

/// A complete request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The stream to answer on.
    pub stream: u32,
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query. Clients put all kinds of hosts into [`Self::authority`], so this alone
    /// decides what is asked for.
    pub path: String,
    /// Host and port as the client knows them; may be empty.
    pub authority: String,
    /// Other fields, with names in lower case; those that are not UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first field of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Collects the fields of one header block.
#[derive(Debug, Default)]
pub(super) struct Fields {
    request: Request,
    /// What `content-length` says.
    pub(super) length: Option<u64>,
    size: usize,
    seen: u8,
    malformed: bool,
}

/// What a header block makes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Request(Box<Request>),
    /// More fields than [`MAX_HEADER_LIST`] allows.
    TooLarge,
    /// Breaks section 8.2 or 8.3.
    Malformed,
}

const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const AUTHORITY: u8 = 4;
const PATH: u8 = 8;
/// A field that is no pseudo field has been seen.
const REGULAR: u8 = 16;

impl Fields {
    /// Takes one field.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.size = self.size.saturating_add(name.len() + value.len() + 32);
        if self.malformed || self.size > MAX_HEADER_LIST {
            return;
        }
        self.malformed = match name {
            _ if !is_value(value) => true,
            [b':', pseudo @ ..] => self.add_pseudo(pseudo, value).is_none(),
            _ => self.add_regular(name, value).is_none(),
        };
    }

    /// The request with all fields in.
    pub(super) fn finish(self) -> Outcome {
        let needed = METHOD | SCHEME | PATH;
        if self.size > MAX_HEADER_LIST {
            Outcome::TooLarge
        } else if self.malformed || self.seen & needed != needed {
            Outcome::Malformed
        } else {
            Outcome::Request(Box::new(self.request))
        }
    }

    /// Whether this is well-formed as trailers, which have no pseudo fields.
    pub(super) fn is_trailers(&self) -> bool {
        !self.malformed && self.size <= MAX_HEADER_LIST && self.seen & !REGULAR == 0
    }

    fn add_pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let mut ignored = String::new();
        let (bit, field) = match name {
            b"method" => (METHOD, &mut self.request.method),
            b"scheme" => (SCHEME, &mut ignored),
            b"authority" => (AUTHORITY, &mut self.request.authority),
            b"path" => (PATH, &mut self.request.path),
            _ => return None,
        };
        let printable = value.iter().all(u8::is_ascii_graphic);
        let empty = value.is_empty() && bit != AUTHORITY;
        if self.seen & (bit | REGULAR) != 0 || !printable || empty {
            return None;
        }
        self.seen |= bit;
        *field = text(value)?;
        Some(())
    }

    fn add_regular(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        self.seen |= REGULAR;
        if !is_name(name) {
            return None;
        }
        match name {
            // Fields about a connection have no place here (section 8.2.2).
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding"
            | b"upgrade" => return None,
            b"te" if value != b"trailers" => return None,
            b"content-length" => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let length = digits.then(|| text(value)?.parse().ok()).flatten()?;
                if self.length.is_some_and(|other| other != length) {
                    return None;
                }
                self.length = Some(length);
            }
            _ => {}
        }
        if let (Some(name), Some(value)) = (text(name), text(value)) {
            self.request.headers.push((name, value));
        }
        Some(())
    }
}

/// A name without upper case, spaces and control characters (section 8.2.1).
fn is_name(name: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && *b != b':';
    !name.is_empty() && name.iter().all(allowed)
}

/// A value that cannot be taken for two (section 8.2.1).
fn is_value(value: &[u8]) -> bool {
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    !value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n'))
        && !blank(value.first())
        && !blank(value.last())
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&str, &str)]) -> Fields {
        let mut all = Fields::default();
        fields.iter().for_each(|(name, value)| all.add(name.as_bytes(), value.as_bytes()));
        all
    }

    const GOOD: [(&str, &str); 4] =
        [(":method", "POST"), (":scheme", "https"), (":path", "/a?b"), (":authority", "h:1")];

    #[test]
    fn requests() {
        let mut all = fields(&GOOD);
        all.add(b"content-length", b"12");
        all.add(b"host", b"other");
        all.add(b"te", b"trailers");
        all.add(b"x-latin", b"\xe9");
        all.add(b"content-length", b"12");
        assert_eq!(all.length, Some(12));
        let Outcome::Request(request) = all.finish() else { panic!() };
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a?b"));
        assert_eq!((request.authority.as_str(), request.header("host")), ("h:1", Some("other")));
        assert_eq!((request.header("x-latin"), request.headers.len()), (None, 4));
        assert!(matches!(fields(&GOOD[..3]).finish(), Outcome::Request(_)));
    }

    #[test]
    fn malformed_requests() {
        for without in 0..3 {
            let mut some = GOOD.to_vec();
            some.remove(without);
            assert_eq!(fields(&some).finish(), Outcome::Malformed, "{without}");
        }
        for bad in [
            (":method", "GET"),
            (":status", "200"),
            (":protocol", "websocket"),
            ("", "x"),
            ("Upper", "x"),
            ("a b", "x"),
            ("a\x7f", "x"),
            ("é", "x"),
            ("a:b", "x"),
            ("x", "a\nb"),
            ("x", "a\rb"),
            ("x", "a\0b"),
            ("x", " a"),
            ("x", "a\t"),
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("content-length", ""),
            ("content-length", "+1"),
            ("content-length", "1, 1"),
            ("content-length", "99999999999999999999"),
        ] {
            let all = fields(&[&GOOD[..], &[bad]].concat());
            assert_eq!(all.finish(), Outcome::Malformed, "{bad:?}");
        }
        for bad in [(":path", ""), (":path", "/ b"), (":method", ""), (":authority", "é")] {
            let mut all = GOOD.to_vec();
            all.retain(|(name, _)| *name != bad.0);
            all.push(bad);
            assert_eq!(fields(&all).finish(), Outcome::Malformed, "{bad:?}");
        }
        let late = [GOOD[0], GOOD[1], ("x", "y"), GOOD[2]];
        assert_eq!(fields(&late).finish(), Outcome::Malformed);
        let two = [&GOOD[..], &[("content-length", "1"), ("content-length", "2")]].concat();
        assert_eq!(fields(&two).finish(), Outcome::Malformed);
    }

    #[test]
    fn size() {
        // Four fields of 13+... bytes and one that fills the list to its last byte.
        let used: usize = GOOD.iter().map(|(n, v)| n.len() + v.len() + 32).sum();
        let fill = "y".repeat(MAX_HEADER_LIST - used - 33);
        let full = [&GOOD[..], &[("x", fill.as_str())]].concat();
        assert!(matches!(fields(&full).finish(), Outcome::Request(_)));
        let over = [&full[..], &[("z", "")]].concat();
        assert_eq!(fields(&over).finish(), Outcome::TooLarge);
    }

    #[test]
    fn trailers() {
        assert!(fields(&[("x", "y")]).is_trailers());
        assert!(fields(&[]).is_trailers());
        assert!(!fields(&[(":path", "/")]).is_trailers());
        assert!(!fields(&[("X", "y")]).is_trailers());
    }
}
