//! The sources of settings, each laid over the one before: a file, the environment, the command
//! line.

use std::path::{Path, PathBuf};
use std::rc::Rc;

#[cfg(feature = "yaml")]
use gramscale_proto::wire::prefix::Prefix;
use gramscale_proto::wire::uci::{self, Section, Word};
use gramscale_proto::wire::yaml::{Entry, Node, Value};

#[cfg(feature = "yaml")]
use super::key::{self, OLD, Old};
use super::key::{KEYS, Key};
use super::problem::{Origin, Problems, Weight};
use super::settings::Settings;
use super::slot::{Slot, Style, flag};

/// Settings in the making.
pub(super) struct Layers {
    pub(super) settings: Settings,
    pub(super) problems: Problems,
    /// Where each key of [`KEYS`] was last set.
    given: Vec<Option<(Origin, String)>>,
    /// Reasons that were told already.
    told: Vec<&'static str>,
}

/// A value on its way to a key.
struct Given<'a> {
    node: &'a Node,
    origin: Origin,
    /// The key as it is written there.
    name: &'a str,
}

impl Layers {
    pub(super) fn new(settings: Settings) -> Self {
        let given = KEYS.iter().map(|_| None).collect();
        Self { settings, problems: Problems::default(), given, told: Vec::new() }
    }

    /// Where `name` was set, and how it is called there.
    pub(super) fn origin(&self, name: &str) -> Option<&(Origin, String)> {
        let at = KEYS.iter().position(|key| key.name == name || key.uci == name)?;
        self.given.get(at)?.as_ref()
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.origin(name).is_some()
    }

    /// Lays the document of a YAML or JSON file over what is there.
    #[cfg(feature = "yaml")]
    pub(super) fn yaml(&mut self, document: &Node, file: &Rc<PathBuf>) {
        let base = file.parent().unwrap_or(Path::new(""));
        let style = Style { base, seconds: false, words: false };
        let mut old = Vec::new();
        match &document.value {
            Value::Null => {}
            Value::Map(entries) => self.entries("", entries, file, style, &mut old),
            _ => {
                let origin = Origin::Line(Rc::clone(file), document.line);
                self.problems.add(Weight::Error, &origin, "", "\"key: value\" is expected".into());
            }
        }
        // Old names come last, so that new ones win.
        for (name, entry) in old {
            self.old(&name, entry, file, style);
        }
    }

    #[cfg(feature = "yaml")]
    fn entries<'n>(
        &mut self,
        group: &str,
        entries: &'n [Entry],
        file: &Rc<PathBuf>,
        style: Style<'_>,
        old: &mut Vec<(String, &'n Entry)>,
    ) {
        for entry in entries {
            let dot = if group.is_empty() { "" } else { "." };
            let name = format!("{group}{dot}{}", entry.key).to_ascii_lowercase();
            let origin = Origin::Line(Rc::clone(file), entry.line);
            if let Some(at) = KEYS.iter().position(|key| key.name == name) {
                self.set(at, Given { node: &entry.value, origin, name: &name }, style);
            } else if OLD.iter().any(|(key, _)| *key == name) {
                old.push((name, entry));
            } else if key::is_group(&name) {
                match &entry.value.value {
                    Value::Null => {}
                    Value::Map(entries) => self.entries(&name, entries, file, style, old),
                    _ => {
                        let text = "further keys are expected below it".into();
                        self.problems.add(Weight::Error, &origin, &name, text);
                    }
                }
            } else {
                self.unknown(&origin, &name, KEYS.iter().map(|key| key.name));
            }
        }
    }

    #[cfg(feature = "yaml")]
    fn old(&mut self, name: &str, entry: &Entry, file: &Rc<PathBuf>, style: Style<'_>) {
        let origin = Origin::Line(Rc::clone(file), entry.line);
        let Some((_, old)) = OLD.iter().find(|(key, _)| *key == name) else { return };
        match old {
            Old::Gone(why) => {
                self.problems.add(Weight::Warning, &origin, name, (*why).into());
            }
            Old::Renamed(new) => {
                let is_given = self.is_given(new);
                let text = match is_given {
                    true => format!("{new} is set as well, and counts; remove this old name of it"),
                    false => format!("this is the old name of {new}; rename it"),
                };
                self.problems.add(Weight::Warning, &origin, name, text);
                if let Some(at) = KEYS.iter().position(|key| !is_given && key.name == *new) {
                    self.set(at, Given { node: &entry.value, origin, name }, style);
                }
            }
            Old::Prefixes => self.old_prefixes(name, entry, origin, style),
        }
    }

