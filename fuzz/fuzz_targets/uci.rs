//! No text makes the reader of UCI files panic, and each value can be written again in quotes.
#![no_main]

use gramscale_proto::wire::uci;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(sections) = uci::parse(text) else { return };
    for section in sections {
        for setting in section.options {
            for word in setting.values {
                let quoted = word.text.replace('\'', r"'\''");
                let again = uci::parse(&format!("config a\noption b '{quoted}'\n"));
                let sections = again.expect("a quoted value");
                assert_eq!(sections[0].options[0].values[0].text, word.text);
            }
        }
    }
});
