//! `lbdeck audit`: who did what, when, from where, why, and how it ended.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::context::Context;
use super::failure::{Failure, Result};
use super::output::{Cell, Column, Output, Tone};
use crate::config::duration::{parse_duration, show_duration};
use crate::model::{Exit, PoolName};
use crate::ops::Ops;
use crate::store::{AuditFilter, JournalEntry, JournalState, Operation, OperationState};

/// Lists operations of this machine, newest first; with a number, every change of that operation.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck audit
  lbdeck audit --since 24h --pool web
  lbdeck audit 17                                    every change of operation 17
  lbdeck audit --since 2026-01-31T00:00:00Z -o csv > january.csv")]
pub struct AuditArgs {
    /// The operation whose changes are shown
    #[arg(value_name = "OPERATION", conflicts_with_all = ["since", "pool", "who", "limit"])]
    operation: Option<i64>,

    /// Only since then: a duration back from now (24h) or a point in time (2026-01-31T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<Timestamp>,

    /// Only operations on this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,

    /// Only operations by this user, or user@host
    #[arg(long, value_name = "WHO")]
    who: Option<String>,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

/// An operation without the request, plan and outcome, whose shapes differ from one to the next: a CSV has one header.
#[derive(Serialize)]
struct Line<'a> {
    id: i64,
    began: Timestamp,
    ended: Option<Timestamp>,
    user: &'a str,
    host: &'a str,
    from: &'a str,
    state: OperationState,
    summary: &'a str,
    pools: &'a [PoolName],
    exit: Option<Exit>,
    exit_code: Option<u8>,
    reason: Option<&'a str>,
    syslog: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(o: &'a Operation) -> Self {
        Self {
            id: o.id,
            began: o.began,
            ended: o.ended,
            user: &o.who.user,
            host: &o.who.host,
            from: &o.who.from,
            state: o.state,
            summary: &o.summary,
            pools: &o.pools,
            exit: o.exit,
            exit_code: o.exit.map(Exit::code),
            reason: o.reason.as_deref(),
            syslog: o.syslog.as_deref(),
        }
    }
}

fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let back = parse_duration(text).map_err(|e| format!("{e}; or a point in time such as 2026-01-31T00:00:00Z"))?;
    let back = SignedDuration::try_from(back).map_err(|e| e.to_string())?;
    Timestamp::now().checked_sub(back).map_err(|e| e.to_string())
}

impl AuditArgs {
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let ops = context.app(context.fleet()?).ops;
        match self.operation {
            Some(operation) => changes(context, &ops, operation),
            None => {
                let filter =
                    AuditFilter { since: self.since, pool: self.pool.clone(), who: self.who.clone(), limit: Some(self.limit) };
                let operations = ops.audit(&filter)?;
                match context.printer.output {
                    Output::Csv => {
                        let lines: Vec<Line<'_>> = operations.iter().map(Line::new).collect();
                        context.printer.list("operations", &lines, &[], &[])?;
                    }
                    _ => context.printer.list("operations", &operations, &columns(), &[])?,
                }
                Ok(Exit::Ok)
            }
        }
    }
}

fn changes(context: &Context, ops: &Ops, operation: i64) -> Result<Exit> {
    let entries = ops.journal(operation)?;
    if entries.is_empty() && !ops.audit(&AuditFilter::default())?.iter().any(|o| o.id == operation) {
        return Err(Failure::invalid(format!("operation {operation} is not known here")).hint("`lbdeck audit` lists operations"));
    }
    context.printer.list("changes", &entries, &change_columns(), &[])?;
    Ok(Exit::Ok)
}

type Col<'a> = Column<'a, Operation>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::right("ID", |o| Cell::plain(o.id)),
        Col::left("BEGAN", |o| Cell::plain(o.began.strftime("%Y-%m-%d %H:%M:%SZ"))),
        Col::right("TOOK", |o| {
            let took = o.ended.map(|end| end.duration_since(o.began));
            Cell::opt(took.map(|d| show_duration(std::time::Duration::try_from(d).unwrap_or_default())))
        }),
        Col::left("WHO", |o| Cell::plain(&o.who)),
        Col::left("FROM", |o| Cell::plain(&o.who.from)).wide(),
        Col::left("WHAT", |o| Cell::plain(&o.summary)),
        Col::left("RESULT", result),
        Col::left("REASON", |o| Cell::opt(o.reason.as_deref())),
        Col::left("SYSLOG", |o| Cell::opt(o.syslog.as_deref())).wide(),
    ]
}

fn result(operation: &Operation) -> Cell {
    match (operation.state, operation.exit) {
        (OperationState::Running, _) => Cell::new("running", Tone::Warn),
        (OperationState::Abandoned, _) => Cell::new("ABANDONED", Tone::Bad),
        (OperationState::Finished, Some(Exit::Ok)) => Cell::new("ok", Tone::Good),
        (OperationState::Finished, Some(exit)) => Cell::new(format!("exit {}", exit.code()), Tone::Bad),
        (OperationState::Finished, None) => Cell::opt(None::<u8>),
    }
}

fn change_columns<'a>() -> Vec<Column<'a, JournalEntry>> {
    vec![
        Column::right("SEQ", |e: &JournalEntry| Cell::plain(e.seq)),
        Column::left("NODE", |e: &JournalEntry| Cell::plain(&e.node)),
        Column::left("TARGET", |e: &JournalEntry| Cell::plain(&e.target)),
        Column::left("CHANGE", |e: &JournalEntry| Cell::plain(&e.change)),
        Column::left("STATE", |e: &JournalEntry| match e.state {
            JournalState::Intent => Cell::new("INTENT", Tone::Warn),
            JournalState::Done => Cell::new("done", Tone::Good),
            JournalState::Failed => Cell::new("FAILED", Tone::Bad),
            JournalState::Undone => Cell::plain("undone"),
        }),
        Column::left("GIVEN BACK BY", |e: &JournalEntry| {
            Cell::opt(Some(e.inverse.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")).filter(|t| !t.is_empty()))
        }),
        Column::left("DETAIL", |e: &JournalEntry| Cell::opt(e.text.as_deref())),
    ]
}
