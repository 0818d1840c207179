//! `lbdeck server drain`: out of traffic, with proof.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::act::{ActArgs, LeaseArgs};
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::select::{ServerSelect, matcher};
use crate::config::duration::parse_duration;
use crate::model::Exit;
use crate::ops::{AtDeadline, DrainOptions, Verb};

/// Drains servers on every node that has them, and waits until no session, queued request or connection is left.
/// The capacity guard counts the servers that serve, on each node and in sum, before anything is sent.
/// A node that cannot be reached is not drained, and the exit code says so.
#[derive(Args, Debug)]
#[command(after_help = "Output:
  stdout  how it ended: a row a node (table, csv) or one document of kind 'outcome' (json, yaml)
  stderr  progress; with --events every event as one line of JSON
  Ctrl-C (SIGINT, SIGTERM, SIGHUP) stops waiting and says what holds; the exit code is then 1

Exit codes:
  0 drained everywhere   1 not everywhere, or not proven (each node is listed)   5 a guard refused   75 locked by another operator

Examples:
  lbdeck server drain web/web1 --dry-run
  lbdeck server drain web/web1 --deadline 5m --then kill --reason 'kernel update'
  lbdeck server drain --address 10.0.0.5 --for 2h --reason 'memory test'
  lbdeck server drain 'web/web[12]' --zone eu-1 --no-wait --yes")]
pub struct DrainArgs {
    #[command(flatten)]
    select: ServerSelect,

    /// How long to wait for the last session (30s, 5m; default: until you stop it)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Change")]
    deadline: Option<Duration>,

    /// What to do with a server whose sessions are not gone at the deadline
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, requires = "deadline", help_heading = "Change")]
    then: Then,

    /// Return as soon as every node has accepted the drain
    #[arg(long, conflicts_with = "deadline", help_heading = "Change")]
    no_wait: bool,

    #[command(flatten)]
    lease: LeaseArgs,

    #[command(flatten)]
    act: ActArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Then {
    /// End the sessions that are left
    Kill,
    /// Put it into maintenance; sessions that are up live on
    Maint,
    /// Give the server back
    Return,
    /// Leave it draining and fail
    #[default]
    Fail,
}

impl DrainArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let selector = self.select.named()?;
        matcher(&selector)?;
        let then = match self.then {
            Then::Kill => AtDeadline::Kill,
            Then::Maint => AtDeadline::Maint,
            Then::Return => AtDeadline::Return,
            Then::Fail => AtDeadline::Fail,
        };
        let options = DrainOptions { deadline: self.deadline, then, wait: !self.no_wait };
        self.act.act(context, self.act.request(Verb::Drain(options), selector, Some(&self.lease))).await
    }
}
