//! What asks a verb to stop, and who hears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Failure, Result};

/// SIGINT, SIGTERM and SIGHUP.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// Held by a verb while it answers signals itself, because stopping short would leave something half done.
#[derive(Clone, Debug, Default)]
pub struct OwnSignals(Arc<AtomicBool>);

/// Gives the signals back when dropped.
#[must_use]
pub struct Held(Arc<AtomicBool>);

impl OwnSignals {
    pub fn hold(&self) -> Held {
        self.0.store(true, Ordering::SeqCst);
        Held(self.0.clone())
    }
    fn held(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Runs a verb; a signal drops it where it stands, unless the verb holds the signals itself.
pub async fn interruptible<T>(verb: impl Future<Output = Result<T>>, own: &OwnSignals) -> Result<T> {
    let mut signals = Signals::new()?;
    tokio::pin!(verb);
    loop {
        tokio::select! {
            ended = &mut verb => return ended,
            name = signals.next() => {
                if !own.held() {
                    return Err(Failure::failed(format!("interrupted by {name}")));
                }
            }
        }
    }
}
