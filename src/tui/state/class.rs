//! The few classes that an operator tells servers apart by, each with a word, a symbol and a tone.

use crate::model::{Health, ServerObs, StatusWord};
use crate::tui::theme::Tone;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    Up,
    /// Serves, but nothing checks it: nobody knows whether it is up.
    NoCheck,
    /// Ready and healthy, but with weight 0 or out of balancing (NOLB): takes no new traffic.
    Idle,
    Drain,
    Maint,
    /// In drain, and its checks fail: out on purpose, but it could not come back now.
    DrainDown,
    Unknown,
    Down,
}

impl Class {
    pub const ALL: [Class; 8] =
        [Class::Up, Class::NoCheck, Class::Idle, Class::Drain, Class::Maint, Class::DrainDown, Class::Unknown, Class::Down];

    pub fn of(server: &ServerObs) -> Class {
        if server.admin.is_maint() {
            return Class::Maint;
        }
        match server.status.word {
            StatusWord::Down | StatusWord::Stop if server.admin.is_drain() => Class::DrainDown,
            StatusWord::Down | StatusWord::Stop => Class::Down,
            _ if server.admin.is_drain() => Class::Drain,
            StatusWord::Drain => Class::Drain,
            StatusWord::Maint => Class::Maint,
            StatusWord::Nolb => Class::Idle,
            StatusWord::Unknown => Class::Unknown,
            StatusWord::Up | StatusWord::NoCheck | StatusWord::Open if server.weight == 0 => Class::Idle,
            StatusWord::NoCheck => Class::NoCheck,
            StatusWord::Up | StatusWord::Open => Class::Up,
        }
    }

    /// Takes new traffic, as far as can be told.
    pub const fn is_serving(self) -> bool {
        matches!(self, Class::Up | Class::NoCheck)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Class::Up => "UP",
            Class::NoCheck => "NO CHECK",
            Class::Idle => "IDLE",
            Class::Drain => "DRAIN",
            Class::Maint => "MAINT",
            Class::DrainDown => "DRAIN↓",
            Class::Unknown => "?",
            Class::Down => "DOWN",
        }
    }

    pub const fn symbol(self) -> char {
        match self {
            Class::Up => '●',
            Class::NoCheck => '◇',
            Class::Idle => '○',
            Class::Drain => '◐',
            Class::Maint => '■',
            Class::DrainDown => '◑',
            Class::Unknown => '?',
            Class::Down => '✖',
        }
    }

    pub const fn tone(self) -> Tone {
        match self {
            Class::Up => Tone::Ok,
            Class::NoCheck => Tone::Plain,
            Class::Idle => Tone::Warn,
            Class::Drain | Class::Maint | Class::DrainDown => Tone::Held,
            Class::Unknown => Tone::Dim,
            Class::Down => Tone::Bad,
        }
    }
}

/// How many of each class.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Classes([u32; Class::ALL.len()]);

impl Classes {
    pub fn add(&mut self, class: Class) {
        self.0[class as usize] += 1;
    }
    pub fn merge(&mut self, other: &Classes) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
    pub fn count(&self, class: Class) -> u32 {
        self.0[class as usize]
    }
    /// Take new traffic, as far as can be told.
    pub fn serving(&self) -> u32 {
        self.present().filter(|(class, _)| class.is_serving()).map(|(_, n)| n).sum()
    }
    /// Out of traffic on purpose.
    pub fn held(&self) -> u32 {
        self.count(Class::Drain) + self.count(Class::Maint) + self.count(Class::DrainDown)
    }
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }
    /// Classes that are there, most of concern last.
    pub fn present(&self) -> impl DoubleEndedIterator<Item = (Class, u32)> + '_ {
        Class::ALL.into_iter().map(|c| (c, self.count(c))).filter(|(_, n)| *n > 0)
    }
    pub fn worst(&self) -> Option<Class> {
        self.present().next_back().map(|(class, _)| class)
    }
    /// `● UP` where all agree, else `✖1 ◐1 ●3`, worst first.
    pub fn text(&self) -> String {
        let mut present = self.present();
        match (present.next(), present.next()) {
            (None, _) => "-".to_owned(),
            (Some((class, _)), None) => format!("{} {}", class.symbol(), class.word()),
            _ => {
                let parts: Vec<String> = self.present().rev().map(|(class, n)| format!("{n} {}", class.word())).collect();
                format!("{} {}", self.worst().map_or(' ', Class::symbol), parts.join(" "))
            }
        }
    }
    pub fn tone(&self) -> Tone {
        self.worst().map_or(Tone::Dim, Class::tone)
    }
}

pub const fn health_word(health: Health) -> &'static str {
    match health {
        Health::Connecting => "… connecting",
        Health::Fresh => "● fresh",
        Health::Stale => "◌ stale",
        Health::Dead => "✖ dead",
    }
}

pub const fn health_tone(health: Health) -> Tone {
    match health {
        Health::Connecting => Tone::Dim,
        Health::Fresh => Tone::Ok,
        Health::Stale => Tone::Warn,
        Health::Dead => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nobody checks serves, but is never shown as if somebody had seen it up.
    #[test]
    fn a_server_without_a_check_is_not_shown_as_up() {
        let seen = |word| {
            let mut server = crate::ops::testing::server("web1");
            server.status = crate::model::ServerStatus::of(word);
            Class::of(&server)
        };
        assert_eq!((seen(StatusWord::Up), seen(StatusWord::NoCheck)), (Class::Up, Class::NoCheck));
        let mut classes = Classes::default();
        classes.add(Class::NoCheck);
        assert_eq!((classes.text().as_str(), classes.serving()), ("◇ NO CHECK", 1));
        classes.add(Class::Up);
        assert_eq!((classes.text().as_str(), classes.serving()), ("◇ 1 NO CHECK 1 UP", 2));
    }

    #[test]
    fn agreement_is_one_word_and_disagreement_lists_the_worst_first() {
        let mut classes = Classes::default();
        assert_eq!(classes.text(), "-");
        classes.add(Class::Up);
        classes.add(Class::Up);
        assert_eq!(classes.text(), "● UP");
        classes.add(Class::Down);
        classes.add(Class::Drain);
        assert_eq!(classes.text(), "✖ 1 DOWN 1 DRAIN 2 UP");
        assert_eq!(classes.tone(), Tone::Bad);
    }
}
