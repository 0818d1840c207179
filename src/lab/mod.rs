//! The embedded fleet that `lbdeck lab` starts on loopback: load balancers, an SSH server a node, applications and a load.
//!
//! The load balancers are lbdeck's own agents, installed over SSH by the verb that every operator uses, or real haproxy. The lab
//! uses lbdeck from outside, as an operator does: through the fleet file that it writes and the verbs of the command line.
//! Nothing else in lbdeck knows the lab.

mod agents;
mod apps;
mod error;
mod fleet;
mod haproxy;
mod keeper;
mod layout;
mod load;
mod proof;
mod ssh;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::LoadFeed;
use crate::model::Exit;

pub use error::LabError;
use fleet::Lab;
use load::Counts;

/// How long a verb may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// What balances the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Engine {
    /// lbdeck's own agent; needs nothing installed
    Relay,
    /// The machine's haproxy
    Haproxy,
}

/// A small fleet on loopback under load, and the console on it: agents (or haproxy), applications, SSH servers. Needs nothing
/// installed and no root, and leaves nothing behind
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  lbdeck lab                        the console on two agents under load
  lbdeck lab --nodes 8 --rate 1000
  lbdeck lab --engine haproxy       the same on three haproxy
  lbdeck lab --errors 2             applications that fail now and then
  lbdeck lab < /dev/null            the proof that CI runs: install, drain, kill, upgrade under load, exit 0")]
pub struct LabArgs {
    /// What balances the load
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub engine: Option<Engine>,

    /// Load balancers (default: 2, with haproxy 3)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=40))]
    pub nodes: Option<u8>,

    /// Applications, each a server of both pools
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=40))]
    pub servers: u8,

    /// Requests a second on the whole fleet
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rate: u32,

    /// Percent of their requests that the applications answer with an error
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub errors: u8,

    /// Prove under load that nothing is lost, and exit: what happens without a terminal. With agents: installed over SSH, a server
    /// drained and returned, an application killed, an agent upgraded. With haproxy: a server drained and returned
    #[arg(long, conflicts_with = "serve")]
    pub check: bool,

    /// No console: tell where the fleet file is and stay until Ctrl-C
    #[arg(long)]
    pub serve: bool,

    /// Leave the lab's folder (configuration, logs, keys) behind
    #[arg(long)]
    pub keep: bool,

    /// The build of lbdeck that becomes the agent (default: this program)
    #[arg(long, value_name = "FILE", conflicts_with = "haproxy", value_hint = clap::ValueHint::ExecutablePath)]
    pub agent: Option<PathBuf>,

    /// The haproxy to run (default: the one in PATH)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::ExecutablePath)]
    pub haproxy: Option<PathBuf>,
}

impl LabArgs {
    /// Whether the console will have the terminal, where there is one.
    pub fn opens_console(&self, terminal: bool) -> bool {
        terminal && !self.check && !self.serve
    }

    fn proves(&self, terminal: bool) -> bool {
        !self.serve && !self.opens_console(terminal)
    }

    fn engine(&self) -> Result<Engine, LabError> {
        match (self.engine, &self.haproxy) {
            (Some(Engine::Relay), Some(_)) => Err(LabError::HaproxyOnRelay),
            (None, Some(_)) => Ok(Engine::Haproxy),
            (engine, _) => Ok(engine.unwrap_or(Engine::Relay)),
        }
    }

    fn nodes(&self, engine: Engine) -> u8 {
        self.nodes.unwrap_or(match engine {
            Engine::Relay => 2,
            Engine::Haproxy => 3,
        })
    }
}

/// What the lab needs of the command line that started it.
#[derive(Clone)]
pub struct Front {
    /// Runs a command line of lbdeck (without the program's name) as if an operator had typed it; blocks until it is done.
    pub verb: Arc<dyn Fn(Vec<OsString>) -> Exit + Send + Sync>,
    /// The same for the command line of the console, which shows this load.
    pub console: Arc<dyn Fn(Vec<OsString>, LoadFeed) -> Exit + Send + Sync>,
    /// Prints a line of data on stdout.
    pub data: Arc<dyn Fn(&str) + Send + Sync>,
    /// Prints a line of talk on stderr.
    pub talk: Arc<dyn Fn(&str) + Send + Sync>,
    /// Somebody sits in front of it, so the console can be opened.
    pub terminal: bool,
}

impl Front {
    /// [`Front::verb`] from async code. The verb has a runtime of its own, so it gets a thread of its own, which a signal
    /// need not wait for.
    async fn run(&self, words: Vec<OsString>) -> Option<Exit> {
        let verb = self.verb.clone();
        beside(move || verb(words)).await
    }

