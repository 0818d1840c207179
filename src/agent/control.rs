//! What the control API does, without HTTP: each change is made durable before the data plane acts on it, so that whoever was
//! told of a change finds it after a crash.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::engine::relay::wire::{API, Applied, Config, Hello, NewServer, Phase, ServerChange, Snapshot};
use crate::model::ServerRef;

use super::events::Events;
use super::health_file::HealthFile;
use super::leases::LeaseFolder;
use super::node::NodeReader;
use super::plane::{HandedSocket, Picture, Plane, PlaneError, Planes};
use super::state::{Kept, KeptConfig, State, StateError};

/// Why a request was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    Plane(#[from] PlaneError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("no configuration is active: there is no relay to change")]
    Idle,
    /// Somebody else applied a configuration meanwhile.
    #[error("the active configuration is generation {has}, not {expected}")]
    Overtaken { expected: u64, has: u64 },
}

/// How often it is looked whether what is known of servers has changed.
const KEEP_HEALTH: Duration = Duration::from_secs(1);

/// A data plane behind a pointer that can be swapped: trait objects are too wide for it.
struct Running(Arc<dyn Plane>);

/// One agent: its data plane, what it must not forget, what happened.
pub struct Control {
    planes: Arc<dyn Planes>,
    plane: ArcSwapOption<Running>,
    pub state: State,
    pub events: Arc<Events>,
    pub node: NodeReader,
    config_path: PathBuf,
    /// What was leased is written down together with the change that it is for.
    leases: LeaseFolder,
    supervisor: &'static str,
    started: Timestamp,
    began: Instant,
    phase: AtomicU8,
    /// Counts what streams should show at once instead of at their next turn.
    news: watch::Sender<u64>,
    /// Why the configuration file is not what is active.
    file_trouble: Mutex<Option<String>>,
    /// What is known of servers outlives this process.
    pub health: HealthFile,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("config_path", &self.config_path).field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Control {
    pub fn new(
        planes: Arc<dyn Planes>,
        state: State,
        config_path: PathBuf,
        leases: LeaseFolder,
        supervisor: &'static str,
    ) -> Control {
        let health = HealthFile::new(state.folder());
        Control {
            planes,
            plane: ArcSwapOption::empty(),
            state,
            events: Arc::default(),
            node: NodeReader::default(),
            config_path,
            leases,
            supervisor,
            started: Timestamp::now(),
            began: Instant::now(),
            phase: AtomicU8::new(0),
            news: watch::Sender::new(0),
            file_trouble: Mutex::default(),
            health,
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::HandingOver,
            2 => Phase::Draining,
            _ if self.plane.load().is_some() => Phase::Serving,
            _ => Phase::Idle,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        let code = match phase {
            Phase::HandingOver => 1,
            Phase::Draining => 2,
            Phase::Idle | Phase::Serving | Phase::Other => 0,
        };
        self.phase.store(code, Ordering::Release);
        self.stir();
    }

    pub fn plane(&self) -> Option<Arc<dyn Plane>> {
        self.plane.load().as_ref().map(|running| running.0.clone())
    }

    fn running(&self) -> Result<Arc<dyn Plane>, ControlError> {
        self.plane().ok_or(ControlError::Idle)
    }

    /// Writes down what is known of servers where that has changed. Not an error: what cannot be written is found out anew by the next process.
    pub fn keep_health(&self) {
        if let Some(plane) = self.plane() {
            self.health.write(plane.health());
        }
    }

    /// Keeps it written down until `stop`.
    pub async fn keep_health_until(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut turn = tokio::time::interval(KEEP_HEALTH);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turn.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let control = self.clone();
            // Fails only where the runtime ends.
            let _ = tokio::task::spawn_blocking(move || control.keep_health()).await;
        }
    }

    /// Wakes when something changed that streams should show at once.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn stir(&self) {
        self.news.send_modify(|n| *n += 1);
    }

    pub fn hello(&self) -> Hello {
        Hello {
            api: API,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            now: Timestamp::now(),
            started: self.started,
            phase: self.phase(),
            generation: self.state.generation(),
            supervisor: self.supervisor.to_owned(),
        }
    }

