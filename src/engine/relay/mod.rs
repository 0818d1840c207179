//! lbdeck's own agent and its relay, by the control API: HTTP with JSON over the agent's unix socket.
//!
//! `observe` reads snapshots and `command` writes requests, both pure; `client` moves bytes; `follow` listens to the stream.

mod client;
mod command;
#[cfg(test)]
mod command_tests;
mod follow;
mod observe;
pub mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::config::{RelaySpec, Settings};
use crate::engine::{Admin, Certificates, Command, Engine, EngineError, NodeReadings, Result, Sessions, Streams, Want, inverse};
use crate::model::{AddServer, Certificate, Change, EngineKind, NodeName, NodeObs, NodeReading, ServerRef, Session, Target};
use crate::transport::tls::{TlsFiles, TlsTransport};
use crate::transport::{Endpoint, Transport, TransportError};

pub use observe::{Reading, observation};

use client::Client;
use command::segment;
use wire::Snapshot;

/// Pause between two looks at a server that is still in use.
const POLL: Duration = Duration::from_millis(100);

/// The agent of one node.
#[derive(Debug)]
pub struct Relay {
    node: NodeName,
    identity: String,
    client: Client,
}

/// Names a relay among all engines of its host: the key of locks and leases.
pub fn identity(socket: &Path) -> String {
    // `/var/run` is `/run` on every system that has both.
    let one_name = socket.strip_prefix("/var/run").map_or_else(|_| socket.to_owned(), |rest| Path::new("/run").join(rest));
    format!("relay:{}", one_name.display())
}

impl Relay {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// Nothing says how the node is reached.
    pub fn new(node: NodeName, spec: &RelaySpec, transport: Option<Arc<dyn Transport>>, settings: &Settings) -> Result<Relay> {
        if let Some(tcp) = &spec.tcp {
            let files = TlsFiles { ca: tcp.ca.clone(), certificate: tcp.certificate.clone(), key: tcp.key.clone() };
            let tls = TlsTransport::new(&tcp.address, tcp.server_name.as_deref(), files)?;
            let client = Client::new(Arc::new(tls), Endpoint::Tcp(tcp.address.clone()), settings.max_reply);
            return Ok(Relay { node, identity: identity(&spec.socket), client });
        }
        let Some(transport) = transport else {
            return Err(EngineError::NotAllowed {
                at: node.to_string(),
                what: "the agent's socket is on the node, and nothing says how the node is reached".into(),
                hint: "give the node ssh or local in the fleet file, or engines: {relay: {tcp: HOST:PORT, …}}".into(),
            });
        };
        let client = Client::new(transport, Endpoint::Unix(spec.socket.clone()), settings.max_reply);
        Ok(Relay { node, identity: identity(&spec.socket), client })
    }

    async fn snapshot(&self, pool: Option<&str>, deadline: Duration) -> Result<Snapshot> {
        let path = match pool {
            Some(pool) => format!("/v1/snapshot?pool={}", segment(pool)),
            None => "/v1/snapshot".to_owned(),
        };
        self.client.get(&path, deadline).await
    }

    /// Waits until nothing is in use of the server: the relay counts exactly.
    async fn await_removable(&self, at: &ServerRef, deadline: Instant) -> Result<String> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let snapshot = self.snapshot(Some(at.pool.as_str()), left).await?;
            let servers = snapshot.pools.into_iter().filter(|p| p.name == at.pool.as_str()).flat_map(|p| p.servers);
            let in_use = servers.into_iter().find(|s| s.name == at.server.as_str()).map_or(0, |s| s.in_use);
            if in_use == 0 {
                return Ok("nothing is in use".to_owned());
            }
            if left <= POLL {
                return Err(EngineError::Refused {
                    at: self.client.describe(),
                    command: Command::AwaitRemovable(at.clone()).to_string(),
                    reply: format!("{in_use} requests or connections are still in use"),
                    hint: Some("drain it first, or end its sessions".to_owned()),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[async_trait]
impl Engine for Relay {
    fn kind(&self) -> EngineKind {
        EngineKind::Relay
    }
    fn node(&self) -> &NodeName {
        &self.node
    }
    fn identity(&self) -> String {
        self.identity.clone()
    }
    fn source(&self) -> String {
        self.client.describe()
    }

    async fn observe(&self, want: Want<'_>, deadline: Duration) -> Result<NodeObs> {
        let began = Instant::now();
        let pool = match want {
            Want::All => None,
            Want::Pool(pool) => Some(pool),
        };
        let snapshot = self.snapshot(pool, deadline).await?;
        let reading = Reading { node: self.node.clone(), began, source: self.source() };
        Ok(observation(snapshot, self.client.hello().as_ref(), reading))
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }
    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }
    fn sessions(&self) -> Option<&dyn Sessions> {
        Some(self)
    }
    fn certificates(&self) -> Option<&dyn Certificates> {
        Some(self)
    }
    fn node_readings(&self) -> Option<&dyn NodeReadings> {
        Some(self)
    }
}

#[async_trait]
impl Admin for Relay {
    fn encode(&self, target: &Target, change: &Change, seen: &NodeObs) -> Result<Vec<Command>, String> {
        command::encode(target, change, seen)
    }
    fn inverse(&self, target: &Target, change: &Change, seen: &NodeObs) -> Vec<Change> {
        match (target, change) {
            (Target::Server(at), Change::RemoveServer) => command::again(at, seen).into_iter().collect(),
            _ => inverse::inverse(target, change, seen),
        }
    }
    async fn send(&self, commands: &[Command], deadline: Duration) -> Result<Vec<String>> {
        // A caller that means "for ever" gets a day, which keeps the clock's arithmetic sound.
        let ends = Instant::now() + deadline.min(Duration::from_secs(86_400));
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            let left = ends.saturating_duration_since(Instant::now());
            replies.push(match command {
                Command::Api { method, path, body } => {
                    observe::in_words(self.client.send(method.word(), path, body, left).await?)
                }
                Command::AwaitRemovable(server) => self.await_removable(server, ends).await?,
                Command::Socket(_) | Command::HttpForm(_) => {
                    let what = format!("'{command}' is for haproxy, and this is lbdeck's agent");
                    return Err(TransportError::Unsupported { at: self.client.describe(), what }.into());
                }
            });
        }
        Ok(replies)
    }
    fn can_add(&self, pool: &str, server: &AddServer, seen: &NodeObs) -> Result<(), String> {
        command::can_add(pool, server, seen)
    }
}

#[async_trait]
impl Sessions for Relay {
    async fn sessions(&self, of: Option<&ServerRef>, limit: usize, deadline: Duration) -> Result<Vec<Session>> {
        let of = of.map(|at| format!("&pool={}&server={}", segment(at.pool.as_str()), segment(at.server.as_str())));
        let path = format!("/v1/sessions?limit={limit}{}", of.unwrap_or_default());
        let sessions: Vec<wire::Session> = self.client.get(&path, deadline).await?;
        Ok(sessions.into_iter().take(limit).map(observe::session).collect())
    }
}

#[async_trait]
impl Certificates for Relay {
    async fn certificates(&self, deadline: Duration) -> Result<Vec<Certificate>> {
        let certificates: Vec<wire::Certificate> = self.client.get("/v1/certificates", deadline).await?;
        Ok(certificates.into_iter().map(observe::certificate).collect())
    }
}

#[async_trait]
impl NodeReadings for Relay {
    async fn reading(&self, deadline: Duration) -> Result<NodeReading> {
        let reading: NodeReading = self.client.get("/v1/node", deadline).await?;
        Ok(reading.sanitized())
    }
}
