//! Each endpoint: what it does, what it can't read, what it refuses.

use serde_json::Value;

use super::fixture::World;
use super::is_allowed;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Checks that requests are refused with a status and a sentence that holds a text.
fn refused(world: &mut World, cases: &[(&str, &str, u16, &str)]) {
    for (request, body, status, part) in cases {
        let (got, answer) = world.call(request, body);
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert_eq!(
            (got, answer["status"].as_u64()),
            (*status, Some(u64::from(*status))),
            "{request} {body}: {answer}"
        );
        assert!(detail.contains(part), "{request} {body}: {detail}");
        assert_eq!(answer["message"], answer["detail"]);
    }
}

#[test]
fn users() {
    let mut world = World::new();
    let body = r#"{"name":"ann","displayName":"Ann","email":"ann@x.org","pictureUrl":"http://p"}"#;
    let ann = r#"{"id":"1","name":"ann","createdAt":"2027-01-15T08:00:00Z","displayName":"Ann",
        "email":"ann@x.org","providerId":"","provider":"","profilePicUrl":"http://p",
        "role":"member"}"#;
    assert_eq!(world.call("POST user", body), (200, json(&format!("{{\"user\":{ann}}}"))));
    assert_eq!(world.call("POST user", r#"{"name":"bob"}"#).0, 200);

    let all = world.call("GET user", "").1;
    assert_eq!(all["users"].as_array().map(Vec::len), Some(2));
    let only_ann = json(&format!("{{\"users\":[{ann}]}}"));
    for filter in ["name=ann", "email=ann%40x.org", "id=1", "name=ann&id=2"] {
        assert_eq!(world.call(&format!("GET user?{filter}"), "").1, only_ann, "{filter}");
    }
    assert_eq!(world.call("GET user?name=carl", ""), (200, json("{\"users\":[]}")));

    let (status, renamed) = world.call("POST user/2/rename/robert", "");
    assert_eq!((status, &renamed["user"]["name"]), (200, &Value::from("robert")));
    let (status, bob) = world.call("POST user/robert/role/owner", "");
    assert_eq!((status, &bob["user"]["role"]), (200, &Value::from("owner")));
    let transferred = world.call("POST user/1/role/owner", r#"{"transfer":true}"#);
    assert_eq!((transferred.0, &transferred.1["user"]["role"]), (200, &Value::from("owner")));
    let third = world.call("POST user", r#"{"name":"eve","role":"it-admin"}"#).1;
    assert_eq!(third["user"]["role"], "it-admin");
    world.call("DELETE user/eve", "");
    refused(
        &mut world,
        &[
            ("POST user/2/role/owner", "", 409, "ann is the owner"),
            ("POST user/2/role/king", "", 400, "one of owner, admin, network-admin, it-admin"),
            ("POST user/9/role/admin", "", 404, "not found"),
            ("GET user/2/role/admin", "", 405, "POST"),
            ("POST user", r#"{"name":"zoe","role":"king"}"#, 400, "is no role"),
            ("POST user", r#"{"name":"ann"}"#, 409, "exists already"),
            ("POST user", r#"{"name":"1x"}"#, 400, "no user name"),
            ("POST user", "", 400, "no user name"),
            ("POST user", "{", 400, "no JSON"),
            ("POST user", "[]", 400, "object"),
            ("POST user", r#"{"name":["x"]}"#, 400, "name must be a text"),
            ("POST user/2/rename/ann", "", 409, "exists already"),
            ("POST user/9/rename/carl", "", 404, "not found"),
            ("GET user?id=x", "", 400, "number"),
            ("DELETE user/9", "", 404, "not found"),
            ("PUT user", "", 405, "GET or POST"),
            ("GET user/1", "", 405, "DELETE"),
        ],
    );
    assert_eq!(world.call("DELETE user/2", ""), (200, json("{}")));
    // By name, as before 0.24; and not while there are nodes.
    world.join(3);
    refused(&mut world, &[("DELETE user/ann", "", 400, "not empty")]);
    assert_eq!(world.call("DELETE node/1", ""), (200, json("{}")));
    assert_eq!(world.call("DELETE user/ann", "").0, 200);
    assert_eq!(world.call("GET user", ""), (200, json("{\"users\":[]}")));
}

#[test]
fn auth_keys() {
    let mut world = World::new();
    world.call("POST user", r#"{"name":"ann"}"#);
    let body = r#"{"user":"1","reusable":true,"ephemeral":true,
        "expiration":"2027-01-15T09:00:00Z","aclTags":["tag:b","tag:a"]}"#;
    let (status, made) = world.call("POST preauthkey", body);
    assert_eq!(status, 200, "{made}");
    let mut key = made["preAuthKey"].clone();
    let whole = key["key"].as_str().unwrap_or_default().to_owned();
    assert_eq!((whole.len(), whole.starts_with("hskey-auth-010101010101-")), (88, true), "{whole}");
    assert_eq!(
        key,
        json(&format!(
            r#"{{"user":{},"id":"1","key":"{whole}","reusable":true,"ephemeral":true,"preapproved":false,
            "used":false,"expiration":"2027-01-15T09:00:00Z","createdAt":"2027-01-15T08:00:00Z",
            "aclTags":["tag:a","tag:b"]}}"#,
            world.call("GET user?id=1", "").1["users"][0]
        ))
    );
    // Only tags, snake case, a numeric user of 0.
    let body = r#"{"user":0,"acl_tags":["tag:a"]}"#;
    let (status, tagged) = world.call("POST preauthkey", body);
    assert_eq!((status, &tagged["preAuthKey"]["user"]), (200, &Value::Null));
    assert_eq!(tagged["preAuthKey"]["expiration"], Value::Null);

    key["key"] = "hskey-auth-010101010101-***".into();
    let listed = world.call("GET preauthkey", "").1;
    assert_eq!(
        (&listed["preAuthKeys"][0], listed["preAuthKeys"].as_array().map(Vec::len)),
        (&key, Some(2))
    );
    let of_ann = world.call("GET preauthkey?user=ann", "").1;
    assert_eq!(of_ann["preAuthKeys"].as_array().map(Vec::len), Some(1));

    assert_eq!(world.call("POST preauthkey/expire", r#"{"id":"1"}"#), (200, json("{}")));
    let ended = world.call("GET preauthkey", "").1;
    assert_eq!(ended["preAuthKeys"][0]["expiration"], "2027-01-15T08:00:00Z");
    refused(
        &mut world,
        &[
            ("POST preauthkey", "{}", 400, "user"),
            ("POST preauthkey", r#"{"user":"9"}"#, 404, "not found"),
            ("POST preauthkey", r#"{"user":"1","aclTags":["b"]}"#, 400, "no tag"),
            ("POST preauthkey", r#"{"user":"1","aclTags":"tag:b"}"#, 400, "list"),
            ("POST preauthkey", r#"{"user":"1","expiration":"1h"}"#, 400, "expiration"),
            ("POST preauthkey", r#"{"user":"1","reusable":"x"}"#, 400, "true or false"),
            ("POST preauthkey/expire", "{}", 400, "id"),
            ("POST preauthkey/expire", r#"{"id":9}"#, 404, "no preauth key 9"),
            ("DELETE preauthkey", "", 400, "?id="),
            ("DELETE preauthkey?id=x", "", 400, "number"),
            ("DELETE preauthkey?id=9", "", 404, "no preauth key 9"),
            ("PUT preauthkey", "", 405, "DELETE"),
            ("GET preauthkey/expire", "", 405, "POST"),
        ],
    );
    assert_eq!(world.call("DELETE preauthkey?id=1", ""), (200, json("{}")));
    assert_eq!(world.call("GET preauthkey", "").1["preAuthKeys"][0]["id"], "2");
}

#[test]
fn api_keys() {
    let mut world = World::new();
    let (status, made) = world.call("POST apikey", r#"{"expiration":"2027-02-01T00:00:00Z"}"#);
    assert_eq!(status, 200);
    let whole = made["apiKey"].as_str().unwrap_or_default().to_owned();
    assert!(whole.starts_with("hskey-api-010101010101-") && whole.len() == 87, "{whole}");
    let listed = json(
        r#"{"apiKeys":[{"id":"1","prefix":"hskey-api-010101010101-***","lastSeen":null,
        "expiration":"2027-02-01T00:00:00Z","createdAt":"2027-01-15T08:00:00Z"}]}"#,
    );
    assert_eq!(world.call("GET apikey", ""), (200, listed));
    world.call("POST apikey", "");
    assert_eq!(world.call("POST apikey/expire", r#"{"prefix":"010101010101"}"#).0, 200);
    assert_eq!(world.call("POST apikey/expire", r#"{"id":"2"}"#).0, 200);
    let now = Value::from("2027-01-15T08:00:00Z");
    let ended = world.call("GET apikey", "").1;
    assert_eq!(
        (&ended["apiKeys"][0]["expiration"], &ended["apiKeys"][1]["expiration"]),
        (&now, &now)
    );
    refused(
        &mut world,
        &[
            ("POST apikey", r#"{"expiration":"x"}"#, 400, "expiration"),
            ("POST apikey/expire", "{}", 400, "prefix or id"),
            ("POST apikey/expire", r#"{"id":9}"#, 404, "no API key 9"),
            ("POST apikey/expire", r#"{"prefix":"zz"}"#, 404, "zz"),
            ("DELETE apikey/zz", "", 404, "zz"),
            ("DELETE apikey/", "", 400, "prefix or id"),
            ("PATCH apikey", "", 405, "GET or POST"),
            ("GET apikey/zz", "", 405, "DELETE"),
        ],
    );
    assert_eq!(world.call("DELETE apikey/010101010101", ""), (200, json("{}")));
    assert_eq!(world.call("DELETE apikey/-?id=2", ""), (200, json("{}")));
    assert_eq!(world.call("GET apikey", "").1, json("{\"apiKeys\":[]}"));
}

#[test]
fn nodes() {
    let mut world = World::new();
    let node = world.join(1);
    let hex = "01".repeat(32);
    let expect = format!(
        r#"{{"id":"1","machineKey":"mkey:{hex}","nodeKey":"nodekey:{hex}",
        "discoKey":"discokey:{zero}","ipAddresses":["100.64.0.1","fd7a:115c:a1e0::1"],
        "name":"host1","user":{user},"lastSeen":null,"expiry":null,"preAuthKey":null,
        "createdAt":"2027-01-15T08:00:00Z","registerMethod":"REGISTER_METHOD_CLI",
        "givenName":"host1","online":false,"approvedRoutes":[],"availableRoutes":[],
        "subnetRoutes":[],"tags":[],"approved":true}}"#,
        zero = "00".repeat(32),
        user = world.call("GET user?id=1", "").1["users"][0],
    );
    assert_eq!(node, json(&expect));
    assert_eq!(world.call("GET node/1", "").1["node"], node);
    world.join(2);
    assert_eq!(world.call("GET node", "").1["nodes"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.call("GET node?user=ann", "").1["nodes"].as_array().map(Vec::len), Some(2));
    world.call("POST user", r#"{"name":"bob"}"#);
    assert_eq!(world.call("GET node?user=bob", "").1, json("{\"nodes\":[]}"));

    let renamed = world.call("POST node/1/rename/desk", "").1;
    assert_eq!(
        (&renamed["node"]["givenName"], &renamed["node"]["name"]),
        (&"desk".into(), &"host1".into())
    );
    refused(
        &mut world,
        &[
            ("GET node/9", "", 404, "no node 9"),
            ("GET node/x", "", 400, "node id"),
            ("GET node?user=zoe", "", 404, "not found"),
            ("POST node/1/rename/host2", "", 409, "host2"),
            ("POST node/1/rename/-", "", 400, "label"),
            ("POST node/9/rename/a", "", 404, "no node 9"),
            ("DELETE node/9", "", 404, "no node 9"),
            ("POST node", "", 405, "GET"),
            ("PUT node/1", "", 405, "DELETE"),
            ("GET node/1/tags", "", 405, "POST"),
            ("POST node/1/frob", "", 404, "nothing at"),
        ],
    );
    assert_eq!(world.call("DELETE node/1", ""), (200, json("{}")));
    assert_eq!(world.call("GET node/1", "").0, 404);
}

#[test]
fn expiry() {
    let mut world = World::new();
    world.join(1);
    let mut expire = |query: &str, body: &str| {
        let (status, answer) = world.call(&format!("POST node/1/expire{query}"), body);
        (status, answer["node"]["expiry"].clone())
    };
    let later = Value::from("2030-01-01T00:00:00Z");
    assert_eq!(expire("", r#"{"expiry":"2030-01-01T00:00:00Z"}"#), (200, later.clone()));
    assert_eq!(expire("", r#"{"disableExpiry":true}"#), (200, Value::Null));
    assert_eq!(expire("?expiry=2030-01-01T00%3A00%3A00Z", ""), (200, later));
    assert_eq!(expire("?disable_expiry=true", ""), (200, Value::Null));
    assert_eq!(expire("", ""), (200, "2027-01-15T08:00:00Z".into()));
    refused(
        &mut world,
        &[
            (
                "POST node/1/expire",
                r#"{"expiry":"2030-01-01T00:00:00Z","disableExpiry":true}"#,
                400,
                "not both",
            ),
            ("POST node/1/expire", r#"{"expiry":"soon"}"#, 400, "expiry"),
            ("POST node/9/expire", "", 404, "no node 9"),
        ],
    );
}

#[test]
fn tags_and_routes() {
    let mut world = World::new();
    let policy = r#"{"policy":"{\"tagOwners\":{\"tag:a\":[],\"tag:b\":[]}}"}"#;
    assert_eq!(world.call("PUT policy", policy).0, 200);
    world.join(1);
    let (status, tagged) = world.call("POST node/1/tags", r#"{"tags":["tag:b","tag:a","tag:b"]}"#);
    assert_eq!(status, 200, "{tagged}");
    assert_eq!(tagged["node"]["tags"], json(r#"["tag:a","tag:b"]"#));
    assert_eq!(tagged["node"]["user"]["id"], "2147455555");
    assert_eq!(tagged["node"]["user"]["name"], "tagged-devices");

    let body = r#"{"routes":["10.0.0.0/8","0.0.0.0/0"]}"#;
    let (status, approved) = world.call("POST node/1/approve_routes", body);
    assert_eq!(status, 200);
    assert_eq!(approved["node"]["approvedRoutes"].as_array().map(Vec::len), Some(3));
    // Approved, but not offered.
    assert_eq!(approved["node"]["subnetRoutes"], json("[]"));
    let cleared = world.call("POST node/1/approve_routes", "").1;
    assert_eq!(cleared["node"]["approvedRoutes"], json("[]"));
    refused(
        &mut world,
        &[
            ("POST node/1/tags", "{}", 400, "at least one"),
            ("POST node/1/tags", r#"{"tags":["x"]}"#, 400, "no tag"),
            ("POST node/1/tags", r#"{"tags":["tag:c"]}"#, 400, "tagOwners"),
            ("POST node/1/tags", r#"{"tags":[7]}"#, 400, "list"),
            ("POST node/9/tags", r#"{"tags":["tag:a"]}"#, 404, "no node 9"),
            ("POST node/1/approve_routes", r#"{"routes":["10.0.0.1/8"]}"#, 400, "10.0.0.0/8"),
            ("POST node/1/approve_routes", r#"{"routes":["x"]}"#, 400, "no route"),
            ("POST node/9/approve_routes", "", 404, "no node 9"),
            ("POST node/9/approve", "", 404, "no node 9"),
            ("GET node/1/approve", "", 405, "POST"),
            ("POST node/backfillips", "", 400, "confirm"),
            ("POST node/backfillips?confirmed=false", "", 400, "confirm"),
        ],
    );
    assert_eq!(
        world.call("POST node/backfillips?confirmed=true", ""),
        (200, json(r#"{"changes":[]}"#))
    );
}

#[test]
fn logins() {
    let mut world = World::new();
    world.call("POST user", r#"{"name":"ann"}"#);
    let id = world.knock(1, "phone");
    refused(
        &mut world,
        &[
            ("POST auth/register", &format!(r#"{{"user":"zoe","authId":"{id}"}}"#), 404, "zoe"),
            ("POST auth/register", &format!(r#"{{"authId":"{id}"}}"#), 400, "name a user"),
            ("POST auth/register", r#"{"user":"ann","authId":"x"}"#, 400, "no auth id"),
            ("POST auth/approve", &format!(r#"{{"authId":"{id}"}}"#), 400, "auth register"),
            ("GET auth/register", "", 405, "POST"),
            ("POST auth", "", 404, "nothing at"),
        ],
    );
    let (status, node) =
        world.call("POST auth/register", &format!(r#"{{"user":"1","authId":"{id}"}}"#));
    assert_eq!((status, &node["node"]["givenName"]), (200, &"phone".into()));
    refused(
        &mut world,
        &[
            (
                "POST auth/register",
                &format!(r#"{{"user":"ann","authId":"{id}"}}"#),
                404,
                "no login waits",
            ),
            ("POST auth/approve", &format!(r#"{{"authId":"{id}"}}"#), 404, "no login waits"),
            ("POST auth/reject", &format!(r#"{{"authId":"{id}"}}"#), 404, "no login waits"),
        ],
    );
    // The deprecated form, and a refusal that stays.
    let id = world.knock(2, "tablet");
    let (status, node) = world.call(&format!("POST node/register?user=ann&key={id}"), "");
    assert_eq!((status, &node["node"]["givenName"]), (200, &"tablet".into()));
    let id = world.knock(3, "stranger");
    let body = format!(r#"{{"authId":"{id}"}}"#);
    assert_eq!(world.call("POST auth/reject", &body), (200, json("{}")));
    let again = format!("POST node/register?user=ann&key={id}");
    refused(&mut world, &[(&again, "", 404, "no login waits")]);
}

#[test]
fn policy_is_explained() {
    let mut world = World::new();
    let ask =
        |world: &mut World, query: &str| world.call(&format!("GET policy/explain?{query}"), "");
    let open = json(r#"{"allowed":true,"reason":"allowed: there is no policy"}"#);
    assert_eq!(ask(&mut world, "src=ann@&dst=ann@:22"), (200, open));
    world.join(5);
    world.join(6);
    let text =
        "{\"acls\":[\n{\"action\":\"accept\",\"src\":[\"ann@\"],\"dst\":[\"100.64.0.2:22\"]}],
        \"tests\":[{\"src\":\"ann@\",\"accept\":[\"100.64.0.2:22\"]}]}";
    let body = serde_json::json!({ "policy": text }).to_string();
    assert_eq!(world.call("PUT policy", &body).0, 200);
    let rule = r#"{"action":"accept","src":["ann@"],"dst":["100.64.0.2:22"]}],"#;
    let allowed = serde_json::json!({
        "allowed": true, "reason": "allowed by acls[0] (line 2)", "line": 2, "text": rule,
    });
    for query in ["src=ann@&dst=host6:22", "src=host5&dst=100.64.0.2:22", "src=host5&dst=host6"] {
        assert_eq!(ask(&mut world, query), (200, allowed.clone()), "{query}");
    }
    for (query, why) in [
        ("src=host5&dst=host6:23", "acls[0] (line 2) has this source and destination"),
        ("src=host5&dst=host6:22&proto=gre", "but not this port or protocol"),
        ("src=host6&dst=host5:22", "no rule with this source has this destination"),
        ("src=10.0.0.1&dst=host5:22", "no rule has this source"),
    ] {
        let (status, answer) = ask(&mut world, query);
        assert_eq!((status, &answer["allowed"]), (200, &Value::Bool(false)), "{query}");
        assert!(answer["reason"].as_str().expect("text").contains(why), "{query}: {answer}");
    }
    refused(
        &mut world,
        &[
            ("GET policy/explain?src=ann@", "", 400, "name both ends"),
            ("GET policy/explain?src=tag:x&dst=host5", "", 400, "tag not found"),
            ("GET policy/explain?src=host5&dst=host6&proto=x", "", 400, "unknown protocol"),
            ("POST policy/explain", "", 405, "GET"),
            ("GET policy/test", "", 405, "POST"),
        ],
    );
    assert_eq!(world.call("POST policy/test", ""), (200, json(r#"{"tests":1}"#)));
    // What the tests are about goes away.
    assert_eq!(world.call("DELETE node/1", "").0, 200);
    assert_eq!(world.call("DELETE node/2", "").0, 200);
    assert_eq!(world.call("DELETE user/1", "").0, 200);
    refused(&mut world, &[("POST policy/test", "", 400, "line 3: ann@ -> 100.64.0.2:22")]);
}

#[test]
fn policy() {
    let mut world = World::new();
    refused(&mut world, &[("GET policy", "", 404, "no policy is set")]);
    let text = "{\n// all\n\"acls\": [{\"action\":\"accept\",\"src\":[\"*\"],\"dst\":[\"*:*\"]}]}";
    let body = serde_json::json!({ "policy": text }).to_string();
    assert_eq!(world.call("POST policy/check", &body), (200, json("{}")));
    refused(&mut world, &[("GET policy", "", 404, "no policy is set")]);
    let set = serde_json::json!({"policy": text, "updatedAt": "2027-01-15T08:00:00Z"});
    assert_eq!(world.call("PUT policy", &body), (200, set.clone()));
    assert_eq!(world.call("GET policy", ""), (200, set.clone()));
    let unknown = r#"{"policy":"{\"acls\":[],\n \"frob\":1}"}"#;
    refused(
        &mut world,
        &[
            ("PUT policy", r#"{"policy":"{"}"#, 400, "line 1"),
            ("PUT policy", unknown, 400, "line 2"),
            ("POST policy/check", unknown, 400, "frob"),
            ("PUT policy", r#"{"policy":[]}"#, 400, "policy must be a text"),
            ("POST policy", "", 405, "GET or PUT"),
            ("GET policy/check", "", 405, "POST"),
        ],
    );
    assert_eq!(world.call("GET policy", ""), (200, set));

    world.policy_file = Some("{}");
    let shown = json(r#"{"policy":"{}","updatedAt":"0001-01-01T00:00:00Z"}"#);
    assert_eq!(world.call("GET policy", ""), (200, shown));
    assert_eq!(world.call("POST policy/check", &body).0, 200);
    refused(&mut world, &[("PUT policy", &body, 400, "/etc/policy.hujson")]);
}

#[test]
fn health_and_the_rest() {
    let mut world = World::new();
    assert_eq!(world.call("GET health", ""), (200, json(r#"{"databaseConnectivity":true}"#)));
    world.well = false;
    assert_eq!(world.call("GET health", ""), (200, json(r#"{"databaseConnectivity":false}"#)));
    refused(
        &mut world,
        &[
            ("POST health", "", 405, "GET"),
            ("GET ", "", 404, "nothing at"),
            ("GET machine", "", 404, "nothing at"),
            ("GET user/1/2/3/4", "", 404, "nothing at"),
        ],
    );
}

#[test]
fn keys_open_the_door() {
    let mut world = World::new();
    let ask = |world: &mut World, authorization: Option<&str>| {
        world.send("GET user", "", authorization, false).0
    };
    let made = world.call("POST apikey", r#"{"expiration":"2027-02-01T00:00:00Z"}"#).1;
    let key = made["apiKey"].as_str().unwrap_or_default().to_owned();
    let bearer = format!("Bearer {key}");
    assert_eq!(ask(&mut world, Some(&bearer)), 200);
    assert_eq!(ask(&mut world, Some(&format!("bearer  {key}"))), 200);
    assert_eq!(world.call("GET apikey", "").1["apiKeys"][0]["lastSeen"], "2027-01-15T08:00:00Z");
    let other = format!("Bearer {}", key.replace("02", "03"));
    for wrong in [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some(&*key),
        Some(&*other),
        Some("Basic x"),
    ] {
        assert_eq!(ask(&mut world, wrong), 401, "{wrong:?}");
    }
    let (status, problem) = world.send("POST user", r#"{"name":"eve"}"#, None, false);
    assert_eq!((status, &problem["title"]), (401, &"Unauthorized".into()));
    assert_eq!(world.call("GET user", "").1, json("{\"users\":[]}"));
    world.call("POST apikey/expire", r#"{"id":1}"#);
    assert_eq!(ask(&mut world, Some(&bearer)), 401);
}

#[test]
fn addresses() {
    let lan = ["192.168.1.0/24".parse().expect("a prefix"), "fd00::/8".parse().expect("a prefix")];
    let allowed = |addr: &str| is_allowed(&lan, addr.parse().expect("an address"));
    assert!(allowed("192.168.1.7") && allowed("::ffff:192.168.1.7") && allowed("fd12::1"));
    assert!(!allowed("192.168.2.7") && !allowed("2001:db8::1"));
    assert!(is_allowed(&[], "2001:db8::1".parse().expect("an address")));
}

#[test]
fn status() {
    let mut world = World::new();
    world.join(5);
    let id = world.knock(7, "<b>");
    let (code, status) = world.call("GET status", "");
    assert_eq!(code, 200);
    assert_eq!((&status["serverUrl"], &status["memory"]), (&"http://x".into(), &7.into()));
    for (key, value) in [("users", 1), ("nodes", 1), ("online", 0), ("waiting", 1)] {
        assert_eq!(status[key], value, "{key}: {status}");
    }
    assert_eq!((&status["policy"], &status["clockTrusted"]), (&"database".into(), &true.into()));

    let logins = world.call("GET auth", "").1;
    let wanted = format!(
        r#"{{"logins":[{{"authId":"{id}","hostname":"<b>","os":"linux","clientVersion":"",
            "requestTags":[]}}]}}"#
    );
    assert_eq!(logins, json(&wanted));
    let reject = format!(r#"{{"authId":"{id}"}}"#);
    assert_eq!(world.call("POST auth/reject", &reject).0, 200);
    assert_eq!(world.call("GET auth", "").1, json(r#"{"logins":[]}"#));
    refused(
        &mut world,
        &[("POST status", "", 405, "takes GET"), ("POST auth", "", 404, "nothing at")],
    );
    assert_eq!(world.send("GET status", "", None, false).0, 401);
}

#[test]
fn pages_of_listings() {
    let mut world = World::new();
    let ids: Vec<u64> = (1..=5)
        .map(|machine| {
            let id = world.join(machine)["id"].as_str().and_then(|id| id.parse().ok());
            id.expect("a number")
        })
        .collect();
    let mut listed = |query: &str| -> Vec<u64> {
        let (status, answer) = world.call(&format!("GET node{query}"), "");
        assert_eq!(status, 200, "{query}: {answer}");
        let nodes = answer["nodes"].as_array().expect("a list");
        nodes.iter().filter_map(|node| node["id"].as_str()?.parse().ok()).collect()
    };
    assert_eq!(listed(""), ids);
    assert_eq!(listed("?limit=2"), ids[..2]);
    assert_eq!(listed("?limit=2&after=2"), ids[2..4]);
    assert_eq!(listed("?after=4"), ids[4..]);
    assert_eq!(listed("?after=5").len(), 0);
    assert_eq!(listed("?limit=0").len(), 0);
    assert_eq!(world.call("GET node?host=true", "").1["nodes"][0]["os"], "linux");
    assert_eq!(world.call("GET node", "").1["nodes"][0]["os"], Value::Null);
    assert_eq!(world.call("GET user?after=1", "").1, json(r#"{"users":[]}"#));
    assert_eq!(world.call("GET preauthkey?limit=1", "").1, json(r#"{"preAuthKeys":[]}"#));
    refused(&mut world, &[("GET node?limit=x", "", 400, "\"x\" is no limit")]);
}

/// rpcd takes 256 KiB of its plugin, and the pages of LuCI ask for 100 entries at once.
#[test]
fn a_page_of_large_entries_fits_rpcd() {
    let mut world = World::new();
    let name = "n".repeat(63);
    world.call("POST user", &format!(r#"{{"name":"{name}","displayName":"{name}"}}"#));
    for machine in 1..=100 {
        let id = world.knock(machine, &format!("{}{machine:03}", &name[3..]));
        let body = format!(r#"{{"user":"{name}","authId":"{id}"}}"#);
        assert_eq!(world.call("POST auth/register", &body).0, 200);
        let routes: Vec<String> =
            (0..8).map(|n| format!("\"fd7a:115c:a1e0:{machine:x}:{n}::/80\"")).collect();
        let body = format!(r#"{{"routes":[{}]}}"#, routes.join(","));
        assert_eq!(world.call(&format!("POST node/{machine}/approve_routes"), &body).0, 200);
        let body = format!(r#"{{"user":"{name}","aclTags":[]}}"#);
        assert_eq!(world.call("POST preauthkey", &body).0, 200);
    }
    for listing in ["node?host=true&limit=100", "user?limit=100", "preauthkey?limit=100"] {
        let (_, answer) = world.call(&format!("GET {listing}"), "");
        let length = answer.to_string().len();
        assert!(length < 200 * 1024, "{listing}: {length} bytes");
    }
}
