//! `lbdeck agent status`.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::args::{Nodes, Place};
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::config::duration::show_duration;
use crate::model::{Exit, NodeName};
use crate::ops::agent::NodeFacts;

/// Shows the agent of each node as it is now: what is installed, what runs, who restarts it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent status
  lbdeck agent status 'lb*' -o json | jq -r '.items[] | [.node, .state] | @tsv'")]
pub struct StatusArgs {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct Item {
    node: NodeName,
    /// `running`, `silent` (installed, does not answer), `absent`, `unread`.
    state: &'static str,
    version: Option<String>,
    pid: Option<u32>,
    /// Seconds since the process began.
    up_s: Option<i64>,
    /// sha256 of the build in its place.
    build: Option<String>,
    /// Another build runs than stands in its place.
    other_build_runs: bool,
    /// A build to go back to is kept.
    previous: Option<String>,
    /// `systemd`, `lbdeck` or none.
    kept_by: Option<String>,
    problem: Option<String>,
}

impl Item {
    fn new(node: NodeName, facts: &NodeFacts, now: Timestamp) -> Self {
        let paths = &facts.paths;
        let build = facts.sum(&paths.binary()).map(str::to_owned);
        let running = facts.running.as_ref();
        let unit = facts.unit.as_ref();
        let problem = match (running, &build, unit) {
            (None, Some(_), Some(unit)) => Some(format!("the unit is {} ({})", unit.active, unit.sub)),
            (None, Some(_), None) => Some("nobody answers on its control socket".to_owned()),
            (Some(_), _, Some(unit)) if !unit.enabled => Some("the unit is not enabled: it will not start at boot".to_owned()),
            _ => None,
        };
        Item {
            node,
            state: match (running, &build) {
                (Some(_), _) => "running",
                (None, Some(_)) => "silent",
                (None, None) => "absent",
            },
            version: running.map(|r| r.hello.agent.clone()),
            pid: running.map(|r| r.hello.pid),
            up_s: running.map(|r| now.as_second() - r.hello.started.as_second()),
            other_build_runs: running.is_some_and(|r| r.sha256.is_some() && r.sha256 != build),
            build,
            previous: facts.sum(&paths.previous()).map(str::to_owned),
            kept_by: match (running, facts.systemd && unit.is_some()) {
                (_, true) => Some("systemd".to_owned()),
                (Some(running), false) => Some(running.hello.supervisor.clone()).filter(|s| !s.is_empty()),
                (None, false) => None,
            },
            problem,
        }
    }

    fn unread(node: NodeName, problem: String) -> Self {
        Item {
            node,
            state: "unread",
            version: None,
            pid: None,
            up_s: None,
            build: None,
            other_build_runs: false,
            previous: None,
            kept_by: None,
            problem: Some(problem),
        }
    }
}

impl StatusArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let app = context.app(context.fleet()?);
        let paths = self.place.paths();
        let seen = app.ops.survey_agents(&self.nodes.any()?, &paths, &app.collector.view()).await?;
        let now = Timestamp::now();
        let items: Vec<Item> = seen
            .into_iter()
            .map(|(node, facts)| match facts {
                Ok(facts) => Item::new(node, &facts, now),
                Err(e) => Item::unread(node, e.to_string()),
            })
            .collect();
        context.printer.list("agents", &items, &columns(), &[])?;
        let unread = items.iter().any(|i| i.state == "unread");
        Ok(if unread { Exit::Failed } else { Exit::Ok })
    }
}

type Col<'a> = Column<'a, Item>;

fn short(sum: Option<&String>) -> Cell {
    Cell::opt(sum.and_then(|s| s.get(..12)))
}

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("NODE", |i| Cell::plain(&i.node)),
        Col::left("STATE", |i| {
            let tone = match i.state {
                "running" => Tone::Good,
                "absent" => Tone::Dim,
                _ => Tone::Bad,
            };
            Cell::new(i.state, tone)
        }),
        Col::left("VERSION", |i| Cell::opt(i.version.as_ref())),
        Col::right("PID", |i| Cell::opt(i.pid)),
        Col::right("UP", |i| {
            let up = i.up_s.and_then(|s| u64::try_from(s).ok());
            Cell::opt(up.map(|s| show_duration(std::time::Duration::from_secs(s))))
        }),
        Col::left("BUILD", |i| short(i.build.as_ref())),
        Col::left("PREVIOUS", |i| short(i.previous.as_ref())),
        Col::left("KEPT BY", |i| Cell::opt(i.kept_by.as_ref())),
        Col::left("PROBLEM", |i| match (&i.problem, i.other_build_runs) {
            (Some(problem), _) => Cell::new(problem, Tone::Bad),
            (None, true) => Cell::new("another build runs than stands in its place", Tone::Warn),
            (None, false) => Cell::opt(None::<u8>),
        }),
    ]
}
