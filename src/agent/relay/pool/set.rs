//! The servers of a pool at one moment with their settings: replaced as a whole, read without a lock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::clock::{Millis, millis};
use super::super::config::pool::{Balance, PoolConfig, ServerConfig};
use super::balance::hash::Ring;
use super::server::{Server, ServerId};

#[derive(Debug)]
pub struct Slot {
    pub server: Arc<Server>,
    /// What the configuration says, or what it was added with.
    pub config: ServerConfig,
    /// Where new connections go: the configuration's address unless an operator gave another.
    pub address: SocketAddr,
    /// 0 to 256, as configured or as an operator asked for.
    pub weight: u16,
    /// Not in the configuration: added at run time.
    pub added: bool,
}

#[derive(Debug)]
pub struct ServerSet {
    pub config: Arc<PoolConfig>,
    pub slots: Vec<Slot>,
    pub(super) ring: Ring,
    by_id: HashMap<ServerId, usize>,
    by_cookie: HashMap<Arc<str>, usize>,
}

impl ServerSet {
    pub fn new(config: Arc<PoolConfig>, slots: Vec<Slot>) -> Self {
        let ring = match config.balance {
            Balance::Source | Balance::Uri => Ring::new(slots.iter().map(|s| (&*s.server.name, s.weight))),
            _ => Ring::default(),
        };
        let by_id = slots.iter().enumerate().map(|(i, s)| (s.server.id, i)).collect();
        let by_cookie = slots.iter().enumerate().map(|(i, s)| (s.config.cookie.clone(), i)).collect();
        Self { config, slots, ring, by_id, by_cookie }
    }

    pub fn index_of(&self, id: ServerId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }
    pub fn index_of_cookie(&self, cookie: &str) -> Option<usize> {
        self.by_cookie.get(cookie).copied()
    }
    pub fn index_of_name(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|s| &*s.server.name == name)
    }
    pub fn slowstart_ms(&self) -> Option<Millis> {
        self.config.slowstart.map(millis)
    }
}
