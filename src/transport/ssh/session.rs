//! The connection to one host over time: made when first needed, shared, made again with back-off after it was lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Connection, Recipe};
use crate::transport::{Result, TransportError};

/// A connection that lasts so long was a good one: the next loss starts the back-off anew.
const STABLE: Duration = Duration::from_secs(10);
/// Shortest and longest pause between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Where only a person can mend it, trying more often would fill the node's log or lock the account.
const PERMANENT: Duration = Duration::from_secs(30);

type Attempt = Shared<BoxFuture<'static, Result<Arc<Connection>>>>;

enum State {
    Idle,
    Connecting(Attempt),
    Up(Arc<Connection>),
    Down { until: Instant, error: TransportError },
}

struct Inner {
    state: State,
    /// In a row, for the back-off.
    failures: u32,
}

/// Shared by all who talk to one host.
pub(super) struct Session {
    recipe: Recipe,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("at", &self.recipe.at()).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(recipe: Recipe) -> Self {
        Self { recipe, inner: Mutex::new(Inner { state: State::Idle, failures: 0 }) }
    }

    /// The connection: the one that is up, or a new one. Callers at the same time wait on the same attempt; during a
    /// back-off they get the last error at once. Time in which a person is asked does not count.
    pub(super) async fn connection(self: &Arc<Self>, deadline: Duration) -> Result<Arc<Connection>> {
        let attempt = match self.attempt() {
            Ok(attempt) => attempt,
            Err(ready) => return ready,
        };
        let timeout = || TransportError::Timeout { at: self.recipe.at(), doing: "connecting".into(), after: deadline };
        self.recipe.env.patience.within(deadline, attempt).await.unwrap_or_else(|| Err(timeout()))
    }

    /// What to wait on, or what is known without waiting.
    fn attempt(self: &Arc<Self>) -> Result<Attempt, Result<Arc<Connection>>> {
        let mut inner = self.lock();
        match &inner.state {
            State::Up(connection) if !connection.is_closed() => return Err(Ok(Arc::clone(connection))),
            State::Connecting(attempt) => return Ok(attempt.clone()),
            State::Down { until, error } if Instant::now() < *until => return Err(Err(error.clone())),
            State::Up(connection) if connection.since.elapsed() < STABLE && inner.failures > 0 => {
                // It comes and goes: not faster than the back-off allows.
                let error = connection.lost();
                inner.fail(error.clone());
                return Err(Err(error));
            }
            State::Up(connection) if connection.since.elapsed() < STABLE => inner.failures += 1,
            State::Up(_) => inner.failures = 0,
            State::Idle | State::Down { .. } => {}
        }
        let (recipe, this) = (self.recipe.clone(), Arc::downgrade(self));
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let result = recipe.connect().await.map(Arc::new);
            if let Some(this) = this.upgrade() {
                this.finished(&result);
            }
            result
        }));
        let at = self.recipe.at();
        let attempt = async move {
            task.await.unwrap_or_else(|e| Err(TransportError::Other { at, what: format!("the attempt to connect ended: {e}") }))
        };
        let attempt = attempt.boxed().shared();
        inner.state = State::Connecting(attempt.clone());
        Ok(attempt)
    }

    fn finished(&self, result: &Result<Arc<Connection>>) {
        let mut inner = self.lock();
        match result {
            Ok(connection) => inner.state = State::Up(Arc::clone(connection)),
            Err(error) => inner.fail(error.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fail(&mut self, error: TransportError) {
        self.failures = self.failures.saturating_add(1);
        let pause = if error.is_transient() { backoff(self.failures, rand::random()) } else { PERMANENT };
        self.state = State::Down { until: Instant::now() + pause, error };
    }
}

/// Doubles from failure to failure; `jitter` (0..1) spreads a fleet's attempts between half of it and all.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let full = BACKOFF.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF.1);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_within_bounds() {
        assert_eq!(backoff(1, 1.0), Duration::from_millis(250));
        assert_eq!(backoff(1, 0.0), Duration::from_millis(125));
        assert_eq!(backoff(4, 1.0), Duration::from_secs(2));
        assert_eq!(backoff(1000, 1.0), Duration::from_secs(30));
    }
}
