//! Room for client connections of the whole process. Each may need a second file descriptor, for its server, and the control API needs
//! some too: a flood of clients must not leave those that are served without servers, nor operators without their agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that clients never get, of many: the control API's connections, health checks, logs, files.
const RESERVED: u64 = 512;
/// Clients that fit in any case.
const LEAST: u64 = 8;
/// Where the system knows no limit.
const MOST: u64 = 1 << 20;

#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    clients: u64,
    /// The limit that it was worked out from.
    files: u64,
    full: AtomicBool,
}

impl Room {
    /// As much as the limit of open files allows now.
    pub fn of_this_process() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(MOST * 2);
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        Self::within(files, open)
    }

    fn within(files: u64, open: u64) -> Self {
        let clients = (files.saturating_sub(open).saturating_sub(RESERVED.min(files / 4)) / 2).clamp(LEAST, MOST);
        let places = Arc::new(Semaphore::new(usize::try_from(clients).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { places, clients, files, full: AtomicBool::new(false) }
    }

    /// A place for one client; waits while all are taken.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            if self.full.load(Ordering::Relaxed) && self.full.swap(false, Ordering::Relaxed) {
                tracing::warn!("there is room for clients again");
            }
            return Some(place);
        }
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::error!("{}", self.words());
        }
        // It is never closed.
        self.places.clone().acquire_owned().await.ok()
    }

    /// In words, while all places are taken.
    pub fn trouble(&self) -> Option<String> {
        (self.places.available_permits() == 0).then(|| self.words())
    }

    fn words(&self) -> String {
        let Self { clients, files, .. } = self;
        format!("{clients} clients are all that the limit of {files} open files has room for: new ones wait (raise LimitNOFILE)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn some_descriptors_are_nobodys() {
        for (files, open, clients) in [(1 << 20, 100, 523_982), (1024, 50, 359), (120, 30, 30), (10, 30, 8)] {
            assert_eq!(Room::within(files, open).clients, clients, "{files} {open}");
        }
        let room = Arc::new(Room::within(10, 30));
        let mut places = Vec::new();
        for _ in 0..LEAST {
            places.push(room.enter().await.unwrap());
        }
        assert!(room.trouble().unwrap().contains("limit of 10 open files"));
        let waiting = tokio::spawn({
            let room = room.clone();
            async move { room.enter().await.is_some() }
        });
        places.pop();
        assert!(waiting.await.unwrap() && room.trouble().is_none());
    }
}
