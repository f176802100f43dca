//! The log: one line a message on standard error, where procd and systemd take it from.

use std::io::Write as _;

use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::time::Timestamp;
use gramscale_rt::clock;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object with `time`, `level`, `target` and `message`.
    Json,
    /// `<N>` with the priority of syslog, and the message: what procd and systemd expect, which
    /// add the time themselves.
    Syslog,
    /// Time, level and message.
    Text,
}

struct Logger {
    format: LogFormat,
}

/// Begins to log. To be called once.
pub fn start(level: LevelFilter, format: LogFormat) {
    // The only error is a logger that is there already.
    if log::set_logger(Box::leak(Box::new(Logger { format }))).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let time = Timestamp(clock::unix_nanos());
            let line = line(self.format, time, record.level(), &record.args().to_string());
            // Nobody is left to be told that the log can't be written.
            let _ = std::io::stderr().write_all(&line);
        }
    }

    fn flush(&self) {}
}

fn line(format: LogFormat, time: Timestamp, level: Level, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 40);
    match format {
        LogFormat::Json => {
            let mut json = Json::new(&mut out);
            json.open('{').key("time").display(&time).key("level").display(&level);
            json.key("message").string(message).close('}');
        }
        LogFormat::Syslog => {
            let priority = match level {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            _ = write!(out, "<{priority}>{}", one_line(message));
        }
        LogFormat::Text => {
            _ = write!(out, "{} {level:5} {}", time.table(), one_line(message));
        }
    }
    out.push(b'\n');
    out
}

/// What peers send must not begin a line of its own.
fn one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = |format| {
            let line = line(format, Timestamp::from_secs(0), Level::Warn, "a\n\"b\"");
            String::from_utf8(line).unwrap()
        };
        assert_eq!(text(LogFormat::Text), "1970-01-01 00:00:00 WARN  a \"b\"\n");
        assert_eq!(text(LogFormat::Syslog), "<4>a \"b\"\n");
        assert_eq!(
            text(LogFormat::Json),
            "{\"time\":\"1970-01-01T00:00:00Z\",\"level\":\"WARN\",\"message\":\"a\\n\\\"b\\\"\"}\n"
        );
    }
}
