//! The embedded fleet that `lbdeck lab` starts on loopback: real haproxy, an SSH server a node, applications and a load.
//!
//! It uses lbdeck from outside, as an operator does: through the fleet file that it writes and the verbs of the command
//! line. Nothing else in lbdeck knows the lab.

mod apps;
mod error;
mod fleet;
mod keeper;
mod layout;
mod load;
mod proof;
mod ssh;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::model::Exit;

pub use error::LabError;
use fleet::Lab;
use load::Counts;

/// How long a verb may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// A small real fleet on loopback, and the console on it
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  lbdeck lab                        the console on three nodes under load
  lbdeck lab --nodes 8
  lbdeck lab < /dev/null            the proof that CI runs: drain under load, return, exit 0")]
pub struct LabArgs {
    /// Load balancers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=40))]
    pub nodes: u8,

    /// Servers in each of the two pools
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=40))]
    pub servers: u8,

    /// Requests a second on the whole fleet
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rate: u32,

    /// Print the status, drain a server under load, return it, and exit: what happens without a terminal
    #[arg(long, conflicts_with = "serve")]
    pub check: bool,

    /// No console: tell where the fleet file is and stay until Ctrl-C
    #[arg(long)]
    pub serve: bool,

    /// Leave the lab's folder (configuration, logs, keys) behind
    #[arg(long)]
    pub keep: bool,

    /// The haproxy to run (default: the one in PATH)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::ExecutablePath)]
    pub haproxy: Option<PathBuf>,
}

impl LabArgs {
    /// Whether the console will have the terminal, where there is one.
    pub fn opens_console(&self, terminal: bool) -> bool {
        terminal && !self.check && !self.serve
    }
}

/// What the lab needs of the command line that started it.
#[derive(Clone)]
pub struct Front {
    /// Runs a command line of lbdeck (without the program's name) as if an operator had typed it; blocks until it is done.
    pub verb: Arc<dyn Fn(Vec<OsString>) -> Exit + Send + Sync>,
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
        let (ended, end) = tokio::sync::oneshot::channel();
        let verb = self.verb.clone();
        std::thread::spawn(move || {
            // The lab may have ended before the verb.
            let _ = ended.send(verb(words));
        });
        end.await.ok()
    }
}

/// Starts the lab, does what was asked, and returns when all of it is gone.
///
/// # Errors
/// [`LabError`] where haproxy is missing, something could not be started, or the proof did not hold.
pub async fn run(args: LabArgs, front: Front) -> Result<Exit, LabError> {
    let mut signals = Signals::new()?;
    let lab = tokio::select! {
        lab = Lab::start(&args) => lab?,
        name = signals.next() => return Ok(stopped(&args, &front, name)),
    };
    (front.talk)(&format!("lab: {} nodes, fleet file {}", lab.layout.nodes.len(), lab.layout.fleet_file().display()));
    let result = {
        let mut session = std::pin::pin!(session(&args, &front, &lab));
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
    let counts = lab.end().await?;
    (front.talk)(&format!("lab: ended; {}", summary(&counts)));
    if args.keep {
        (front.talk)(&format!("lab: kept {}", folder.display()));
    }
    result
}

async fn session(args: &LabArgs, front: &Front, lab: &Lab) -> Result<Exit, LabError> {
    proof::await_healthy(lab).await?;
    if args.serve {
        (front.talk)(&format!("lab: for instance: lbdeck --fleet {} status", lab.layout.fleet_file().display()));
        (front.talk)("lab: Ctrl-C ends it");
        return std::future::pending().await;
    }
    if !args.opens_console(front.terminal) {
        return proof::run(front, lab).await;
    }
    Ok(front.run(lab.command(&["tui"])).await.unwrap_or(Exit::Failed))
}

/// A signal is how `--serve` is meant to end; whatever else was asked for was not done.
fn stopped(args: &LabArgs, front: &Front, signal: &str) -> Exit {
    (front.talk)(&format!("lab: {signal}, ending"));
    if args.serve { Exit::Ok } else { Exit::Failed }
}

fn summary(counts: &Counts) -> String {
    let (p50, p99) = (counts.latency_ms(0.5), counts.latency_ms(0.99));
    format!("{} requests ok, {} failed, latency p50 {p50:.1} ms, p99 {p99:.1} ms", counts.ok, counts.failed)
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
