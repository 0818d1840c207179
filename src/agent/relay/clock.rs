//! Time in the relay: milliseconds since the process began, in one word that atomics can hold.
//!
//! What decides takes the time as an argument; only the outermost code asks [`now`].

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Milliseconds on the monotonic clock. Never 0, so that 0 can mean "never".
pub type Millis = u64;

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

pub fn now() -> Millis {
    at(Instant::now())
}

pub fn at(instant: Instant) -> Millis {
    millis(instant.saturating_duration_since(*BEGAN)).saturating_add(1)
}

pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
