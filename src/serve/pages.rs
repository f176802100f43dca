//! The public pages: what they say is decided here, as functions of what is asked.

use gramscale_proto::tailnet::Tailnet;
use gramscale_proto::tailnet::login::{Login, LoginId};
use gramscale_proto::wire::key::{Hex, NodeKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use crate::version;

/// The most bytes that `/verify` takes: a key and an address need some 150.
pub const VERIFY_LIMIT: usize = 4096;

const HTML: &str = "text/html; charset=utf-8";

/// `/health`: whether the store takes writes.
pub fn health(well: bool) -> Answer {
    let (status, word) = if well { (200, "pass") } else { (500, "fail") };
    let body = format!("{{\"status\":\"{word}\"}}");
    Answer { status, kind: "application/health+json", body: body.into() }
}

/// `/version`.
pub fn version() -> Answer {
    Answer::ok("application/json", version::json())
}

/// `/robots.txt`: there is nothing to index.
pub fn robots() -> Answer {
    Answer::ok("text/plain; charset=utf-8", "User-agent: *\nDisallow: /\n")
}

/// `/`: nothing, so that nobody learns what this is from a look at it.
pub fn blank() -> Answer {
    Answer::ok(HTML, "<!DOCTYPE html><html lang=\"en\"><head><title></title></head></html>\n")
}

/// `/favicon.ico`: a disc of one colour.
pub fn favicon() -> Answer {
    let image = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">\
        <circle cx=\"8\" cy=\"8\" r=\"7\" fill=\"#456\"/></svg>";
    Answer::ok("image/svg+xml", image)
}

/// `POST /verify`: whether a relay elsewhere may serve the holder of a node key.
///
/// The request is `tailcfg.DERPAdmitClientRequest`, the answer `DERPAdmitClientResponse`.
pub fn verify(tailnet: &Tailnet, body: &[u8]) -> Answer {
    if body.len() > VERIFY_LIMIT {
        return Answer::error(413, "the request is larger than 4 KiB");
    }
    let request = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let key = request.get("NodePublic").and_then(Value::as_str);
    let Some(key) = key.and_then(|text| text.parse::<NodeKey>().ok()) else {
        return Answer::error(400, "send {\"NodePublic\":\"nodekey:...\"}");
    };
    let allow = tailnet.node_by_key(&key).is_some();
    Answer::ok("application/json", format!("{{\"Allow\":{allow}}}"))
}

/// `/register/{id}`: the page that a client opens to log in. It says which command lets the
/// machine in.
pub fn register(tailnet: &Tailnet, id: &str) -> Answer {
    let Some(login_id) = LoginId::parse(id) else {
        return Answer::error(400, "invalid auth id: open the link that the client shows again");
    };
    match tailnet.login(login_id) {
        Some(login) => page(200, "Let this machine in", &waiting(login_id, login)),
        None => page(
            404,
            "Nothing waits here",
            "<p>This login is done, or it waited for too long. If the machine is not connected, \
             log in on it again.</p>",
        ),
    }
}

fn waiting(id: LoginId, login: &Login) -> String {
    format!(
        "<p>The machine <b>{}</b> ({}) wants to join. If it is yours, let an administrator \
         type this on the server, with the name of the user who is to own it:</p>\
         <pre>gramscale auth register --auth-id {id} --user USERNAME</pre>\
         <p>The client goes on by itself then.</p>",
        escape(&login.hostname),
        escape(if login.host.os.is_empty() { "unknown system" } else { &login.host.os }),
    )
}

/// `/auth/{id}`: the page for a session that waits for an administrator.
pub fn auth(id: &str) -> Answer {
    match LoginId::parse(id) {
        Some(id) => page(
            200,
            "Approve this session",
            &format!(
                "<p>If you started this session, let an administrator type this on the \
                 server:</p><pre>gramscale auth approve --auth-id {id}</pre>"
            ),
        ),
        None => Answer::error(400, "invalid auth id: open the link that the client shows again"),
    }
}

/// `/windows`: how a Windows machine joins the tailnet of this URL.
pub fn windows(server_url: &str) -> Answer {
    let url = escape(server_url);
    page(
        200,
        "Join with Windows",
        &format!(
            "<p>Install the Tailscale client, then type in a command prompt:</p>\
             <pre>tailscale login --login-server {url}</pre>\
             <p>To set the server for all users of the machine before they log in, type as \
             administrator, and restart the client:</p>\
             <pre>reg add HKLM\\Software\\Policies\\Tailscale /v LoginURL /d {url}</pre>"
        ),
    )
}

/// `/apple`: how Apple's machines join the tailnet of this URL.
pub fn apple(server_url: &str) -> Answer {
    let url = escape(server_url);
    page(
        200,
        "Join with iOS, iPadOS, tvOS or macOS",
        &format!(
            "<h2>iPhone, iPad, Apple TV</h2>\
             <p>Install the Tailscale client. Before logging in, open its account menu, choose \
             <b>Use a custom coordination server</b>, and enter</p><pre>{url}</pre>\
             <p>Or install <a href=\"/apple/ios\">this profile</a>, which sets the same.</p>\
             <h2>Mac</h2>\
             <p>Type in a terminal:</p><pre>tailscale login --login-server {url}</pre>\
             <p>Or install a profile before logging in: \
             <a href=\"/apple/macos-app-store\">for the client from the App Store</a>, or \
             <a href=\"/apple/macos-standalone\">for the one from Tailscale's site</a>. \
             Look at what a profile holds before you install it: it is not signed.</p>"
        ),
    )
}

/// `/apple/{platform}`: a configuration profile that sets the server's URL.
pub fn apple_profile(server_url: &str, platform: &str) -> Answer {
    let domain = match platform {
        "ios" => "io.tailscale.ipn.ios",
        "macos-app-store" => "io.tailscale.ipn.macos",
        "macos-standalone" => "io.tailscale.ipn.macsys",
        _ => return Answer::error(400, "use ios, macos-app-store or macos-standalone"),
    };
    let url = escape(server_url);
    let (outer, inner) = (uuid(server_url, platform), uuid(server_url, domain));
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\
         \t<key>PayloadType</key><string>Configuration</string>\n\
         \t<key>PayloadVersion</key><integer>1</integer>\n\
         \t<key>PayloadIdentifier</key><string>gramscale.{platform}</string>\n\
         \t<key>PayloadUUID</key><string>{outer}</string>\n\
         \t<key>PayloadDisplayName</key><string>Tailscale server</string>\n\
         \t<key>PayloadDescription</key><string>Logs Tailscale in at {url}</string>\n\
         \t<key>PayloadContent</key>\n\t<array>\n\t\t<dict>\n\
         \t\t\t<key>PayloadType</key><string>{domain}</string>\n\
         \t\t\t<key>PayloadVersion</key><integer>1</integer>\n\
         \t\t\t<key>PayloadIdentifier</key><string>gramscale.{platform}.server</string>\n\
         \t\t\t<key>PayloadUUID</key><string>{inner}</string>\n\
         \t\t\t<key>PayloadEnabled</key><true/>\n\
         \t\t\t<key>ControlURL</key><string>{url}</string>\n\
         \t\t</dict>\n\t</array>\n</dict>\n</plist>\n"
    );
    Answer::ok("application/x-apple-aspen-config", body)
}

