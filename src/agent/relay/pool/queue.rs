//! Requests that wait for a free session, first come first served over all data threads.
//!
//! A session that becomes free goes to whoever waits the longest, never to somebody who has just come. Nothing here is
//! touched while servers have sessions free.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Lease;
use super::server::ServerId;

/// What a waiter is given.
#[derive(Debug)]
pub enum Turn {
    Yours(Lease),
    /// The server that it waited for takes nobody any more: choose again.
    ChooseAgain,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    tx: oneshot::Sender<Turn>,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    any: VecDeque<Waiter>,
    bound: HashMap<ServerId, VecDeque<Waiter>>,
}

#[derive(Debug, Default)]
pub struct Queue {
    len: AtomicUsize,
    /// Those of `len` that take any server.
    any: AtomicUsize,
    waiting: Mutex<Waiting>,
}

/// Where a waiter stands, to leave the queue by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    ticket: u64,
    bound: Option<ServerId>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// True where somebody waits for whichever server is free: those who come now stand behind.
    pub(super) fn has_any(&self) -> bool {
        self.any.load(Ordering::SeqCst) > 0
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands at the end; None where the queue is full.
    pub(super) fn join(&self, bound: Option<ServerId>, limit: usize) -> Option<(Place, oneshot::Receiver<Turn>)> {
        let mut waiting = self.lock();
        if self.len() >= limit {
            return None;
        }
        let (tx, rx) = oneshot::channel();
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.line(bound).push_back(Waiter { ticket, tx });
        self.count(bound, true);
        Some((Place { ticket, bound }, rx))
    }

    /// Leaves before its turn; nothing happens where the turn has come meanwhile.
    pub(super) fn leave(&self, place: Place) {
        let mut waiting = self.lock();
        let line = waiting.line(place.bound);
        if let Ok(at) = line.binary_search_by_key(&place.ticket, |w| w.ticket) {
            line.remove(at);
            self.count(place.bound, false);
        }
        waiting.tidy(place.bound);
    }

    fn count(&self, bound: Option<ServerId>, more: bool) {
        let step = |counter: &AtomicUsize| match more {
            true => counter.fetch_add(1, Ordering::SeqCst),
            false => counter.fetch_sub(1, Ordering::SeqCst),
        };
        step(&self.len);
        if bound.is_none() {
            step(&self.any);
        }
    }

    /// Gives a lease to whoever waits the longest for that server or for any; back comes the lease that nobody wanted.
    pub(super) fn hand_over(&self, waiting: &mut Waiting, mut lease: Lease) -> Option<Lease> {
        loop {
            let server = lease.server.id;
            let first = |line: Option<&VecDeque<Waiter>>| line.and_then(|l| l.front()).map(|w| w.ticket);
            let bound = match (first(waiting.bound.get(&server)), first(Some(&waiting.any))) {
                (Some(own), Some(any)) => (own < any).then_some(server),
                (Some(_), None) => Some(server),
                (None, Some(_)) => None,
                (None, None) => return Some(lease),
            };
            let Some(waiter) = waiting.line(bound).pop_front() else { return Some(lease) };
            waiting.tidy(bound);
            self.count(bound, false);
            match waiter.tx.send(Turn::Yours(lease)) {
                Ok(()) => return None,
                // It went away without leaving: the next one's turn.
                Err(Turn::Yours(back)) => lease = back,
                Err(Turn::ChooseAgain) => return None,
            }
        }
    }

    /// Servers that somebody waits for, and no other server will do.
    pub(super) fn bound_to(waiting: &Waiting) -> Vec<ServerId> {
        waiting.bound.keys().copied().collect()
    }

    pub(super) fn is_waited_for(waiting: &Waiting, server: ServerId) -> bool {
        waiting.bound.contains_key(&server)
    }

    /// How many wait for one server and no other.
    pub fn bound_len(&self, server: ServerId) -> usize {
        if self.is_empty() {
            return 0;
        }
        self.lock().bound.get(&server).map_or(0, VecDeque::len)
    }

    /// Sends everybody who waits for a server to choose again.
    pub(super) fn send_away(&self, waiting: &mut Waiting, server: ServerId) {
        for waiter in waiting.bound.remove(&server).unwrap_or_default() {
            self.count(Some(server), false);
            // An error is a waiter that went away.
            let _gone = waiter.tx.send(Turn::ChooseAgain);
        }
    }
}

impl Waiting {
    fn line(&mut self, bound: Option<ServerId>) -> &mut VecDeque<Waiter> {
        match bound {
            Some(server) => self.bound.entry(server).or_default(),
            None => &mut self.any,
        }
    }

    /// A line of nobody is not kept: servers come and go.
    fn tidy(&mut self, bound: Option<ServerId>) {
        if let Some(server) = bound
            && self.bound.get(&server).is_some_and(VecDeque::is_empty)
        {
            self.bound.remove(&server);
        }
    }
}
