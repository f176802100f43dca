//! DNS records from a file, followed while it changes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use gramscale_proto::netmap::Record;
use gramscale_proto::wire::json;
use serde_json::Value;

use super::state::State;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Bytes of the file: some ten thousand records, which every client gets.
const MAX_FILE: u64 = 1 << 20;

/// Follows the file for ever. A file that can't be read leaves the records as they were.
pub(super) async fn follow(state: Rc<State>, path: PathBuf) {
    let mut seen = stamp(&path);
    loop {
        gramscale_rt::sleep(LOOK).await;
        let now = stamp(&path);
        if now != seen {
            seen = now;
            reload(&state, &path);
        }
    }
}

/// Reads the file again and tells viewers if it says something else.
pub(super) fn reload(state: &State, path: &Path) {
    match read(path) {
        Ok(records) => {
            let changed = state.with_netmap(|netmap| {
                let mut settings = netmap.settings().clone();
                settings.dns.records = records;
                netmap.set_settings(settings)
            });
            if changed {
                log::info!("the DNS records of {} are in force", path.display());
                state.publish_settings(true, false);
            }
        }
        Err(error) => log::error!("the DNS records stay as they were: {error}"),
    }
}

/// The records in a file: a JSON array of objects with `name`, `type` and `value`.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, RecordsError> {
    let fail = |why: String| RecordsError { path: path.to_owned(), why };
    let size = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(fail("the file is larger than 1 MiB".into()));
    }
    let text = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let value = json::read(&text).map_err(|error| fail(error.to_string()))?;
    let Value::Array(items) = value else {
        return Err(fail("a JSON array of records is expected".into()));
    };
    let records = items.iter().enumerate().map(|(at, item)| {
        record(item).ok_or_else(|| {
            fail(format!(
                "record {at}: an object with name, type (A or AAAA) and value (an address of that \
                 type) is expected"
            ))
        })
    });
    records.collect()
}

fn record(item: &Value) -> Option<Record> {
    let text = |name| item.get(name)?.as_str();
    let (name, kind, value) = (text("name")?, text("type")?, text("value")?);
    let fits = match kind {
        "A" => value.parse::<Ipv4Addr>().is_ok(),
        "AAAA" => value.parse::<Ipv6Addr>().is_ok(),
        _ => false,
    };
    let record = || Record { name: name.into(), kind: kind.into(), value: value.into() };
    (fits && !name.is_empty()).then(record)
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Why a file gives no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordsError {
    path: PathBuf,
    why: String,
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for RecordsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let good = serde_json::json!({"name": "nas.lan", "type": "A", "value": "192.0.2.1"});
        let expect = Record { name: "nas.lan".into(), kind: "A".into(), value: "192.0.2.1".into() };
        assert_eq!(record(&good), Some(expect));
        for (name, kind, value) in
            [("", "A", "192.0.2.1"), ("n", "AAAA", "192.0.2.1"), ("n", "TXT", "x"), ("n", "A", "x")]
        {
            let bad = serde_json::json!({"name": name, "type": kind, "value": value});
            assert_eq!(record(&bad), None, "{bad}");
        }
        assert_eq!(record(&serde_json::json!(7)), None);
    }
}
