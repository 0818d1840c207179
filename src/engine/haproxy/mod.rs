//! HAProxy by its statistics socket (runtime API) or its HTTP statistics page.
//!
//! `parse` reads replies and `command` writes commands, both pure; the rest moves bytes. Nothing here decides whether a
//! change is wise: that is the operations layer's.

mod admin;
mod again;
pub mod capability;
pub mod command;
#[cfg(test)]
mod command_tests;
mod config_file;
mod drift;
mod metrics;
mod observe;
mod page;
pub mod parse;
mod queries;
mod reading;
mod replies;
mod socket;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{HaproxyAccess, HaproxySpec, Settings};
use crate::engine::{Admin, Certificates, Command, Engine, EngineError, Result, Sessions, Tables, Want, Workers, inverse};
use crate::model::{
    AddServer, Certificate, Change, EngineKind, Fields, NodeName, NodeObs, ServerRef, Session, StickTable, StickTableEntry,
    Target, Worker,
};
use crate::transport::http::HttpClient;
use crate::transport::{Endpoint, Transport};

pub use observe::{Known, Picture};

use again::Again;
use config_file::ConfigFile;
use metrics::Metrics;
use page::Page;
use reading::{Memory, Reading};
use socket::{Deadline, Socket};

/// One HAProxy of one node.
#[derive(Debug)]
pub struct Haproxy {
    node: NodeName,
    identity: String,
    access: Access,
    /// Metrics beside the access, where the fleet file names them.
    metrics: Option<Metrics>,
    master: Option<Socket>,
    config: Option<ConfigFile>,
    memory: Memory,
    /// Release of the last reading, packed; 0 until there was one.
    release: AtomicU32,
}

#[derive(Debug)]
enum Access {
    Socket(Socket),
    Page(Page),
    /// The address of the statistics is that of the metrics: nothing else is to be had.
    Metrics(Metrics),
}

impl Haproxy {
    /// Opens nothing yet. `transport` is None where the node is only known over HTTP or TCP.
    ///
    /// # Errors
    /// A unix socket on a node that nothing reaches, or an address that is none.
    pub fn new(
        node: NodeName,
        spec: &HaproxySpec,
        transport: Option<Arc<dyn Transport>>,
        settings: &Settings,
    ) -> Result<Haproxy> {
        let limit = settings.max_reply;
        let is_unix = matches!(spec.access, HaproxyAccess::Socket(_)) || spec.master_socket.is_some();
        if transport.is_none() && is_unix {
            return Err(EngineError::NotAllowed {
                at: node.to_string(),
                what: "a unix socket is on the node, and nothing says how the node is reached".into(),
                hint: "give the node ssh or local in the fleet file".into(),
            });
        }
        let socket = |endpoint: Endpoint| Socket::new(transport.clone(), endpoint, limit);
        let (identity, access) = match &spec.access {
            HaproxyAccess::Socket(path) => {
                (format!("haproxy:{}", one_name(path).display()), Access::Socket(socket(Endpoint::Unix(path.clone()))))
            }
            HaproxyAccess::Tcp(address) => {
                (format!("haproxy:tcp:{address}"), Access::Socket(socket(Endpoint::Tcp(address.clone()))))
            }
            HaproxyAccess::Stats { url, user, password, ca_file } => {
                // People copy the address of the CSV export; the page is what comes before.
                let base = url.split([';', '?']).next().unwrap_or_default();
                let client = HttpClient::new(base, user.clone(), password.clone(), ca_file.clone())?;
                let access = match base.ends_with("/metrics") {
                    true => Access::Metrics(Metrics::new(client, limit)),
                    false => Access::Page(Page::new(client, limit)),
                };
                (format!("haproxy:{base}"), access)
            }
        };
        let metrics = match &spec.metrics_url {
            Some(url) => Some(Metrics::new(HttpClient::new(url, None, None, None)?, limit)),
            None => None,
        };
        Ok(Haproxy {
            node,
            identity,
            access,
            metrics,
            master: spec.master_socket.as_ref().map(|path| socket(Endpoint::Unix(path.clone()))),
            config: ConfigFile::new(spec.config_file.as_deref(), transport.as_ref()),
            memory: Memory::default(),
            release: AtomicU32::new(0),
        })
    }

