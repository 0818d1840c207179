//! Latency histograms of fixed size: eight buckets to a power of two, so that every quantile is exact to an eighth.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets to a power of two, as a power of two.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// Times are counted in microseconds up to 2^36 (19 hours).
const MAX_BITS: u32 = 36;
const BUCKETS: usize = (MAX_BITS - SUB_BITS + 1) as usize * SUB;

/// Counts of one thread: written by it alone, read by all.
#[derive(Debug)]
pub struct Counts {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

fn bucket_of(micros: u64) -> usize {
    let micros = micros.min((1 << MAX_BITS) - 1);
    let bits = u64::BITS - micros.leading_zeros();
    if bits <= SUB_BITS {
        return micros as usize;
    }
    let shift = bits - SUB_BITS - 1;
    (shift as usize) * SUB + (micros >> shift) as usize
}

/// Largest time that falls into a bucket, in microseconds.
fn upper(bucket: usize) -> u64 {
    if bucket < 2 * SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    (((bucket % SUB + SUB + 1) as u64) << shift) - 1
}

/// Adds without an atomic read-modify-write: each cell has one writer.
pub(super) fn add(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

impl Counts {
    /// To be called by the thread that owns it alone.
    pub fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            add(bucket, 1);
        }
        add(&self.sum, micros);
        if micros > self.max.load(Ordering::Relaxed) {
            self.max.store(micros, Ordering::Relaxed);
        }
    }
}

/// The sum over threads at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    /// Microseconds.
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS].into(), count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, counts: &Counts) {
        for (all, one) in self.buckets.iter_mut().zip(&counts.buckets) {
            let one = one.load(Ordering::Relaxed);
            *all += one;
            self.count += one;
        }
        self.sum = self.sum.wrapping_add(counts.sum.load(Ordering::Relaxed));
        self.max = self.max.max(counts.max.load(Ordering::Relaxed));
    }

    pub fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(all, one)| *all += one);
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all times in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum
    }

    pub fn max_us(&self) -> u64 {
        self.max
    }

    /// The time that a share of all requests (0 to 1) took at most, in microseconds, up to an eighth too long; 0 where there are none.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(bucket).min(self.max);
            }
        }
        0
    }

    /// How many took at most so long, for bounds that are the end of a bucket or nearly.
    pub fn at_most(&self, micros: u64) -> u64 {
        self.buckets.iter().enumerate().take_while(|(bucket, _)| upper(*bucket) <= micros).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_within_an_eighth() {
        let counts = Counts::default();
        (1..=10_000).for_each(|n| counts.record(Duration::from_micros(n)));
        let mut all = Histogram::default();
        all.add(&counts);
        for (share, exact) in [(0.5, 5000.0), (0.9, 9000.0), (0.99, 9900.0), (1.0, 10_000.0)] {
            let found = all.quantile_us(share) as f64;
            assert!(found >= exact && found <= exact * 1.125, "{share}: {found}");
        }
        assert_eq!((all.count(), all.sum_us(), all.max_us()), (10_000, 50_005_000, 10_000));
        assert!(all.at_most(5119) >= 4600 && all.at_most(5119) <= 5119);
        assert_eq!((all.at_most(u64::MAX), Histogram::default().quantile_us(0.99)), (10_000, 0));
    }

    proptest! {
        #[test]
        fn every_time_lies_in_its_bucket(micros in 0u64..1 << 40) {
            let bucket = bucket_of(micros);
            prop_assert!(bucket < BUCKETS);
            let kept = micros.min((1 << MAX_BITS) - 1);
            prop_assert!(kept <= upper(bucket), "{kept} {}", upper(bucket));
            prop_assert!(bucket == 0 || kept > upper(bucket - 1));
            prop_assert!(upper(bucket) as f64 <= (kept as f64) * 1.125 + 1.0);
        }
    }
}
