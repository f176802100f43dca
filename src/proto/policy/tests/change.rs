//! Nodes and users that come, change and go.

use crate::policy::document::alias::Alias;

use super::*;

#[test]
fn changes() {
    let text = r#"{
        "tagOwners": {"tag:a": []},
        "acls": [
            {"action": "accept", "src": ["ann@"], "dst": ["tag:a:1"]},
            {"action": "accept", "src": ["*"], "dst": ["bob@:2"]},
        ],
    }"#;
    let mut compiled = compile(text, &[node(1, "ann"), node(2, "bob"), node(3, "tag:a")]);
    assert_eq!(compiled.touched(), [1, 2, 3]);
    assert!(compiled.touched().is_empty());
    let bob = compiled.filter(2);
    // A new node of ann's changes who may reach the tag, and nothing else.
    compiled.put(&node(4, "ann").subject());
    assert_eq!(compiled.touched(), [3, 4]);
    assert_eq!(filter(&compiled, 3), "100.64.0.1,100.64.0.4 > 100.64.0.3:1-1");
    assert!(Rc::ptr_eq(&bob, &compiled.filter(2)));
    // A new route changes what `*` is.
    compiled.put(&router(3, "tag:a", &["10.0.0.0/8"]).subject());
    assert_eq!(compiled.touched(), [2, 3]);
    assert!(filter(&compiled, 2).contains(",10.0.0.0/8 > "));
    compiled.remove(3);
    assert!(!filter(&compiled, 2).contains("10.0.0.0/8"));
    assert!(!compiled.sees(1, 3) && compiled.filter(3).is_empty());
    compiled.remove(1);
    compiled.put(&node(3, "tag:a").subject());
    assert_eq!(filter(&compiled, 3), "100.64.0.4 > 100.64.0.3:1-1");
    // A node changes hands.
    compiled.put(&node(4, "cat@example.com").subject());
    assert_eq!(filter(&compiled, 3), "");
    assert!(!compiled.sees(4, 3));
    // A user changes its name.
    compiled.touched();
    let renamed = Person { name: "eve", email: "", ..PEOPLE[1] };
    compiled.set_people(&[Person { name: "bob", ..PEOPLE[0] }, renamed]).unwrap();
    compiled.put(&node(5, "ann").subject());
    assert!(filter(&compiled, 5).ends_with("> 100.64.0.5:2-2"));
    assert_eq!(filter(&compiled, 2), "");
}

#[test]
fn a_name_of_two_users_is_refused() {
    let policy = Rc::new(Policy::parse(&acl(r#""ann@example.com""#, r#""*:*""#)).unwrap());
    let twin = Person { id: 9, email: "ann@example.com", ..PEOPLE[1] };
    let error = Compiled::new(Rc::clone(&policy), &[PEOPLE[0], twin]).unwrap_err();
    assert!(error.message.contains("multiple users found"), "{error}");
    let mut compiled = Compiled::new(policy, &PEOPLE).unwrap();
    assert!(compiled.set_people(&[PEOPLE[0], twin]).is_err());
    assert_eq!(
        compiled.people.users(&Alias::User("ann@".into()), &Default::default()),
        Ok(vec![1])
    );
}

#[test]
fn users_change_the_lists_that_they_are_in() {
    let text = r#"{"tagOwners": {"tag:a": []}, "acls": [
        {"action": "accept", "src": ["ann@"], "dst": ["tag:a:1"]},
    ]}"#;
    let nodes = [node(1, "ann"), node(2, "bob"), node(3, "tag:a")];
    let mut compiled = compile(text, &nodes);
    assert_eq!(filter(&compiled, 3), "100.64.0.1 > 100.64.0.3:1-1");
    compiled.touched();
    compiled.set_people(&PEOPLE).unwrap();
    assert!(compiled.touched().is_empty());
    let [ann, bob, cat] = PEOPLE;
    let (eve, ann) = (Person { name: "eve", ..ann }, Person { name: "ann", ..bob });
    compiled.set_people(&[eve, ann, cat]).unwrap();
    assert!(compiled.touched().contains(&3));
    assert_eq!(filter(&compiled, 3), "100.64.0.2 > 100.64.0.3:1-1");
    assert!(!compiled.sees(1, 3) && compiled.sees(2, 3));
    compiled.set_people(&[eve, cat]).unwrap();
    assert_eq!(filter(&compiled, 3), "");
}