/// A UUID (RFC 9562 section 5.8) that stays the same for the same server and purpose, so that a
/// profile that is installed again replaces itself.
fn uuid(server_url: &str, purpose: &str) -> String {
    let digest = Sha256::digest(format!("{server_url} {purpose}"));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let [a, b, c, d] =
        [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10]].map(|part| Hex(part).to_string());
    format!("{a}-{b}-{c}-{d}-{}", Hex(&bytes[10..]))
}

fn page(status: u16, title: &str, content: &str) -> Answer {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>\
         body{{font:1em/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}}\
         pre{{padding:.7em;border:1px solid #999;white-space:pre-wrap;overflow-wrap:anywhere}}\
         </style></head><body><h1>{title}</h1>{content}</body></html>\n"
    );
    Answer { status, kind: HTML, body: body.into() }
}

/// Makes text safe in HTML and XML, between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::admin::fixture::World;
    use super::*;

    fn text(answer: &Answer) -> &str {
        std::str::from_utf8(&answer.body).expect("UTF-8")
    }

    #[test]
    fn small_ones() {
        assert_eq!(health(true).kind, "application/health+json");
        assert_eq!(text(&health(true)), "{\"status\":\"pass\"}");
        assert_eq!((health(false).status, text(&health(false))), (500, "{\"status\":\"fail\"}"));
        assert_eq!(text(&robots()), "User-agent: *\nDisallow: /\n");
        assert!(text(&version()).contains("\"version\":"));
        assert!(!text(&blank()).contains("scale"));
        assert!(text(&favicon()).starts_with("<svg"));
    }

    #[test]
    fn verifies_members_only() {
        let mut world = World::new();
        world.join(5);
        let ask = |body: &str| verify(&world.tailnet, body.as_bytes());
        let request = |byte: u8| {
            format!("{{\"NodePublic\":\"{}\",\"Source\":\"192.0.2.1\"}}", NodeKey([byte; 32]))
        };
        assert_eq!(text(&ask(&request(5))), "{\"Allow\":true}");
        assert_eq!(text(&ask(&request(6))), "{\"Allow\":false}");
        for bad in ["", "{", "{}", "[]", "{\"NodePublic\":7}", "{\"NodePublic\":\"mkey:00\"}"] {
            assert_eq!(ask(bad).status, 400, "{bad}");
        }
        assert_eq!(ask(&" ".repeat(VERIFY_LIMIT + 1)).status, 413);
        assert_eq!(ask(&" ".repeat(VERIFY_LIMIT)).status, 400);
    }

    #[test]
    fn registration() {
        let mut world = World::new();
        let id = world.knock(7, "<b>\"phone\"");
        let answer = register(&world.tailnet, &id);
        assert_eq!((answer.status, answer.kind), (200, HTML));
        let command = format!("<pre>gramscale auth register --auth-id {id} --user USERNAME</pre>");
        assert!(text(&answer).contains(&command));
        assert!(text(&answer).contains("&lt;b&gt;&quot;phone&quot;"), "{}", text(&answer));
        assert!(!text(&answer).contains("<b>\""));
        let unknown = "hskey-authreq-000000000000000000000000";
        assert_eq!(register(&world.tailnet, unknown).status, 404);
        for bad in ["", "x", "hskey-authreq-", "hskey-authreq-<script>", "hskey-authreq-00"] {
            assert_eq!(register(&world.tailnet, bad).status, 400, "{bad}");
            assert_eq!(auth(bad).status, 400, "{bad}");
        }
        assert!(text(&auth(&id)).contains(&format!("gramscale auth approve --auth-id {id}<")));
    }

    #[test]
    fn profiles() {
        let url = "http://10.0.0.1:8080/?a&b";
        for (platform, domain) in [
            ("ios", "io.tailscale.ipn.ios"),
            ("macos-app-store", "io.tailscale.ipn.macos"),
            ("macos-standalone", "io.tailscale.ipn.macsys"),
        ] {
            let answer = apple_profile(url, platform);
            assert_eq!(answer.kind, "application/x-apple-aspen-config");
            let text = text(&answer);
            assert!(text.contains(&format!("<string>{domain}</string>")), "{text}");
            let set = "<key>ControlURL</key><string>http://10.0.0.1:8080/?a&amp;b</string>";
            assert!(text.contains(set), "{text}");
            assert_eq!(apple_profile(url, platform), answer);
        }
        assert_eq!(apple_profile(url, "android").status, 400);
        assert_eq!(apple_profile(url, "").status, 400);
        for page in [apple(url), windows(url)] {
            assert!(text(&page).contains("--login-server http://10.0.0.1:8080/?a&amp;b<"));
        }
    }

    #[test]
    fn uuids() {
        let uuid = uuid("http://x", "y");
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes().get(14), Some(&b'8'));
    }
}
