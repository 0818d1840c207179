//! Choosing between servers. Each data thread keeps a [`Local`] view of a pool: who may be chosen and with what weight now.
//!
//! The view is made again when the pool's epoch has moved (a state, a weight, a server changed) and, while servers warm up
//! or are ejected, as time passes. So the hot path reads two atomics and its own memory.

pub mod hash;
pub mod random;
pub mod smooth;

#[cfg(test)]
mod tests;

use crate::agent::relay::config::pool::Balance;

use super::super::clock::Millis;
use super::set::ServerSet;
use random::Random;
use smooth::Smooth;

/// Weights are scaled by this, so that a server that warms up can have a part of weight 1.
pub const SCALE: u32 = 100;
/// While a server warms up, its weight is worked out again so often.
const WARM_UP_STEP: Millis = 100;

/// A server that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Place in the pool's [`ServerSet`].
    pub index: usize,
    /// Effective weight times [`SCALE`], at least 1.
    pub weight: u32,
}

/// Who may be chosen at a time: active servers, or backups where there is no active one. Of these the ones that connections can be made to, if
/// there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eligible {
    pub candidates: Vec<Candidate>,
    /// When time alone will have changed this; None = never.
    pub until: Option<Millis>,
}

impl Eligible {
    pub fn at(set: &ServerSet, now: Millis) -> Self {
        let mut found = Eligible::default();
        for backup in [false, true] {
            let mut avoided = Vec::new();
            for (index, slot) in set.slots.iter().enumerate() {
                let server = &slot.server;
                let ejected_until = server.ejected_until();
                if ejected_until > now {
                    found.until = Some(found.until.map_or(ejected_until, |u| u.min(ejected_until)));
                }
                if slot.config.backup != backup || slot.weight == 0 || !server.is_serving(now) {
                    continue;
                }
                let (weight, warming) = effective_weight(slot.weight, server.serving_since(), set.slowstart_ms(), now);
                if warming {
                    let next = now + WARM_UP_STEP;
                    found.until = Some(found.until.map_or(next, |u| u.min(next)));
                }
                let until = server.avoided_until();
                if until > now {
                    found.until = Some(found.until.map_or(until, |u| u.min(until)));
                    avoided.push(Candidate { index, weight });
                } else {
                    found.candidates.push(Candidate { index, weight });
                }
            }
            if found.candidates.is_empty() {
                found.candidates = avoided;
            }
            if !found.candidates.is_empty() {
                break;
            }
        }
        found
    }
}

/// Weight times [`SCALE`] and whether it still grows. A server warms up in a straight line, from a hundredth on.
pub fn effective_weight(weight: u16, since: Millis, slowstart: Option<Millis>, now: Millis) -> (u32, bool) {
    let full = u32::from(weight) * SCALE;
    match slowstart {
        Some(span) if since > 0 && now < since.saturating_add(span) => {
            let share = u64::from(full) * now.saturating_sub(since) / span.max(1);
            ((share as u32).max(full / 100).max(1), true)
        }
        _ => (full, false),
    }
}

/// One data thread's view of one pool.
#[derive(Debug)]
pub struct Local {
    epoch: u64,
    eligible: Eligible,
    /// Effective weight by place in the set; 0 = not eligible.
    weights: Vec<u32>,
    smooth: Smooth,
    random: Random,
}

/// What the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub balance: Balance,
    /// Hash of the client's address or the request's path, for the consistent algorithms.
    pub key: u64,
    /// Places that were tried already.
    pub tried: &'a [usize],
}

impl Local {
    /// `seed` differs between threads, so that they do not all begin with the same server.
    pub fn new(seed: u64) -> Self {
        Self {
            epoch: u64::MAX,
            eligible: Eligible::default(),
            weights: Vec::new(),
            smooth: Smooth::default(),
            random: Random::new(seed),
        }
    }

    /// Brings the view up to date.
    pub fn refresh(&mut self, set: &ServerSet, epoch: u64, now: Millis) {
        if self.epoch == epoch && self.eligible.until.is_none_or(|until| now < until) {
            return;
        }
        self.epoch = epoch;
        self.eligible = Eligible::at(set, now);
        self.weights.clear();
        self.weights.resize(set.slots.len(), 0);
        for candidate in &self.eligible.candidates {
            if let Some(weight) = self.weights.get_mut(candidate.index) {
                *weight = candidate.weight;
            }
        }
        let start = self.random.below(self.eligible.candidates.len().max(1));
        self.smooth.follow(&self.eligible.candidates, start);
    }

    pub fn is_empty(&self) -> bool {
        self.eligible.candidates.is_empty()
    }

    /// The place of a server for this request; `free` says whether a server has a session free. None = none is free
    /// (the consistent algorithms do not look: their server is the only right one, and its queue the place to wait).
    pub fn choose(&mut self, set: &ServerSet, asked: &Asked<'_>, free: impl Fn(usize) -> bool) -> Option<usize> {
        let candidates = &self.eligible.candidates;
        let all_tried = candidates.iter().all(|c| asked.tried.contains(&c.index));
        let untried = |i: usize| all_tried || !asked.tried.contains(&i);
        let usable = |i: usize| untried(i) && free(i);
        let load = |c: &Candidate| load_of(set, c);
        match asked.balance {
            Balance::RoundRobin => self.smooth.next(candidates, usable),
            Balance::LeastConn => random::least(candidates, self.random.below(candidates.len().max(1)), usable, load),
            Balance::PowerOfTwo => self.random.of_two(candidates, usable, load),
            Balance::Random => self.random.weighted(candidates, usable),
            Balance::First => candidates.iter().map(|c| c.index).find(|i| usable(*i)),
            Balance::Source | Balance::Uri => set.ring.pick(asked.key, |index, draw| {
                let weight = self.weights.get(index).copied().unwrap_or(0);
                let full = set.slots.get(index).map_or(0, |s| u32::from(s.weight) * SCALE);
                weight > 0 && untried(index) && (weight >= full || draw % u64::from(full.max(1)) < u64::from(weight))
            }),
        }
    }
}

/// Sessions for its weight: what the least loaded is found by. One more than there are, so that weights count at rest too.
fn load_of(set: &ServerSet, candidate: &Candidate) -> u64 {
    let in_use = set.slots.get(candidate.index).map_or(0, |s| s.server.in_use());
    (u64::from(in_use) + 1) * u64::from(SCALE) * 65_536 / u64::from(candidate.weight.max(1))
}
