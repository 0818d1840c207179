//! `lbdeck frontend list`.

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Origin, looked};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::{NodeSelect, name_matcher};
use crate::model::{Exit, Gauges, StatusWord};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck frontend list
  lbdeck frontend list 'www*' --zone eu-1
  lbdeck frontend list -o csv > frontends.csv")]
pub struct ListArgs {
    /// Frontends (names or globs; default: all)
    #[arg(value_name = "FRONTEND")]
    frontends: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
struct FrontendItem<'a> {
    frontend: &'a str,
    #[serde(flatten)]
    origin: Origin<'a>,
    mode: &'a str,
    status: String,
    #[serde(skip)]
    word: StatusWord,
    #[serde(flatten)]
    gauges: &'a Gauges,
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let wanted = name_matcher(&self.frontends)?;
        let look = context.look(&self.nodes).await?;
        let mut items: Vec<FrontendItem<'_>> = Vec::new();
        for (node, obs) in look.fresh() {
            items.extend(obs.frontends.iter().filter(|f| wanted(&f.name)).map(|f| FrontendItem {
                frontend: &f.name,
                origin: Origin::new(node, obs),
                mode: &f.mode,
                status: f.status.to_string(),
                word: f.status.word,
                gauges: &f.gauges,
            }));
        }
        items.sort_by_key(|f| f.frontend);
        let unread = look.unread();
        context.printer.list("frontends", &items, &columns(), &unread)?;
        Ok(looked(&unread))
    }
}

type Col<'a> = Column<'a, FrontendItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("FRONTEND", |f| Cell::plain(f.frontend)),
        Col::left("NODE", |f| Cell::plain(f.origin.node)),
        Col::left("STATUS", |f| Cell::new(&f.status, if f.word == StatusWord::Open { Tone::Good } else { Tone::Warn })),
        Col::left("MODE", |f| Cell::plain(f.mode)),
        Col::right("SESS", |f| Cell::plain(f.gauges.sessions)),
        Col::right("LIMIT", |f| Cell::opt(f.gauges.sessions_limit)),
        Col::right("RATE", |f| Cell::plain(f.gauges.rate)),
        Col::right("REQ/S", |f| Cell::opt(f.gauges.request_rate)),
        Col::right("ERRORS", |f| Cell::plain(f.gauges.errors)),
        Col::right("5XX", |f| Cell::opt(f.gauges.http_5xx)),
        Col::right("IN", |f| Cell::plain(f.gauges.bytes_in)).wide(),
        Col::right("OUT", |f| Cell::plain(f.gauges.bytes_out)).wide(),
        Col::left("ZONE", |f| Cell::opt(f.origin.zone)).wide(),
        Col::right("AGE", |f| f.origin.age_cell()),
        Col::left("SOURCE", |f| f.origin.source_cell()).narrow(),
        Col::left("SOURCE", |f| Cell::new(f.origin.source, Tone::Dim)).wide(),
    ]
}
