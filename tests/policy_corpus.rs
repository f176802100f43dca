//! Recorded answers of the hosted service, compared with ours.
//!
//! The recordings are no part of the project: `GRAMSCALE_POLICY_CORPUS` names their folder, which
//! is `../shared/policy-corpus` beside the repository otherwise. Each line of a `*.jsonl` file is a
//! case: a policy, users and nodes, and what the service made of them. The error messages of
//! refused policies are not compared.

use std::path::{Path, PathBuf};

use gramscale::cli::policy_case;
use gramscale_proto::policy::ablation::{self, Part};
use serde_json::{Value, json};

/// Capabilities that come from the recorded accounts and not from their policies.
const OF_THE_ACCOUNT: [&str; 11] = [
    "default-auto-update",
    "https://tailscale.com/cap/file-sharing",
    "https://tailscale.com/cap/is-admin",
    "https://tailscale.com/cap/is-owner",
    "https://tailscale.com/cap/ssh",
    "https://tailscale.com/cap/tailnet-lock",
    "probe-udp-lifetime",
    "ssh-behavior-v1",
    "ssh-env-vars",
    "store-appc-routes",
    "tailnet-display-name",
];

/// The files, and how many cases there are at least. A file that has grown may bring more.
const FILES: [(&str, usize); 7] = [
    ("acl", 134),
    ("grant", 155),
    ("nodeattrs", 34),
    ("policytest", 39),
    ("routes", 66),
    ("ssh", 66),
    ("sshtest", 20),
];

/// Recordings of two moments: these nodes were asked before the service had approved the routes
/// that the policy approves, the others after that. The router tells: its own answer lacks the
/// route that others are told it has, as in no other recording.
const TWO_MOMENTS: [(&str, &[&str]); 1] =
    [("acl-k03", &["charmander", "kakuna", "squirtle", "weedle"])];

#[test]
fn recorded_answers() {
    let Some(folder) = folder() else { return };
    let only = std::env::var("GRAMSCALE_POLICY_CASE").unwrap_or_default();
    let mut differ = 0;
    for (category, known) in FILES {
        let (mut passed, mut total) = (0, 0);
        for case in cases(&folder, category) {
            let id = case["id"].as_str().unwrap();
            if !id.contains(&only) {
                continue;
            }
            total += 1;
            match check(&case, &answer(&case)) {
                Ok(()) => passed += 1,
                Err(difference) => println!("  {id}: {difference}"),
            }
        }
        println!("{category}: {passed}/{total}");
        assert!(!only.is_empty() || total >= known, "recordings of {category} are missing");
        differ += total - passed;
    }
    assert_eq!(differ, 0, "recordings that we answer otherwise");
}

#[test]
fn wrong_answers_are_seen() {
    let Some(folder) = folder() else { return };
    let mut seen = vec![(0, 0); SPOILERS.len()];
    for case in all_cases(&folder) {
        let got = answer(&case);
        for ((_, spoiler), (spoilt, failed)) in SPOILERS.iter().zip(&mut seen) {
            let mut wrong = got.clone();
            let answers = wrong["expect"].as_object_mut().into_iter().flatten();
            if answers.map(|(_, answer)| spoiler(answer)).filter(|spoilt| *spoilt).count() > 0 {
                *spoilt += 1;
                *failed += usize::from(check(&case, &wrong).is_err());
            }
        }
    }
    for ((what, _), (spoilt, failed)) in SPOILERS.iter().zip(seen) {
        println!("{what}: seen in {failed} of {spoilt}");
        assert!(spoilt > 0, "no case tries this: {what}");
        assert_eq!(spoilt, failed, "not seen: {what}");
    }
}

#[test]
fn each_rule_of_the_language_is_seen() {
    let Some(folder) = folder() else { return };
    let cases: Vec<Value> = all_cases(&folder).collect();
    let mut unseen = Vec::new();
    for part in Part::ALL {
        let failed = |case: &&Value| {
            let got = ablation::without(part, || answer(case));
            check(case, &got).is_err()
        };
        match cases.iter().find(failed) {
            Some(case) => println!("without {part:?}: {} fails", case["id"]),
            None => unseen.push(part),
        }
    }
    assert!(unseen.is_empty(), "all cases pass without {unseen:?}");
}

#[test]
fn only_recordings_of_two_moments_contradict_themselves() {
    let Some(folder) = folder() else { return };
    let contradicts = |case: &Value| {
        let answers = case["expect"].as_object().into_iter().flatten();
        answers.flat_map(|(_, answer)| answer["peers"].as_object().unwrap()).any(|(peer, told)| {
            let own = case["expect"][peer]["self_allowed_ips"].as_array();
            let routes = told["primary_routes"].as_array().into_iter().flatten();
            own.is_some_and(|own| routes.into_iter().any(|route| !own.contains(route)))
        })
    };
    let found: Vec<Value> =
        all_cases(&folder).filter(contradicts).map(|case| case["id"].clone()).collect();
    assert_eq!(found, TWO_MOMENTS.map(|(id, _)| json!(id)));
}

