//! What the verbs of `lbdeck agent` share: which nodes, how many at once, and the way through plan and approval.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::cli::act::ActArgs;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::select::{NodeSelect, matcher};
use crate::config::AgentPaths;
use crate::config::duration::parse_duration;
use crate::model::Exit;
use crate::ops::agent::{AgentRequest, AgentVerb, MaxUnavailable, Payload, PayloadError};
use crate::ops::{Selector, Verb};

/// Nodes of a verb that changes something: silence must not mean all of them.
#[derive(Args, Clone, Debug)]
pub struct Nodes {
    /// Nodes (names, globs or groups)
    #[arg(value_name = "NODE", conflicts_with = "all")]
    names: Vec<String>,

    /// All nodes of the fleet file
    #[arg(long, help_heading = "Selection")]
    all: bool,

    #[command(flatten)]
    nodes: NodeSelect,
}

impl Nodes {
    pub fn named(&self) -> Result<Selector> {
        let mut selector = self.nodes.selector();
        selector.nodes.extend(self.names.iter().cloned());
        matcher(&selector)?;
        if selector == Selector::default() && !self.all {
            return Err(Failure::invalid("no node is named").hint("name nodes, globs or groups, or give --all"));
        }
        Ok(selector)
    }
    /// For verbs that only look: nothing named means all.
    pub fn any(&self) -> Result<Selector> {
        let mut selector = self.nodes.selector();
        selector.nodes.extend(self.names.iter().cloned());
        matcher(&selector)?;
        Ok(selector)
    }
}

/// Which agent of a node.
#[derive(Args, Clone, Debug, Default)]
pub struct Place {
    /// An agent of the ssh user with all of its parts below this folder, without root (default: the agent of the system)
    #[arg(long, value_name = "FOLDER", value_parser = absolute, value_hint = clap::ValueHint::DirPath)]
    pub prefix: Option<PathBuf>,
}

impl Place {
    pub fn paths(&self) -> AgentPaths {
        self.prefix.clone().map_or_else(AgentPaths::system, AgentPaths::below)
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let plain = path.components().all(|c| matches!(c, std::path::Component::RootDir | std::path::Component::Normal(_)));
    match path.is_absolute() && plain && path.parent().is_some() && !text.chars().any(char::is_control) {
        true => Ok(path),
        false => Err("write an absolute folder of the node, without '..'".into()),
    }
}

/// How a change of many nodes goes on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Change")]
pub struct Rolling {
    /// Nodes that are worked on at once: a number, or a share of those selected. The first failure stops what is not begun
    #[arg(long, value_name = "N|N%", default_value = "25%")]
    max_unavailable: MaxUnavailable,

    /// How long a new process may take to serve before the node is rolled back
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    ready_within: Duration,

    #[command(flatten)]
    pub act: ActArgs,
}

impl Rolling {
    pub fn asked(&self, verb: AgentVerb, place: &Place) -> AgentRequest {
        AgentRequest {
            verb,
            prefix: place.prefix.clone(),
            max_unavailable: self.max_unavailable,
            binary: None,
            config: None,
            hard: false,
            keep_state: false,
            ready_within_s: self.ready_within.as_secs().max(1),
        }
    }

    /// Looks at the nodes, shows or asks, and does it.
    pub async fn act(
        &self,
        context: &Context,
        selector: Selector,
        asked: AgentRequest,
        payload: Option<Payload>,
    ) -> Result<Exit> {
        let app = context.app(context.fleet()?);
        let request = self.act.request(Verb::Agent(asked.clone()), selector, None);
        let plan = app.ops.plan_agent(request, asked, payload, &app.collector.view()).await?;
        let exit = self.act.act_plan(context, &app.ops, plan).await;
        app.ops.settle().await;
        exit
    }
}

/// The binary that is sent: the given one, or this program.
pub fn payload(file: Option<&Path>) -> Result<Payload> {
    Payload::read(file).map_err(|e| match e {
        PayloadError::Unfit { .. } => Failure::invalid(e.to_string()).hint("--binary takes a build of lbdeck for Linux"),
        PayloadError::Io { .. } => Failure::invalid(e.to_string()),
    })
}
