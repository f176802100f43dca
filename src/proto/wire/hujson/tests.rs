use super::super::json::Json;
use super::*;

fn standard(text: &str) -> Result<String, SyntaxError> {
    let mut bytes = text.as_bytes().to_vec();
    standardise(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn blanks_in_place() {
    for (text, expect) in [
        ("{\"a\":1,}", "{\"a\":1 }"),
        ("[1,2, // two\n]", "[1,2        \n]"),
        ("[1 /* é\n */, /**/ ]", "[1      \n          ]"),
        ("{\"a//b\":\"/*\\\"\",}", "{\"a//b\":\"/*\\\"\" }"),
        ("// all", "      "),
        ("\u{feff}[]", "   []"),
        ("[[1,],]", "[[1 ] ]"),
        // No value stands before these commas: they stay, and the parser refuses them.
        ("[,]", "[,]"),
        ("{,}", "{,}"),
        ("[1,,]", "[1,,]"),
    ] {
        let result = standard(text).unwrap();
        assert_eq!(result, expect);
        assert_eq!(result.len(), text.len());
    }
    for (text, offset) in [("[1] /", 4), ("/* x", 0), ("/x", 0), ("[\"a", 1), ("\"\\", 0)] {
        assert_eq!(standard(text).unwrap_err().offset, offset, "{text}");
    }
}

#[test]
fn reads() {
    let text = r#" {"a": [1, -2.5e+3, "x\n\u00e9\ud83d\ude00"], "b": {"c": null, "d": true}} "#;
    let value = parse(text).unwrap();
    assert_eq!((value.start, value.end), (1, text.len() - 1));
    let Kind::Object(members) = &value.kind else { panic!() };
    assert_eq!((members[0].name.as_ref(), members[0].start), ("a", 2));
    let Kind::Array(items) = &members[0].value.kind else { panic!() };
    assert_eq!(items[1].kind, Kind::Number("-2.5e+3"));
    assert_eq!(&text[items[1].start..items[1].end], "-2.5e+3");
    assert_eq!(items[2].kind, Kind::String("x\né😀".into()));
    let Kind::Object(inner) = &members[1].value.kind else { panic!() };
    assert_eq!(inner[1].value.kind, Kind::Bool(true));
}

#[test]
fn refuses() {
    for (text, offset, message) in [
        ("", 0, "the text ends too early"),
        ("{", 1, "the text ends too early"),
        ("[1 2]", 3, "a comma or ] is expected"),
        ("[1,]", 3, "a value is expected"),
        ("{\"a\" 1}", 5, "a colon is expected after the name"),
        ("{a:1}", 1, "a name in double quotes is expected"),
        ("{\"a\":1,\"b\":2,\"a\":3}", 13, "duplicate name \"a\""),
        ("{\"a\":1,\"\\u0061\":3}", 7, "duplicate name \"a\""),
        ("01", 0, "this is not a number"),
        ("-", 0, "this is not a number"),
        ("1.", 0, "this is not a number"),
        ("1e", 0, "this is not a number"),
        ("nul", 0, "a value is expected"),
        ("1 1", 2, "nothing may follow the value"),
        ("\"\\x\"", 1, "this escape is not known"),
        ("\"\t\"", 1, "a control character needs an escape"),
        ("\"a", 0, "the string is not closed with \""),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.offset, error.message.as_ref()), (offset, message), "{text}");
    }
    for bad in ["\"\\u12\"", "\"\\u+123\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\""] {
        assert_eq!(parse(bad).unwrap_err().offset, 1, "{bad}");
    }
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(parse(&deep(MAX_DEPTH)).is_ok());
    assert_eq!(parse(&deep(100_000)).unwrap_err().offset, MAX_DEPTH + 1);
}

#[test]
fn positions() {
    let text = "{\n  \"é\": x\n}";
    assert_eq!(position(text, 0), (1, 1));
    assert_eq!(position(text, text.find('x').unwrap()), (2, 8));
    assert_eq!(position(text, text.len()), (3, 2));
    assert_eq!(position(text, 999), (3, 2));
    let lines = Lines::new(text);
    for offset in (0..text.len()).filter(|at| text.is_char_boundary(*at)).chain([999]) {
        assert_eq!(lines.position(offset), position(text, offset), "{offset}");
    }
}

#[test]
fn renders() {
    let text = r#" {"a b": [1, -2.5e+3, "x\"é", {}], "b": {"c": null, "d": true}, "e": []} "#;
    let mut out = Vec::new();
    parse(text).unwrap().render(&mut Json::new(&mut out));
    let expect = r#"{"a b":[1,-2.5e+3,"x\"é",{}],"b":{"c":null,"d":true},"e":[]}"#;
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

#[test]
fn reads_without_a_tree() {
    let text = r#" {"n":-7,"t":"a\u00e9","skip":{"x":[1.5e3,"\n",{},[]],"y":null},
        "l":[true,null,false],"none":null,"o":{}} "#;
    let mut json = Parser::new(text);
    let mut seen = String::new();
    json.object(&mut |json, name| {
        match name {
            "n" => assert_eq!(json.integer()?, Some(-7)),
            "t" => assert_eq!(json.text()?.as_deref(), Some("aé")),
            "l" => json.array(&mut |json| {
                seen.push(json.bool()?.map_or('0', |yes| if yes { 'y' } else { 'n' }));
                Ok(())
            })?,
            "none" => {
                // Each takes it for nothing; the last steps over it.
                assert_eq!(Parser::new("null").text(), Ok(None));
                assert_eq!(Parser::new("null").integer(), Ok(None));
                json.array(&mut |_| unreachable!())?;
            }
            "o" => json.object(&mut |_, _| unreachable!())?,
            _ => json.skip()?,
        }
        seen.push_str(name);
        Ok(())
    })
    .unwrap();
    assert_eq!((json.finish(), seen.as_str()), (Ok(()), "ntskipy0nlnoneo"));

    for bad in ["1.5", "1e3", "\"1\"", "9223372036854775808", "-", ""] {
        assert!(Parser::new(bad).integer().is_err(), "{bad}");
    }
    for bad in ["[1,]", "{\"a\" 1}", "{1:1}", "[1", "nul", "\"a", "01", "{\"a\":1,}"] {
        assert!(Parser::new(bad).skip().is_err(), "{bad}");
    }
    for bad in ["1", "true", "nul", ""] {
        assert!(Parser::new(bad).text().is_err(), "{bad}");
        assert!(Parser::new(bad).array(&mut Parser::skip).is_err(), "{bad}");
    }
    assert!(Parser::new("null").object(&mut |_, _| Ok(())).is_err());
    assert!(Parser::new("1").bool().is_err());
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(Parser::new(&deep(MAX_DEPTH)).skip().is_ok());
    assert_eq!(Parser::new(&deep(100_000)).skip().unwrap_err().offset, MAX_DEPTH + 1);
    // Beside each other is not inside each other.
    assert!(Parser::new(&format!("[{}1]", "[[]],".repeat(200))).skip().is_ok());
}
