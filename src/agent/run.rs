//! `lbdeck agent run`: puts the parts together, serves until it is told to end or a new process has taken over.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::engine::relay::wire::{Phase, Upgraded};

use super::api::{self, Door, Parts, TcpDoor, Upgrading};
use super::control::{Control, ControlError};
use super::handover::{self, HandoverError, Notify, Parcel, Takeover};
use super::leases::{LeaseFolder, Leases, Places};
use super::plane::{HandedSocket, PlaneError, Planes};
use super::relay::serving;
use super::state::{State, StateError, StateLock};
use super::tls::{self, TlsError, TlsFiles};

/// A takeover is read within this.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(30);
/// Answers that are under way are finished within this once the control API closes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Names of the control API's sockets in a handover.
const UNIX_DOOR: &str = "control unix";
const TCP_DOOR: &str = "control tcp";
/// Name of the lock of the state folder in a handover.
const STATE_LOCK: &str = "state lock";

/// How an agent is run.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
    pub lock_dir: PathBuf,
    /// Members of this group may use the control socket too.
    pub group: Option<u32>,
    /// The control API over TCP.
    pub tcp: Option<(SocketAddr, TlsFiles)>,
    /// How long established connections may take to end when it stops or has handed over.
    pub drain: Duration,
    /// Stdin is a channel to a process that hands over.
    pub takeover: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Door(#[from] api::ServeError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Handover(#[from] HandoverError),
    #[error("{doing}: {source}")]
    System { doing: &'static str, source: std::io::Error },
}

impl AgentError {
    /// What it was given is wrong: starting it again changes nothing.
    pub fn is_invalid(&self) -> bool {
        matches!(self, AgentError::Tls(_) | AgentError::State(StateError::Newer { .. }))
            || matches!(self, AgentError::Control(ControlError::Plane(PlaneError::Config(_) | PlaneError::Invalid(_))))
    }

    /// Each place in which a configuration is wrong.
    pub fn details(&self) -> &[String] {
        match self {
            AgentError::Control(ControlError::Plane(PlaneError::Config(details))) => details,
            _ => &[],
        }
    }
}

fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> AgentError {
    move |source| AgentError::System { doing, source }
}

/// Runs until it has ended in order.
pub async fn run(options: Options, planes: Arc<dyn Planes>) -> Result<(), AgentError> {
    raise_file_limit();
    let (takeover, parcel) = if options.takeover {
        let received = tokio::task::spawn_blocking(|| Takeover::receive(TAKEOVER_WITHIN)).await;
        let (takeover, parcel) = received.map_err(|e| HandoverError(format!("the takeover was cut short: {e}")))??;
        (Some(takeover), parcel)
    } else {
        (None, Parcel::default())
    };
    match Agent::start(options, planes, parcel).await {
        Ok(agent) => {
            if let Some(takeover) = &takeover {
                takeover.ready()?;
            }
            agent.serve().await
        }
        Err(error) => {
            if let Some(takeover) = &takeover {
                takeover.failed(&format!("{error} {}", error.details().join("; ")));
            }
            Err(error)
        }
    }
}

/// A connection needs two descriptors; services start with a soft limit of 1,024.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(error = %e, "the limit of open files cannot be raised");
    }
}

