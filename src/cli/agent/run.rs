//! `lbdeck agent run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::agent::{AgentError, Options, RelayPlanes, TlsFiles};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::config::duration::parse_duration;
use crate::config::{AgentPaths, DEFAULT_LOCK_DIR};
use crate::model::Exit;

/// Runs the agent of this machine in the foreground: its relay, its control API, the leases that it keeps. Its state is in the
/// folder of --state, or /var/lib/lbdeck, where only one agent at a time may keep it.
#[derive(Args, Debug)]
#[command(after_help = "Signals:
  SIGTERM, SIGINT   accept nothing more, let what is established end (--drain), end; a second one ends at once
  SIGHUP            start the program that stands under this path now, hand it the listening sockets, then end as above

Examples:
  lbdeck agent run
  lbdeck agent run --config ./agent.yaml --state /tmp/agent --socket /tmp/agent/agent.sock")]
pub struct RunArgs {
    /// Configuration of the relay; without the file the agent runs and serves nothing
    #[arg(long, value_name = "FILE", default_value_os_t = AgentPaths::system().config(), value_hint = clap::ValueHint::FilePath)]
    config: PathBuf,

    /// Unix socket of the control API, for root and the agent's own user
    #[arg(long, value_name = "PATH", default_value_os_t = AgentPaths::system().socket(), value_hint = clap::ValueHint::FilePath)]
    socket: PathBuf,

    /// Let members of this group use the control socket too
    #[arg(long, value_name = "GROUP", value_parser = group)]
    group: Option<u32>,

    /// Folder in which consoles leave locks and leases
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_LOCK_DIR, value_hint = clap::ValueHint::DirPath)]
    lock_dir: PathBuf,

    /// How long established connections may take to end when it stops or has handed over
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    drain: Duration,

    /// Serve the control API over TCP too, for consoles that show a certificate
    #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["tls_certificate", "tls_key", "client_ca"])]
    listen: Option<SocketAddr>,

    /// The agent's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "listen")]
    tls_certificate: Option<PathBuf>,

    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "listen")]
    tls_key: Option<PathBuf>,

    /// Authority of the certificates that consoles show (PEM)
    #[arg(long, value_name = "FILE", requires = "listen")]
    client_ca: Option<PathBuf>,

    /// Stdin is a channel to a process that hands over
    #[arg(long, hide = true)]
    takeover: bool,
}

fn group(name: &str) -> std::result::Result<u32, String> {
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err("there is no such group".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

impl RunArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        // They mean something else to a service.
        let _held = context.own_signals.hold();
        let absolute =
            |path: &PathBuf| std::path::absolute(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())));
        let tcp = match (self.listen, &self.tls_certificate, &self.tls_key, &self.client_ca) {
            (Some(address), Some(certificate), Some(key), Some(client_ca)) => {
                let files =
                    TlsFiles { certificate: absolute(certificate)?, key: absolute(key)?, client_ca: absolute(client_ca)? };
                Some((address, files))
            }
            _ => None,
        };
        let state = context.global.state.clone().unwrap_or_else(|| AgentPaths::system().state());
        let options = Options {
            config: absolute(&self.config)?,
            state_dir: absolute(&state)?,
            socket: absolute(&self.socket)?,
            lock_dir: absolute(&self.lock_dir)?,
            group: self.group,
            tcp,
            drain: self.drain,
            takeover: self.takeover,
        };
        let planes = RelayPlanes::new(options.config.clone());
        crate::agent::run(options, Arc::new(planes)).await.map(|()| Exit::Ok).map_err(failure)
    }
}

fn failure(error: AgentError) -> Failure {
    let mut words = error.to_string();
    for detail in error.details() {
        words.push_str("\n  ");
        words.push_str(detail);
    }
    if error.is_invalid() { Failure::invalid(words) } else { Failure::failed(words) }
}
