//! When results of checks change the state of a server: `rise` good ones in a row or `fall` bad ones.

use std::time::Duration;

use crate::agent::relay::config::check::CheckConfig;

/// Where a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub up: bool,
    /// Results in a row that speak against `up`.
    against: u32,
    /// Nothing is known yet: the server is believed until its first check, which alone decides.
    fresh: bool,
}

impl Default for Standing {
    fn default() -> Self {
        Self { up: true, against: 0, fresh: true }
    }
}

impl Standing {
    /// What a process before this one knew. `settled` where that is so recent that it takes as many checks as ever to change it.
    pub fn known(up: bool, settled: bool) -> Self {
        Self { up, against: 0, fresh: !settled }
    }

    /// Takes a result in; true where the state changed.
    pub fn observe(&mut self, ok: bool, rise: u32, fall: u32) -> bool {
        let needed = match (self.fresh, self.up) {
            (true, _) => 1,
            (false, true) => fall,
            (false, false) => rise,
        };
        self.fresh = false;
        if ok == self.up {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.against < needed {
            return false;
        }
        self.up = ok;
        self.against = 0;
        true
    }

    /// Results towards the other state out of those needed; None where the state is settled.
    pub fn progress(&self, rise: u32, fall: u32) -> Option<(u32, u32)> {
        (self.against > 0).then_some((self.against, if self.up { fall } else { rise }))
    }

    /// Until the next check.
    pub fn interval(&self, config: &CheckConfig) -> Duration {
        let other = match (self.against > 0, self.up) {
            (true, _) => config.fastinter,
            (false, false) => config.downinter,
            (false, true) => None,
        };
        other.unwrap_or(config.inter)
    }
}
