#![no_main]
//! Any text: refused with a place, or compiled for a small tailnet.

use std::rc::Rc;

use gramscale_proto::policy::{Compiled, Person, Policy, Role, Subject};
use gramscale_proto::wire::prefix::Prefix;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let policy = match Policy::parse_any(text) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.message.is_empty());
            return;
        }
    };
    let ann = Person {
        id: 1,
        name: "a",
        email: "a@b.c",
        provider_id: "",
        role: Role::Owner,
    };
    let Ok(mut compiled) = Compiled::new(Rc::new(policy), &[ann]) else { return };
    let tags = ["tag:a".to_owned()];
    let routes: Vec<Prefix> =
        ["10.0.0.0/8", "::/0"].iter().map(|route| route.parse().expect("a prefix")).collect();
    let none = Subject {
        id: 1,
        user: Some(1),
        tags: &[],
        v4: Some([100, 64, 0, 1].into()),
        v6: None,
        routes: &[],
    };
    compiled.put(&none);
    compiled.put(&Subject { id: 2, v4: Some([100, 64, 0, 2].into()), ..none });
    compiled.put(&Subject { id: 3, user: None, tags: &tags, routes: &routes, ..none });
    let _ = compiled.test();
    let _ = compiled.explain("a@b.c", "10.0.0.1", Some(22), "tcp");
    for viewer in 1..=3 {
        let mut out = Vec::new();
        compiled.filter(viewer).render(&mut out);
        compiled.render_ssh(viewer, &mut out);
        compiled.attributes(viewer);
        for peer in 1..=3 {
            assert_eq!(compiled.sees(viewer, peer), compiled.sees(peer, viewer));
            compiled.ssh(viewer, peer, "root");
            for route in &routes {
                if compiled.carries(viewer, peer, route, Some(3), |_| true) && viewer != peer {
                    assert!(compiled.sees(viewer, peer));
                }
            }
        }
    }
    compiled.remove(2);
    compiled.touched();
});
