//! The public pages: what they say is decided here, as functions of what is asked.

use gramscale_proto::tailnet::Tailnet;
use gramscale_proto::tailnet::login::{Login, LoginId};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::json;
use gramscale_proto::wire::key::{Hex, NodeKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::net::http::Response;
use crate::version;

/// The most bytes that `/verify` takes: a key and an address need some 150.
pub const VERIFY_LIMIT: usize = 4096;

/// Headers of every answer to a browser or a script: our pages are never framed, guessed at or
/// named to other sites.
const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
];

/// The answer with the headers that every answer of the listener has.
pub fn secured(mut response: Response) -> Response {
    response.headers.extend(SECURITY_HEADERS.map(|(name, value)| (name, value.to_owned())));
    response
}

/// What the pages tell of.
#[derive(Clone, Copy)]
pub struct Pages<'a> {
    /// The state.
    pub tailnet: &'a Tailnet,
    /// The URL by which clients reach this server.
    pub server_url: &'a str,
    /// Whether the store takes writes.
    pub well: bool,
}

impl Pages<'_> {
    /// The page that is asked for; `None` if there is none at this path.
    pub fn answer(&self, head: &Head, body: &[u8]) -> Option<Response> {
        let parts: Vec<_> = head.segments().collect();
        let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
        let page: &dyn Fn() -> Response = match parts.as_slice() {
            [] => &blank,
            ["apple"] => &|| apple(self.server_url),
            ["apple", platform] => &|| apple_profile(self.server_url, platform),
            ["auth", id] => &|| auth(self.tailnet, id),
            ["favicon.ico"] => &favicon,
            ["health"] => &|| health(self.well),
            ["join"] => &|| join(self.server_url),
            ["register", id] => &|| register(self.tailnet, id),
            ["robots.txt"] => &robots,
            ["verify"] if head.method == "POST" => return Some(verify(self.tailnet, body)),
            ["verify"] => return Some(only("POST")),
            ["version"] => &version,
            ["windows"] => &|| windows(self.server_url),
            _ => return None,
        };
        Some(if matches!(&*head.method, "GET" | "HEAD") { page() } else { only("GET, HEAD") })
    }
}

fn only(methods: &str) -> Response {
    refuse(405, "this page does not take the method").with("Allow", methods)
}

/// `/health`: whether the store takes writes.
fn health(well: bool) -> Response {
    let (status, word) = if well { (200, "pass") } else { (500, "fail") };
    let body = format!("{{\"status\":\"{word}\"}}");
    typed(status, "application/health+json", body)
}

/// `/version`.
fn version() -> Response {
    Response::json(200, version::json())
}

/// `/robots.txt`: there is nothing to index.
fn robots() -> Response {
    Response::text(200, "User-agent: *\nDisallow: /\n")
}

/// `/`: nothing, so that nobody learns what this is from a look at it.
fn blank() -> Response {
    Response::html(200, "<!DOCTYPE html><html lang=\"en\"><head><title></title></head></html>\n")
}

/// `/favicon.ico`: a disc of one colour.
fn favicon() -> Response {
    let image = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">\
        <circle cx=\"8\" cy=\"8\" r=\"7\" fill=\"#456\"/></svg>";
    typed(200, "image/svg+xml", image)
}

/// `POST /verify`: whether a relay elsewhere may serve the holder of a node key.
///
/// The request is `tailcfg.DERPAdmitClientRequest`, the answer `DERPAdmitClientResponse`.
fn verify(tailnet: &Tailnet, body: &[u8]) -> Response {
    if body.len() > VERIFY_LIMIT {
        return refuse(413, "the request is larger than 4 KiB");
    }
    let request = json::read(body).unwrap_or_default();
    let key = request.get("NodePublic").and_then(Value::as_str);
    let Some(key) = key.and_then(|text| text.parse::<NodeKey>().ok()) else {
        return refuse(400, "send {\"NodePublic\":\"nodekey:...\"}");
    };
    let allow = tailnet.node_by_key(&key).is_some();
    Response::json(200, format!("{{\"Allow\":{allow}}}"))
}

