//! `lbdeck agent`: the agent's life on nodes, and what runs on a node itself.

mod args;
mod ask;
mod cert;
mod install;
mod life;
mod logs;
mod run;
mod status;
mod supervise;

use clap::{Args, Subcommand};

use super::context::Context;
use super::failure::Result;
use crate::model::Exit;

#[derive(Args, Debug)]
pub struct AgentArgs {
    #[command(subcommand)]
    verb: AgentVerb,
}

#[derive(Subcommand, Debug)]
enum AgentVerb {
    /// On a node: run the agent in the foreground
    Run(run::RunArgs),
    /// Install the agent on nodes, or bring what is there up to this build
    Install(install::InstallArgs),
    /// Bring installed agents up to this build, without losing a connection
    Upgrade(install::UpgradeArgs),
    /// Bring back the build before
    Rollback(life::RollbackArgs),
    /// Replace the agent's process by a new one, without losing a connection
    Restart(life::RestartArgs),
    /// Take the agent off nodes, with all that belongs to it
    Remove(life::RemoveArgs),
    /// Show the agent of each node: build, process, unit
    Status(status::StatusArgs),
    /// Show what the agent wrote
    Logs(logs::LogsArgs),
    /// Make, renew and list the certificates of mutual TLS between consoles and agents
    Cert(cert::CertArgs),
    /// On a node: send one request to the control socket and print the answer
    Ask(ask::AskArgs),
    /// On a node without systemd: keep the agent running
    Supervise(supervise::SuperviseArgs),
}

impl AgentArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            AgentVerb::Run(args) => args.run(context).await,
            AgentVerb::Install(args) => args.run(context).await,
            AgentVerb::Upgrade(args) => args.run(context).await,
            AgentVerb::Rollback(args) => args.run(context).await,
            AgentVerb::Restart(args) => args.run(context).await,
            AgentVerb::Remove(args) => args.run(context).await,
            AgentVerb::Status(args) => args.run(context).await,
            AgentVerb::Logs(args) => args.run(context).await,
            AgentVerb::Cert(args) => args.run(context).await,
            AgentVerb::Ask(args) => args.run(context).await,
            AgentVerb::Supervise(args) => args.run(context).await,
        }
    }

    /// A service says what happens, a verb only what goes wrong.
    pub fn verbosity(&self, asked: u8) -> u8 {
        match &self.verb {
            AgentVerb::Run(_) => asked.max(1),
            _ => asked,
        }
    }
}
