//! HAProxy by its statistics socket (runtime API) or its HTTP statistics page.
//!
//! `parse` reads replies and `command` writes commands, both pure; the rest moves bytes. Nothing here decides whether a
//! change is wise: that is the operations layer's.

mod admin;
pub mod capability;
pub mod command;
mod config_file;
mod drift;
mod observe;
pub mod parse;
mod queries;
mod reading;
mod replies;
mod socket;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{HaproxyAccess, HaproxySpec, Settings};
use crate::engine::{Admin, Certificates, Command, Engine, EngineError, Result, Sessions, Tables, Want, Workers};
use crate::model::{
    AddServer, Certificate, Change, EngineKind, Fields, NodeName, NodeObs, ServerRef, Session, StickTable, StickTableEntry,
    Target, Worker,
};
use crate::transport::{Endpoint, Transport};

use config_file::ConfigFile;
use reading::{Memory, Reading};
use socket::{Deadline, Socket};

/// One HAProxy of one node.
#[derive(Debug)]
pub struct Haproxy {
    node: NodeName,
    identity: String,
    socket: Socket,
    master: Option<Socket>,
    config: Option<ConfigFile>,
    memory: Memory,
    /// Release of the last reading, packed; 0 until there was one.
    release: AtomicU32,
}

impl Haproxy {
    /// Opens nothing yet. `transport` is None where the node is only known over HTTP or TCP.
    pub fn new(
        node: NodeName,
        spec: &HaproxySpec,
        transport: Option<Arc<dyn Transport>>,
        settings: &Settings,
    ) -> Result<Haproxy> {
        let limit = settings.max_reply;
        let (identity, endpoint) = match &spec.access {
            HaproxyAccess::Socket(path) => (format!("haproxy:{}", path.display()), Endpoint::Unix(path.clone())),
            HaproxyAccess::Tcp(address) => (format!("haproxy:tcp:{address}"), Endpoint::Tcp(address.clone())),
            HaproxyAccess::Stats { url, .. } => {
                return Err(EngineError::NotAllowed {
                    at: node.to_string(),
                    what: format!("{url}: the statistics page is not read yet"),
                    hint: "give the node a socket".into(),
                });
            }
        };
        if transport.is_none() && (matches!(endpoint, Endpoint::Unix(_)) || spec.master_socket.is_some()) {
            return Err(EngineError::NotAllowed {
                at: node.to_string(),
                what: "a unix socket is on the node, and nothing says how the node is reached".into(),
                hint: "give the node ssh or local in the fleet file".into(),
            });
        }
        let master = spec.master_socket.as_ref().map(|path| Socket::new(transport.clone(), Endpoint::Unix(path.clone()), limit));
        let config = ConfigFile::new(spec.config_file.as_deref(), transport.as_ref());
        Ok(Haproxy {
            node,
            identity,
            config,
            socket: Socket::new(transport, endpoint, limit),
            master,
            memory: Memory::default(),
            release: AtomicU32::new(0),
        })
    }

    /// A look at the file costs a round trip, so a reading of one pool makes do with what is known.
    async fn compare_with_file(&self, reading: &mut Reading, want: Want<'_>, deadline: Deadline) {
        let Some(file) = &self.config else { return };
        if want == Want::All && file.is_due(reading.engine.pid) {
            file.look(reading.engine.pid, deadline).await;
        }
        let Some(known) = file.known() else { return };
        match known.config {
            Ok(config) => drift::compare(&config, &mut reading.picture.pools, &mut reading.notes),
            Err(why) => reading.notes.push(why),
        }
        if let (Some(changed), Some(started)) = (known.changed, reading.started_at)
            && changed > started
        {
            let path = file.path().display();
            reading
                .notes
                .push(format!("{path} was changed after this process started: the next reload brings more than is shown"));
        }
    }

    fn has(&self, first: (u16, u16)) -> bool {
        self.release.load(Ordering::Relaxed) >= packed(first)
    }
}

fn packed((major, minor): (u16, u16)) -> u32 {
    u32::from(major) << 16 | u32::from(minor)
}

#[async_trait]
impl Engine for Haproxy {
    fn kind(&self) -> EngineKind {
        EngineKind::Haproxy
    }
    fn node(&self) -> &NodeName {
        &self.node
    }
    fn identity(&self) -> String {
        self.identity.clone()
    }
    fn source(&self) -> String {
        self.socket.describe()
    }

    async fn observe(&self, want: Want<'_>, deadline: Duration) -> Result<NodeObs> {
        let begin = Instant::now();
        let deadline = Deadline::within(deadline);
        let mut reading = reading::read(&self.socket, &self.memory, want, deadline).await?;
        self.compare_with_file(&mut reading, want, deadline).await;
        self.release.store(reading.engine.release.map_or(0, packed), Ordering::Relaxed);
        let seen = Instant::now();
        Ok(NodeObs {
            node: self.node.clone(),
            at: Timestamp::now(),
            seen,
            took: seen.duration_since(begin),
            source: self.source().into(),
            engine: reading.engine,
            frontends: reading.picture.frontends,
            pools: reading.picture.pools,
            workers: None,
            certificates: None,
            notes: reading.notes,
            fields: reading.table.map(|table| Arc::new(table) as Arc<dyn Fields>),
        })
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }
    fn sessions(&self) -> Option<&dyn Sessions> {
        Some(self)
    }
    fn tables(&self) -> Option<&dyn Tables> {
        Some(self)
    }
    fn certificates(&self) -> Option<&dyn Certificates> {
        Some(self)
    }
    fn workers(&self) -> Option<&dyn Workers> {
        self.master.as_ref().map(|_| self as &dyn Workers)
    }
}

#[async_trait]
impl Admin for Haproxy {
    fn encode(&self, target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
        command::encode(target, change, seen)
    }
    fn inverse(&self, target: &Target, change: &Change, seen: &NodeObs) -> Vec<Change> {
        command::inverse(target, change, seen)
    }
    async fn send(&self, commands: &[Command], deadline: Duration) -> Result<Vec<String>> {
        admin::send(&self.socket, commands, Deadline::within(deadline)).await
    }
    fn can_add(&self, pool: &str, server: &AddServer, seen: &NodeObs) -> Result<(), String> {
        command::can_add(pool, server, seen)
    }
}

#[async_trait]
impl Sessions for Haproxy {
    async fn sessions(&self, of: Option<&ServerRef>, limit: usize, deadline: Duration) -> Result<Vec<Session>> {
        let narrow = self.has(capability::SESSIONS_OF_SERVER);
        queries::sessions_of(&self.socket, of, limit, narrow, Deadline::within(deadline)).await
    }
}

#[async_trait]
impl Tables for Haproxy {
    async fn tables(&self, deadline: Duration) -> Result<Vec<StickTable>> {
        queries::stick_tables(&self.socket, Deadline::within(deadline)).await
    }
    async fn entries(&self, table: &str, limit: usize, deadline: Duration) -> Result<Vec<StickTableEntry>> {
        queries::table_entries(&self.socket, table, limit, Deadline::within(deadline)).await
    }
}

#[async_trait]
impl Certificates for Haproxy {
    async fn certificates(&self, deadline: Duration) -> Result<Vec<Certificate>> {
        queries::certificates(&self.socket, Deadline::within(deadline)).await
    }
}

#[async_trait]
impl Workers for Haproxy {
    async fn workers(&self, deadline: Duration) -> Result<Vec<Worker>> {
        match &self.master {
            Some(master) => queries::workers(master, Deadline::within(deadline)).await,
            None => Ok(Vec::new()),
        }
    }
}
