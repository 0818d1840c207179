//! The memory of a cache: bounded, with a second chance for what was used since it was last looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::stored::Stored;

/// What a response is kept under: scheme, authority in small letters, target.
pub(super) type Key = Arc<str>;

/// Variants of one target that are kept at most.
const MAX_VARIANTS: usize = 16;

#[derive(Debug, Default)]
struct Slot {
    variants: Vec<Stored>,
    used: bool,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    slots: HashMap<Key, Slot>,
    /// Keys in the order in which they get their next look; those that are gone are skipped.
    queue: VecDeque<Key>,
    size: usize,
    /// Fetches under way; their end wakes those who wait.
    pub fetching: HashMap<Key, watch::Receiver<()>>,
    /// Targets that turned out not to be storable, until when.
    pub passed: HashMap<Key, SystemTime>,
    /// Counts purges: a response that was asked for before one is not kept after it.
    pub generation: u64,
}

/// Targets remembered as not storable at most.
const MAX_PASSED: usize = 10_000;

impl Store {
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn count(&self) -> usize {
        self.slots.values().map(|s| s.variants.len()).sum()
    }

    /// All that is kept for a target.
    pub fn get(&mut self, key: &str) -> Vec<Stored> {
        self.slots.get_mut(key).map_or_else(Vec::new, |slot| {
            slot.used = true;
            slot.variants.clone()
        })
    }

    /// Keeps a response in place of those that `same` says it replaces.
    pub fn put(&mut self, key: &Key, stored: Stored, same: impl Fn(&Stored) -> bool, most: usize) {
        let slot = self.slots.entry(Arc::clone(key)).or_insert_with(|| {
            self.queue.push_back(Arc::clone(key));
            Slot::default()
        });
        slot.variants.retain(|v| {
            let keep = !same(v);
            self.size -= if keep { 0 } else { v.size() };
            keep
        });
        if slot.variants.len() >= MAX_VARIANTS {
            self.size -= slot.variants.remove(0).size();
        }
        self.size += stored.size();
        slot.variants.push(stored);
        while self.size > most {
            let Some(key) = self.queue.pop_front() else { return };
            match self.slots.get_mut(&key) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.queue.push_back(key);
                }
                Some(_) => _ = self.remove(&key),
                None => {}
            }
        }
    }

    /// Forgets a target; how many responses that were.
    fn remove(&mut self, key: &str) -> usize {
        let Some(slot) = self.slots.remove(key) else { return 0 };
        self.size -= slot.variants.iter().map(Stored::size).sum::<usize>();
        slot.variants.len()
    }

    /// Forgets the targets that `is` says; how many responses that were.
    pub fn purge(&mut self, is: impl Fn(&str) -> bool) -> usize {
        self.generation += 1;
        let gone: Vec<Key> = self.slots.keys().filter(|k| is(k)).cloned().collect();
        let count = gone.iter().map(|key| self.remove(key)).sum();
        let slots = &self.slots;
        self.queue.retain(|k| slots.contains_key(k));
        self.passed.retain(|k, _| !is(k));
        count
    }

    pub fn pass(&mut self, key: &Key, until: SystemTime, now: SystemTime) {
        if self.passed.len() >= MAX_PASSED {
            self.passed.retain(|_, until| *until > now);
        }
        if self.passed.len() < MAX_PASSED {
            self.passed.insert(Arc::clone(key), until);
        }
    }
}
