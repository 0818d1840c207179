//! A load on the fleet as its clients count it: what became of each request, second by second. Who makes the load and who shows
//! it know nothing of each other; this is all that goes between them.

/// Seconds that a picture goes back at most.
pub const LOAD_SECONDS: usize = 240;

/// How long answers took, in microseconds, from when each request was sent to the last byte of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadLatency {
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// Requests that ended within one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadSecond {
    pub ok: u64,
    pub failed: u64,
    /// Of those that were answered; None where none was.
    pub latency: Option<LoadLatency>,
}

/// A load so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadPicture {
    /// Requests a second that are asked for; what is reached is in `seconds`.
    pub asked: u32,
    /// Since the load began.
    pub ok: u64,
    pub failed: u64,
    /// Whole seconds, oldest first, at most [`LOAD_SECONDS`].
    pub seconds: Vec<LoadSecond>,
    /// Words of the newest failure.
    pub last_failure: Option<String>,
}
