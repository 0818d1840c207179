//! Locks in this machine's store, for nodes that have no place for files. They exclude nobody on another machine.

use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::model::NodeName;
use crate::store::{Process, Store, StoreError, StoreLockAnswer};

use super::{Acquired, Held, Holder, LockError, LockService, TTL};

#[derive(Debug)]
pub struct HereOnly {
    pub node: NodeName,
    pub store: Store,
    pub here: Process,
    pub why: String,
}

impl HereOnly {
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, LockError> {
        Ok(crate::ops::blocking::on_store(&self.store, work).await?)
    }
}

#[async_trait]
impl LockService for HereOnly {
    async fn acquire(&self, keys: &[String], holder: &Holder) -> Result<Acquired, LockError> {
        let text = serde_json::to_string(holder).unwrap_or_default();
        let mut held: Vec<Held> = Vec::new();
        for key in keys {
            let (k, t, here) = (key.clone(), text.clone(), self.here.clone());
            let is_dead = move |h: &str| serde_json::from_str::<Holder>(h).is_ok_and(|h| h.process.is_gone(&here));
            let confirmed = Instant::now();
            match self.call(move |store| store.lock(&k, &t, TTL, is_dead)).await? {
                StoreLockAnswer::Held(token) => held.push(Held { key: key.clone(), token, confirmed, below: Vec::new() }),
                StoreLockAnswer::Taken(lock) => {
                    for h in &held {
                        self.release(h).await?;
                    }
                    let holder: Option<Holder> = lock.holder.as_deref().and_then(|h| serde_json::from_str(h).ok());
                    let since = holder.as_ref().map_or_else(Timestamp::now, |h| h.since);
                    let age = Timestamp::now().duration_since(since).try_into().unwrap_or_default();
                    return Err(LockError::Taken { node: self.node.clone(), holder: holder.map(Box::new), age });
                }
            }
        }
        Ok(Acquired { held, leases: Vec::new() })
    }

    async fn renew(&self, held: &mut Held, _holder: &Holder) -> Result<bool, LockError> {
        let before = Instant::now();
        let (key, token) = (held.key.clone(), held.token);
        let ours = self.call(move |store| store.renew_lock(&key, token, TTL)).await?;
        if ours {
            held.confirmed = before;
        }
        Ok(ours)
    }

    async fn release(&self, held: &Held) -> Result<(), LockError> {
        let (key, token) = (held.key.clone(), held.token);
        self.call(move |store| store.unlock(&key, token)).await
    }

    async fn now(&self) -> Result<Timestamp, LockError> {
        Ok(Timestamp::now())
    }

    fn here_only(&self) -> Option<String> {
        Some(self.why.clone())
    }
}