    #[cfg(feature = "yaml")]
    fn old_prefixes(&mut self, name: &str, entry: &Entry, origin: Origin, style: Style<'_>) {
        let text = "this is the old name of prefixes.v4 and prefixes.v6; rename it".into();
        self.problems.add(Weight::Warning, &origin, name, text);
        let one = std::slice::from_ref(&entry.value);
        let items = if let Value::List(items) = &entry.value.value { items } else { one };
        if self.is_given("prefixes.v4") || self.is_given("prefixes.v6") {
            return;
        }
        // A family that the list does not have is not wanted.
        (self.settings.rules.v4, self.settings.rules.v6) = (None, None);
        for node in items {
            let v6 = match &node.value {
                Value::Plain(text) | Value::Text(text) => {
                    text.parse().is_ok_and(|prefix: Prefix| prefix.addr().is_ipv6())
                }
                _ => false,
            };
            let new = if v6 { "prefixes.v6" } else { "prefixes.v4" };
            if let Some(at) = KEYS.iter().position(|key| key.name == new) {
                self.set(at, Given { node, origin: origin.clone(), name }, style);
            }
        }
    }

    /// Lays a UCI file over what is there.
    pub(super) fn uci(&mut self, sections: &[Section], file: &Rc<PathBuf>) {
        let base = file.parent().unwrap_or(Path::new(""));
        let style = Style { base, seconds: true, words: true };
        let (mut split, mut records) = (Vec::new(), Vec::new());
        let (mut users, mut regions) = (Vec::new(), Vec::new());
        for section in sections {
            let origin = Origin::Line(Rc::clone(file), section.line);
            match section.kind.as_str() {
                "split_dns" => split.extend(self.split_dns(section, file)),
                "host_record" => records.extend(self.host_record(section, file)),
                "user" => users.extend(self.user(section, file)),
                "derp_region" => regions.push(self.derp_region(section, file)),
                kind if KEYS.iter().any(|key| section_of(key) == kind) => {
                    self.section(section, file, style);
                }
                kind => {
                    let all = KEYS.iter().map(section_of).chain(LISTED);
                    self.unknown(&origin, kind, all);
                }
            }
        }
        let values =
            [Value::Map(split), Value::List(records), Value::List(users), Value::List(regions)];
        for (name, value) in LISTED.into_iter().zip(values) {
            let empty = matches!(&value, Value::Map(all) if all.is_empty())
                || matches!(&value, Value::List(all) if all.is_empty());
            let at = KEYS.iter().position(|key| !empty && key.uci == name);
            let first = sections.iter().find(|section| section.kind == name);
            if let (Some(at), Some(section)) = (at, first) {
                let origin = Origin::Line(Rc::clone(file), section.line);
                let node = Node { line: section.line, value };
                self.set(at, Given { node: &node, origin, name }, style);
            }
        }
    }

    fn section(&mut self, section: &Section, file: &Rc<PathBuf>, style: Style<'_>) {
        for setting in &section.options {
            let line = setting.values.first().map_or(section.line, |word| word.line);
            let origin = Origin::Line(Rc::clone(file), line);
            let name = format!("{}.{}", section.kind, setting.name);
            let Some(at) = KEYS.iter().position(|key| key.uci == name) else {
                let kind = section.kind.as_str();
                let all = KEYS.iter().filter(|key| section_of(key) == kind).map(|key| key.uci);
                self.unknown(&origin, &name, all);
                continue;
            };
            let node = match &setting.values[..] {
                // LuCI leaves options empty that were cleared.
                [only] if !setting.list && only.text.is_empty() => continue,
                [only] if !setting.list => word(only),
                all => {
                    let items = all.iter().map(word).collect();
                    Node { line, value: Value::List(items) }
                }
            };
            self.set(at, Given { node: &node, origin, name: &name }, style);
        }
    }

