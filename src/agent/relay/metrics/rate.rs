//! How often something happened in the last whole second, from a counter that only grows.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Rate {
    per_second: AtomicU64,
    /// The counter when the second began.
    from: AtomicU64,
}

impl Rate {
    /// To be called once a second with the counter as it is now.
    pub fn tick(&self, counter: u64) {
        let from = self.from.swap(counter, Ordering::Relaxed);
        self.per_second.store(counter.saturating_sub(from), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.per_second.load(Ordering::Relaxed)
    }
}