    fn has_socket(&self) -> bool {
        matches!(self.access, Access::Socket(_))
    }

    /// The runtime API, for what only it can do.
    fn socket(&self, what: &str) -> Result<&Socket> {
        match &self.access {
            Access::Socket(socket) => Ok(socket),
            Access::Page(_) | Access::Metrics(_) => Err(EngineError::NotAllowed {
                at: self.source(),
                what: format!("{what} cannot be had over HTTP"),
                hint: "give lbdeck a statistics socket".into(),
            }),
        }
    }

    async fn read(&self, want: Want<'_>, deadline: Deadline) -> Result<(Reading, Option<Arc<dyn Fields>>)> {
        let mut reading = match &self.access {
            Access::Socket(socket) => reading::read(socket, &self.memory, want, deadline).await?,
            Access::Page(page) => page.read(want, deadline).await?,
            Access::Metrics(metrics) => {
                let (reading, rows) = metrics.read(want, deadline).await?;
                return Ok((reading, Some(Arc::new(rows))));
            }
        };
        let table = reading.table.take().map(|table| Arc::new(table) as Arc<dyn Fields>);
        Ok((reading, table))
    }

    /// None where there is no master socket to ask, or nobody wants to know.
    async fn old_workers(&self, want: Want<'_>, deadline: Deadline) -> Option<Result<Vec<Worker>>> {
        let master = self.master.as_ref().filter(|_| want == Want::All)?;
        Some(queries::workers(master, deadline).await)
    }

    async fn process_metrics(&self, want: Want<'_>, deadline: Deadline) -> Option<Result<Vec<(String, String)>>> {
        let metrics = self.metrics.as_ref().filter(|_| want == Want::All)?;
        Some(metrics.process(deadline).await)
    }

    /// The first look at the file need not wait for the first reading.
    async fn first_look(&self, want: Want<'_>, deadline: Deadline) {
        if let Some(file) = self.config.as_ref().filter(|file| want == Want::All && file.is_new()) {
            file.look(None, deadline).await;
        }
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

    fn again(&self, server: &ServerRef, seen: &NodeObs) -> Result<Again, String> {
        let file = self.config.as_ref().and_then(ConfigFile::known).and_then(|known| known.config.ok());
        again::again(server, seen, file.as_deref())
    }

    fn has(&self, first: (u16, u16)) -> bool {
        self.release.load(Ordering::Relaxed) >= packed(first)
    }
}

/// `/var/run` is `/run` on every system that has both: two operators who write them differently must find the same lock.
fn one_name(socket: &Path) -> PathBuf {
    socket.strip_prefix("/var/run").map_or_else(|_| socket.to_owned(), |rest| Path::new("/run").join(rest))
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
        match &self.access {
            Access::Socket(socket) => socket.describe(),
            Access::Page(page) => page.describe(),
            Access::Metrics(metrics) => metrics.describe(),
        }
    }

    async fn observe(&self, want: Want<'_>, deadline: Duration) -> Result<NodeObs> {
        let begin = Instant::now();
        let deadline = Deadline::within(deadline);
        // A reading is worth having without these: they get half of its time, and what fails becomes a note.
        let beside = deadline.half();
        let (read, workers, metrics, ()) = tokio::join!(
            self.read(want, deadline),
            self.old_workers(want, beside),
            self.process_metrics(want, beside),
            self.first_look(want, beside)
        );
        let (mut reading, fields) = read?;
        let seen = Instant::now();
        self.compare_with_file(&mut reading, want, deadline.half()).await;
        match metrics {
            Some(Ok(more)) => reading.engine.info.extend(more),
            Some(Err(e)) => reading.notes.push(format!("metrics: {e}")),
            None => {}
        }
        let workers = match workers {
            Some(Err(e)) => {
                reading.notes.push(format!("old workers are unknown: {e}"));
                None
            }
            workers => workers.and_then(Result::ok),
        };
        self.release.store(reading.engine.release.map_or(0, packed), Ordering::Relaxed);
        Ok(NodeObs {
            node: self.node.clone(),
            at: Timestamp::now(),
            seen,
            took: begin.elapsed(),
            source: self.source().into(),
            engine: reading.engine,
            frontends: reading.picture.frontends,
            pools: reading.picture.pools,
            workers,
            certificates: None,
            events: Vec::new(),
            notes: reading.notes,
            fields,
        })
    }