    pub fn snapshot(&self, pool: Option<&str>) -> Snapshot {
        let Picture { listeners, routes, pools, mut notes } = self.plane().map(|plane| plane.picture(pool)).unwrap_or_default();
        if let Some(trouble) = &*self.file_trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            notes.push(trouble.clone());
        }
        Snapshot {
            at: Timestamp::now(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            phase: self.phase(),
            generation: self.state.generation(),
            listeners,
            routes,
            pools,
            notes,
        }
    }

    /// Makes a change durable, then does it; what could not be done is taken back on disk.
    async fn durably(
        &self,
        edit: impl FnOnce(&mut Kept),
        act: impl FnOnce(&dyn Plane) -> Result<(), PlaneError>,
    ) -> Result<(), ControlError> {
        let plane = self.running()?;
        let change = self.state.change().await?;
        let mut kept = change.before.clone();
        edit(&mut kept);
        kept.leases = self.leases.own();
        change.write(kept).await?;
        if let Err(refused) = act(plane.as_ref()) {
            change.write(change.before.clone()).await?;
            return Err(refused.into());
        }
        drop(change);
        self.stir();
        Ok(())
    }

    pub async fn change_server(&self, at: &ServerRef, asked: &ServerChange) -> Result<(), ControlError> {
        let edit = |kept: &mut Kept| {
            let memory = kept.servers.entry(at.to_string()).or_default();
            merge(&mut memory.set, asked);
        };
        self.durably(edit, |plane| plane.change_server(at, asked)).await?;
        let words = serde_json::to_string(asked).unwrap_or_default();
        self.events.tell("server", at.to_string(), format!("set to {words}"));
        Ok(())
    }

    pub async fn add_server(&self, at: &ServerRef, server: &NewServer) -> Result<(), ControlError> {
        let edit = |kept: &mut Kept| {
            let memory = kept.servers.entry(at.to_string()).or_default();
            // What an earlier server of that name was set to is not this one's.
            let set = ServerChange { admin: server.admin, ..ServerChange::default() };
            *memory = super::plane::ServerMemory { added: Some(server.clone()), set };
        };
        self.durably(edit, |plane| plane.add_server(at, server)).await?;
        self.events.tell("server", at.to_string(), format!("added: {}:{}", server.address, server.port));
        Ok(())
    }

    pub async fn remove_server(&self, at: &ServerRef) -> Result<(), ControlError> {
        let edit = |kept: &mut Kept| {
            kept.servers.remove(&at.to_string());
        };
        self.durably(edit, |plane| plane.remove_server(at)).await?;
        self.events.tell("server", at.to_string(), "removed");
        Ok(())
    }

    pub async fn enable_listener(&self, name: &str, enabled: bool) -> Result<(), ControlError> {
        let edit = |kept: &mut Kept| {
            if enabled {
                kept.disabled_listeners.remove(name);
            } else {
                kept.disabled_listeners.insert(name.to_owned());
            }
        };
        self.durably(edit, |plane| plane.enable_listener(name, enabled)).await?;
        self.events.tell("listener", name, if enabled { "enabled" } else { "disabled" });
        Ok(())
    }

    /// Forgets what is cached of a host (of all where `None`) at or below a path; how many responses that were.
    pub fn purge(&self, host: Option<&str>, path: &str) -> Result<usize, ControlError> {
        let forgotten = self.running()?.purge(host, path);
        self.events.tell("cache", format!("{}{path}", host.unwrap_or("*")), format!("{forgotten} cached responses forgotten"));
        Ok(forgotten)
    }

    pub async fn kill_session(&self, id: &str) -> Result<bool, ControlError> {
        Ok(self.running()?.kill_session(id).await)
    }

    pub async fn kill_sessions(&self, of: &ServerRef) -> Result<usize, ControlError> {
        let ended = self.running()?.kill_sessions(of).await?;
        self.events.tell("server", of.to_string(), format!("{ended} sessions ended"));
        Ok(ended)
    }

    pub fn config(&self) -> Config {
        let kept = self.state.kept();
        let text = kept.config.map(|c| c.text).unwrap_or_default();
        let file_differs = std::fs::read_to_string(&self.config_path).map_or(true, |file| file != text);
        Config { generation: kept.generation, text, path: self.config_path.display().to_string(), file_differs }
    }

    pub fn validate(&self, text: &str) -> Result<Applied, ControlError> {
        let plane = self.plane();
        let applied = self.planes.validate(text, plane.as_deref())?;
        Ok(Applied { generation: self.state.generation(), ..applied })
    }

