//! `lbdeck agent`: the agent's life on nodes, and what runs on a node itself.

mod run;

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
}

impl AgentArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            AgentVerb::Run(args) => args.run(context).await,
        }
    }

    /// A service says what happens, a verb only what goes wrong.
    pub fn verbosity(&self, asked: u8) -> u8 {
        match &self.verb {
            AgentVerb::Run(_) => asked.max(1),
        }
    }
}
