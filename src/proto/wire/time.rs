//! Moments and lengths of time as texts: RFC 3339, and durations as Prometheus writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A moment: nanoseconds since 1970-01-01T00:00:00Z. Reaches from 1677 to 2262.
///
/// The zero time of Go (`0001-01-01T00:00:00Z`), which clients send for "unset", lies outside;
/// [`Timestamp::parse`] reads it as `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `secs` seconds after 1970, saturating.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(NANOS))
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Nanoseconds past [`Self::secs`].
    pub const fn nanos(self) -> u32 {
        self.0.rem_euclid(NANOS) as u32
    }

    /// The moment `by` later, saturating.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339. `Ok(None)` is Go's zero time, or any moment before 1678.
    ///
    /// A moment after 2261 becomes the last representable one.
    pub fn parse(text: &str) -> Result<Option<Self>, TimeError> {
        parse(text).ok_or(TimeError)
    }

    /// `2006-01-02 15:04:05` in UTC, as tables for people show it.
    pub fn table(self) -> String {
        let (y, mo, d, h, mi, s) = self.civil();
        format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
    }

    fn civil(self) -> (i64, u32, u32, i64, i64, i64) {
        let (year, month, day) = civil_from_days(self.secs().div_euclid(DAY));
        let rest = self.secs().rem_euclid(DAY);
        (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
    }
}

/// RFC 3339 in UTC, with as many digits of a second as are not zero (Go's `RFC3339Nano`).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, mo, d, h, mi, s) = self.civil();
        write!(f, "{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}")?;
        if self.nanos() != 0 {
            let digits = format!("{:09}", self.nanos());
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::parse(text)?.ok_or(TimeError)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(d).map(Self)
        }
    }
}

/// A text is no RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeError;

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2026-01-31T15:04:05Z is expected")
    }
}

impl std::error::Error for TimeError {}

fn parse(text: &str) -> Option<Option<Timestamp>> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = bytes.get(from..to)?;
        part.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|b| any.contains(b));
    let separated = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    if !separated {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month)
        && day >= 1
        && day <= i64::from(days_in_month(year, month))
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b".") {
        let digits = bytes.get(at + 1..)?.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let kept = digits.min(9);
        nanos = number(at + 1, at + 1 + kept)? * 10_i64.pow(9 - kept as u32);
        at += 1 + digits;
    }
    let offset = match bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && is(at + 3, b":") => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            let seconds = hours * 3600 + minutes * 60;
            if hours > 23 || minutes > 59 {
                return None;
            }
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    if year < 1678 {
        return Some(None);
    }
    let secs =
        days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    Some(Some(Timestamp(secs.saturating_mul(NANOS).saturating_add(nanos))))
}

fn days_in_month(year: i64, month: i64) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; the year is counted from March, so
/// that the leap day is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// Reads a duration such as `90s`, `1h30m`, `90d`, `1w`, `1y` (a year is 365 days), `500ms`, or
/// `0`; also fractions (`1.5h`), as Go writes them.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(DurationError);
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let number_len =
            rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(DurationError)?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            "d" => 86_400 * 1_000_000_000,
            "w" => 604_800 * 1_000_000_000,
            "y" => 31_536_000 * 1_000_000_000,
            _ => return Err(DurationError),
        };
        let nanos = scaled(number, unit).ok_or(DurationError)?;
        total = total.checked_add(nanos).ok_or(DurationError)?;
        rest = tail;
    }
    let total = Duration::from_nanos(total);
    if total > DURATION_MAX { Err(DurationError) } else { Ok(total) }
}

/// 200 years: what a timestamp can be moved by.
const DURATION_MAX: Duration = Duration::from_secs(200 * 31_536_000);

/// `number`, which may have a fraction, times `unit`. In integers: reading floating point numbers
/// takes tables of 10 KB.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| {
        text.bytes().try_fold(0_u64, |n, b| {
            let digit = b.checked_sub(b'0').filter(|d| *d <= 9)?;
            n.checked_mul(10)?.checked_add(u64::from(digit))
        })
    };
    let fraction = fraction.get(..fraction.len().min(9))?;
    let parts = u128::from(digits(fraction)?) * u128::from(unit);
    let below = parts / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    digits(whole)?.checked_mul(unit)?.checked_add(u64::try_from(below).ok()?)
}

/// A text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationError;

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 30m, 24h or 90d is expected")
    }
}

impl std::error::Error for DurationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339() {
        for (text, secs, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1970-01-01T00:02:03Z", 123, 0),
            ("1970-01-01T02:02:03+02:00", 123, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("2026-11-21T13:21:42.000000001Z", 1_795_267_302, 1),
            ("1969-12-31T23:59:59Z", -1, 0),
        ] {
            let time = Timestamp::parse(text).unwrap().unwrap();
            assert_eq!((time.secs(), time.nanos()), (secs, nanos), "{text}");
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!(Timestamp(951_868_799_500_000_000).to_string(), "2000-02-29T23:59:59.5Z");
        assert_eq!(Timestamp::from_secs(123).table(), "1970-01-01 00:02:03");
        assert_eq!(Timestamp::parse("0001-01-01T00:00:00Z"), Ok(None));
        assert_eq!(Timestamp::parse("9999-12-31T00:00:00Z"), Ok(Some(Timestamp(i64::MAX))));
        for bad in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+0200",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T24:00:00Z",
            "é026-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(bad), Err(TimeError), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("0.0050000000000001s", 5),
            ("200y", 6_307_200_000_000),
            ("90d", 7_776_000_000),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
            ("800ms", 800),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "h", "5", "1x", "-1h", "1..5h", "9999999y", "201y", ".h", "1.2.3s", "é"] {
            assert_eq!(parse_duration(bad), Err(DurationError), "{bad}");
        }
    }
}
