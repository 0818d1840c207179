//! The relay as the agent's data plane: what the control API asks, in the relay's terms.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::MissedTickBehavior;

use crate::engine::relay::wire::{self, Applied, NewServer, ServerChange};
use crate::model::ServerRef;

use super::events::Events;
use super::pki;
use super::plane::{HandedSocket, Healths, Memories, Picture, Plane, PlaneError, Planes};
use super::relay::config::{self, RelayConfig, RelayConfigError};
use super::relay::roster::{Asked, RosterError};
use super::relay::running::{Relay, RelayError};
use super::relay::session::SessionView;

/// Starts relays.
#[derive(Debug)]
pub struct RelayPlanes {
    /// Relative paths in a configuration start at its folder, and errors name it.
    path: PathBuf,
}

impl RelayPlanes {
    /// `path` is the configuration file's.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[derive(Debug)]
struct RelayPlane {
    relay: Relay,
    path: PathBuf,
}

fn read(text: &str, path: &Path) -> Result<RelayConfig, PlaneError> {
    config::parse(text, path).map_err(|e| match e {
        RelayConfigError::Invalid(diagnostics) => {
            let place = |d: &crate::config::Diagnostic| {
                let hint = d.hint.as_ref().map_or_else(String::new, |h| format!(" (hint: {h})"));
                format!("{}:{}:{}: {}{hint}", path.display(), d.place.line, d.place.column, d.what)
            };
            PlaneError::Config(diagnostics.iter().map(place).collect())
        }
        other => PlaneError::Invalid(other.to_string()),
    })
}

impl From<RosterError> for PlaneError {
    fn from(error: RosterError) -> Self {
        match error {
            RosterError::NotFound(what) => PlaneError::NotFound(what),
            RosterError::Invalid(what) => PlaneError::Invalid(what),
            RosterError::Conflict(what) => PlaneError::Conflict(what),
        }
    }
}

impl From<RelayError> for PlaneError {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Tls { .. } | RelayError::Route { .. } => PlaneError::Config(vec![error.to_string()]),
            RelayError::Listen { .. } | RelayError::Log(_) | RelayError::System(_) => PlaneError::System(error.to_string()),
        }
    }
}

#[async_trait]
impl Planes for RelayPlanes {
    fn validate(&self, text: &str, running: Option<&dyn Plane>) -> Result<Applied, PlaneError> {
        let config = read(text, &self.path)?;
        let now = running.map(|plane| plane.picture(None)).unwrap_or_default();
        Ok(Applied { generation: 0, changes: differences(&config, &now), kept: Vec::new() })
    }

    async fn start(
        &self,
        text: &str,
        memories: &Memories,
        known: Healths,
        sockets: Vec<HandedSocket>,
        events: Arc<Events>,
    ) -> Result<Arc<dyn Plane>, PlaneError> {
        let config = read(text, &self.path)?;
        let remembered = memories.iter().filter_map(|(name, memory)| {
            let (pool, server) = name.split_once('/')?;
            Some((ServerRef::new(pool, server), Asked { added: memory.added.clone(), set: memory.set.clone() }))
        });
        let relay = Relay::start(config, remembered, known, sockets, events.clone())?;
        let plane = Arc::new(RelayPlane { relay, path: self.path.clone() });
        tokio::spawn(each_second(Arc::downgrade(&plane), events));
        Ok(plane)
    }
}

/// Rates, and certificates whose files have changed, as long as there is a relay.
async fn each_second(plane: Weak<RelayPlane>, events: Arc<Events>) {
    let mut turn = tokio::time::interval(Duration::from_secs(1));
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let Some(plane) = plane.upgrade() else { return };
        plane.relay.tick();
        let looked = tokio::task::spawn_blocking(move || plane.relay.look_at_certificates()).await;
        for (at, taken) in looked.unwrap_or_default() {
            match taken {
                Ok(()) => events.tell("certificate", at, "its files have changed and are used from now on"),
                Err(why) => {
                    let text = format!("its files have changed and cannot be used, what was read before stays: {why}");
                    events.tell("certificate", at, text);
                }
            }
        }
    }
}

