//! `lbdeck lease list`.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::context::{Context, looked, unread};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::printer::Unread;
use crate::cli::select::NodeSelect;
use crate::config::duration::show_duration;
use crate::model::{Exit, Health};
use crate::store::Lease;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck lease list
  lbdeck lease list --ended
  lbdeck lease list -o json | jq -r '.items[] | select(.left_s < 600) | .id'")]
pub struct ListArgs {
    /// Only leases that have ended and were not given back
    #[arg(long)]
    ended: bool,

    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
pub struct LeaseItem<'a> {
    #[serde(flatten)]
    lease: &'a Lease,
    /// Seconds left; 0 once it has ended, null where it has no end.
    left_s: Option<u64>,
    ended: bool,
}

impl<'a> LeaseItem<'a> {
    pub fn new(lease: &'a Lease, now: Timestamp) -> Self {
        Self { lease, left_s: lease.left(now).map(|l| l.as_secs()), ended: lease.has_ended(now) }
    }
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let app = context.selected_app(&self.nodes)?;
        let (leases, unlisted) = app.ops.leases_listed().await;
        let unread: Vec<Unread> = unlisted.iter().map(|(node, problem)| unread(node, Health::Dead, problem)).collect();
        let now = Timestamp::now();
        let mut items: Vec<LeaseItem<'_>> =
            leases.iter().filter(|l| l.is_open()).map(|l| LeaseItem::new(l, now)).filter(|l| l.ended || !self.ended).collect();
        items.sort_by_key(|l| l.lease.ends.unwrap_or(Timestamp::MAX));
        context.printer.list("leases", &items, &columns(), &unread)?;
        Ok(looked(&unread))
    }
}

type Col<'a> = Column<'a, LeaseItem<'a>>;

pub fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("ID", |l| Cell::plain(&l.lease.id)),
        Col::left("TARGET", |l| Cell::plain(&l.lease.target)),
        Col::left("CHANGE", |l| Cell::plain(&l.lease.change)),
        Col::left("NODES", |l| Cell::plain(l.lease.holds.iter().map(|h| h.node.as_str()).collect::<Vec<_>>().join(","))),
        Col::right("LEFT", |l| match (l.ended, l.left_s) {
            (true, _) => Cell::new("ENDED", Tone::Bad),
            (false, Some(left)) => Cell::plain(show_duration(Duration::from_secs(left))),
            (false, None) => Cell::opt(None::<u8>),
        }),
        Col::left("OWNER", |l| Cell::plain(&l.lease.who)),
        Col::left("MADE", |l| Cell::plain(l.lease.made)).wide(),
        Col::left("ENDS", |l| Cell::opt(l.lease.ends)).wide(),
        Col::left("REASON", |l| Cell::opt(l.lease.reason.as_deref())),
    ]
}
