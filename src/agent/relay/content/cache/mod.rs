//! A cache for static content. `http-cache-semantics` decides by the rules of RFC 9111; this keeps what may be kept in bounded memory.

use std::time::Duration;

/// What a cache may keep.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// Bytes of all that is kept.
    pub max_size: usize,
    /// Bytes of one body.
    pub max_object: usize,
    /// How long past its freshness something may stand in for a server that fails, where the response does not say (RFC 5861).
    pub stale_if_error: Duration,
    /// How long a request waits for another one that fetches the same.
    pub wait: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_size: 64 << 20, max_object: 1 << 20, stale_if_error: Duration::ZERO, wait: Duration::from_secs(5) }
    }
}
