//! The log: one line a message, to standard error or to the system's log.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

use gramscale_proto::wire::json::Json;
use gramscale_proto::wire::time::Timestamp;
use gramscale_rt::clock;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::LogFormat;

/// Where the system's log listens.
const SYSLOG: &str = "/dev/log";
/// The facility of services, in the bits above the severity (RFC 5424, 6.2.1).
const DAEMON: u8 = 3 << 3;

struct Logger {
    format: LogFormat,
    /// Not connected, so that a log that starts later or again is found.
    syslog: Option<UnixDatagram>,
}

/// Begins to log. To be called once.
pub fn start(level: LevelFilter, format: LogFormat) {
    let socket = || {
        let socket = UnixDatagram::unbound().ok()?;
        // A log that is stuck must not stop the server.
        socket.set_nonblocking(true).ok()?;
        Some(socket)
    };
    let syslog = if format == LogFormat::Syslog { socket() } else { None };
    // The only error is a logger that is there already.
    if log::set_logger(Box::leak(Box::new(Logger { format, syslog }))).is_ok() {
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
            let (level, text) = (record.level(), record.args().to_string());
            if let Some(syslog) = &self.syslog
                && syslog.send_to(&line(LogFormat::Syslog, time, level, &text), SYSLOG).is_ok()
            {
                return;
            }
            // Without a system's log its lines go where others do.
            let format = match self.format {
                LogFormat::Syslog => LogFormat::Text,
                format => format,
            };
            let line = line(format, time, level, &text);
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
            // OpenWrt's logd takes 16 bytes for the time wherever the 16th is a space, so one must
            // be there. The process's number would be that in its jail.
            let (priority, time) = (DAEMON | priority, bsd_time(&time.table()));
            _ = write!(out, "<{priority}>{time}gramscale: {}", one_line(message));
            return out;
        }
        LogFormat::Text => {
            _ = write!(out, "{} {level:5} {}", time.table(), one_line(message));
        }
    }
    out.push(b'\n');
    out
}

/// A time as syslog has it, with the space behind it, from `2026-11-05 17:28:00`.
fn bsd_time(table: &str) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = table.get(5..7).and_then(|month| month.parse().ok()).unwrap_or(1_usize);
    let name = MONTHS.get(month.saturating_sub(1) * 3..month * 3).unwrap_or("Jan");
    let day = table.get(8..10).unwrap_or_default().trim_start_matches('0');
    format!("{name} {day:>2} {} ", table.get(11..19).unwrap_or_default())
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
        assert_eq!(text(LogFormat::Syslog), "<28>Jan  1 00:00:00 gramscale: a \"b\"");
        assert_eq!(bsd_time("2026-12-31 23:59:58"), "Dec 31 23:59:58 ");
        assert_eq!(
            text(LogFormat::Json),
            "{\"time\":\"1970-01-01T00:00:00Z\",\"level\":\"WARN\",\"message\":\"a\\n\\\"b\\\"\"}\n"
        );
    }
}
