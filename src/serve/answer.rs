//! What the admin interface and the public pages answer, before it is HTTP.

/// Headers of every answer to a browser or a script: our pages are never framed, guessed at or
/// named to other sites.
pub const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
];

/// An answer: a status, a media type and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type (`Content-Type`).
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// 200 with this body.
    pub fn ok(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, kind, body: body.into() }
    }

    /// A plain sentence with a status that is not 200.
    pub fn error(status: u16, sentence: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{sentence}\n").into() }
    }
}
