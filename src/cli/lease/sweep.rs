//! `lbdeck lease sweep`.

use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::model::Exit;
use crate::store::Lease;

/// Gives back every lease that has ended, whoever made it and from whichever machine. What somebody changed since is left
/// as it is.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0 everything that had ended was given back (or nothing had)   1 something could not be given back

Examples:
  lbdeck lease sweep
  */5 * * * * lbdeck -q --fleet /etc/lbdeck.yaml lease sweep     in a crontab: silent unless something was done")]
pub struct SweepArgs {}

#[derive(Serialize)]
struct SweptItem<'a> {
    /// `returned`, `overtaken` or `failed`.
    result: &'static str,
    /// Why it failed.
    why: Option<&'a str>,
    #[serde(flatten)]
    lease: &'a Lease,
}

impl SweepArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let app = context.app(context.fleet()?);
        let _held = context.own_signals.hold();
        let report = app.ops.sweep().await;
        app.ops.settle().await;
        let item = |result, lease, why| SweptItem { result, why, lease };
        let mut items: Vec<SweptItem<'_>> = Vec::new();
        items.extend(report.returned.iter().map(|lease| item("returned", lease, None)));
        items.extend(report.overtaken.iter().map(|lease| item("overtaken", lease, None)));
        items.extend(report.failed.iter().map(|(lease, why)| item("failed", lease, Some(why.as_str()))));
        context.printer.list("leases to give back", &items, &columns(), &[])?;
        Ok(if report.failed.is_empty() { Exit::Ok } else { Exit::Failed })
    }
}

type Col<'a> = Column<'a, SweptItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("ID", |s| Cell::plain(&s.lease.id)),
        Col::left("TARGET", |s| Cell::plain(&s.lease.target)),
        Col::left("CHANGE", |s| Cell::plain(&s.lease.change)),
        Col::left("NODES", |s| Cell::plain(s.lease.holds.iter().map(|h| h.node.as_str()).collect::<Vec<_>>().join(","))),
        Col::left("OWNER", |s| Cell::plain(&s.lease.who)),
        Col::left("RESULT", |s| match s.why {
            Some(why) => Cell::new(format!("{}: {why}", s.result), Tone::Bad),
            None => Cell::plain(s.result),
        }),
    ]
}
