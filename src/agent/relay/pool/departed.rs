//! Counters of servers that a pool does not have any more: what the pool has counted never falls.

use std::sync::Arc;

use crate::engine::relay::wire::Traffic;

use super::Server;

#[derive(Debug, Default)]
pub struct Departed {
    counted: Traffic,
    /// Those that still finish what they have.
    leaving: Vec<Arc<Server>>,
}

impl Departed {
    pub fn add(&mut self, server: Arc<Server>) {
        self.leaving.push(server);
    }

    /// What all of them have counted, and what is in progress on them.
    pub fn traffic(&mut self, http: bool) -> Traffic {
        let counted = &mut self.counted;
        self.leaving.retain(|server| {
            let stays = server.in_use() > 0;
            if !stays {
                counted.add(&counters(server, http));
            }
            stays
        });
        let mut all = *counted;
        for server in &self.leaving {
            all.add(&counters(server, http));
        }
        all
    }
}

/// The largest number of sessions was that of another set of servers.
fn counters(server: &Server, http: bool) -> Traffic {
    Traffic { sessions_max: 0, sessions_rate: 0, requests_rate: None, ..server.traffic(http) }
}