struct Agent {
    options: Options,
    /// None once a new process has it: if that is killed, the one after it must not wait for this one.
    lock: Option<StateLock>,
    control: Arc<Control>,
    leases: Arc<Leases>,
    upgrades: mpsc::Receiver<Upgrading>,
    /// Copies of the control API's listening sockets, for the next process.
    doors: Vec<HandedSocket>,
    stop_doors: watch::Sender<bool>,
    stop_leases: watch::Sender<bool>,
    serving: JoinSet<()>,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Agent {
    async fn start(options: Options, planes: Arc<dyn Planes>, mut parcel: Parcel) -> Result<Agent, AgentError> {
        let listen = |kind| signal(kind).map_err(system("listening for signals"));
        let (terminate, interrupt, hangup) =
            (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
        let handed = parcel.doors.iter().position(|(name, _)| name == STATE_LOCK).map(|at| parcel.doors.swap_remove(at));
        let lock = handed.map_or_else(|| StateLock::take(&options.state_dir), |(_, fd)| Ok(StateLock::over(fd)))?;
        let (state, said) = State::open(&options.state_dir)?;
        let folder = LeaseFolder::new(options.lock_dir.clone(), &options.socket);
        let control = Control::new(planes, state, options.config.clone(), folder, handover::supervisor_name());
        let control = Arc::new(control);
        for text in said {
            tracing::error!("{text}");
            control.events.tell("state", options.state_dir.display().to_string(), text);
        }
        // Before the relay accepts on sockets that are the old process's as well: what it took would be lost with a start that fails.
        let identity = options.tcp.as_ref().map(|(_, files)| tls::Identity::read(files)).transpose()?;
        control.start(parcel.sockets).await?;
        let places = Places {
            lock_dir: options.lock_dir.clone(),
            socket: options.socket.clone(),
            store: options.state_dir.join("agent.db"),
        };
        let leases = Arc::new(Leases::new(control.clone(), places));
        leases.restore().await?;
        let (unix, tcp) = open_doors(&options, parcel.doors)?;
        let (asks, upgrades) = mpsc::channel(1);
        let router = api::router(Parts { control: control.clone(), leases: leases.clone(), upgrades: asks });
        let (stop_doors, stop_leases) = (watch::Sender::new(false), watch::Sender::new(false));
        let (mut serving, mut doors) = (JoinSet::new(), Vec::new());
        doors.push((UNIX_DOOR.to_owned(), OwnedFd::from(unix.try_clone().map_err(system("copying the control socket"))?)));
        let listener = UnixListener::from_std(unix).map_err(system("listening on the control socket"))?;
        serving.spawn(Door { listener, group: options.group.is_some() }.serve(router.clone(), stop_doors.subscribe()));
        if let (Some(tcp), Some(tls)) = (tcp, identity) {
            doors.push((TCP_DOOR.to_owned(), OwnedFd::from(tcp.try_clone().map_err(system("copying a socket"))?)));
            let listener = TcpListener::from_std(tcp).map_err(system("listening for the control API"))?;
            if let Ok(address) = listener.local_addr() {
                tracing::info!("control API over TLS at {address}");
            }
            serving.spawn(TcpDoor { listener, tls }.serve(router, stop_doors.subscribe()));
        }
        let (kept, stop) = (leases.clone(), stop_leases.subscribe());
        serving.spawn(async move { kept.run(stop).await });
        serving.spawn(control.clone().keep_health_until(stop_leases.subscribe()));
        serving.spawn(Notify.watchdog(stop_leases.subscribe()));
        Ok(Agent {
            options,
            lock: Some(lock),
            control,
            leases,
            upgrades,
            doors,
            stop_doors,
            stop_leases,
            serving,
            terminate,
            interrupt,
            hangup,
        })
    }

    async fn serve(mut self) -> Result<(), AgentError> {
        let version = env!("CARGO_PKG_VERSION");
        let leases = self.leases.list().len();
        self.control.events.tell("started", "", format!("lbdeck {version}, process {}", std::process::id()));
        tracing::info!(leases, "control API at {}", self.options.socket.display());
        Notify.ready("serving");
        let why = loop {
            let request = tokio::select! {
                _ = self.terminate.recv() => break "SIGTERM",
                _ = self.interrupt.recv() => break "SIGINT",
                _ = self.hangup.recv() => Upgrading::by_signal(),
                Some(request) = self.upgrades.recv() => request,
            };
            Notify.reloading();
            match self.upgrade(&request).await {
                Ok(done) => {
                    self.lock = None;
                    Notify.main_pid(done.new_pid);
                    self.control.set_phase(Phase::Draining);
                    if let Some(answer) = request.answer {
                        // Whoever asked may have hung up.
                        let _ = answer.send(Ok(done));
                    }
                    break "a new process has taken over";
                }
                Err(why) => {
                    tracing::error!("upgrade: {why}; this process goes on");
                    self.control.events.tell("upgrade", "", format!("failed, this process goes on: {why}"));
                    Notify.ready("serving; an upgrade failed");
                    if let Some(answer) = request.answer {
                        let _ = answer.send(Err(why.to_string()));
                    }
                }
            }
        };
        self.finish(why).await
    }

    async fn upgrade(&self, request: &Upgrading) -> Result<Upgraded, AgentError> {
        let program = match &request.binary {
            Some(binary) => binary.clone(),
            None => handover::own_program().map_err(system("finding the program"))?,
        };
        self.control.events.tell("upgrade", program.display().to_string(), "a new process is started");
        self.control.set_phase(Phase::HandingOver);
        let frozen = self.control.state.freeze().await;
        self.control.keep_health();
        self.control.health.hand_over();
        let result = self.try_hand_over(program, request.ready_within).await;
        match &result {
            Ok(done) => {
                frozen.hand_over();
                tracing::info!("process {} (lbdeck {}) serves with {} sockets", done.new_pid, done.version, done.sockets);
            }
            Err(_) => {
                self.control.health.take_back();
                self.control.set_phase(Phase::Serving);
            }
        }
        result
    }

    async fn try_hand_over(&self, program: PathBuf, ready_within: Duration) -> Result<Upgraded, AgentError> {
        let copying = "copying listening sockets";
        let sockets = match self.control.plane() {
            Some(plane) => plane.sockets().map_err(system(copying))?,
            None => Vec::new(),
        };
        let lock = self.lock.iter().map(|lock| Ok((STATE_LOCK.to_owned(), lock.copy()?)));
        let copies = self.doors.iter().map(|(name, fd)| Ok((name.clone(), fd.try_clone()?))).chain(lock);
        let doors = copies.collect::<std::io::Result<_>>().map_err(system(copying))?;
        let parcel = Parcel { sockets, doors };
        let done = tokio::task::spawn_blocking(move || handover::hand_over(&program, &parcel, ready_within)).await;
        Ok(done.map_err(|e| HandoverError(format!("it was cut short: {e}")))??)
    }

    /// Lets what is established end. A second signal ends it at once.
    async fn finish(mut self, why: &str) -> Result<(), AgentError> {
        let handed_over = self.control.phase() == Phase::Draining;
        tracing::info!("ending: {why}");
        if !handed_over {
            Notify.stopping();
            self.control.set_phase(Phase::Draining);
            self.control.events.tell("stopping", "", why);
            self.control.keep_health();
        }
        self.stop_leases.send_replace(true);
        if handed_over {
            // The new process answers from here on.
            self.stop_doors.send_replace(true);
        }
        let drain = self.options.drain;
        // With a successor nobody waits for the end of this process: clients find the time to move.
        let idle = if handed_over { drain / 2 } else { serving::IDLE.min(drain) };
        if let Some(plane) = self.control.plane() {
            let cut = tokio::select! {
                cut = plane.finish(idle, drain) => cut,
                _ = self.terminate.recv() => { tracing::warn!("a second signal: what is established is cut"); 0 }
                _ = self.interrupt.recv() => { tracing::warn!("a second signal: what is established is cut"); 0 }
            };
            if cut > 0 {
                tracing::warn!("{cut} connections had not ended within {drain:?} and were cut");
            }
        }
        self.stop_doors.send_replace(true);
        let serving = &mut self.serving;
        let ended = tokio::time::timeout(ANSWERS_WITHIN, async { while serving.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("answers of the control API were cut");
        }
        if !handed_over {
            // The next process makes its own.
            let _ = std::fs::remove_file(&self.options.socket);
        }
        Ok(())
    }
}

type Doors = (std::os::unix::net::UnixListener, Option<std::net::TcpListener>);

/// The doors that were handed over, or new ones.
fn open_doors(options: &Options, handed: Vec<HandedSocket>) -> Result<Doors, AgentError> {
    let (mut unix, mut tcp) = (None, None);
    for (name, fd) in handed {
        match name.as_str() {
            UNIX_DOOR => unix = Some(std::os::unix::net::UnixListener::from(fd)),
            TCP_DOOR => tcp = Some(std::net::TcpListener::from(fd)),
            other => tracing::warn!("'{other}' was handed over and is not known here"),
        }
    }
    let unix = match unix {
        Some(unix) => unix,
        None => api::listen(&options.socket, options.group)?,
    };
    let tcp = match (&options.tcp, tcp) {
        (None, _) => None,
        (Some((address, _)), Some(handed)) if handed.local_addr().is_ok_and(|a| a == *address || address.port() == 0) => {
            Some(handed)
        }
        (Some((address, _)), _) => {
            let listener = std::net::TcpListener::bind(address).map_err(system("listening for the control API"))?;
            listener.set_nonblocking(true).map_err(system("listening for the control API"))?;
            Some(listener)
        }
    };
    Ok((unix, tcp))
}
