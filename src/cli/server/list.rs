//! `lbdeck server list`.

use std::time::Duration;

use clap::Args;

use super::item::ServerItem;
use crate::cli::context::{Context, looked};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::{ServerSelect, matcher};
use crate::config::duration::show_duration;
use crate::model::Exit;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck server list
  lbdeck server list 'web/*' --zone eu-1
  lbdeck server list --address 10.0.0.5
  lbdeck server list --not-serving -o json | jq -r '.items[].server'")]
pub struct ListArgs {
    #[command(flatten)]
    select: ServerSelect,

    /// Only servers that take no new traffic
    #[arg(long)]
    not_serving: bool,
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        // Nonsense is refused before anything is connected to.
        let wanted = matcher(&self.select.selector())?;
        let look = context.look(&self.select.nodes).await?;
        let mut items: Vec<_> = look.servers(&wanted).into_iter().map(ServerItem::new).collect();
        items.retain(|item| !(self.not_serving && item.serving));
        let unread = look.unread();
        context.printer.list("servers", &items, &columns(), &unread)?;
        Ok(looked(&unread))
    }
}

type Col<'a> = Column<'a, ServerItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    let ms = |value: Option<u32>| Cell::opt(value.map(|v| format!("{v}ms")));
    vec![
        Col::left("POOL", |s| Cell::plain(s.pool)),
        Col::left("SERVER", |s| Cell::plain(s.server)),
        Col::left("NODE", |s| Cell::plain(s.origin.node)),
        Col::left("STATE", ServerItem::state_cell),
        Col::right("WEIGHT", |s| Cell::plain(s.weight)),
        Col::right("SESS", |s| Cell::plain(s.gauges.sessions)),
        Col::right("QUEUE", |s| Cell::new(s.gauges.queue, if s.gauges.queue > 0 { Tone::Warn } else { Tone::Plain })),
        Col::right("RATE", |s| Cell::plain(s.gauges.rate)),
        Col::left("ADDRESS", |s| Cell::opt(s.address_text())).wide(),
        Col::right("USED", |s| Cell::opt(s.used_conns)).wide(),
        Col::right("MAXCONN", |s| Cell::opt(s.maxconn)).wide(),
        Col::right("TOTAL", |s| Cell::plain(s.gauges.sessions_total)).wide(),
        Col::right("ERRORS", |s| Cell::plain(s.gauges.errors)).wide(),
        Col::right("5XX", |s| Cell::opt(s.gauges.http_5xx)).wide(),
        Col::right("RESPONSE", move |s| ms(s.gauges.response_ms)).wide(),
        Col::left("CHECK", |s| Cell::opt(s.check_status)).wide(),
        Col::right("SINCE", |s| Cell::opt(s.last_change_s.map(|c| show_duration(Duration::from_secs(c.into()))))).wide(),
        Col::left("ZONE", |s| Cell::opt(s.origin.zone)).wide(),
        Col::right("AGE", |s| s.origin.age_cell()),
        Col::left("SOURCE", |s| s.origin.source_cell()).narrow(),
        Col::left("SOURCE", |s| Cell::new(s.origin.source, Tone::Dim)).wide(),
        Col::left("NOTE", ServerItem::drift_cell),
    ]
}
