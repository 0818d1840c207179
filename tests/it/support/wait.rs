//! Waiting on conditions: the only place of the tests that sleeps, between two looks.

use std::time::{Duration, Instant};

/// Looks until `look` gives something; panics with `what` after `within`.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {within:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same for async looks.
pub async fn until_async<T, F: Future<Output = Option<T>>>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {within:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
