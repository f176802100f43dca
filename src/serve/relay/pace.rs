//! Token buckets, counted in time: how long the bucket takes to fill.

use std::time::{Duration, Instant};

use gramscale_proto::wire::derp::login::Rate;

/// A bucket, full at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    pub(super) const FULL: Self = Self { full_at: None };

    /// Takes out what flows in during `cost`, even if it is not there; it is missing then.
    pub(super) fn charge(&mut self, now: Instant, cost: Duration) {
        let from = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = from.checked_add(cost).or(Some(from));
    }

    /// How long until nothing is missing in a bucket that fills within `burst`.
    pub(super) fn wait(&self, now: Instant, burst: Duration) -> Duration {
        let missing = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        missing.saturating_sub(burst)
    }

    /// Takes out `cost` if it is there.
    pub(super) fn take(&mut self, now: Instant, cost: Duration, burst: Duration) -> bool {
        let there = self.wait(now, burst.saturating_sub(cost)).is_zero();
        if there {
            self.charge(now, cost);
        }
        there
    }
}

/// How long `bytes` take at a rate.
pub(super) fn time_of(bytes: usize, rate: Rate) -> Duration {
    // At most 4 G times 10^9: fits.
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(u32::MAX.into());
    Duration::from_nanos(bytes * 1_000_000_000 / u64::from(rate.bytes_per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_a_second_three_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::FULL;
        let mut take =
            |millis| bucket.take(start + Duration::from_millis(millis), SECOND, 3 * SECOND);
        assert_eq!([0, 0, 0, 0].map(&mut take), [true, true, true, false]);
        assert_eq!([999, 1000, 1001].map(&mut take), [false, true, false]);
        assert_eq!([60_000; 4].map(&mut take), [true, true, true, false]);
    }

    #[test]
    fn debts_are_waited_for() {
        let rate = Rate { bytes_per_second: 1000, burst: 4000 };
        let now = Instant::now();
        let burst = time_of(4000, rate);
        assert_eq!(burst, 4 * SECOND);
        let mut bucket = Bucket::FULL;
        bucket.charge(now, time_of(3000, rate));
        assert_eq!(bucket.wait(now, burst), Duration::ZERO);
        bucket.charge(now, time_of(3000, rate));
        assert_eq!(bucket.wait(now, burst), 2 * SECOND);
        assert_eq!(bucket.wait(now + SECOND, burst), SECOND);
        assert_eq!(bucket.wait(now + 2 * SECOND, burst), Duration::ZERO);
        assert_eq!(
            time_of(usize::MAX, Rate { bytes_per_second: 0, burst: 0 }).as_secs(),
            4_294_967_295
        );
    }
}
