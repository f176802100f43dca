//! Node attributes.

use super::*;

#[test]
fn node_attributes() {
    let text = r#"{
        "groups": {"group:g": ["bob@"]},
        "tagOwners": {"tag:a": []},
        "randomizeClientPort": true,
        "nodeAttrs": [
            {"target": ["tag:a"], "attr": ["drive:share", "nextdns:abc"]},
            {"target": ["ann@", "100.64.0.4"], "attr": ["funnel"]},
            {"target": ["*"], "app": {"example.com/x": [1]}},
            {"target": ["autogroup:admin"], "app": {"example.com/x": [{"b": 2}]}},
            {"target": ["autogroup:owner"], "attr": ["disable-ipv4"]},
            {"target": ["group:g"], "ipPool": ["100.81.0.0/16"]},
        ],
    }"#;
    let nodes = [node(1, "ann"), node(2, "bob"), node(3, "cat@example.com"), node(4, "tag:a")];
    let compiled = compile(text, &nodes);
    let of = |id: u64| -> Vec<String> {
        let attributes = compiled.attributes(id).into_iter();
        let text = |bytes: &&[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        attributes
            .map(|(name, values)| format!("{name}={}", values.iter().map(text).collect::<String>()))
            .collect()
    };
    let funnel = [
        "funnel=",
        "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000=",
        "https://tailscale.com/cap/warn-funnel-no-https=",
    ];
    let mut ann = vec!["disable-ipv4=", "example.com/x=1{\"b\":2}"];
    ann.extend(funnel);
    ann.push("randomize-client-port=");
    assert_eq!(of(1), ann);
    assert_eq!(of(2), ["example.com/x=1", "randomize-client-port="]);
    assert_eq!(of(3), ["example.com/x=1{\"b\":2}", "randomize-client-port="]);
    let mut tagged = vec!["drive:share=", "example.com/x=1"];
    tagged.extend(funnel);
    tagged.extend(["nextdns:abc=", "randomize-client-port="]);
    assert_eq!(of(4), tagged);
    assert!(compiled.disables_ipv4(1) && !compiled.disables_ipv4(2));
    assert_eq!(compiled.pool(&node(9, "bob").subject()), ["100.81.0.0/16".parse().unwrap()]);
    assert_eq!(compiled.pool(&node(9, "ann").subject()), []);
    for (grant, message) in [
        (r#"{"target": ["autogroup:self"], "attr": ["x"]}"#, "invalid target"),
        (r#"{"target": ["%x%"], "attr": ["x"]}"#, "invalid alias format"),
        (r#"{"target": ["tag:x"], "attr": ["x"]}"#, "tag not found"),
        (r#"{"target": ["*"], "attr": ["a b"]}"#, "no name of an attribute"),
        (r#"{"target": ["*"], "app": {"x": 1}}"#, "an array of values"),
        (r#"{"target": ["*"], "ipPool": ["x"]}"#, "is no prefix"),
        (r#"{"targets": ["*"]}"#, "unknown field"),
    ] {
        let error = Policy::parse(&format!("{{\"nodeAttrs\": [{grant}]}}")).unwrap_err();
        assert!(error.message.contains(message), "{grant}: {error}");
    }
}
