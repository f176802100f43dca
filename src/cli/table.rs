//! Tables and times for people.

use gramscale_proto::wire::time::Timestamp;

/// Rows under headings. A cell may have several lines.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings and no rows.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&h| h.to_owned()).collect()] }
    }

    /// Adds a row of as many cells as there are headings.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The text: columns as wide as their widest line, ` | ` between them, no blanks at line ends.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.lines().map(width_of).max().unwrap_or(0).max(*width);
            }
        }
        let mut out = String::new();
        for row in &self.rows {
            let height = row.iter().map(|cell| cell.lines().count()).max().unwrap_or(0).max(1);
            for line in 0..height {
                let mut text = String::new();
                for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                    text.push_str(if i == 0 { "" } else { " | " });
                    let part = cell.lines().nth(line).unwrap_or("");
                    text.push_str(part);
                    text.extend(std::iter::repeat_n(' ', width.saturating_sub(width_of(part))));
                }
                out.push_str(text.trim_end());
                out.push('\n');
            }
        }
        out
    }
}

fn width_of(line: &str) -> usize {
    line.chars().count()
}

/// How far `time` is from `now`, in words: `5 minutes ago`, `in 3 days`, `just now`.
pub(super) fn words(time: Timestamp, now: Timestamp) -> String {
    let secs = time.secs().saturating_sub(now.secs());
    let away = secs.unsigned_abs();
    const UNITS: [(u64, &str); 5] =
        [(365 * 86_400, "year"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    // A unit is used from two of it on, so that "47 hours" is not "1 day".
    let unit = UNITS.iter().find(|(length, _)| away >= 2 * length);
    let Some((length, name)) = unit else { return "just now".to_owned() };
    let amount = away.saturating_add(length / 2) / length;
    if secs < 0 { format!("{amount} {name}s ago") } else { format!("in {amount} {name}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned() {
        let mut table = Table::new(&["ID", "Name", "Tags"]);
        table.row(["1".into(), "käse".into(), "tag:a\ntag:bb".into()]);
        table.row(["100".into(), "b".into(), String::new()]);
        let text = "ID  | Name | Tags\n1   | käse | tag:a\n    |      | tag:bb\n100 | b    |\n";
        assert_eq!(table.render(), text);
        assert_eq!(Table::new(&["ID", "Name"]).render(), "ID | Name\n");
    }

    #[test]
    fn in_words() {
        let now = Timestamp::from_secs(1_000_000_000);
        for (offset, text) in [
            (0, "just now"),
            (-1, "just now"),
            (-2, "2 seconds ago"),
            (90, "in 90 seconds"),
            (-300, "5 minutes ago"),
            (7200, "in 2 hours"),
            (-172_799, "48 hours ago"),
            (3599, "in 60 minutes"),
            (90 * 86_400, "in 90 days"),
            (-3 * 365 * 86_400, "3 years ago"),
        ] {
            assert_eq!(words(Timestamp::from_secs(1_000_000_000 + offset), now), text);
        }
        assert_eq!(words(Timestamp(i64::MIN), Timestamp(i64::MAX)), "585 years ago");
    }
}
