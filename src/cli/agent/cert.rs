//! `lbdeck agent cert`: an authority of the operator's own, and certificates for mutual TLS between consoles and agents.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use crate::agent::pki::{Issued, Kind, Pki, PkiError};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Cell, Column, Tone};
use crate::config::duration::show_duration;
use crate::model::Exit;

/// Days before its end from which a certificate is shown as ending.
const SOON_DAYS: i64 = 30;

#[derive(Args, Debug)]
pub struct CertArgs {
    #[command(subcommand)]
    verb: CertVerb,
}

#[derive(Subcommand, Debug)]
enum CertVerb {
    /// Make the authority
    Ca(CaArgs),
    /// Make a certificate that an agent shows
    Server(ServerArgs),
    /// Make a certificate that a console shows
    Client(ClientArgs),
    /// Sign certificates anew, with the same names and keys
    Renew(RenewArgs),
    /// List certificates, those that end first at the top
    #[command(visible_alias = "ls")]
    List(ListArgs),
}

#[derive(Args, Debug)]
struct Folder {
    /// Folder of the authority and its certificates
    #[arg(long, value_name = "FOLDER", default_value = "lbdeck-pki", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent cert ca
  lbdeck agent cert ca --dir /etc/lbdeck/pki --days 3650")]
struct CaArgs {
    #[command(flatten)]
    folder: Folder,
    /// Days until it ends
    #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent cert server lb1.example.net 10.0.0.1
  lbdeck agent cert server lb2 --days 90")]
struct ServerArgs {
    /// Host names and addresses by which consoles reach the agent
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    folder: Folder,
    /// Days until it ends
    #[arg(long, value_name = "N", default_value_t = 397, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent cert client alice
  lbdeck agent cert client cron@ops1 --days 90")]
struct ClientArgs {
    /// Who shows it
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    folder: Folder,
    /// Days until it ends
    #[arg(long, value_name = "N", default_value_t = 397, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent cert renew
  lbdeck agent cert renew alice lb1.example.net")]
struct RenewArgs {
    /// Whose certificates (default: all that end within 30 days)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    folder: Folder,
    /// Days until it ends
    #[arg(long, value_name = "N", default_value_t = 397, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck agent cert list
  lbdeck agent cert list -o json | jq -r '.items[] | select(.left_days < 30) | .file'")]
struct ListArgs {
    #[command(flatten)]
    folder: Folder,
}

#[derive(Serialize)]
struct Item {
    #[serde(flatten)]
    issued: Issued,
    /// Whole days left; negative once it has ended.
    left_days: i64,
}

impl CertArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let (made, folder) = match &self.verb {
            CertVerb::Ca(args) => (vec![pki(&args.folder).make_ca(args.days).map_err(failure)?], &args.folder),
            CertVerb::Server(args) => {
                (vec![pki(&args.folder).issue(Kind::Server, &args.names, args.days).map_err(failure)?], &args.folder)
            }
            CertVerb::Client(args) => {
                let names = std::slice::from_ref(&args.name);
                (vec![pki(&args.folder).issue(Kind::Client, names, args.days).map_err(failure)?], &args.folder)
            }
            CertVerb::Renew(args) => (args.renew()?, &args.folder),
            CertVerb::List(args) => (pki(&args.folder).list().map_err(failure)?, &args.folder),
        };
        let now = Timestamp::now().as_second();
        let day = |s: i64| s.div_euclid(24 * 3600);
        let items: Vec<Item> =
            made.into_iter().map(|issued| Item { left_days: day(issued.not_after.as_second() - now), issued }).collect();
        if items.is_empty() {
            context.printer.talk(&format!("{}: nothing to do", folder.dir.display()));
        }
        context.printer.list("certificates", &items, &columns(), &[])?;
        Ok(Exit::Ok)
    }
}

impl RenewArgs {
    fn renew(&self) -> Result<Vec<Issued>> {
        let pki = pki(&self.folder);
        let all = pki.list().map_err(failure)?;
        if let Some(name) = self.names.iter().find(|n| !all.iter().any(|i| i.subject == **n)) {
            let known = all.iter().map(|i| i.subject.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Failure::invalid(format!("no certificate is called '{name}'")).hint(format!("there are: {known}")));
        }
        let soon = Timestamp::now().as_second() + SOON_DAYS * 24 * 3600;
        all.iter()
            .filter(|i| match self.names.is_empty() {
                true => i.not_after.as_second() < soon,
                false => self.names.contains(&i.subject),
            })
            .map(|i| pki.renew(i, self.days).map_err(failure))
            .collect()
    }
}

fn pki(folder: &Folder) -> Pki {
    Pki::at(&folder.dir)
}

fn failure(error: PkiError) -> Failure {
    match &error {
        PkiError::Name { .. } => Failure::invalid(error.to_string()),
        PkiError::Exists(_) => {
            Failure::invalid(error.to_string()).hint("`lbdeck agent cert renew` signs it anew; remove the file for a new key")
        }
        PkiError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::failed(error.to_string()).hint("`lbdeck agent cert ca` makes the authority")
        }
        PkiError::Io { .. } | PkiError::Wrong { .. } => Failure::failed(error.to_string()),
    }
}

type Col<'a> = Column<'a, Item>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("FILE", |i| Cell::plain(i.issued.file.display())),
        Col::left("KIND", |i| {
            Cell::plain(match i.issued.kind {
                Kind::Ca => "authority",
                Kind::Server => "agent",
                Kind::Client => "console",
            })
        }),
        Col::left("SUBJECT", |i| Cell::plain(&i.issued.subject)),
        Col::left("NAMES", |i| Cell::plain(i.issued.names.join(","))).wide(),
        Col::left("ENDS", |i| Cell::plain(i.issued.not_after)),
        Col::right("LEFT", |i| {
            let left = u64::try_from(i.left_days).ok().map(|d| show_duration(std::time::Duration::from_secs(d * 24 * 3600)));
            match left {
                None => Cell::new("ENDED", Tone::Bad),
                Some(left) if i.left_days < SOON_DAYS => Cell::new(left, Tone::Warn),
                Some(left) => Cell::plain(left),
            }
        }),
    ]
}
