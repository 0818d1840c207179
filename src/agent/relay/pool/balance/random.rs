//! Algorithms by chance and by load: weighted random, the better of two, the least loaded.

use super::Candidate;

/// splitmix64: enough to choose servers by, exact for a seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        super::hash::mix(self.0)
    }

    /// From 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        // The high half of the product: no modulo, no bias that could be noticed.
        ((u128::from(self.draw()) * n as u128) >> 64) as usize
    }

    /// A place by weight among those that are usable.
    pub fn weighted(&mut self, candidates: &[Candidate], usable: impl Fn(usize) -> bool) -> Option<usize> {
        let total: u64 = candidates.iter().filter(|c| usable(c.index)).map(|c| u64::from(c.weight)).sum();
        if total == 0 {
            return None;
        }
        let mut draw = self.draw() % total;
        for candidate in candidates.iter().filter(|c| usable(c.index)) {
            let weight = u64::from(candidate.weight);
            if draw < weight {
                return Some(candidate.index);
            }
            draw -= weight;
        }
        None
    }

    /// The less loaded of two different ones that are drawn; where neither is usable, the least loaded of all.
    pub fn of_two(
        &mut self,
        candidates: &[Candidate],
        usable: impl Fn(usize) -> bool,
        load: impl Fn(&Candidate) -> u64,
    ) -> Option<usize> {
        let n = candidates.len();
        if n == 0 {
            return None;
        }
        let first = self.below(n);
        let second = (first + 1 + self.below(n.max(2) - 1)) % n;
        let pair = [candidates.get(first)?, candidates.get(second)?];
        let better = pair.into_iter().filter(|c| usable(c.index)).min_by_key(|c| load(c));
        better.map(|c| c.index).or_else(|| least(candidates, first, usable, load))
    }
}

/// The least loaded that is usable; among equals the first from `start` on, so that ties do not all fall on one.
pub fn least(
    candidates: &[Candidate],
    start: usize,
    usable: impl Fn(usize) -> bool,
    load: impl Fn(&Candidate) -> u64,
) -> Option<usize> {
    let (before, from) = candidates.split_at(start.min(candidates.len()));
    from.iter().chain(before).filter(|c| usable(c.index)).min_by_key(|c| load(c)).map(|c| c.index)
}
