//! Connections of HTTP/1.1 to one server that wait for another request: how many, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::agent::relay::stream::Stream;

/// Which connections without a request are kept.
#[derive(Clone, Debug)]
pub struct Idle {
    /// How long each is; zero keeps none.
    pub timeout: Duration,
    /// How many of HTTP/1.1 of one server all threads keep together; None = no limit.
    pub max: Option<u32>,
    /// So often half of those are closed that were not needed meanwhile.
    pub purge_delay: Duration,
    /// How many are kept of the server.
    pub count: Arc<AtomicI64>,
}

#[derive(Debug)]
pub struct Kept<S = Stream> {
    pub stream: S,
    _counted: Counted,
    since: Instant,
    timeout: Duration,
}

impl<S> Kept<S> {
    pub fn new(stream: S, counted: Counted, timeout: Duration) -> Self {
        Self { stream, _counted: counted, since: Instant::now(), timeout }
    }

    pub fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.timeout
    }
}

/// Counts one connection among those that are kept.
#[derive(Debug)]
pub struct Counted(Arc<AtomicI64>);

impl Counted {
    /// None where there are as many as there may be.
    pub fn new(idle: &Idle) -> Option<Self> {
        let before = idle.count.fetch_add(1, Ordering::Relaxed);
        let counted = Self(Arc::clone(&idle.count));
        idle.max.is_none_or(|max| before < i64::from(max)).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections of one server that this thread keeps, the youngest last.
#[derive(Debug)]
pub struct Spare<S = Stream> {
    kept: Vec<Kept<S>>,
    /// So many were there all the time since the last purge.
    unneeded: usize,
    purged: Instant,
    purge_delay: Duration,
}

impl<S> Spare<S> {
    pub fn new(idle: &Idle) -> Self {
        Self { kept: Vec::new(), unneeded: 0, purged: Instant::now(), purge_delay: idle.purge_delay }
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// `purge_delay` is that of the configuration of this moment.
    pub fn push(&mut self, kept: Kept<S>, purge_delay: Duration) {
        self.purge_delay = purge_delay;
        self.kept.push(kept);
    }

    /// The youngest.
    pub fn pop(&mut self) -> Option<Kept<S>> {
        let popped = self.kept.pop();
        self.unneeded = self.unneeded.min(self.kept.len());
        popped
    }

    /// Closes what is too old, and the older half of what nobody needed. One stays: for that there is the timeout.
    pub fn purge(&mut self, now: Instant) {
        self.kept.retain(|k| !k.is_old(now));
        if now.saturating_duration_since(self.purged) >= self.purge_delay {
            self.kept.drain(..self.unneeded.min(self.kept.len()) / 2);
            (self.unneeded, self.purged) = (self.kept.len(), now);
        }
        self.unneeded = self.unneeded.min(self.kept.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(max: Option<u32>) -> Idle {
        let s = Duration::from_secs;
        Idle { timeout: s(30), max, purge_delay: s(5), count: Arc::default() }
    }

    fn spare(idle: &Idle, count: usize) -> Spare<usize> {
        let mut spare = Spare::new(idle);
        for n in 0..count {
            if let Some(counted) = Counted::new(idle) {
                spare.push(Kept::new(n, counted, idle.timeout), idle.purge_delay);
            }
        }
        spare
    }

    #[test]
    fn no_more_than_there_may_be_over_all_threads() {
        let idle = idle(Some(3));
        let (mut first, second) = (spare(&idle, 2), spare(&idle, 5));
        assert_eq!((first.len(), second.len(), idle.count.load(Ordering::Relaxed)), (2, 1, 3));
        drop(first.pop());
        assert!(Counted::new(&idle).is_some());
        drop((first, second));
        assert_eq!(idle.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn half_of_what_was_not_needed_is_closed_the_oldest_first() {
        let mut spare = spare(&idle(None), 8);
        let began = Instant::now();
        let at = |s| began + Duration::from_secs(s);
        spare.purge(at(6));
        assert_eq!(spare.len(), 8, "nobody knows yet what is needed");
        // Four were in use at once.
        let used: Vec<_> = (0..4).filter_map(|_| spare.pop()).collect();
        used.into_iter().rev().for_each(|k| spare.push(k, Duration::from_secs(5)));
        spare.purge(at(8));
        assert_eq!(spare.len(), 8);
        spare.purge(at(12));
        assert_eq!(spare.len(), 6);
        for (time, left) in [(18, 3), (24, 2), (29, 1), (29, 1)] {
            spare.purge(at(time));
            assert_eq!(spare.len(), left, "{time}");
        }
        assert_eq!(spare.pop().map(|k| k.stream), Some(7), "the youngest stays");
    }

    #[test]
    fn what_is_too_old_is_closed() {
        let mut spare = spare(&idle(None), 2);
        spare.purge(Instant::now() + Duration::from_secs(31));
        assert!(spare.is_empty());
    }
}
