//! Samples of several nodes as curves. They are put together by time: a node that was not read for a while adds nothing.

use std::time::{Duration, Instant};

use crate::collect::Sample;

/// Points of a curve: two minutes at one reading a second.
const POINTS: u32 = 120;
/// A sample holds for so many intervals, as the data of a node does before it is stale.
const HOLDS: u32 = 3;

/// One value a refresh interval, oldest first; None where no node was read.
pub type Curve = Vec<Option<u32>>;

/// What charts show of a server, pool, node or of the fleet: summed over nodes, worked out once for each picture.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    pub rate: Curve,
    pub sessions: Curve,
    /// Of the slowest node: latencies do not add up.
    pub latency_ms: Curve,
    pub errors: Curve,
}

impl Curves {
    /// Of each node's samples, oldest first; `step` is the refresh interval.
    pub fn of(nodes: &[Vec<Sample>], step: Duration) -> Curves {
        let Some(newest) = nodes.iter().filter_map(|samples| samples.last()).map(|s| s.at).max() else {
            return Curves::default();
        };
        // Samples of this time count for a point: after the first, and not after the second.
        let times: Vec<Option<(Instant, Instant)>> = (0..POINTS)
            .rev()
            .map(|back| Some((newest.checked_sub(step * (back + HOLDS))?, newest.checked_sub(step * back)?)))
            .collect();
        let mut points: Vec<Option<[u32; 4]>> = vec![None; times.len()];
        for samples in nodes {
            let mut at = 0;
            for (point, time) in points.iter_mut().zip(&times) {
                let Some((after, until)) = *time else { continue };
                while samples.get(at + 1).is_some_and(|next| next.at <= until) {
                    at += 1;
                }
                if let Some(sample) = samples.get(at).filter(|s| after < s.at && s.at <= until) {
                    let [rate, sessions, latency, errors] = point.unwrap_or_default();
                    *point = Some([
                        rate.saturating_add(sample.rate),
                        sessions.saturating_add(sample.sessions),
                        latency.max(sample.latency_ms),
                        errors.saturating_add(sample.errors),
                    ]);
                }
            }
        }
        // Nothing was known before the first reading.
        let first = points.iter().position(Option::is_some).unwrap_or(0);
        let curve = |of: fn([u32; 4]) -> u32| points.iter().skip(first).map(|point| point.map(of)).collect();
        Curves { rate: curve(|p| p[0]), sessions: curve(|p| p[1]), latency_ms: curve(|p| p[2]), errors: curve(|p| p[3]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_added_where_both_were_read() {
        let start = Instant::now();
        let step = Duration::from_secs(1);
        let series = |seconds: &[u32], n| {
            let sample = |s: &u32| Sample { at: start + step * *s, rate: 0, sessions: n, queue: 0, latency_ms: n, errors: 0 };
            seconds.iter().map(sample).collect::<Vec<_>>()
        };
        let curves = Curves::of(&[series(&[0, 1, 2, 3, 4, 5, 6], 10), series(&[1, 2], 5)], step);
        // The second node's last reading holds for a while, then it is not counted any more.
        assert_eq!(curves.sessions, [Some(10), Some(15), Some(15), Some(15), Some(15), Some(10), Some(10)]);
        assert_eq!(curves.latency_ms, vec![Some(10); 7], "the slowest, not the sum");
        assert!(Curves::of(&[], step).rate.is_empty());
    }
}
