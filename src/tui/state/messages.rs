//! What the console has to say: the newest shows for a while at the bottom, all are kept in the log view.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::sanitize;
use crate::tui::event::Clock;
use crate::tui::theme::Tone;

const KEPT: usize = 2_000;
const SHOWN: Duration = Duration::from_secs(8);

#[derive(Clone, Debug)]
pub struct Message {
    pub number: u64,
    pub at: Timestamp,
    pub tone: Tone,
    pub text: String,
}

#[derive(Debug, Default)]
pub struct Messages {
    all: VecDeque<Message>,
    next: u64,
    since: Option<Instant>,
}

impl Messages {
    /// Text may come from anywhere: it is made harmless here.
    pub fn say(&mut self, clock: Clock, tone: Tone, text: &str) {
        if self.all.len() >= KEPT {
            self.all.pop_front();
        }
        self.all.push_back(Message { number: self.next, at: clock.wall, tone, text: sanitize(text).into_owned() });
        self.next += 1;
        self.since = Some(clock.now);
    }

    pub fn all(&self) -> impl Iterator<Item = &Message> {
        self.all.iter()
    }

    /// The newest, while it is news.
    pub fn current(&self, now: Instant) -> Option<&Message> {
        let since = self.since?;
        (now.saturating_duration_since(since) < SHOWN).then(|| self.all.back()).flatten()
    }

    pub fn dismiss(&mut self) {
        self.since = None;
    }
}
