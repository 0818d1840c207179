//! The retry budget: retries may be a share of the requests of the last ten seconds, so that a pool that is failing is not
//! finished off by being asked everything three times.

use std::collections::VecDeque;

use super::super::clock::Millis;
use super::super::config::pool::RetryConfig;

const WINDOW: Millis = 10_000;

/// Only looked at when something has failed, so it may stand behind a lock.
#[derive(Debug, Default)]
pub struct RetryBudget {
    /// (second, requests of the pool when it began, retries granted in it), the oldest first.
    seconds: VecDeque<(u64, u64, u64)>,
}

impl RetryBudget {
    /// Called once a second with the pool's requests so far.
    pub fn tick(&mut self, now: Millis, requests: u64) {
        let second = now / 1000;
        if self.seconds.back().is_none_or(|(s, ..)| *s < second) {
            self.seconds.push_back((second, requests, 0));
        }
        while self.seconds.front().is_some_and(|(s, ..)| s * 1000 + WINDOW + 1000 <= now) {
            self.seconds.pop_front();
        }
    }

    /// Whether one more retry is within the budget; it is counted then.
    pub fn grant(&mut self, config: &RetryConfig, now: Millis, requests: u64) -> bool {
        self.tick(now, requests);
        let from = self.seconds.front().map_or(requests, |(_, r, _)| *r);
        let granted: u64 = self.seconds.iter().map(|(.., n)| n).sum();
        let share = requests.saturating_sub(from) as f64 * config.budget;
        let Some((.., this_second)) = self.seconds.back_mut() else { return false };
        let within = *this_second < u64::from(config.floor) || ((granted + 1) as f64) <= share;
        if within {
            *this_second += 1;
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_and_a_floor() {
        let config = RetryConfig { connect: 3, attempts: 2, budget: 0.1, floor: 0 };
        let mut budget = RetryBudget::default();
        budget.tick(1000, 0);
        let granted = (0..1000).filter(|_| budget.grant(&config, 5000, 1000)).count();
        assert_eq!(granted, 100);
        // What was granted counts until the window has passed.
        assert!(!budget.grant(&config, 10_000, 1000));
        budget.tick(20_000, 1000);
        let granted = (0..1000).filter(|_| budget.grant(&config, 20_500, 1200)).count();
        assert_eq!(granted, 20);

        let config = RetryConfig { connect: 3, attempts: 2, budget: 0.0, floor: 3 };
        let mut budget = RetryBudget::default();
        assert_eq!((0..10).filter(|_| budget.grant(&config, 1000, 10)).count(), 3);
        assert_eq!((0..10).filter(|_| budget.grant(&config, 1999, 10)).count(), 0);
        assert_eq!((0..10).filter(|_| budget.grant(&config, 2000, 10)).count(), 3, "a new second");
    }
}
