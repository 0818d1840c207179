//! Smooth weighted round-robin, as nginx has it: turns of a heavy server are spread between those of the others.

use super::Candidate;

/// State of one thread: the current value of each candidate.
#[derive(Debug, Default)]
pub struct Smooth {
    current: Vec<i64>,
    /// All weights are the same: the turn goes round, whatever their number, in constant time.
    even: bool,
    turn: usize,
}

impl Smooth {
    /// Begins anew for other candidates; `start` is whose turn it is among equals.
    pub fn follow(&mut self, candidates: &[Candidate], start: usize) {
        self.even = candidates.windows(2).all(|w| matches!(w, [a, b] if a.weight == b.weight));
        self.turn = start;
        self.current.clear();
        self.current.resize(candidates.len(), 0);
    }

    /// The place of the next server that is usable.
    pub fn next(&mut self, candidates: &[Candidate], usable: impl Fn(usize) -> bool) -> Option<usize> {
        if self.even {
            let n = candidates.len();
            for _ in 0..n {
                let candidate = candidates.get(self.turn % n)?;
                self.turn = (self.turn + 1) % n;
                if usable(candidate.index) {
                    return Some(candidate.index);
                }
            }
            return None;
        }
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (i, (candidate, current)) in candidates.iter().zip(&mut self.current).enumerate() {
            if !usable(candidate.index) {
                continue;
            }
            *current += i64::from(candidate.weight);
            total += i64::from(candidate.weight);
            if best.is_none_or(|(_, most)| *current > most) {
                best = Some((i, *current));
            }
        }
        let (i, _) = best?;
        *self.current.get_mut(i)? -= total;
        candidates.get(i).map(|c| c.index)
    }
}
