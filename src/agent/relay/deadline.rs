//! One timer a connection, however many timeouts it has one after the other.
//!
//! Registering a timer for each read of each request costs more than the read's bookkeeping. A deadline that moves away leaves the
//! timer where it is; when it fires too early it is set again. So a busy connection touches the timer wheel once a timeout, not once a request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// See the module.
#[derive(Debug)]
pub struct Deadline {
    timer: Pin<Box<Sleep>>,
    at: Instant,
}

impl Deadline {
    /// Expires `timeout` from now. Must be made within the runtime.
    pub fn after(timeout: Duration) -> Self {
        let at = Instant::now() + timeout;
        Self { timer: Box::pin(sleep_until(at)), at }
    }

    /// Moves it to `timeout` after `now`.
    pub fn set(&mut self, now: Instant, timeout: Duration) {
        self.at = now + timeout;
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Moves it forward to `at` if it is later.
    pub fn not_after(&mut self, at: Instant) {
        if at < self.at {
            self.at = at;
            self.timer.as_mut().reset(at);
        }
    }

    /// Ready once the deadline has passed.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn expires_at_the_last_time_that_was_set() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut deadline = Deadline::after(ms(5));
        deadline.set(start, ms(60));
        poll_fn(|cx| deadline.poll_expired(cx)).await;
        assert!(start.elapsed() >= ms(60), "{:?}", start.elapsed());
        let again = Instant::now();
        deadline.set(again, Duration::from_secs(1000));
        deadline.set(again, ms(20));
        poll_fn(|cx| deadline.poll_expired(cx)).await;
        assert!((ms(20)..Duration::from_secs(500)).contains(&again.elapsed()), "{:?}", again.elapsed());
    }
}
