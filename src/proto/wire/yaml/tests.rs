use saphyr_parser::{Event, Parser as Other, ScalarStyle};

use super::*;

/// A document as one line: plain scalars as they are, texts in quotes.
fn flat(text: &str) -> String {
    match parse(text) {
        Ok(node) => show(&node),
        Err(error) => format!("line {}: {error}", error.line),
    }
}

fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".into(),
        Value::Plain(text) => format!("<{text}>"),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let shown = entries.iter().map(|e| format!("{:?}:{}", e.key, show(&e.value)));
            format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
        }
    }
}

/// The same from another reader; `None` if that refuses the text.
fn other(text: &str) -> Option<String> {
    fn node<'a>(events: &mut impl Iterator<Item = Event<'a>>, event: Event<'a>) -> Option<String> {
        Some(match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => match &*text {
                "" | "~" | "null" | "Null" | "NULL" => "~".into(),
                text => format!("<{text}>"),
            },
            Event::Scalar(text, ..) => format!("{text:?}"),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match events.next()? {
                        Event::SequenceEnd => return Some(format!("[{}]", items.join(","))),
                        event => items.push(node(events, event)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let key = match events.next()? {
                        Event::MappingEnd => return Some(format!("{{{}}}", entries.join(","))),
                        Event::Scalar(text, style, ..) => match (&*text, style) {
                            ("", ScalarStyle::Plain) => return None,
                            (text, _) => format!("{text:?}"),
                        },
                        _ => return None,
                    };
                    let event = events.next()?;
                    entries.push(format!("{key}:{}", node(events, event)?));
                }
            }
            _ => return None,
        })
    }
    let events: Result<Vec<_>, _> =
        Other::new_from_str(text).map(|event| event.map(|(event, _)| event)).collect();
    let mut events = events.ok()?.into_iter();
    events.next()?;
    let found = match events.next()? {
        Event::StreamEnd => "~".into(),
        _ => {
            let event = events.next()?;
            node(&mut events, event)?
        }
    };
    Some(found)
}

const DOCUMENTS: &[&str] = &[
    "",
    "# nothing\n",
    "---\n",
    "a: 1\nb: x y # c\nc: \"q\\n\\u00e9\"\nd: 'it''s'\n",
    "a:\n  b:\n    - 1\n    - x: 2\n      y: 3\n    -\n    - - p\n      - q\n  c: d\n",
    "a:\n- 1\n- b: c\nd: e\n",
    "server_url: http://127.0.0.1:8080\nlisten_addr: :8080\nv6: \"[::]:8080\"\nurl: a#b\n",
    "a: [1, 'x', {b: c, \"d\":e2}, [], {}]\nb: {}\nc: [\n  1,\n  2, # two\n]\n",
    "{\"a\": [1, 2.5, null, true], \"b\": {\"c\": \"d\\/\\\\\"}}",
    "a: |\n  one\n   two\n\n  three\nb: >-\n  folded\n  text\n\n  more\nc: end\n",
    "a: |+\n  keep\n\n\nb: |-\n  strip\n\nc: >\n\n  x\n    y\n  z\n",
    "- |2\n   x\n- >\n a\n b\n-   c\n",
    "a: first\n  second\n\n  third\nb: \"first\n  second\\\n  third\n\n  fourth\"\nc: 'x\n\n  y'\n",
    "a: ~\nb:\nc: null\nd: \"\"\ne: -\n",
    "---\na: b\n...\n",
    "a: -1\nb: - 1\n",
    "\"quoted key\": 1\n'other': 2\nplain key: 3\n",
    "a: b: c\n",
    "a: x\n b: y\n",
    "a\n",
    "a:\n  - b\n c\n",
    "- a\n-b\n",
    "a: 'x' y\n",
    "a: {b c}\n",
    "a: \tb\nc: d\t\n",
    "a:\r\n  - b\r\n  - 'c\r\n    d'\r\n",
    "regions:\n  900:\n    regionid: 900\n    nodes:\n      - name: 900a\n        ipv4: 198.51.100.1\n",
];

