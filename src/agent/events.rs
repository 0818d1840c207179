//! What happened, for streams and for those who come later: a ring in memory, and a line in the log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::engine::relay::wire::Event;

/// Events that are kept for those who ask later.
const KEPT: usize = 1_000;

#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Event>>,
    news: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: Mutex::default(), news: broadcast::Sender::new(256) }
    }
}

impl Events {
    pub fn tell(&self, kind: &str, subject: impl Into<String>, text: impl Into<String>) {
        let (subject, text) = (subject.into(), text.into());
        tracing::info!(kind, subject, "{text}");
        let mut kept = self.lock();
        let seq = kept.back().map_or(1, |last| last.seq + 1);
        let event = Event { seq, at: Timestamp::now(), kind: kind.to_owned(), subject, text };
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // In the order of their numbers, and nobody listening is fine.
        let _ = self.news.send(event);
    }

    /// Kept events with a higher number, oldest first.
    pub fn after(&self, seq: u64) -> Vec<Event> {
        self.lock().iter().filter(|e| e.seq > seq).cloned().collect()
    }

    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // Whole after every statement: a panic of another task leaves nothing half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_numbers_go_on() {
        let events = Events::default();
        let mut news = events.listen();
        for n in 0..KEPT + 5 {
            events.tell("test", "", n.to_string());
        }
        let all = events.after(0);
        assert_eq!((all.len(), all[0].seq, all[KEPT - 1].seq), (KEPT, 6, KEPT as u64 + 5));
        assert_eq!(events.after(KEPT as u64 + 4).len(), 1);
        assert!(news.try_recv().is_err_and(|e| matches!(e, broadcast::error::TryRecvError::Lagged(_))));
    }
}
