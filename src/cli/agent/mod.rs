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

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

use super::context::Context;
use super::failure::Result;
use super::global::Global;
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

/// Reads `lbdeck agent run`, a process that stays for months, without describing all other verbs: what that touches of the program
/// would stay in its memory. `None` where the words are another verb's, ask for help or are wrong: the whole command line answers those.
pub fn read_run(words: &[OsString]) -> Option<(Global, AgentArgs)> {
    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        global: Global,
        #[command(flatten)]
        run: run::RunArgs,
    }
    let [program, agent, verb, options @ ..] = words else { return None };
    if agent != "agent" || verb != "run" {
        return None;
    }
    let alone = Alone::try_parse_from(std::iter::once(program).chain(options)).ok()?;
    Some((alone.global, AgentArgs { verb: AgentVerb::Run(alone.run) }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_run_is_read_alone_and_nothing_else_is() {
        let read = |line: &str| read_run(&line.split(' ').map(OsString::from).collect::<Vec<_>>()).is_some();
        assert!(read("lbdeck agent run") && read("lbdeck agent run --state /tmp/a --drain 1s"));
        for other in
            ["lbdeck agent", "lbdeck agent status", "lbdeck agent run --help", "lbdeck agent run --nonsense", "lbdeck server run"]
        {
            assert!(!read(other), "{other}");
        }
    }
}
