//! The store blocks for the time of a small transaction; this keeps it off the reactor.

use crate::store::{Store, StoreError};

pub async fn on_store<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = store.clone();
    let path = store.path().to_owned();
    tokio::task::spawn_blocking(move || work(&store))
        .await
        .unwrap_or_else(|e| Err(StoreError::Other { path, what: format!("the call was broken off: {e}") }))
}
