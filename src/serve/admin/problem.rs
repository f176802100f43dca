//! Refusals as problem documents (RFC 9457).

use gramscale_proto::tailnet::{Refusal, RefusalKind};
use gramscale_proto::wire::http1::reason;
use gramscale_proto::wire::json::Json;

use crate::net::http::Response;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// One sentence that says what to do.
    pub detail: String,
}

impl Problem {
    /// A refusal with this status.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// What was asked makes no sense (400).
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(400, detail)
    }

    /// The document. `message` is not the RFC's: programs written for headscale before 0.30 read
    /// it.
    pub fn response(&self) -> Response {
        let mut body = Vec::new();
        let mut json = Json::new(&mut body);
        json.open('{').key("title").string(reason(self.status));
        json.key("status").int(self.status.into());
        json.key("detail").string(&self.detail).key("message").string(&self.detail).close('}');
        let mut headers = vec![("Content-Type", "application/problem+json".to_owned())];
        if self.status == 401 {
            headers.push(("WWW-Authenticate", "Bearer".to_owned()));
        }
        Response { status: self.status, headers, body }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind() {
            RefusalKind::Conflict => 409,
            RefusalKind::Invalid => 400,
            RefusalKind::Missing => 404,
        };
        Self::new(status, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let answer = Problem::from(Refusal::UserNameTaken("\"a\"".into())).response();
        let kind = ("Content-Type", "application/problem+json".to_owned());
        assert_eq!((answer.status, &answer.headers), (409, &vec![kind]));
        assert_eq!(
            String::from_utf8_lossy(&answer.body),
            r#"{"title":"Conflict","status":409,"detail":"a user named \"a\" exists already","message":"a user named \"a\" exists already"}"#
        );
        assert_eq!(Problem::from(Refusal::TagsEmpty).status, 400);
        assert_eq!(Problem::from(Refusal::NoLogin(String::new())).status, 404);
    }
}
