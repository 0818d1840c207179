//! From probes to an outage: pure, so that it is tested with made-up services and read without a clock.
//!
//! An outage lasts from the start of the last good probe before the first bad one to the start of the first of
//! [`GOODS`] consecutive good ones: a single answer between failures ends nothing. Its error is at most one interval on
//! either side.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Class, Sample};

/// So many good probes in a row end an outage.
pub const GOODS: usize = 3;

/// Times since the prober began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// Start of the last good probe; of the first probe where there was no good one.
    pub from: Duration,
    /// Start of the first of three good ones; None where it had not ended with the last probe.
    pub to: Option<Duration>,
    /// Probes that failed in it.
    pub failed: u64,
    /// Start of the last probe that belongs to it.
    pub last: Duration,
}

impl Outage {
    /// How long it lasted; at least so long where it has not ended.
    pub fn length(&self) -> Duration {
        self.to.unwrap_or(self.last).saturating_sub(self.from)
    }
}

/// Takes the probes of one kind in the order in which they were begun.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    pub outages: Vec<Outage>,
    open: Option<Outage>,
    last_good: Option<Duration>,
    /// Starts of the good probes since the last bad one, while an outage is open.
    goods: usize,
    first_good: Duration,
}

impl Tracker {
    pub fn push(&mut self, start: Duration, class: Class) {
        if class.is_ok() {
            if let Some(open) = &mut self.open {
                if self.goods == 0 {
                    self.first_good = start;
                }
                self.goods += 1;
                open.last = start;
                if self.goods == GOODS {
                    open.to = Some(self.first_good);
                    self.outages.extend(self.open.take());
                }
            }
            self.last_good = Some(start);
            return;
        }
        self.goods = 0;
        let from = self.last_good.unwrap_or(start);
        let open = self.open.get_or_insert(Outage { from, to: None, failed: 0, last: start });
        open.failed += 1;
        open.last = start;
    }

    /// The outage that has not ended.
    pub fn open(&self) -> Option<&Outage> {
        self.open.as_ref()
    }

    /// All of them; the last may not have ended.
    pub fn finish(mut self) -> Vec<Outage> {
        self.outages.extend(self.open);
        self.outages
    }
}

/// What the probes of one kind say in all.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Analysis {
    pub probes: u64,
    pub failed: u64,
    /// By class, those that occurred.
    pub by_class: BTreeMap<Class, u64>,
    pub outages: Vec<Outage>,
    /// The longest outage.
    pub longest: Duration,
    /// All outages together.
    pub downtime: Duration,
    /// The longest time between the starts of two probes: what is shorter may not have been seen.
    pub widest: Duration,
}

impl Analysis {
    /// Percent of probes that were good; 100 where there was none.
    pub fn percent_ok(&self) -> f64 {
        if self.probes == 0 {
            return 100.0;
        }
        (self.probes - self.failed) as f64 * 100.0 / self.probes as f64
    }
    /// The part that begins within `[from, to)`: outages, failures and probes.
    pub fn within(samples: &[Sample], whole: &Analysis, from: Duration, to: Duration) -> Analysis {
        let part: Vec<Sample> = samples.iter().filter(|s| (from..to).contains(&s.start)).copied().collect();
        // An outage belongs to where its first failure lies, and goes on beyond the end of its phase.
        let first_bad = |o: &Outage| samples.iter().find(|s| s.start >= o.from && !s.class.is_ok()).map_or(o.from, |s| s.start);
        let outages = whole.outages.iter().filter(|o| (from..to).contains(&first_bad(o))).copied().collect();
        Analysis::of(&part, outages)
    }

    fn of(samples: &[Sample], outages: Vec<Outage>) -> Analysis {
        let mut by_class = BTreeMap::new();
        for sample in samples {
            *by_class.entry(sample.class).or_insert(0) += 1;
        }
        let ok = by_class.get(&Class::Ok).copied().unwrap_or(0);
        let widest = samples.windows(2).filter_map(|w| match w {
            [a, b] => Some(b.start.saturating_sub(a.start)),
            _ => None,
        });
        Analysis {
            probes: samples.len() as u64,
            failed: samples.len() as u64 - ok,
            by_class,
            longest: outages.iter().map(Outage::length).max().unwrap_or_default(),
            downtime: outages.iter().map(Outage::length).sum(),
            widest: widest.max().unwrap_or_default(),
            outages,
        }
    }
}

