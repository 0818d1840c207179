//! Rates by the generic cell rate algorithm (GCRA, ITU-T I.371): one number a client, exact, no windows to jump at their edges.

use std::time::Duration;

/// So many in a period, evenly; `burst` of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
    pub burst: u32,
}

impl Rate {
    /// Nanoseconds between two arrivals at the full rate.
    fn interval(self) -> u64 {
        (nanos(self.per) / u64::from(self.count.max(1))).max(1)
    }

    /// Whether one more may come at `now`. Yes: the new arrival time to keep. No: how long until one may.
    /// `arrival` and `now` are nanoseconds of one clock.
    pub fn admit(self, arrival: u64, now: u64) -> Result<u64, Duration> {
        let interval = self.interval();
        let tolerance = interval.saturating_mul(u64::from(self.burst.max(1)) - 1);
        let due = arrival.max(now);
        match (due - now).checked_sub(tolerance).filter(|early| *early > 0) {
            None => Ok(due.saturating_add(interval)),
            Some(early) => Err(Duration::from_nanos(early)),
        }
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate { count: 10, per: Duration::from_secs(1), burst: 3 };
        let mut arrival = 0;
        let start = 5 * SECOND;
        for _ in 0..3 {
            arrival = rate.admit(arrival, start).unwrap();
        }
        assert_eq!(rate.admit(arrival, start), Err(Duration::from_millis(100)));
        assert_eq!(rate.admit(arrival, start + SECOND / 20), Err(Duration::from_millis(50)));
        arrival = rate.admit(arrival, start + SECOND / 10).unwrap();
        assert!(rate.admit(arrival, start + SECOND / 10).is_err());
        assert!(rate.admit(arrival, start + 10 * SECOND).is_ok());
    }

    proptest! {
        /// In no stretch of time come more than the rate and the burst allow.
        #[test]
        fn never_more_than_allowed(count in 1u32..50, burst in 1u32..20, gaps in proptest::collection::vec(0u64..200_000_000, 1..200)) {
            let rate = Rate { count, per: Duration::from_secs(1), burst };
            let (mut now, mut arrival, mut taken) = (SECOND, 0, Vec::new());
            for gap in gaps {
                now += gap;
                if let Ok(next) = rate.admit(arrival, now) {
                    arrival = next;
                    taken.push(now);
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (n, to) in taken[i..].iter().enumerate() {
                    let allowed = u64::from(burst) + (to - from) / rate.interval();
                    prop_assert!((n as u64) < allowed, "{} in {} ns", n + 1, to - from);
                }
            }
        }
    }
}
