//! The program's commands against the REST interface behind real sockets, with a tailnet in
//! memory: what scripts type and what they get.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use gramscale::net::http::{Reply, Request, Service, serve};
use gramscale::net::listen::{Handler, accept_tcp, accept_unix, tcp, unix};
use gramscale::net::places::Places;
use gramscale::serve::admin::{Admin, BODY_LIMIT, Call, PolicySource, Vitals};
use gramscale_proto::tailnet::write::Snapshot;
use gramscale_proto::tailnet::{Now, Registered, Rules, Tailnet};
use gramscale_proto::wire::http1::Head;
use gramscale_proto::wire::key::{MachineKey, NodeKey};
use gramscale_proto::wire::tailcfg::RegisterRequest;
use gramscale_proto::wire::time::Timestamp;
use serde_json::Value;

/// What the server's thread works on.
struct Desk(RefCell<Tailnet>);

impl Service for Desk {
    fn body_limit(&self, _: &Head) -> usize {
        BODY_LIMIT
    }

    fn call(self: Rc<Self>, request: Request) -> std::pin::Pin<Box<dyn Future<Output = Reply>>> {
        let mut random = |out: &mut [u8]| gramscale_rt::random(out);
        let local = request.peer.addr.is_none();
        let call = Call { head: &request.head, local, body: &request.body };
        let mut tailnet = self.0.borrow_mut();
        let mut admin = Admin {
            tailnet: &mut tailnet,
            now: now(),
            random: &mut random,
            policy: PolicySource::Store,
            vitals: &Vitals::default,
            well: true,
        };
        let response = admin.answer(&call);
        let batch = tailnet.take_batch();
        tailnet.settle(batch.number);
        Box::pin(std::future::ready(response.into()))
    }
}

fn now() -> Now {
    let wall = Timestamp(gramscale_rt::clock::unix_nanos());
    Now { wall, trusted: true, uptime: Duration::ZERO }
}

/// A server in a thread, and what the tests need to know of it.
struct Server {
    socket: PathBuf,
    addr: SocketAddr,
    /// Auth ids of machines that wait: `laptop` and `phone`.
    waiting: Vec<String>,
}

impl Server {
    fn start(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("gramscale-cli-{}-{name}", std::process::id()));
        let socket = folder.join("s");
        let (tell, told) = std::sync::mpsc::channel();
        let path = socket.clone();
        std::thread::spawn(move || {
            let mut tailnet = Tailnet::new(Rules::default(), Snapshot::default());
            let waiting = vec![knock(&mut tailnet, 1, "laptop"), knock(&mut tailnet, 2, "phone")];
            let desk: Rc<dyn Service> = Rc::new(Desk(RefCell::new(tailnet)));
            let handler: Handler =
                Rc::new(move |connection| Box::pin(serve(connection, desk.clone())));
            let local = unix(&path, 0o600).expect("a socket");
            let listener =
                tcp("127.0.0.1:0".parse().expect("an address")).expect("a port").remove(0);
            let addr = listener.get_ref().local_addr().expect("an address");
            gramscale_rt::block_on(async move {
                let places = Places::new(16);
                gramscale_rt::spawn(accept_tcp(listener, places.clone(), handler.clone())).detach();
                tell.send((addr, waiting)).expect("the test waits");
                accept_unix(local, places, handler).await;
            });
        });
        let (addr, waiting) = told.recv().expect("the server starts");
        Self { socket, addr, waiting }
    }

    fn run(&self, line: &str) -> Ran {
        run(line, &[("GRAMSCALE_UNIX_SOCKET", &self.socket.to_string_lossy())])
    }

    /// Runs a command that must do well, and returns what it printed.
    fn good(&self, line: &str) -> String {
        let ran = self.run(line);
        assert!(ran.ok, "{line}: {}", ran.err);
        assert_eq!(ran.err, "", "{line}");
        ran.out
    }

    /// Writes a file beside the socket and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.socket.with_file_name(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.to_string_lossy().into_owned()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.good(&format!("{line} -o json"))).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.socket.parent().unwrap_or(Path::new("/nonexistent")));
    }
}

struct Ran {
    ok: bool,
    out: String,
    err: String,
}