    fn admin(&self) -> Option<&dyn Admin> {
        (!matches!(self.access, Access::Metrics(_))).then_some(self)
    }
    fn sessions(&self) -> Option<&dyn Sessions> {
        self.has_socket().then_some(self)
    }
    fn tables(&self) -> Option<&dyn Tables> {
        self.has_socket().then_some(self)
    }
    fn certificates(&self) -> Option<&dyn Certificates> {
        self.has_socket().then_some(self)
    }
    fn workers(&self) -> Option<&dyn Workers> {
        self.master.as_ref().map(|_| self as &dyn Workers)
    }
}

#[async_trait]
impl Admin for Haproxy {
    fn encode(&self, target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
        match &self.access {
            Access::Socket(_) => command::encode(target, change, seen),
            Access::Page(_) => page::encode(target, change, seen),
            Access::Metrics(_) => Err("metrics can only be watched; give lbdeck a statistics socket".into()),
        }
    }
    fn inverse(&self, target: &Target, change: &Change, seen: &NodeObs) -> Vec<Change> {
        match (target, change) {
            (Target::Server(server), Change::RemoveServer) => {
                self.again(server, seen).map(|again| Change::AddServer(again.add)).into_iter().collect()
            }
            _ => inverse::inverse(target, change, seen),
        }
    }
    fn lost(&self, target: &Target, change: &Change, seen: &NodeObs) -> Option<String> {
        match (target, change) {
            (Target::Server(server), Change::RemoveServer) => match self.again(server, seen) {
                Ok(again) => again.lacks.map(|lacks| format!("an undo adds it again {lacks}")),
                Err(why) => Some(format!("it cannot be undone: {why}")),
            },
            _ => None,
        }
    }
    async fn send(&self, commands: &[Command], deadline: Duration) -> Result<Vec<String>> {
        let deadline = Deadline::within(deadline);
        match &self.access {
            Access::Page(page) => page.send(commands, deadline).await,
            _ => admin::send(self.socket("a change")?, commands, deadline).await,
        }
    }
    fn can_add(&self, pool: &str, server: &AddServer, seen: &NodeObs) -> Result<(), String> {
        match &self.access {
            Access::Socket(_) => command::can_add(pool, server, seen),
            _ => Err("servers cannot be added over HTTP; give lbdeck a statistics socket".into()),
        }
    }
}

#[async_trait]
impl Sessions for Haproxy {
    async fn sessions(&self, of: Option<&ServerRef>, limit: usize, deadline: Duration) -> Result<Vec<Session>> {
        let narrow = self.has(capability::SESSIONS_OF_SERVER);
        queries::sessions_of(self.socket("sessions")?, of, limit, narrow, Deadline::within(deadline)).await
    }
}

#[async_trait]
impl Tables for Haproxy {
    async fn tables(&self, deadline: Duration) -> Result<Vec<StickTable>> {
        queries::stick_tables(self.socket("stick tables")?, Deadline::within(deadline)).await
    }
    async fn entries(&self, table: &str, limit: usize, deadline: Duration) -> Result<Vec<StickTableEntry>> {
        queries::table_entries(self.socket("stick tables")?, table, limit, Deadline::within(deadline)).await
    }
}

#[async_trait]
impl Certificates for Haproxy {
    async fn certificates(&self, deadline: Duration) -> Result<Vec<Certificate>> {
        queries::certificates(self.socket("certificates")?, Deadline::within(deadline)).await
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

    async fn left(&self, pid: u32, of: &ServerRef, deadline: Duration) -> Result<u64> {
        match &self.master {
            Some(master) => queries::left_in(master, pid, of, Deadline::within(deadline)).await,
            None => Ok(0),
        }
    }

    async fn kill_sessions(&self, pid: u32, of: &ServerRef, deadline: Duration) -> Result<Vec<String>> {
        match &self.master {
            Some(master) => queries::kill_sessions_in(master, pid, of, Deadline::within(deadline)).await,
            None => Ok(Vec::new()),
        }
    }
}