    async fn open_console(&self, words: Vec<OsString>, load: LoadFeed) -> Option<Exit> {
        let console = self.console.clone();
        beside(move || console(words, load)).await
    }
}

/// A verb on a thread of its own; None where it did not end in order.
async fn beside(verb: impl FnOnce() -> Exit + Send + 'static) -> Option<Exit> {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // The lab may have ended before the verb.
        let _ = ended.send(verb());
    });
    end.await.ok()
}

/// Starts the lab, does what was asked, and returns when all of it is gone.
///
/// # Errors
/// [`LabError`] where something is missing or could not be started, or the proof did not hold.
pub async fn run(args: LabArgs, front: Front) -> Result<Exit, LabError> {
    let engine = args.engine()?;
    let build = match engine {
        Engine::Relay => Some(agents::build(args.agent.as_deref())?),
        Engine::Haproxy => None,
    };
    // Clients, SSH servers and applications are all in this process.
    crate::agent::raise_file_limit();
    let mut signals = Signals::new()?;
    let lab = tokio::select! {
        lab = Lab::start(&args, engine, build.as_deref()) => lab?,
        name = signals.next() => return Ok(stopped(&args, &front, name)),
    };
    (front.talk)(&format!("lab: {} nodes, fleet file {}", lab.layout.nodes.len(), lab.layout.fleet_file().display()));
    let result = {
        let mut session = std::pin::pin!(session(&args, build.as_deref(), &front, &lab));
        tokio::select! {
            result = &mut session => result,
            name = signals.next() => {
                // The verb that runs has had the signal too, and has a terminal or a lock to give back.
                if !args.serve {
                    let _ = tokio::time::timeout(PATIENCE, session).await;
                }
                Ok(stopped(&args, &front, name))
            }
        }
    };
    let folder = lab.layout.folder.clone();
    let counts = lab.load.counts();
    lab.end().await?;
    // The proof has told its own count.
    let told = result.is_ok() && args.proves(front.terminal) || counts.ok + counts.failed == 0;
    let count = if told { String::new() } else { format!("; {}", summary(&counts, &[])) };
    (front.talk)(&format!("lab: ended{count}"));
    if args.keep {
        (front.talk)(&format!("lab: kept {}", folder.display()));
    }
    result
}

async fn session(args: &LabArgs, build: Option<&Path>, front: &Front, lab: &Lab) -> Result<Exit, LabError> {
    if args.proves(front.terminal) {
        return proof::run(front, lab, build).await;
    }
    if let Some(build) = build {
        (front.talk)("lab: installing the agents");
        agents::install(front, lab, build).await?;
    }
    lab.begin_load();
    proof::await_healthy(lab).await?;
    if args.serve {
        (front.talk)(&format!("lab: for instance: lbdeck --fleet {} status", lab.layout.fleet_file().display()));
        (front.talk)("lab: Ctrl-C ends it");
        return std::future::pending().await;
    }
    Ok(front.open_console(lab.command(&["tui"]), lab.load.feed()).await.unwrap_or(Exit::Failed))
}

/// A signal is how `--serve` is meant to end; whatever else was asked for was not done.
fn stopped(args: &LabArgs, front: &Front, signal: &str) -> Exit {
    (front.talk)(&format!("lab: {signal}, ending"));
    if args.serve { Exit::Ok } else { Exit::Failed }
}

/// `killed` are servers whose answers may have broken off.
fn summary(counts: &Counts, killed: &[String]) -> String {
    let cut = counts.cut_from(killed.iter().map(String::as_str));
    let broke_off = match cut {
        0 => String::new(),
        cut => format!(", besides {cut} whose answer broke off with the application that was killed"),
    };
    let (p50, p99) = (counts.latency_ms(0.5), counts.latency_ms(0.99));
    format!("{} requests ok, {} failed{broke_off}; latency p50 {p50:.1} ms, p99 {p99:.1} ms", counts.ok, counts.failed - cut)
}

/// The signals that end a program; while this lives they no longer do so by themselves.
struct Signals([(tokio::signal::unix::Signal, &'static str); 3]);

impl Signals {
    fn new() -> Result<Self, LabError> {
        let listen = |kind, name| Ok((signal(kind).map_err(LabError::io("listening for signals"))?, name));
        Ok(Self([
            listen(SignalKind::interrupt(), "SIGINT")?,
            listen(SignalKind::terminate(), "SIGTERM")?,
            listen(SignalKind::hangup(), "SIGHUP")?,
        ]))
    }

    async fn next(&mut self) -> &'static str {
        let [(interrupt, i), (terminate, t), (hangup, h)] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => i,
            _ = terminate.recv() => t,
            _ = hangup.recv() => h,
        }
    }
}