#[test]
fn values() {
    for (text, expected) in [
        ("", "~"),
        ("a: 1\nb: x y # c\nc: \"1\"", r#"{"a":<1>,"b":<x y>,"c":"1"}"#),
        ("a:\n- 1\n- b: c\n  d:\ne: f", r#"{"a":[<1>,{"b":<c>,"d":~}],"e":<f>}"#),
        ("listen: :8080\nurl: http://x:1/#y", r#"{"listen":<:8080>,"url":<http://x:1/#y>}"#),
        ("a: [1, {b: c}, 'd']", r#"{"a":[<1>,{"b":<c>},"d"]}"#),
        (r#"{"a": "\ud83d\ude00\u00e9"}"#, r#"{"a":"😀é"}"#),
        ("a: |\n  x\n   y\nb: >-\n  x\n  y\n", r#"{"a":"x\n y\n","b":"x y"}"#),
        (
            "a: x\n  y\n\n  z",
            r#"{"a":<x y
z>}"#,
        ),
        ("\u{feff}a: b", r#"{"a":<b>}"#),
        ("- - a\n  - b\n-\n  c: d", r#"[[<a>,<b>],{"c":<d>}]"#),
    ] {
        assert_eq!(flat(text), expected, "{text}");
    }
}

#[test]
fn lines() {
    let node = parse("a: 1\n\nb:\n  # x\n  - c\n  - |\n    d\n  - e\nf: 2\n").unwrap();
    let Value::Map(entries) = node.value else { panic!() };
    assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [1, 3, 9]);
    let Value::List(items) = &entries[1].value.value else { panic!() };
    assert_eq!(items.iter().map(|item| item.line).collect::<Vec<_>>(), [5, 6, 8]);
}

#[test]
fn refused() {
    for (text, line, kind) in [
        ("a: b: c", 1, Kind::Nested),
        ("a: - c", 1, Kind::Nested),
        ("a: x\n b: y", 2, Kind::Nested),
        ("a:\n    b: 1\n  c: 2", 3, Kind::Indent),
        ("a: 1\nb", 2, Kind::NoColon),
        ("a: 1\na: 2", 2, Kind::Twice("a".into())),
        ("a: {b: 1, b: 2}", 1, Kind::Twice("b".into())),
        ("a:\n\tb: 1", 2, Kind::Tab),
        ("a: 'x' y", 1, Kind::Trailing),
        ("a: [::]:8080", 1, Kind::Colon),
        ("a: [b: c]", 1, Kind::Colon),
        ("a: 1\n\rb: 1", 2, Kind::Control('\r')),
        ("a: \0", 1, Kind::Control('\0')),
        ("-\t- a", 1, Kind::Tab),
        ("x: 1\na: 'x\ny", 2, Kind::Quote),
        ("a: \"\\q\"", 1, Kind::Escape),
        ("a: \"\\ud800\"", 1, Kind::Escape),
        ("a: [1, 2\nb: 3", 1, Kind::Bracket),
        ("a: @x", 1, Kind::Start('@')),
        ("a: %x", 1, Kind::Start('%')),
        ("a: &x b", 1, Kind::Unsupported("an anchor (&)")),
        ("a: *x", 1, Kind::Unsupported("an alias (*)")),
        ("a: !!str b", 1, Kind::Unsupported("a tag (!)")),
        ("? a\n: b", 1, Kind::Unsupported("a complex key (?)")),
        ("a:\n  <<: {b: c}", 2, Kind::Unsupported("a merge key (<<)")),
        ("a: 1\n---\nb: 2", 2, Kind::Unsupported("a second document (---)")),
        ("%YAML 1.2\n---\na: 1", 1, Kind::Unsupported("a directive (%)")),
    ] {
        assert_eq!(parse(text), Err(YamlError { line, kind }), "{text}");
    }
    for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
        assert_eq!(parse(&deep).unwrap_err().kind, Kind::Depth);
    }
}

#[test]
fn json() {
    let text = "a: 1\nb: [true, 1.5e3, 007, -2, x, '3', ~, 1., .5, \"q\\\"\\n\"]\n900: {}\n";
    assert_eq!(
        parse(text).unwrap().to_json(),
        r#"{"a":1,"b":[true,1.5e3,"007",-2,"x","3",null,"1.",".5","q\"\n"],"900":{}}"#
    );
}

#[test]
fn reads_as_another_reader_does() {
    for text in DOCUMENTS {
        match (parse(text), other(text)) {
            (Ok(ours), Some(theirs)) => assert_eq!(show(&ours), theirs, "{text}"),
            (Ok(ours), None) => panic!("only we read {text:?}: {}", show(&ours)),
            (Err(error), Some(theirs)) => panic!("only we refuse {text:?}: {error}; {theirs}"),
            (Err(_), None) => {}
        }
    }
}

/// What we read, another reader reads the same.
#[test]
fn random_texts() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % below
    };
    const BITS: &[&str] = &[
        " ", "  ", "\n", "\n  ", "\n- ", ": ", "- ", "#", " # c", "'", "\"", "[", "]", "{", "}",
        ",", "a", "1", "|\n", ">-\n", "\\", "\\n", "é", "~", ":", "\t", "\r\n", "b: c\n",
    ];
    let (mut read, mut differ) = (0, Vec::new());
    for _ in 0..30_000 {
        let mut text = DOCUMENTS[draw(DOCUMENTS.len())].to_owned();
        for _ in 0..=draw(3) {
            let mut at = draw(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match draw(3) {
                0 => text.insert_str(at, BITS[draw(BITS.len())]),
                1 if at < text.len() => _ = text.remove(at),
                _ => {
                    let tail = text.split_off(at);
                    text.push_str(BITS[draw(BITS.len())]);
                    text.push_str(tail.get(1..).unwrap_or_default());
                }
            }
        }
        let Ok(ours) = parse(&text) else { continue };
        read += 1;
        // The other reader takes a block of no lines for one line end, which is one too many.
        let theirs = other(&text).map(|theirs| theirs.replace("\"\\n\"", "\"\""));
        let ours = show(&ours).replace("\"\\n\"", "\"\"");
        // It also refuses tabs, dashes as a text, a brace at the margin and a comment behind a
        // block of no lines where YAML has them, and counts blanks at the end as a line.
        let strict = ["\t", "---", "\n}", "|2\n #"].iter().any(|part| text.contains(part));
        let known = (theirs.is_none() && strict) || text.ends_with("\n ") || text.ends_with("  ");
        if !known && theirs.as_ref() != Some(&ours) {
            differ.push((text, ours, theirs));
        }
    }
    differ.sort_by_key(|(text, ..)| text.len());
    for (text, ours, theirs) in differ.iter().take(40) {
        eprintln!("{text:?}\n  ours   {ours}\n  theirs {theirs:?}");
    }
    assert!(read > 5000, "{read}");
    assert!(differ.is_empty(), "{} of {read}", differ.len());
}