    /// `config split_dns` with `domain` and `server`.
    fn split_dns(&mut self, section: &Section, file: &Rc<PathBuf>) -> Option<Entry> {
        let [domain, server] = self.two(section, file, ["domain", "server"])?;
        let items = server.iter().map(word).collect();
        let value = Node { line: section.line, value: Value::List(items) };
        Some(Entry { line: section.line, key: domain.first()?.text.clone(), value })
    }

    /// `config host_record` with `name` and `ip`.
    fn host_record(&mut self, section: &Section, file: &Rc<PathBuf>) -> Vec<Node> {
        let Some([name, ip]) = self.two(section, file, ["name", "ip"]) else { return Vec::new() };
        let record = |ip: &Word| {
            let entry = |key: &str, from: &Word| Entry {
                line: from.line,
                key: key.into(),
                value: word(from),
            };
            let name = name.first().map(|name| entry("name", name));
            let entries = name.into_iter().chain([entry("value", ip)]).collect();
            Node { line: ip.line, value: Value::Map(entries) }
        };
        ip.iter().map(record).collect()
    }

    /// `config user` with `name`.
    fn user(&mut self, section: &Section, file: &Rc<PathBuf>) -> Option<Node> {
        self.only(section, file, &["name"]);
        let name = value_of(section, "name").and_then(|values| values.first());
        if name.is_none() {
            let origin = Origin::Line(Rc::clone(file), section.line);
            self.problems.add(Weight::Error, &origin, "user", "its name is needed".into());
        }
        name.map(word)
    }

    /// `config derp_region`.
    fn derp_region(&mut self, section: &Section, file: &Rc<PathBuf>) -> Node {
        self.only(section, file, REGION);
        let entry = |setting: &uci::Setting| {
            let first = setting.values.first()?;
            Some(Entry { line: first.line, key: setting.name.clone(), value: word(first) })
        };
        let entries = section.options.iter().filter_map(entry).collect();
        Node { line: section.line, value: Value::Map(entries) }
    }

    /// Says of options that they are not among `names`.
    fn only(&mut self, section: &Section, file: &Rc<PathBuf>, names: &[&'static str]) {
        for setting in section.options.iter().filter(|set| !names.contains(&set.name.as_str())) {
            let line = setting.values.first().map_or(section.line, |word| word.line);
            let name = format!("{}.{}", section.kind, setting.name);
            self.unknown(&Origin::Line(Rc::clone(file), line), &name, names.iter().copied());
        }
    }

    /// The values of the two options that a section must have.
    fn two<'s>(
        &mut self,
        section: &'s Section,
        file: &Rc<PathBuf>,
        names: [&'static str; 2],
    ) -> Option<[&'s [Word]; 2]> {
        self.only(section, file, &names);
        let found = names.map(|name| value_of(section, name));
        if let [Some(first), Some(second)] = found {
            return Some([first, second]);
        }
        let text = format!("both {} and {} are needed", names[0], names[1]);
        let origin = Origin::Line(Rc::clone(file), section.line);
        self.problems.add(Weight::Error, &origin, &section.kind, text);
        None
    }

    /// Lays the environment over what is there; our own prefix wins over headscale's.
    pub(super) fn environment(&mut self, variables: &[(String, String)], base: &Path) {
        let style = Style { base, seconds: false, words: true };
        for prefix in ["HEADSCALE_", "GRAMSCALE_"] {
            for (variable, value) in variables {
                let Some(name) = variable.strip_prefix(prefix) else { continue };
                let origin = Origin::Variable(variable.clone());
                let named = |key: &&Key| !key.name.is_empty() && variable_of(key.name) == name;
                let Some(at) = KEYS.iter().position(|key| named(&key)) else {
                    // headscale has variables that are no settings.
                    if prefix == "GRAMSCALE_" && !NO_SETTINGS.contains(&name) {
                        let names: Vec<_> = KEYS.iter().map(|key| variable_of(key.name)).collect();
                        let near = nearest(name, names.iter().map(String::as_str));
                        let near = near.map(|near| format!("; {prefix}{near} is meant?"));
                        let text = format!("no such setting{}", near.unwrap_or_default());
                        self.problems.add(Weight::Unknown, &origin, name, text);
                    }
                    continue;
                };
                let node = from_text(value);
                self.set(at, Given { node: &node, origin, name: variable }, style);
            }
        }
    }

    /// Lays a flag of the command line over what is there.
    pub(super) fn flag(&mut self, name: &str, flag: &'static str, value: &str, base: &Path) {
        let style = Style { base, seconds: false, words: true };
        if let Some(at) = KEYS.iter().position(|key| key.name == name) {
            let node = Node { line: 0, value: Value::Text(value.into()) };
            self.set(at, Given { node: &node, origin: Origin::Flag(flag), name }, style);
        }
    }

    fn set(&mut self, at: usize, given: Given<'_>, style: Style<'_>) {
        let Some(key) = KEYS.get(at) else { return };
        let Given { node, origin, name } = given;
        if let Slot::Unused(why) = key.slot {
            let why = why.filter(|why| !is_off(node) && !self.told.contains(why));
            if let Some(why) = why {
                self.told.push(why);
                self.problems.add(Weight::Warning, &origin, name, why.into());
            }
            return;
        }
        // A key with nothing behind it leaves the default, as a key that is not there.
        if node.value == Value::Null {
            return;
        }
        if let Err(mut wrong) = key.slot.set(&mut self.settings, node, style) {
            // Items of lists are quoted where they are read.
            if let Value::Plain(text) | Value::Text(text) = &node.value
                && !wrong.starts_with('"')
                && !text.is_empty()
            {
                wrong.push_str(&format!(", not \"{}\"", text.escape_debug()));
            }
            self.problems.add(Weight::Error, &origin, name, wrong);
        }
        if let Some(place) = self.given.get_mut(at) {
            *place = Some((origin, name.into()));
        }
    }

    fn unknown<'k>(&mut self, origin: &Origin, name: &str, known: impl Iterator<Item = &'k str>) {
        let text = match nearest(name, known) {
            Some(near) => format!("no such setting; {near} is meant?"),
            None => "no such setting".into(),
        };
        self.problems.add(Weight::Unknown, origin, name, text);
    }
}