    /// Applies a configuration as a whole. What operators set holds on.
    pub async fn apply(&self, text: &str, on_top_of: Option<u64>) -> Result<Applied, ControlError> {
        self.adopt(text, on_top_of, None, Vec::new()).await
    }

    /// `from_file` is the checksum of the file that the text is from.
    async fn adopt(
        &self,
        text: &str,
        on_top_of: Option<u64>,
        from_file: Option<String>,
        sockets: Vec<HandedSocket>,
    ) -> Result<Applied, ControlError> {
        let change = self.state.change().await?;
        let has = change.before.generation;
        if let Some(expected) = on_top_of.filter(|expected| *expected != has) {
            return Err(ControlError::Overtaken { expected, has });
        }
        let plane = self.plane();
        self.planes.validate(text, plane.as_deref())?;
        let mut kept = change.before.clone();
        let known = kept.config.take();
        let file_sha256 = from_file.or_else(|| known.map(|c| c.file_sha256)).unwrap_or_default();
        kept.config = Some(KeptConfig { text: text.to_owned(), file_sha256 });
        kept.generation = has + 1;
        change.write(kept.clone()).await?;
        let applied = match &plane {
            Some(plane) => plane.apply(text).await,
            None => self.begin(&kept, text, sockets).await.map(|()| Applied::default()),
        };
        match applied {
            Ok(applied) => {
                drop(change);
                *self.file_trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                let count = applied.changes.len();
                self.events.tell("config", "", format!("generation {} is active: {count} changes", has + 1));
                self.stir();
                Ok(Applied { generation: has + 1, ..applied })
            }
            Err(refused) => {
                change.write(change.before.clone()).await?;
                Err(refused.into())
            }
        }
    }

    async fn begin(&self, kept: &Kept, text: &str, sockets: Vec<HandedSocket>) -> Result<(), PlaneError> {
        let plane = self.planes.start(text, &kept.servers, self.health.read(), sockets, self.events.clone()).await?;
        for name in &kept.disabled_listeners {
            // A listener that the configuration does not have any more has nothing to be disabled.
            match plane.enable_listener(name, false) {
                Ok(()) | Err(PlaneError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        self.plane.store(Some(Arc::new(Running(plane))));
        Ok(())
    }

    /// Starts the data plane from what was kept and from the configuration file, which wins where it has changed since it was
    /// last read. A file that is wrong changes nothing: the configuration that was active stays.
    ///
    /// # Errors
    /// Neither can be used although one is there.
    pub async fn start(&self, sockets: Vec<HandedSocket>) -> Result<(), ControlError> {
        let kept = self.state.kept();
        let file = match std::fs::read_to_string(&self.config_path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                self.trouble(format!("{}: {e}", self.config_path.display()));
                None
            }
        };
        let changed = file.filter(|text| {
            let sum = super::state::sha256(text.as_bytes());
            kept.config.as_ref().is_none_or(|active| active.file_sha256 != sum)
        });
        if let Some(text) = changed {
            let sum = super::state::sha256(text.as_bytes());
            match self.planes.validate(&text, None) {
                Ok(_) => return self.adopt(&text, None, Some(sum), sockets).await.map(|_| ()),
                Err(wrong) if kept.config.is_some() => {
                    let details = match &wrong {
                        PlaneError::Config(details) => details.join("; "),
                        other => other.to_string(),
                    };
                    self.trouble(format!(
                        "{} is wrong and was not taken over, generation {} stays active: {details}",
                        self.config_path.display(),
                        kept.generation
                    ));
                }
                Err(wrong) => return Err(wrong.into()),
            }
        }
        match &kept.config {
            Some(active) => Ok(self.begin(&kept, &active.text, sockets).await?),
            None => Ok(()),
        }
    }

    fn trouble(&self, text: String) {
        tracing::warn!("{text}");
        self.events.tell("config", self.config_path.display().to_string(), text.clone());
        *self.file_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

/// What is asked for now, over what was asked for before.
fn merge(set: &mut ServerChange, asked: &ServerChange) {
    let ServerChange { admin, weight, address, port, maxconn, checks_on } = asked.clone();
    set.admin = admin.or(set.admin);
    set.weight = weight.or(set.weight);
    set.address = address.or_else(|| set.address.take());
    set.port = port.or(set.port);
    set.maxconn = maxconn.or(set.maxconn);
    set.checks_on = checks_on.or(set.checks_on);
}
