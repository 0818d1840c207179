//! `lbdeck agent rollback`, `restart` and `remove`.

use clap::Args;

use super::args::{Nodes, Place, Rolling};
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::model::Exit;
use crate::ops::agent::AgentVerb;

/// Brings back the build that ran before the last upgrade, by a handover like every upgrade. Doing it twice leads forward again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent rollback lb1
  lbdeck agent rollback --all --max-unavailable 1 --yes")]
pub struct RollbackArgs {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    rolling: Rolling,
}

/// Replaces the agent's process by a new one of the same build. Listening sockets are handed over and established connections
/// finish in the old process; an agent that does not run is started.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent restart lb1
  lbdeck agent restart lb1 --hard --yes")]
pub struct RestartArgs {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    place: Place,

    /// End the process and start it anew: connections are lost
    #[arg(long, help_heading = "Change")]
    hard: bool,

    #[command(flatten)]
    rolling: Rolling,
}

/// Stops the agent and takes away all that belongs to it: unit, builds, configuration, state, user, folders. What others put
/// into its folders stays, and is said.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent remove lb1 --dry-run
  lbdeck agent remove lb1 --keep-state --confirm lb1")]
pub struct RemoveArgs {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    place: Place,

    /// Leave configuration, state and user for a later install
    #[arg(long, help_heading = "Change")]
    keep_state: bool,

    #[command(flatten)]
    rolling: Rolling,
}

impl RollbackArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let asked = self.rolling.asked(AgentVerb::Rollback, &self.place);
        self.rolling.act(context, self.nodes.named()?, asked, None).await
    }
}

impl RestartArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let mut asked = self.rolling.asked(AgentVerb::Restart, &self.place);
        asked.hard = self.hard;
        self.rolling.act(context, self.nodes.named()?, asked, None).await
    }
}

impl RemoveArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let mut asked = self.rolling.asked(AgentVerb::Remove, &self.place);
        asked.keep_state = self.keep_state;
        self.rolling.act(context, self.nodes.named()?, asked, None).await
    }
}