/// Runs the program; `''` in the line is an empty argument.
fn run(line: &str, variables: &[(&str, &str)]) -> Ran {
    let args = line.split(' ').filter(|arg| !arg.is_empty()).map(|arg| arg.trim_matches('\''));
    let output = Command::new(env!("CARGO_BIN_EXE_gramscale"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

fn knock(tailnet: &mut Tailnet, machine: u8, hostname: &str) -> String {
    let key = NodeKey([machine; 32]);
    let body =
        format!(r#"{{"Version":113,"NodeKey":"{key}","Hostinfo":{{"Hostname":"{hostname}"}}}}"#);
    let request = RegisterRequest::parse(&mut body.into_bytes()).expect("a request");
    let registered = tailnet.register(MachineKey([machine; 32]), &request, now(), &mut |out| {
        out.fill(machine);
    });
    match registered {
        Ok(Registered::Login(id)) => id.to_string(),
        other => panic!("no login: {other:?}"),
    }
}

#[test]
fn users() {
    let server = Server::start("users");
    assert_eq!(server.good("users create ann --display-name=Ann -e ann@x.org"), "User created\n");
    let bob = server.json("user new bob");
    assert_eq!((&bob["id"], &bob["name"], bob.get("email")), (&2.into(), &"bob".into(), None));
    assert!(bob["created_at"]["seconds"].as_i64() > Some(1_700_000_000), "{bob}");

    let all = server.json("users list");
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    assert_eq!(server.json("-o json users ls --name bob"), Value::from(vec![bob]));
    let table = server.good("users list");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("ID | Name | Username | Email     | Created             | Role"));
    assert!(
        lines.next().is_some_and(|line| line.starts_with("1  | Ann  | ann      | ann@x.org | 2"))
    );
    assert_eq!(server.good("users list -n zoe -ojson"), "[]\n");
    assert!(server.good("users list -n bob -o yaml").starts_with("- created_at:\n    nanos: "));
    assert!(server.good("users list -n bob -o json-line").starts_with("[{\"created_at\":{"));

    let refused = server.run("users create ann -o json");
    assert!(!refused.ok && refused.out.is_empty());
    assert_eq!(refused.err, "{\n\t\"error\": \"a user named ann exists already\"\n}\n");
    let refused = server.run("users create ann");
    assert_eq!(refused.err, "Error: a user named ann exists already\n");

    assert_eq!(server.good("users rename -n bob -r robert"), "User renamed\n");
    let asked = server.run("users destroy -n robert");
    assert!(!asked.ok && asked.err.ends_with("add --force to do it\n"), "{}", asked.err);
    assert_eq!(server.good("users destroy -n robert --force"), "User destroyed\n");
    let gone = server.run("users destroy -n robert --force");
    assert!(
        gone.err.starts_with("Error: there is no user with the name \"robert\""),
        "{}",
        gone.err
    );
}

#[test]
fn roles() {
    let server = Server::start("roles");
    server.good("users create ann --role owner");
    assert_eq!(server.good("users create bob"), "User created\n");
    assert_eq!(server.json("users list -n bob")[0]["role"], "member");
    let table = server.good("users list");
    let roles: Vec<_> = table.lines().filter_map(|line| line.rsplit(" | ").next()).collect();
    assert_eq!(roles, ["Role", "owner", "member"]);
    assert_eq!(server.good("users set-role -i 2 network-admin"), "Role set\n");
    assert_eq!(server.json("users set-role --name bob auditor")["role"], "auditor");
    for (command, why) in [
        ("users set-role -n bob king", "\"king\" is no role: it is one of owner, admin, network-"),
        ("users create cat --role king", "\"king\" is no role"),
        ("users set-role -n bob owner", "ann is the owner, and there can be only one"),
        ("users create cat --role owner", "ann is the owner"),
        ("users set-role -n zoe admin", "there is no user with the name \"zoe\""),
        ("users set-role admin", "--identifier"),
    ] {
        let refused = server.run(command);
        assert!(!refused.ok && refused.err.contains(why), "{command}: {}", refused.err);
    }
    server.good("users set-role -n bob owner --transfer");
    server.good("users rename -n bob -r robert");
    let all = server.json("users list");
    assert_eq!((&all[0]["role"], &all[1]["role"]), (&"admin".into(), &"owner".into()));
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    server.good("users destroy -n robert --force");
}

#[test]
fn keys() {
    let server = Server::start("keys");
    server.good("users create ann");
    let key = server.good("preauthkeys create -u 1 --reusable --expiration 24h");
    assert!(key.starts_with("hskey-auth-") && key.len() == 89, "{key}");
    let made = server.json("authkey new --user ann --ephemeral --tags tag:a,tag:b --tags tag:c");
    assert_eq!(made["acl_tags"], Value::from(vec!["tag:a", "tag:b", "tag:c"]));
    assert_eq!((&made["ephemeral"], made.get("reusable")), (&true.into(), None));
    assert_eq!(made["user"]["name"], "ann");
    let length = made["expiration"]["seconds"].as_i64().zip(made["created_at"]["seconds"].as_i64());
    assert!(length.is_some_and(|(end, begin)| (3599..=3600).contains(&(end - begin))), "{made}");
    let listed = server.json("preauthkeys list");
    assert!(listed[0]["key"].as_str().is_some_and(|key| key.ends_with("-***")), "{listed}");
    assert!(server.good("pre ls").contains(" | in 24 hours "));
    assert_eq!(server.good("preauthkeys expire --id 1"), "Key expired\n");
    assert_eq!(server.good("preauthkeys delete -i 1"), "Key deleted\n");
    assert_eq!(server.json("preauthkeys list").as_array().map(Vec::len), Some(1));
    let ownerless = server.run("preauthkeys create");
    assert!(ownerless.err.contains("--user or --tags"), "{}", ownerless.err);

    let key = server.json("apikeys create -e 1y");
    assert!(key.as_str().is_some_and(|key| key.starts_with("hskey-api-")), "{key}");
    let prefix = server.json("apikeys list")[0]["prefix"].as_str().unwrap_or_default().to_owned();
    assert_eq!(server.good(&format!("apikeys expire --prefix {prefix}")), "Key expired\n");
    assert_eq!(server.good("apikeys delete -i 1"), "Key deleted\n");
    assert_eq!(server.good("apikeys list"), "ID | Prefix | Expiration | Created\n");
    let neither = server.run("apikeys expire");
    assert!(neither.err.contains("--prefix or --id"), "{}", neither.err);
}

#[test]
fn nodes() {
    let server = Server::start("nodes");
    server.good("users create ann");
    let [laptop, phone] = server.waiting.as_slice() else { panic!("two machines wait") };
    assert_eq!(
        server.good(&format!("auth register --auth-id {laptop} --user ann")),
        "Node laptop registered\n"
    );
    let node = server.json(&format!("nodes register -k {phone} -u ann"));
    assert_eq!((&node["id"], &node["given_name"]), (&2.into(), &"phone".into()));
    assert_eq!(node["register_method"], 2);
    assert_eq!(node["ip_addresses"], Value::from(vec!["100.64.0.2", "fd7a:115c:a1e0::2"]));
    assert_eq!((node.get("online"), node.get("tags")), (None, None));

    let table = server.good("nodes list -u ann");
    assert!(table.starts_with("ID | Hostname | Name   | MachineKey | NodeKey | User"), "{table}");
    assert!(table.contains("| [AQEBA]") && table.contains("| 100.64.0.1 "), "{table}");
    assert!(table.contains("| N/A        | offline   | no\n"), "{table}");
    assert_eq!(server.json("nodes ls").as_array().map(Vec::len), Some(2));

    assert_eq!(server.good("nodes rename -i 1 desk"), "Node renamed\n");
    let undefined = server.run("nodes tag -i desk -t tag:a");
    assert!(undefined.err.contains("tagOwners"), "{}", undefined.err);
    let policy =
        server.file("policy.hujson", "{\"tagOwners\": {\"tag:a\": [], \"tag:b\": [],},}\n");
    server.good(&format!("policy set -f {policy}"));
    assert_eq!(server.json("nodes tag -i desk -t tag:a,tag:b")["tags"][1], "tag:b");
    assert_eq!(
        server.good("nodes approve-routes -i 1 --routes 10.0.0.0/8,0.0.0.0/0"),
        "Node updated\n"
    );
    let routes = server.json("nodes list-routes");
    assert_eq!(routes[0]["approved_routes"].as_array().map(Vec::len), Some(3), "{routes}");
    assert_eq!(routes.as_array().map(Vec::len), Some(1));
    assert_eq!(server.good("node approve-routes -i 1 -r ''"), "Node updated\n");
    assert_eq!(server.json("nodes routes"), Value::Array(Vec::new()));

    let ended = server.json("nodes expire -i phone --expiry 2040-01-01T00:00:00Z");
    assert_eq!(ended["expiry"]["seconds"], 2_208_988_800_u64);
    assert_eq!(server.good("nodes expire -i 2 --disable"), "Node expiry disabled\n");
    assert_eq!(server.good("nodes logout -i 2"), "Node expired\n");
    assert!(server.good("nodes list").contains("| yes\n"));
    assert_eq!(server.good("nodes backfillips --force"), "Nothing was to change\n");
    assert_eq!(
        server.json("nodes delete -i 2 --force"),
        serde_json::json!({"Result": "Node deleted"})
    );
    let gone = server.run("nodes delete -i 2 --force");
    assert_eq!((gone.ok, &*gone.err), (false, "Error: there is no node 2\n"));
    let rejected = server.run(&format!("auth reject --auth-id {phone}"));
    assert!(rejected.err.contains("no login waits"), "{}", rejected.err);
}

#[test]
fn policy() {
    let server = Server::start("policy");
    let none = server.run("policy get");
    assert!(!none.ok && none.err.starts_with("Error: no policy is set"), "{}", none.err);
    let text = "{\n\t// Everybody.\n\t\"acls\": [{\"action\": \"accept\", \"src\": [\"*\"], \"dst\": [\"*:*\"]}],\n}\n";
    let good = server.file("good.hujson", text);
    let bad = server.file("bad.hujson", "{\n  \"acl\": []\n}\n");
    assert_eq!(server.good(&format!("policy check --file {good}")), "Policy is valid\n");
    assert_eq!(server.good(&format!("policy put -f {good}")), "Policy updated.\n");
    assert_eq!(server.good("policy show -o json"), text, "always as it was set");
    let refused = server.run(&format!("policy set -f {bad} -o json-line"));
    assert!(!refused.ok && refused.err.starts_with("{\"error\":\"line 2, "), "{}", refused.err);
    assert!(!server.run(&format!("policy check -f {bad}")).ok);
    let why = server.good("policy explain 100.64.0.1 100.64.0.2:22");
    assert!(why.starts_with("allowed by ") || why.starts_with("refused: "), "{why}");
    let why = server.json("policy why 100.64.0.1 100.64.0.2:22 --proto udp");
    assert!(why["allowed"].is_boolean() && why["reason"].is_string(), "{why}");
    assert_eq!(server.good("policy test"), "The policy has no tests\n");
    // It waits for no server.
    let alone = [("GRAMSCALE_UNIX_SOCKET", "/nonexistent/s"), ("GRAMSCALE_CLI_TIMEOUT", "1h")];
    let checked = run(&format!("policy check -f {good}"), &alone);
    assert!(checked.ok && checked.out.starts_with("Policy is valid as far as"), "{}", checked.err);
    assert!(run(&format!("policy check -f {bad}"), &alone).err.contains("line 2"));
    let idle = server.file("idle.hujson", r#"{"autoApprovers": {"services": {"svc:web": []}}}"#);
    for checked in [
        server.run(&format!("policy check -f {idle}")),
        run(&format!("policy check -f {idle}"), &alone),
    ] {
        assert!(checked.ok && checked.err.contains("services has no effect"), "{}", checked.err);
    }
    let misspelt =
        server.file("misspelt", r#"{"acls":[{"action":"accept","src":["zoe@"],"dst":["*:*"]}]}"#);
    let checked = server.run(&format!("policy check -f {misspelt}"));
    assert_eq!(checked.err, "line 1: nobody is called \"zoe@\"\n");
    let absent = server.run("policy set -f /nonexistent");
    assert!(absent.err.starts_with("Error: cannot read the policy from /nonexistent: "));
    let cases = "no case\n{\"id\": \"good\", \"policy\": {\"acls\": []}, \"users\": null}\n";
    let cases = run(&format!("debug policy-case {}", server.file("cases.jsonl", cases)), &alone);
    assert!(!cases.ok && cases.err.contains("1 of the lines"), "{}", cases.err);
    assert!(
        cases.out.contains("this is no case") && cases.out.contains("\"good\""),
        "all answered"
    );
    assert_eq!(server.good("policy get"), text);
}

#[test]
fn from_elsewhere() {
    let server = Server::start("elsewhere");
    server.good("users create ann");
    let key = server.good("apikeys create");
    let address = format!("http://{}", server.addr);
    let ask = |key: &str| {
        run(
            "users list -o json",
            &[("HEADSCALE_CLI_ADDRESS", &address), ("HEADSCALE_CLI_API_KEY", key)],
        )
    };
    let ran = ask(key.trim());
    assert!(ran.ok && ran.out.contains("\"name\": \"ann\""), "{}", ran.err);
    let ran = ask("hskey-api-000000000000-00");
    assert!(!ran.ok && ran.err.contains("unknown or has expired"), "{}", ran.err);
    let ran = ask("");
    assert!(!ran.ok && ran.err.contains("HEADSCALE_CLI_API_KEY"), "{}", ran.err);
}

/// Starts the real server on a free port, with its state in `folder`.
fn serve_in(folder: &Path) -> std::process::Child {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    Command::new(env!("CARGO_BIN_EXE_gramscale"))
        .args(["serve", "--listen", &free.expect("a port").to_string(), "--data-dir"])
        .arg(folder)
        .env_clear()
        .env("GRAMSCALE_DERP_SERVER_STUN_LISTEN_ADDR", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the server starts")
}

#[test]
fn what_was_told_survives() {
    let folder = std::env::temp_dir().join(format!("gramscale-cli-{}-serve", std::process::id()));
    let socket = folder.join("gramscale.sock");
    let run = |line: &str| run(line, &[("GRAMSCALE_UNIX_SOCKET", &socket.to_string_lossy())]);

    let mut server = serve_in(&folder);
    let ran = run("users create ann");
    assert_eq!((ran.ok, &*ran.out, &*ran.err), (true, "User created\n", ""));
    server.kill().and_then(|()| server.wait()).expect("killed");

    let mut server = serve_in(&folder);
    let ran = run("users list -o json-line");
    assert!(ran.ok && ran.out.contains("\"name\":\"ann\""), "{}{}", ran.out, ran.err);
    assert!(run("health").ok);
    let id = server.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|s| s.success()));
    assert!(server.wait().is_ok_and(|status| status.code() == Some(0)));
    assert!(!socket.exists());
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn configuration() {
    let folder = std::env::temp_dir().join(format!("gramscale-cli-{}-config", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.to_string_lossy().into_owned()
    };
    let lines = "server_url: http://127.0.0.1:1\nlisten_addr: 127.0.0.1:1\n";
    let good = file("good.yaml", &format!("{lines}unix_socket: near.sock\n"));
    let unknown = file("unknown.yaml", &format!("{lines}serverurl: x\n"));
    let wrong = file("wrong.yaml", "server_url: 7\n");
    let foreign =
        file("foreign.yaml", &format!("{lines}database:\n  sqlite:\n    path: db.sqlite\n"));
    file("db.sqlite", "");

    let ran = run(&format!("configtest -c {good}"), &[]);
    assert_eq!((ran.ok, &*ran.out, &*ran.err), (true, &*format!("{good} is good\n"), ""));
    let ran = run(&format!("-c {unknown} configtest"), &[]);
    assert!(!ran.ok && ran.err.contains("unknown.yaml line 3"), "{}", ran.err);
    let ran = run("configtest", &[("HEADSCALE_CONFIG", &wrong)]);
    assert!(!ran.ok && ran.err.contains("wrong.yaml line 1"), "{}", ran.err);
    let ran = run("configtest -c /nonexistent.yaml -o json-line", &[]);
    assert!(!ran.ok && ran.err.starts_with("{\"error\":\"/nonexistent.yaml: "), "{}", ran.err);

    let shown = run(&format!("config show -o json -c {good}"), &[]);
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!(shown["server_url"], "http://127.0.0.1:1");
    assert!(
        run(&format!("dumpConfig -c {good}"), &[]).out.contains("server_url: http://127.0.0.1:1\n")
    );

    // The command line finds the server through the same file, whatever else is wrong with it.
    let ran = run(&format!("health -c {unknown}"), &[("GRAMSCALE_CLI_TIMEOUT", "0s")]);
    assert!(ran.err.starts_with("Error: cannot reach the server at "), "{}", ran.err);
    let ran = run(&format!("health -c {good}"), &[("GRAMSCALE_CLI_TIMEOUT", "0s")]);
    let socket = folder.join("near.sock").display().to_string();
    assert!(ran.err.contains(&socket), "{}", ran.err);
    let ran = run("health -c /nonexistent.yaml", &[]);
    assert!(ran.err.starts_with("Error: /nonexistent.yaml: "), "{}", ran.err);

    let ran = run(&format!("serve -c {wrong}"), &[]);
    assert!(!ran.ok && ran.err.contains("wrong.yaml line 1"), "{}", ran.err);
    let ran = run(&format!("serve -c {foreign}"), &[]);
    assert!(!ran.ok && ran.err.contains("serve --start-empty"), "{}", ran.err);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn without_a_server() {
    let ran = run("health", &[("GRAMSCALE_UNIX_SOCKET", "/dev/null/s")]);
    assert!(
        !ran.ok && ran.err.starts_with("Error: cannot reach the server at /dev/null/s ("),
        "{}",
        ran.err
    );
    let ran = run("generate private-key", &[]);
    assert!(ran.ok && ran.out.starts_with("privkey:") && ran.out.len() == 73, "{}", ran.out);
    let ran = run("version -o json-line", &[]);
    assert!(ran.out.contains("\"version\":\""), "{}", ran.out);
    let ran = run("frob", &[]);
    assert!(!ran.ok && ran.err.starts_with("Error: \"frob\" is no command"), "{}", ran.err);
}
