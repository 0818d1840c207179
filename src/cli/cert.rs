//! `lbdeck cert`: which certificates the balancers serve and when they end.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::ask::ask_nodes;
use super::context::{Context, Origin, looked};
use super::failure::Result;
use super::output::{Cell, Column, Tone};
use super::select::NodeSelect;
use crate::config::duration::{parse_duration, show_duration};
use crate::model::{Certificate, Exit};

#[derive(Args, Debug)]
pub struct CertArgs {
    #[command(subcommand)]
    verb: CertVerb,
}

#[derive(Subcommand, Debug)]
enum CertVerb {
    /// List certificates, those that end first at the top
    #[command(visible_alias = "ls")]
    List(ListArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck cert list
  lbdeck cert list --ends-within 21d
  lbdeck cert list --zone eu-1 -o json | jq -r '.items[] | [.not_after, .subject] | @tsv'")]
struct ListArgs {
    /// Only certificates that end within this time, or have ended
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ends_within: Option<std::time::Duration>,

    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
struct CertificateItem<'a> {
    #[serde(flatten)]
    certificate: Certificate,
    /// Seconds to the end; negative once it has passed.
    left_s: Option<i64>,
    #[serde(flatten)]
    origin: Origin<'a>,
}

impl CertArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            CertVerb::List(args) => args.run(context).await,
        }
    }
}

impl ListArgs {
    async fn run(&self, context: &Context) -> Result<Exit> {
        let look = context.look(&self.nodes).await?;
        let collector = &look.app.collector;
        let (answers, missing) = ask_nodes(&look, |node| collector.certificates(node)).await;
        let now = Timestamp::now();
        let mut items: Vec<CertificateItem<'_>> = answers
            .into_iter()
            .flat_map(|(origin, certificates)| {
                certificates.into_iter().map(move |certificate| CertificateItem {
                    left_s: certificate.not_after.map(|end| end.duration_since(now).as_secs()),
                    certificate,
                    origin: origin.clone(),
                })
            })
            .filter(|item| {
                self.ends_within.is_none_or(|within| item.left_s.is_some_and(|left| left <= within.as_secs().cast_signed()))
            })
            .collect();
        items.sort_by_key(|item| item.left_s.unwrap_or(i64::MAX));
        context.printer.list("certificates", &items, &columns(), &missing)?;
        Ok(looked(&missing))
    }
}

type Col<'a> = Column<'a, CertificateItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    const SOON: u64 = 21 * 24 * 3600;
    let left = |item: &CertificateItem<'a>| match item.left_s.map(u64::try_from) {
        None => Cell::opt(None::<u8>),
        Some(Err(_)) => Cell::new("ENDED", Tone::Bad),
        Some(Ok(left)) => {
            let tone = if left < SOON { Tone::Warn } else { Tone::Plain };
            Cell::new(show_duration(std::time::Duration::from_secs(left)), tone)
        }
    };
    vec![
        Col::left("FILE", |c| Cell::plain(&c.certificate.file)),
        Col::left("NODE", |c| Cell::plain(c.origin.node)),
        Col::left("SUBJECT", |c| Cell::plain(&c.certificate.subject)),
        Col::right("LEFT", left),
        Col::left("ENDS", |c| Cell::opt(c.certificate.not_after)),
        Col::left("NAMES", |c| Cell::plain(c.certificate.names.join(" "))).wide(),
        Col::right("AGE", |c| c.origin.age_cell()),
        Col::left("SOURCE", |c| c.origin.source_cell()).narrow(),
        Col::left("SOURCE", |c| Cell::new(c.origin.source, Tone::Dim)).wide(),
    ]
}