/// `samples` are of one kind, sorted by their start.
pub fn analyse(samples: &[Sample]) -> Analysis {
    let mut tracker = Tracker::default();
    for sample in samples {
        tracker.push(sample.start, sample.class);
    }
    Analysis::of(samples, tracker.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(cells: &str, step: Duration) -> Vec<Sample> {
        let of = |(n, cell): (usize, char)| Sample {
            probe: 0,
            n: n as u64,
            start: step * n as u32,
            took: Duration::from_millis(1),
            class: Class::of_cell(cell).unwrap(),
        };
        cells.chars().enumerate().map(of).collect()
    }
    const STEP: Duration = Duration::from_millis(10);

    fn lengths(cells: &str) -> Vec<u128> {
        analyse(&samples(cells, STEP)).outages.iter().map(|o| o.length().as_millis()).collect()
    }

    #[test]
    fn from_the_last_good_to_the_first_of_three() {
        assert_eq!(lengths("......"), []);
        assert_eq!(lengths("..rr..."), [30]);
        assert_eq!(lengths("..rr.t..r..."), [80], "one or two good ones end nothing");
        assert_eq!(lengths("..r...5..."), [20, 20]);
        assert_eq!(lengths("rrr..."), [30], "from the first probe where none was good before");
        assert_eq!(lengths("..rrr"), [30], "at least so long");
        assert_eq!(lengths("..rr.."), [40], "not known to have ended");
        assert_eq!(lengths(""), []);
        let all = analyse(&samples("..rt5x?...", STEP));
        assert_eq!((all.probes, all.failed, all.by_class.len()), (10, 5, 6));
        assert!((all.percent_ok() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn parts_keep_their_outages_whole() {
        let samples = samples("....rr.....tt...", STEP);
        let whole = analyse(&samples);
        let first = Analysis::within(&samples, &whole, Duration::ZERO, Duration::from_millis(80));
        let second = Analysis::within(&samples, &whole, Duration::from_millis(80), Duration::MAX);
        assert_eq!((first.failed, first.longest.as_millis()), (2, 30));
        assert_eq!((second.failed, second.longest.as_millis()), (2, 30));
        let early = Analysis::within(&samples, &whole, Duration::from_millis(35), Duration::from_millis(45));
        assert_eq!(early.outages.len(), 1, "it belongs to where it was first seen, though it began before");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// A service that is down for a while, seen by probes that begin a little off their beat: never wrong by more than two
        /// intervals.
        #[test]
        fn one_outage_is_measured_within_two_intervals(
            step_ms in 5u64..200, shift in 0.0f64..1.0, down_at in 10u64..100, down_steps in 0.0f64..300.0,
            jitter in prop::collection::vec(0.0f64..0.3, 600),
        ) {
            let step = Duration::from_millis(step_ms);
            let down = step.mul_f64(down_at as f64 + shift);
            let up = down + step.mul_f64(down_steps);
            let samples: Vec<Sample> = jitter.iter().enumerate().map(|(n, j)| {
                let start = step.mul_f64(n as f64 + j);
                let class = if (down..up).contains(&start) { Class::Timeout } else { Class::Ok };
                Sample { probe: 0, n: n as u64, start, took: step, class }
            }).collect();
            let all = analyse(&samples);
            prop_assert!(all.outages.len() <= 1);
            prop_assert!(all.longest.abs_diff(up - down) <= all.widest * 2, "{:?} for {:?} at {step:?}", all.longest, up - down);
        }

        #[test]
        fn sums_agree_whatever_the_probes_say(cells in "[.rtx5?]{0,200}") {
            let samples = samples(&cells, STEP);
            let all = analyse(&samples);
            prop_assert_eq!(all.failed, cells.chars().filter(|c| *c != '.').count() as u64);
            prop_assert_eq!(all.failed, all.outages.iter().map(|o| o.failed).sum::<u64>(), "every failure is in one outage");
            prop_assert_eq!(all.by_class.values().sum::<u64>(), all.probes);
            prop_assert!(all.longest <= all.downtime);
            prop_assert!(all.outages.windows(2).all(|w| w[0].to.is_some_and(|to| to <= w[1].from)), "in order, apart");
            let spanned = samples.last().map_or(Duration::ZERO, |s| s.start);
            prop_assert!(all.downtime <= spanned);
        }
    }
}