fn all_cases(folder: &Path) -> impl Iterator<Item = Value> {
    FILES.iter().flat_map(|(category, _)| cases(folder, category))
}

/// Our answer to a case; of two moments, where it was recorded at two.
fn answer(case: &Value) -> Value {
    let mut answer = policy_case(case).unwrap();
    if let Some((_, nodes)) = TWO_MOMENTS.iter().find(|(id, _)| *id == case["id"]) {
        let mut before = case.clone();
        for node in before["nodes"].as_array_mut().unwrap() {
            node.as_object_mut().unwrap().remove("routable_ips");
        }
        let before = policy_case(&before).unwrap();
        for node in *nodes {
            answer["expect"][node] = before["expect"][node].clone();
        }
    }
    answer
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("GRAMSCALE_POLICY_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/policy-corpus"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("SKIPPED: no recordings in {} (GRAMSCALE_POLICY_CORPUS)", folder.display());
        return None;
    }
    Some(folder)
}

fn cases(folder: &Path, category: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(format!("{category}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first difference between a case and our answer.
fn check(case: &Value, got: &Value) -> Result<(), String> {
    match (case["accepted"] == json!(true), got["accepted"] == json!(true)) {
        (true, false) => return Err(format!("refused: {}", got["error"]["message"])),
        (false, true) => return Err(format!("not refused: {}", case["error"]["message"])),
        (false, false) => return Ok(()),
        (true, true) => {}
    }
    for (name, expect) in case["expect"].as_object().unwrap() {
        let answer = &got["expect"][name];
        compare(expect, answer).map_err(|difference| format!("{name}: {difference}"))?;
    }
    Ok(())
}

/// Compares an answer with ours.
fn compare(expect: &Value, got: &Value) -> Result<(), String> {
    for part in ["self_allowed_ips", "packet_filter", "peers"] {
        same(part, &expect[part], &got[part])?;
    }
    // The first SSH rule that fits holds, so their order counts.
    let rules = |answer: &Value| answer["ssh"].as_array().unwrap().clone();
    let (expect_rules, got_rules) = (rules(expect), rules(got));
    same("ssh", &expect_rules.len().into(), &got_rules.len().into())?;
    for (index, (expect, got)) in expect_rules.iter().zip(&got_rules).enumerate() {
        same(&format!("ssh[{index}]"), expect, got)?;
    }
    let of_the_policy = |name: &str| !OF_THE_ACCOUNT.contains(&name);
    let names = |answer: &Value| -> Value {
        let names = answer["caps"].as_array().unwrap().iter();
        names.filter(|name| of_the_policy(name.as_str().unwrap())).cloned().collect()
    };
    same("caps", &names(expect), &names(got))?;
    let caps = |answer: &Value| {
        let mut caps = answer["cap_map"].as_object().unwrap().clone();
        caps.retain(|name, _| of_the_policy(name));
        Value::Object(caps)
    };
    same("cap_map", &caps(expect), &caps(got))?;
    same("dns", &dns_of_the_settings(expect), &dns_of_the_settings(got))
}

/// The DNS part less what comes from the recorded account: its name, which is no part of a case,
/// and what the service itself answers for.
fn dns_of_the_settings(answer: &Value) -> Value {
    let own = |name: &str| name.trim_end_matches('.').ends_with("ts.net");
    let mut dns = answer["dns"].as_object().unwrap().clone();
    dns.remove("ExitNodeFilteredSet");
    if let Some(domains) = dns.get_mut("Domains").and_then(Value::as_array_mut) {
        domains.retain(|domain| !own(domain.as_str().unwrap()));
    }
    if let Some(routes) = dns.get_mut("Routes").and_then(Value::as_object_mut) {
        routes.retain(|suffix, _| !own(suffix));
    }
    dns.retain(|_, value| *value != json!([]) && *value != json!({}));
    dns.into()
}

/// Compares two values. Arrays are compared without their order, since clients read all of those
/// that come here as sets, but for the values of capabilities.
fn same(path: &str, expect: &Value, got: &Value) -> Result<(), String> {
    if canonical(expect) == canonical(got) {
        return Ok(());
    }
    if let (Value::Object(a), Value::Object(b)) = (expect, got) {
        for key in a.keys().chain(b.keys()) {
            if a.contains_key(key) && b.contains_key(key) {
                same(&format!("{path}.{key}"), &expect[key], &got[key])?;
            } else {
                let whose = if a.contains_key(key) { "missing" } else { "not expected" };
                return Err(format!("{path}.{key}: {whose}"));
            }
        }
    }
    Err(format!("{path}: expected {expect}, got {got}"))
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(canonical).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let ordered = name == "CapMap" || name == "cap_map";
                (name.clone(), if ordered { value.clone() } else { canonical(value) })
            };
            Value::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

/// A comparison that finds no fault with a wrong answer is worth nothing: each of these spoils
/// our answers in one way and must be seen.
const SPOILERS: [(&str, Spoiler); 19] = [
    ("a source is lost", |answer| drop_first(answer.pointer_mut("/packet_filter/0/SrcIPs"))),
    ("a source is added", |answer| {
        push(answer.pointer_mut("/packet_filter/0/SrcIPs"), json!("192.0.2.1"))
    }),
    ("a destination is lost", |answer| drop_first(answer.pointer_mut("/packet_filter/0/DstPorts"))),
    ("a destination comes twice", |answer| {
        let first = answer.pointer("/packet_filter/0/DstPorts/0").cloned();
        first.is_some_and(|f| push(answer.pointer_mut("/packet_filter/0/DstPorts"), f))
    }),
    ("a port is wrong", |answer| {
        put(answer.pointer_mut("/packet_filter/0/DstPorts/0/Ports/Last"), json!(7))
    }),
    ("the protocol is lost", |answer| remove(answer.pointer_mut("/packet_filter/0"), "IPProto")),
    ("rules are not merged", |answer| {
        let Some(second) = answer.pointer("/packet_filter/0/DstPorts/1").cloned() else {
            return false;
        };
        let mut rule = answer["packet_filter"][0].clone();
        rule["DstPorts"] = json!([second]);
        let first = answer.pointer_mut("/packet_filter/0/DstPorts").unwrap();
        first.as_array_mut().unwrap().remove(1);
        push(answer.pointer_mut("/packet_filter"), rule)
    }),
    ("a capability is lost", |answer| {
        put(answer.pointer_mut("/packet_filter/0/CapGrant/0/CapMap"), json!({}))
    }),
    ("a capability has no value", |answer| {
        let caps = answer.pointer_mut("/packet_filter/0/CapGrant/0/CapMap");
        let value = caps.and_then(|caps| caps.as_object_mut()?.values_mut().next());
        value.is_some_and(|value| !value.is_null() && put(Some(value), Value::Null))
    }),
    ("a peer is hidden", |answer| {
        let peers = answer["peers"].as_object_mut().unwrap();
        let first = peers.keys().next().cloned();
        first.is_some_and(|first| peers.remove(&first).is_some())
    }),
    ("a stranger is shown", |answer| {
        answer["peers"].as_object_mut().unwrap().insert("x".into(), json!({"allowed_ips": []}));
        true
    }),
    ("a route is lost", |answer| {
        let peers = answer["peers"].as_object_mut().unwrap().values_mut();
        peers.into_iter().any(|peer| {
            let allowed = peer["allowed_ips"].as_array_mut().unwrap();
            let before = allowed.len();
            allowed.truncate(2);
            before > 2
        })
    }),
    ("primary routes are lost", |answer| {
        let peers = answer["peers"].as_object_mut().unwrap().values_mut();
        peers.into_iter().any(|peer| remove(Some(peer), "primary_routes"))
    }),
    ("an SSH rule is lost", |answer| drop_first(answer.pointer_mut("/ssh"))),
    ("SSH rules change places", |answer| {
        let rules = answer["ssh"].as_array_mut().unwrap();
        let differ = rules.len() > 1 && rules[0] != rules[1];
        differ && {
            rules.swap(0, 1);
            true
        }
    }),
    ("root is not refused", |answer| remove(answer.pointer_mut("/ssh/0/sshUsers"), "root")),
    ("a check is no check", |answer| {
        let action = answer.pointer_mut("/ssh/0/action");
        action.is_some_and(|a| a.get("accept").is_none() && put(Some(a), json!({"accept": true})))
    }),
    ("attributes are lost", |answer| {
        let caps = answer["cap_map"].as_object().unwrap();
        let any = caps.keys().any(|name| !OF_THE_ACCOUNT.contains(&name.as_str()));
        answer["cap_map"] = json!({});
        any
    }),
    ("DNS is lost", |answer| remove(answer.pointer_mut("/dns"), "Proxied")),
];

/// Spoils an answer; whether there was anything to spoil.
type Spoiler = fn(answer: &mut Value) -> bool;

fn drop_first(list: Option<&mut Value>) -> bool {
    let list = list.and_then(Value::as_array_mut).filter(|list| !list.is_empty());
    list.is_some_and(|list| !list.remove(0).is_null())
}

fn push(list: Option<&mut Value>, value: Value) -> bool {
    list.and_then(Value::as_array_mut).is_some_and(|list| {
        list.push(value);
        true
    })
}

fn put(place: Option<&mut Value>, value: Value) -> bool {
    place.is_some_and(|place| {
        *place = value;
        true
    })
}

fn remove(object: Option<&mut Value>, name: &str) -> bool {
    object.and_then(Value::as_object_mut).is_some_and(|object| object.remove(name).is_some())
}
