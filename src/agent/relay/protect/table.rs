//! State of many clients in bounded memory: a table of fixed size that forgets the idle first.
//!
//! Whoever has many addresses can fill any table. This one is made of small sets with a lock each; a new key takes the place of the entry
//! of its set that has been idle for longest, so that an attacker pushes out little more than himself, and threads hardly ever meet.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Entries of one set.
const WAYS: usize = 8;

/// What is known of one client: the state of its rate and how much it has running.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// Theoretical arrival time of [`super::rate`], in nanoseconds of the table's clock. In the past = idle.
    pub arrival: u64,
    /// Requests or connections at once.
    pub running: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Hash of the key; 0 = free.
    key: u64,
    used: Use,
}

/// A keyed table of bounded size. Keys are told apart by a hash of 64 bits with a secret of the process.
#[derive(Debug)]
pub struct Table {
    sets: Box<[Mutex<[Slot; WAYS]>]>,
    hasher: RandomState,
    overflows: AtomicU64,
}

impl Table {
    /// For about so many entries: 25 bytes each.
    pub fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).max(1);
        Self { sets: (0..sets).map(|_| Mutex::default()).collect(), hasher: RandomState::new(), overflows: AtomicU64::new(0) }
    }

    pub fn key(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of).max(1)
    }

    /// Looks at or changes the entry of a key, which is made where there is none. `None` where all entries of its set have something
    /// running: then the key cannot be counted, which [`Table::overflows`] counts.
    pub fn with<R>(&self, key: u64, look: impl FnOnce(&mut Use) -> R) -> Option<R> {
        let set = self.sets.get(usize::try_from(key % self.sets.len() as u64).unwrap_or(0))?;
        let mut slots = set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.iter_mut().find(|s| s.key == key) {
            return Some(look(&mut slot.used));
        }
        let Some(slot) = slots.iter_mut().filter(|s| s.used.running == 0).min_by_key(|s| (s.key != 0, s.used.arrival)) else {
            self.overflows.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        *slot = Slot { key, used: Use::default() };
        Some(look(&mut slot.used))
    }

    /// How often a key could not be counted.
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idle_go_first_and_the_running_stay() {
        let table = Table::new(WAYS);
        for key in 1..=WAYS as u64 {
            table.with(key, |u| *u = Use { arrival: key * 10, running: u32::from(key != 3) }).unwrap();
        }
        assert_eq!(table.with(99, |u| u.arrival), Some(0));
        assert_eq!(table.with(3, |u| u.running), Some(0), "3 was forgotten and comes back in place of 99");
        assert_eq!(table.with(1, |u| u.arrival), Some(10));
        table.with(3, |u| u.running = 1);
        assert_eq!((table.with(50, |_| ()), table.overflows()), (None, 1));
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_it() {
        let table = Table::new(1000);
        for client in 0..100_000u32 {
            table.with(table.key(client), |u| u.arrival = 1);
        }
        assert_eq!(table.sets.len(), 125);
        assert_eq!(table.overflows(), 0);
    }
}
