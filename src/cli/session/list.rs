//! `lbdeck session list`.

use std::time::Instant;

use clap::Args;
use futures::future::join_all;
use serde::Serialize;

use crate::cli::context::{Context, Origin, looked, unread};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::{ServerSelect, matcher};
use crate::config::duration::show_duration;
use crate::model::{Exit, Health, NodeObs, NodeView, ServerRef, Session};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck session list
  lbdeck session list web/web1 --node lb1
  lbdeck session list --older 1h -o json | jq -r '.items[].source_address'")]
pub struct ListArgs {
    #[command(flatten)]
    select: ServerSelect,

    /// Only sessions that are at least so old
    #[arg(long, value_name = "DURATION", value_parser = crate::config::duration::parse_duration)]
    older: Option<std::time::Duration>,

    /// Read at most so many sessions of each server, or of each node where no server is named
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

#[derive(Serialize)]
struct SessionItem<'a> {
    #[serde(flatten)]
    origin: Origin<'a>,
    id: String,
    protocol: String,
    source_address: String,
    frontend: String,
    pool: String,
    server: String,
    /// How long the session has lived.
    session_age_s: Option<u64>,
    expires_s: Option<u64>,
    raw: String,
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        if self.limit == 0 {
            return Err(Failure::invalid("--limit 0 would show nothing"));
        }
        let selector = self.select.selector();
        let wanted = matcher(&selector)?;
        let look = context.look(&self.select.nodes).await?;
        // Whole nodes where no server is named; the sessions that wait for a server are among them.
        let mut asked: Vec<(&NodeView, &NodeObs, Option<ServerRef>)> = Vec::new();
        if selector.names_no_server() {
            asked.extend(look.fresh().map(|(node, obs)| (node, obs, None)));
        } else {
            for s in look.servers(&wanted) {
                let server = ServerRef { pool: s.pool.name.clone(), server: s.server.name.clone() };
                asked.push((s.node, s.obs, Some(server)));
            }
        }
        let collector = &look.app.collector;
        let answers = join_all(asked.iter().map(|(node, obs, of)| async move {
            let answer = collector.sessions(&node.meta.name, of.as_ref(), self.limit).await;
            (*node, Origin::at(node, obs, Instant::now()), answer)
        }))
        .await;

        let (mut items, mut missing, mut full) = (Vec::new(), look.unread(), false);
        for (node, origin, answer) in answers {
            match answer {
                Ok(sessions) => {
                    full |= sessions.len() >= self.limit;
                    items.extend(sessions.into_iter().map(|s| SessionItem::new(origin.clone(), s)));
                }
                // One word a node, however many of its servers were asked for.
                Err(problem) if missing.iter().any(|u| u.node == node.meta.name && u.problem == problem.what) => {}
                Err(problem) => missing.push(unread(&node.meta.name, Health::Stale, &problem)),
            }
        }
        if let Some(older) = self.older {
            items.retain(|s| s.session_age_s.is_some_and(|age| age >= older.as_secs()));
        }
        context.printer.list("sessions", &items, &columns(), &missing)?;
        if full {
            context.printer.warn(&format!("there are more sessions than --limit {}", self.limit));
        }
        Ok(looked(&missing))
    }
}

impl<'a> SessionItem<'a> {
    fn new(origin: Origin<'a>, session: Session) -> Self {
        Self {
            origin,
            id: session.id,
            protocol: session.protocol,
            source_address: session.source,
            frontend: session.frontend,
            pool: session.backend,
            server: session.server,
            session_age_s: session.age.map(|a| a.as_secs()),
            expires_s: session.expires.map(|e| e.as_secs()),
            raw: session.raw,
        }
    }
}

type Col<'a> = Column<'a, SessionItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    let seconds = |s: Option<u64>| Cell::opt(s.map(|s| show_duration(std::time::Duration::from_secs(s))));
    vec![
        Col::left("NODE", |s| Cell::plain(s.origin.node)),
        Col::left("ID", |s| Cell::plain(&s.id)),
        Col::left("CLIENT", |s| Cell::plain(&s.source_address)),
        Col::left("FRONTEND", |s| Cell::plain(&s.frontend)),
        Col::left("POOL", |s| Cell::plain(&s.pool)),
        Col::left("SERVER", |s| Cell::plain(&s.server)),
        Col::left("PROTO", |s| Cell::plain(&s.protocol)).wide(),
        Col::right("LIVES", move |s| seconds(s.session_age_s)),
        Col::right("EXPIRES", move |s| seconds(s.expires_s)).wide(),
        Col::right("AGE", |s| s.origin.age_cell()),
        Col::left("SOURCE", |s| s.origin.source_cell()).narrow(),
        Col::left("SOURCE", |s| Cell::new(s.origin.source, Tone::Dim)).wide(),
    ]
}
