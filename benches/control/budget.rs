//! The most that is allowed of what does not depend on the time.

use std::fs;
use std::path::Path;

/// Figures of one run that are above the file's section `[control.NODES]`, each as a sentence.
/// What the file does not name is not limited; what it names and nobody measured is an excess.
pub(super) fn excesses(file: &Path, nodes: usize, figures: &[(&str, u64)]) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let section = format!("[control.{nodes}]");
    let mut lines = text.lines().skip_while(|line| line.trim() != section).skip(1);
    let limits = lines.by_ref().take_while(|line| !line.starts_with('['));
    let limits: Vec<_> = limits.filter_map(limit).collect();
    assert!(!limits.is_empty(), "{} has no {section}", file.display());
    limits
        .into_iter()
        .filter_map(|(name, most)| match figures.iter().find(|(known, _)| *known == name) {
            Some((_, value)) if *value <= most => None,
            Some((_, value)) => Some(format!("{name} is {value}, and {most} is allowed")),
            None => Some(format!("{name} was not measured")),
        })
        .collect()
}

/// `name = number`, and nothing of a comment or an empty line.
fn limit(line: &str) -> Option<(&str, u64)> {
    let line = line.split('#').next()?;
    let (name, value) = line.split_once('=')?;
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    Some((name.trim(), digits.parse().ok()?))
}
