//! Source persistence: which server a client address had last. Entries end by time, and there are never more than asked for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::clock::Millis;
use super::balance::hash;
use super::server::ServerId;

/// Threads that look up different clients rarely meet.
const SHARDS: usize = 64;

#[derive(Debug)]
pub struct SourceTable {
    shards: Box<[Mutex<HashMap<IpAddr, Entry>>]>,
    expire: Millis,
    shard_size: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    server: ServerId,
    used: Millis,
}

impl SourceTable {
    pub fn new(expire: Millis, size: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, expire, shard_size: size.div_ceil(SHARDS) }
    }

    fn shard(&self, client: IpAddr) -> Option<MutexGuard<'_, HashMap<IpAddr, Entry>>> {
        let shard = self.shards.get(hash::of_address(client) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn get(&self, client: IpAddr, now: Millis) -> Option<ServerId> {
        let entry = self.shard(client)?.get(&client.to_canonical()).copied()?;
        (now < entry.used.saturating_add(self.expire)).then_some(entry.server)
    }

    pub fn put(&self, client: IpAddr, server: ServerId, now: Millis) {
        let Some(mut shard) = self.shard(client) else { return };
        let client = client.to_canonical();
        if shard.len() >= self.shard_size && !shard.contains_key(&client) {
            let expire = self.expire;
            shard.retain(|_, e| now < e.used.saturating_add(expire));
            // Full of clients that are all current: the one that was away the longest makes room.
            if shard.len() >= self.shard_size
                && let Some(oldest) = shard.iter().min_by_key(|(_, e)| e.used).map(|(c, _)| *c)
            {
                shard.remove(&oldest);
            }
        }
        shard.insert(client, Entry { server, used: now });
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn entries_end_by_time_and_are_renewed_by_use() {
        let table = SourceTable::new(1000, 100);
        table.put(ip(1), 7, 10);
        assert_eq!(table.get(ip(1), 1009), Some(7));
        assert_eq!(table.get(ip(1), 1010), None);
        table.put(ip(1), 7, 900);
        assert_eq!(table.get(ip(1), 1500), Some(7));
        assert_eq!(table.get("::ffff:0.0.0.1".parse().unwrap(), 1500), Some(7), "the same client over a dual-stack socket");
    }

    #[test]
    fn it_never_grows_beyond_its_size_and_forgets_the_oldest() {
        let table = SourceTable::new(1_000_000, 640);
        for n in 0..20_000 {
            table.put(ip(n), 1, u64::from(n) + 1);
        }
        assert!(table.len() <= 640, "{}", table.len());
        assert_eq!(table.get(ip(19_999), 20_001), Some(1), "the newest is there");
        assert_eq!(table.get(ip(0), 20_001), None);
    }
}
