//! The locks of one operation: taken on all nodes or on none, renewed while it runs, given back whatever happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::model::NodeName;
use crate::ops::lock::{Held, Holder, LockService, TTL};

use super::Report;

/// A lock that was confirmed so recently need not be looked at again before sending.
const RECENT: Duration = Duration::from_secs(1);

/// All locks of one operation on one node.
pub struct NodeLock {
    pub node: NodeName,
    service: Arc<dyn LockService>,
    holder: Holder,
    held: Mutex<Vec<Held>>,
}

impl NodeLock {
    pub fn new(node: NodeName, service: Arc<dyn LockService>, holder: Holder, held: Vec<Held>) -> NodeLock {
        NodeLock { node, service, holder, held: Mutex::new(held) }
    }

    /// Is it still ours? To be asked right before something is sent.
    pub async fn confirm(&self) -> Result<(), String> {
        self.renew_older_than(RECENT).await
    }

    async fn renew_older_than(&self, age: Duration) -> Result<(), String> {
        let mut held = self.held.lock().await;
        for h in held.iter_mut().filter(|h| h.confirmed.elapsed() >= age) {
            match self.service.renew(h, &self.holder).await {
                Ok(true) => {}
                Ok(false) => return Err(format!("the lock on {} was taken over by somebody else", self.node)),
                Err(e) => {
                    // Within its time the lock stands, whether or not it could be renewed just now.
                    if h.confirmed.elapsed() + RECENT >= TTL {
                        return Err(format!("the lock on {} could not be renewed: {e}", self.node));
                    }
                }
            }
        }
        Ok(())
    }

    async fn release(&self) -> Result<(), String> {
        let held = std::mem::take(&mut *self.held.lock().await);
        for h in &held {
            self.service.release(h).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Renews until it is dropped.
pub fn keep_renewed(locks: Vec<Arc<NodeLock>>, report: Report) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut tick = tokio::time::interval_at((Instant::now() + TTL / 3).into(), TTL / 3);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = vec![false; locks.len()];
        loop {
            tick.tick().await;
            let results = join_all(locks.iter().map(|lock| lock.renew_older_than(Duration::ZERO))).await;
            for ((lock, result), told) in locks.iter().zip(results).zip(&mut told) {
                if let (Err(what), false) = (result, *told) {
                    report.warn(Some(&lock.node), what);
                    *told = true;
                }
            }
        }
    }))
}

/// Gives all back side by side. What cannot be given back expires by itself, and is said.
pub async fn release_all(locks: &[Arc<NodeLock>], report: &Report) {
    let results = join_all(locks.iter().map(|lock| {
        let lock = Arc::clone(lock);
        async move { (lock.node.clone(), lock.release().await) }
    }))
    .await;
    for (node, result) in results {
        if let Err(what) = result {
            report.warn(Some(&node), format!("the lock could not be given back and expires within {}s: {what}", TTL.as_secs()));
        }
    }
}
