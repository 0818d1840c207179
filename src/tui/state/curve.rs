//! Samples of several nodes as one curve. They are put together by time: a node that was not read for a while adds nothing.

use std::time::{Duration, Instant};

use crate::collect::Sample;
use crate::tui::event::Series;

/// Points of a curve: two minutes at one reading a second.
const POINTS: u32 = 120;
/// A sample holds for so many intervals, as the data of a node does before it is stale.
const HOLDS: u32 = 3;

/// The sum over nodes at each point of time, oldest first; None where no node was read.
pub fn sums(series: &Series, step: Duration, of: fn(&Sample) -> u32) -> Vec<Option<u32>> {
    fold(series, step, of, u32::saturating_add)
}

/// The greatest over nodes: latencies do not add up.
pub fn greatest(series: &Series, step: Duration, of: fn(&Sample) -> u32) -> Vec<Option<u32>> {
    fold(series, step, of, u32::max)
}

fn fold(series: &Series, step: Duration, of: fn(&Sample) -> u32, join: fn(u32, u32) -> u32) -> Vec<Option<u32>> {
    let Some(newest) = series.iter().filter_map(|(_, samples)| samples.last()).map(|s| s.at).max() else { return Vec::new() };
    let times: Vec<Option<Instant>> = (0..POINTS).rev().map(|back| newest.checked_sub(step * back)).collect();
    let mut curve: Vec<Option<u32>> = vec![None; times.len()];
    for (_, samples) in series {
        let mut at = 0;
        for (point, time) in curve.iter_mut().zip(&times) {
            let Some(time) = *time else { continue };
            while samples.get(at + 1).is_some_and(|next| next.at <= time) {
                at += 1;
            }
            if let Some(sample) = samples.get(at)
                && time.checked_duration_since(sample.at).is_some_and(|age| age < step * HOLDS)
            {
                *point = Some(point.map_or(of(sample), |known| join(known, of(sample))));
            }
        }
    }
    // Nothing was known before the first reading.
    let first = curve.iter().position(Option::is_some).unwrap_or(0);
    curve.split_off(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_added_where_both_were_read() {
        let start = Instant::now();
        let step = Duration::from_secs(1);
        let series = |seconds: &[u64], sessions| {
            let sample = |s: &u64| Sample { at: start + step * *s as u32, rate: 0, sessions, queue: 0, latency_ms: 0, errors: 0 };
            seconds.iter().map(sample).collect::<Vec<_>>()
        };
        let both = vec![("lb1".into(), series(&[0, 1, 2, 3, 4, 5, 6], 10)), ("lb2".into(), series(&[1, 2], 5))];
        let curve = sums(&both, step, |s| s.sessions);
        // The second node's last reading holds for a while, then it is not counted any more.
        assert_eq!(curve, [Some(10), Some(15), Some(15), Some(15), Some(15), Some(10), Some(10)]);
        assert_eq!(greatest(&both, step, |s| s.sessions)[1], Some(10));
        assert!(sums(&Vec::new(), step, |s| s.rate).is_empty());
    }
}
