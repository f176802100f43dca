//! The table of all settings, for `docs/configuration.md`.

use std::path::Path;

use gramscale_proto::wire::json::Json;

use super::key::{KEYS, Key, OLD, Old};
use super::settings::Settings;
use super::slot::Slot;

/// The table as Markdown: names in YAML and UCI, kind, default and meaning of each setting.
pub fn table() -> String {
    let mut settings = Settings::new(Path::new(""));
    let mut text = String::from("| YAML | UCI | kind | default | what |\n|---|---|---|---|---|\n");
    for key in KEYS.iter().filter(|key| !matches!(key.slot, Slot::Unused(_))) {
        text.push_str(&row(key, &mut settings));
    }
    text.push_str("\n## Accepted without effect\n\n");
    let mut reasons: Vec<(Option<&str>, Vec<&Key>)> = Vec::new();
    for key in KEYS.iter().filter(|key| !key.name.is_empty()) {
        let Slot::Unused(reason) = key.slot else { continue };
        match reasons.iter_mut().find(|(there, _)| *there == reason) {
            Some((_, names)) => names.push(key),
            None => reasons.push((reason, vec![key])),
        }
    }
    for (reason, names) in reasons {
        let names: Vec<_> = names.iter().map(|key| both(key)).collect();
        let reason = reason.unwrap_or("silently");
        text.push_str(&format!("* {}: {reason}.\n", names.join(", ")));
    }
    text.push_str("\n## Old names\n\n| old | now |\n|---|---|\n");
    for (name, old) in OLD {
        let now = match old {
            Old::Renamed(new) => format!("`{new}`"),
            Old::Prefixes => "`prefixes.v4`, `prefixes.v6`".into(),
            Old::Gone(why) => (*why).into(),
        };
        text.push_str(&format!("| `{name}` | {now} |\n"));
    }
    text
}

/// The name in YAML, and where there is one that in UCI.
fn both(key: &Key) -> String {
    match key.uci {
        "" => format!("`{}`", key.name),
        uci => format!("`{}` (`{}`)", key.name, uci.replace('.', " ")),
    }
}

fn row(key: &Key, settings: &mut Settings) -> String {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let mut out = Vec::new();
    key.slot.show(settings, &mut Json::new(&mut out));
    let default = String::from_utf8(out).unwrap_or_default().replace('"', "").replace(',', ", ");
    let default = match default.as_str() {
        "[]" | "{}" => "",
        list if list.ends_with(']') => list.trim_start_matches('[').trim_end_matches(']'),
        one => one,
    };
    // What is computed has its rule in the text.
    let default = match key.name {
        "data_dir" | "unix_socket" | "server_url" | "policy.mode" | "dns.override_local_dns" => "",
        _ => default,
    };
    format!(
        "| {} | {} | {} | {} | {} |\n",
        code(key.name),
        code(&key.uci.replace('.', " ")),
        key.slot.kind(),
        code(default),
        key.doc
    )
}