/// Sections of which each is one more of its kind.
const LISTED: [&str; 4] = ["split_dns", "host_record", "user", "derp_region"];

/// The options of `config derp_region`.
const REGION: &[&str] = &["id", "host", "code", "name", "port", "stun_port", "ipv4", "ipv6"];

fn value_of<'s>(section: &'s Section, name: &str) -> Option<&'s [Word]> {
    let setting = section.options.iter().find(|set| set.name == name)?;
    Some(&setting.values[..]).filter(|values| !values.is_empty())
}

/// Variables with our prefix that are no settings.
const NO_SETTINGS: &[&str] = &["CONFIG"];

fn word(word: &Word) -> Node {
    Node { line: word.line, value: Value::Text(word.text.clone()) }
}

fn section_of(key: &Key) -> &'static str {
    key.uci.split_once('.').map_or("", |(section, _)| section)
}

fn variable_of(name: &str) -> String {
    name.to_ascii_uppercase().replace('.', "_")
}

/// A value of the environment: text, unless it is a list or mapping in brackets.
fn from_text(text: &str) -> Node {
    #[cfg(feature = "yaml")]
    if text.starts_with(['[', '{'])
        && let Ok(node) = gramscale_proto::wire::yaml::parse(text)
    {
        return node;
    }
    Node { line: 0, value: Value::Text(text.into()) }
}

/// Whether something was set to nothing, or to false.
fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Plain(text) | Value::Text(text) => text.is_empty() || flag(text) == Ok(false),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

/// The name that was probably meant.
fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let (mut best, mut least) = (None, usize::MAX);
    for candidate in known.filter(|candidate| !candidate.is_empty()) {
        // The right key in the wrong group is near as well.
        let moved = last(candidate) == last(name) && candidate != name;
        let far = if moved { 2 } else { distance(name, candidate) };
        if far < least {
            (best, least) = (Some(candidate), far);
        }
    }
    best.filter(|_| least <= 2 + name.len() / 6)
}

/// How many letters must be added, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Reads a UCI file's text.
pub(super) fn read_uci(text: &str) -> Result<Vec<Section>, (u32, String)> {
    uci::parse(text).map_err(|error| (error.line, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, far) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }

    #[test]
    fn nearest_names() {
        let known = || KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("listen_adr", known()), Some("listen_addr"));
        assert_eq!(nearest("dns.magicdns", known()), Some("dns.magic_dns"));
        assert_eq!(nearest("server.server_url", known()), Some("server_url"));
        assert_eq!(nearest("frobnicate", known()), None);
    }
}