/// What of a configuration is not there now, and what is there and not in it.
fn differences(config: &RelayConfig, now: &Picture) -> Vec<String> {
    let mut changes = Vec::new();
    for pool in &config.pools {
        let Some(running) = now.pools.iter().find(|p| p.name == *pool.name) else {
            changes.push(format!("pool {}: added", pool.name));
            continue;
        };
        for server in pool.servers.iter().filter(|s| !running.servers.iter().any(|r| r.name == *s.name)) {
            changes.push(format!("server {}/{}: added", pool.name, server.name));
        }
        for gone in running.servers.iter().filter(|r| !r.added && !pool.servers.iter().any(|s| *s.name == *r.name)) {
            changes.push(format!("server {}/{}: removed", pool.name, gone.name));
        }
    }
    changes.extend(now.pools.iter().filter(|p| config.pool(&p.name).is_none()).map(|p| format!("pool {}: removed", p.name)));
    for listener in config.listeners.iter().filter(|l| !now.listeners.iter().any(|n| n.name == *l.name)) {
        changes.push(format!("listener {}: added", listener.name));
    }
    let gone = now.listeners.iter().filter(|l| config.listener(&l.name).is_none());
    changes.extend(gone.map(|l| format!("listener {}: removed", l.name)));
    changes
}

/// A file that cannot be read now is shown by its name alone: what it held is in use still.
fn show_certificate(file: PathBuf) -> wire::Certificate {
    let name = file.display().to_string();
    match pki::read_issued(&file) {
        Ok(read) => wire::Certificate { file: name, subject: read.subject, not_after: Some(read.not_after), names: read.names },
        Err(_) => wire::Certificate { file: name, ..wire::Certificate::default() },
    }
}

fn show(view: SessionView) -> wire::Session {
    let age = SystemTime::now().duration_since(view.since).unwrap_or_default();
    let (pool, server) = view.server.as_deref().and_then(|s| s.split_once('/')).unwrap_or_default();
    wire::Session {
        id: view.id.to_string(),
        source: view.peer.map_or_else(|| "unix".to_owned(), |p| p.to_string()),
        listener: view.listener.to_string(),
        pool: pool.to_owned(),
        server: server.to_owned(),
        age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        ..wire::Session::default()
    }
}

#[async_trait]
impl Plane for RelayPlane {
    fn picture(&self, pool: Option<&str>) -> Picture {
        let pools = self.relay.roster.picture(pool);
        let (listeners, routes) = match pool {
            None => (self.relay.listeners(), self.relay.routes()),
            Some(_) => Default::default(),
        };
        Picture { listeners, routes, pools, notes: self.relay.troubles() }
    }

    fn health(&self) -> Healths {
        self.relay.roster.health()
    }

    fn change_server(&self, at: &ServerRef, change: &ServerChange) -> Result<(), PlaneError> {
        Ok(self.relay.roster.change(at, change)?)
    }

    fn add_server(&self, at: &ServerRef, server: &NewServer) -> Result<(), PlaneError> {
        Ok(self.relay.roster.add(at, server)?)
    }

    fn remove_server(&self, at: &ServerRef) -> Result<(), PlaneError> {
        Ok(self.relay.roster.remove(at)?)
    }

    fn enable_listener(&self, name: &str, enabled: bool) -> Result<(), PlaneError> {
        match self.relay.enable(name, enabled) {
            true => Ok(()),
            false => Err(PlaneError::NotFound(format!("there is no listener '{name}'"))),
        }
    }

    async fn sessions(&self, of: Option<&ServerRef>, limit: usize) -> Vec<wire::Session> {
        self.relay.sessions(of.map(ToString::to_string), limit).await.into_iter().map(show).collect()
    }

    async fn kill_session(&self, id: &str) -> bool {
        match id.parse() {
            Ok(id) => self.relay.kill(id).await,
            Err(_) => false,
        }
    }

    async fn kill_sessions(&self, of: &ServerRef) -> Result<usize, PlaneError> {
        let name = self.relay.roster.server_name(of)?;
        Ok(self.relay.kill_at(name).await)
    }

    fn certificates(&self) -> Vec<wire::Certificate> {
        self.relay.certificate_files().into_iter().map(show_certificate).collect()
    }

    async fn apply(&self, text: &str) -> Result<Applied, PlaneError> {
        let config = read(text, &self.path)?;
        let changes = self.relay.apply(config)?;
        Ok(Applied { generation: 0, changes, kept: self.relay.roster.kept() })
    }

    fn metrics(&self) -> String {
        self.relay.metrics()
    }

    fn sockets(&self) -> std::io::Result<Vec<HandedSocket>> {
        self.relay.sockets()
    }

    fn purge(&self, host: Option<&str>, path: &str) -> usize {
        self.relay.purge(host, path)
    }

    async fn finish(&self, idle: Duration, deadline: Duration) -> usize {
        self.relay.finish(idle, deadline).await
    }
}