/// `/register/{id}`: the page that a client opens to log in. It says which command lets the
/// machine in.
fn register(tailnet: &Tailnet, id: &str) -> Response {
    let Some(login_id) = LoginId::parse(id) else {
        return refuse(400, "invalid auth id: open the link that the client shows again");
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

/// `/auth/{id}`: the page for a login over SSH that waits for somebody's word.
fn auth(tailnet: &Tailnet, id: &str) -> Response {
    let Some(login_id) = LoginId::parse(id) else {
        return refuse(400, "invalid auth id: open the link that the client shows again");
    };
    let Some(check) = tailnet.check(login_id) else {
        return page(
            404,
            "Nothing waits here",
            "<p>This login is done, or it waited for too long. If you are not let in, log in \
             again.</p>",
        );
    };
    let name = |id| tailnet.node(id).map_or("", |member| &member.node.name);
    let owner = tailnet.node(check.from).and_then(|member| tailnet.user(member.node.user?));
    let from = owner.map_or("", |user| &user.name);
    let text = format!(
        "<p>Somebody on <b>{}</b> ({}) wants to log in on <b>{}</b> as <b>{}</b>. If you know who \
         it is, let an administrator type this on the server:</p>\
         <pre>gramscale auth approve --auth-id {login_id}</pre>\
         <p>or <code>reject</code> in place of <code>approve</code>. The login goes on by itself \
         then.</p>",
        escape(name(check.from)),
        escape(if from.is_empty() { "nobody's machine" } else { from }),
        escape(name(check.to)),
        escape(&check.login),
    );
    page(200, "Let this login in", &text)
}

/// `/join`: what a code on another screen leads a phone to, and every other machine by typing.
fn join(server_url: &str) -> Response {
    let url = escape(server_url);
    page(
        200,
        "Join this network",
        &format!(
            "<p>Install the Tailscale client, and let it log in at this address instead of its \
             maker's:</p><pre>{url}</pre>\
             <p>Then it shows a link: an administrator lets the machine in, or gives you a key \
             beforehand.</p>\
             <h2>Android</h2><p>In the client's settings open <b>Accounts</b>. In the menu at its \
             top right, <b>Use an alternate server</b> takes the address, and <b>Use an auth \
             key</b> a key.</p>\
             <h2>iPhone, iPad, Apple TV, Mac</h2><p>See <a href=\"/apple\">the page for \
             Apple's systems</a>.</p>\
             <h2>Windows</h2><p>See <a href=\"/windows\">the page for Windows</a>.</p>\
             <h2>Linux, and OpenWrt with the package tailscale</h2>\
             <pre>tailscale up --login-server {url}</pre><p>With a key, add <b>--auth-key</b> and \
             the key.</p>"
        ),
    )
}

/// `/windows`: how a Windows machine joins the tailnet of this URL.
fn windows(server_url: &str) -> Response {
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
fn apple(server_url: &str) -> Response {
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
fn apple_profile(server_url: &str, platform: &str) -> Response {
    let domain = match platform {
        "ios" => "io.tailscale.ipn.ios",
        "macos-app-store" => "io.tailscale.ipn.macos",
        "macos-standalone" => "io.tailscale.ipn.macsys",
        _ => return refuse(400, "use ios, macos-app-store or macos-standalone"),
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
    typed(200, "application/x-apple-aspen-config", body)
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

fn typed(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Response {
    let headers = vec![("Content-Type", kind.to_owned())];
    Response { status, headers, body: body.into() }
}

fn refuse(status: u16, sentence: &str) -> Response {
    Response::text(status, format!("{sentence}\n"))
}

fn page(status: u16, title: &str, content: &str) -> Response {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>\
         body{{font:1em/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}}\
         pre{{padding:.7em;border:1px solid #999;white-space:pre-wrap;overflow-wrap:anywhere}}\
         </style></head><body><h1>{title}</h1>{content}</body></html>\n"
    );
    Response::html(status, body)
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
    use gramscale_proto::tailnet::check::SshAnswer;
    use gramscale_proto::tailnet::record::NodeId;
    use gramscale_proto::wire::key::MachineKey;

    use super::super::admin::fixture::World;
    use super::*;

    fn kind(answer: &Response) -> &str {
        answer.headers.iter().find(|(name, _)| *name == "Content-Type").map_or("", |(_, v)| v)
    }

    fn text(answer: &Response) -> &str {
        std::str::from_utf8(&answer.body).expect("UTF-8")
    }

    #[test]
    fn paths() {
        let world = World::new();
        let pages = Pages { tailnet: &world.tailnet, server_url: "http://x", well: true };
        let ask = |request: &str| {
            let head = format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
            let (head, _) = Head::parse(head.as_bytes()).expect("valid").expect("whole");
            pages.answer(&head, b"").map(|response| response.status)
        };
        for path in ["/", "/health", "/version", "/robots.txt", "/favicon.ico", "/apple"] {
            assert_eq!(ask(&format!("GET {path}")), Some(200), "{path}");
            assert_eq!(ask(&format!("HEAD {path}?x=y")), Some(200), "{path}");
            assert_eq!(ask(&format!("POST {path}")), Some(405), "{path}");
        }
        for (request, status) in [
            ("GET /join", Some(200)),
            ("GET /windows", Some(200)),
            ("GET /apple/ios", Some(200)),
            ("GET /apple/tv", Some(400)),
            ("GET /register/x", Some(400)),
            ("GET /register/hskey-authreq-000000000000000000000000", Some(404)),
            ("GET /auth/hskey-authreq-000000000000000000000000", Some(404)),
            ("GET /verify", Some(405)),
            ("POST /verify", Some(400)),
            ("GET /register", None),
            ("GET /health/ready", None),
            ("GET /api/v1/user", None),
            ("GET /derp", None),
        ] {
            assert_eq!(ask(request), status, "{request}");
        }
    }

    #[test]
    fn security() {
        let headers = secured(blank()).headers;
        assert!(headers.contains(&("X-Frame-Options", "DENY".into())));
        assert!(headers.contains(&("X-Content-Type-Options", "nosniff".into())));
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn small_ones() {
        assert_eq!(kind(&health(true)), "application/health+json");
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
        assert_eq!((answer.status, kind(&answer)), (200, "text/html; charset=utf-8"));
        let command = format!("<pre>gramscale auth register --auth-id {id} --user USERNAME</pre>");
        assert!(text(&answer).contains(&command));
        assert!(text(&answer).contains("&lt;b&gt;&quot;phone&quot;"), "{}", text(&answer));
        assert!(!text(&answer).contains("<b>\""));
        let unknown = "hskey-authreq-000000000000000000000000";
        assert_eq!(register(&world.tailnet, unknown).status, 404);
        for bad in ["", "x", "hskey-authreq-", "hskey-authreq-<script>", "hskey-authreq-00"] {
            assert_eq!(register(&world.tailnet, bad).status, 400, "{bad}");
            assert_eq!(auth(&world.tailnet, bad).status, 400, "{bad}");
        }
        assert_eq!(auth(&world.tailnet, &id).status, 404);
    }

    #[test]
    fn logins_over_ssh() {
        let mut world = World::new();
        world.join(5);
        world.join(6);
        let policy =
            r#"{"ssh":[{"action":"check","src":["ann@"],"dst":["ann@"],"users":["<b>"]}]}"#;
        let body = serde_json::json!({ "policy": policy }).to_string();
        assert_eq!(world.call("PUT policy", &body).0, 200);
        let ask = |world: &mut World, byte: u8| {
            let (machine, now) = (MachineKey([6; 32]), world.now);
            let mut random = |out: &mut [u8]| out.fill(byte);
            let (from, to) = (NodeId(1), NodeId(2));
            world.tailnet.ask_ssh(&machine, from, to, "<b>", None, now, &mut random)
        };
        let Ok(SshAnswer::Ask(first)) = ask(&mut world, 1) else { panic!("it does not ask") };
        let answer = auth(&world.tailnet, &first.to_string());
        assert_eq!(answer.status, 200);
        for part in [
            "<b>host5</b> (ann) wants to log in on <b>host6</b> as <b>&lt;b&gt;</b>",
            &format!("<pre>gramscale auth approve --auth-id {first}</pre>"),
        ] {
            assert!(text(&answer).contains(part), "{}", text(&answer));
        }
        let body = format!(r#"{{"authId":"{first}"}}"#);
        assert_eq!(world.call("POST auth/reject", &body).0, 200);
        assert_eq!(auth(&world.tailnet, &first.to_string()).status, 404);
        let Ok(SshAnswer::Ask(second)) = ask(&mut world, 2) else { panic!("it does not ask") };
        let body = format!(r#"{{"authId":"{second}"}}"#);
        assert_eq!(world.call("POST auth/approve", &body).0, 200);
        assert_eq!(world.call("POST auth/approve", &body).0, 404);
        assert_eq!(ask(&mut world, 3), Ok(SshAnswer::Accept));
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
            assert_eq!(kind(&answer), "application/x-apple-aspen-config");
            let text = text(&answer);
            assert!(text.contains(&format!("<string>{domain}</string>")), "{text}");
            let set = "<key>ControlURL</key><string>http://10.0.0.1:8080/?a&amp;b</string>";
            assert!(text.contains(set), "{text}");
            assert_eq!(apple_profile(url, platform), answer);
        }
        assert_eq!(apple_profile(url, "android").status, 400);
        assert_eq!(apple_profile(url, "").status, 400);
        for page in [apple(url), join(url), windows(url)] {
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
