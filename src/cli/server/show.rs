//! `lbdeck server show`: all that is known of a server, node by node, the engine's own fields included.

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::item::ServerItem;
use crate::cli::context::{Context, SeenServer, looked};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Cell, Output, Tone};
use crate::cli::printer::Block;
use crate::cli::select::{ServerSelect, matcher};
use crate::config::duration::show_duration;
use crate::model::Exit;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck server show web/web1
  lbdeck server show web/web1 --node lb1 -o wide       with every field of the engine
  lbdeck server show web/web1 -o json | jq '.items[] | {node, state, sessions, hrsp_5xx: .fields.hrsp_5xx}'")]
pub struct ShowArgs {
    #[command(flatten)]
    select: ServerSelect,
}

#[derive(Serialize)]
struct FullServer<'a> {
    #[serde(flatten)]
    server: ServerItem<'a>,
    /// Every field of the engine by its own name; empty ones are left out.
    fields: Map<String, Value>,
}

impl ShowArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let wanted = matcher(&self.select.named()?)?;
        let look = context.look(&self.select.nodes).await?;
        let seen = look.servers(&wanted);
        let items: Vec<FullServer<'_>> =
            seen.iter().map(|s| FullServer { server: ServerItem::new(*s), fields: fields(*s) }).collect();
        let unread = look.unread();
        if items.is_empty() && unread.is_empty() {
            return Err(Failure::invalid("no server matches").hint("`lbdeck server list` shows them all"));
        }
        let all_fields = context.printer.output != Output::Table;
        let blocks: Vec<Block> = items.iter().map(|item| block(item, all_fields)).collect();
        context.printer.show("server_details", &items, &blocks, &unread)?;
        Ok(looked(&unread))
    }
}

fn fields(seen: SeenServer<'_>) -> Map<String, Value> {
    let row = seen.obs.fields.as_ref().map(|f| f.row(seen.server.row)).unwrap_or_default();
    row.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

fn block(item: &FullServer<'_>, all_fields: bool) -> Block {
    let (s, g) = (&item.server, item.server.gauges);
    let ms = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |v| format!("{v}ms"));
    let since = |seconds: u32| show_duration(std::time::Duration::from_secs(seconds.into()));
    let mut pairs: Vec<(String, Cell)> = Vec::new();
    let mut add = |name: &str, cell: Cell| pairs.push((name.to_owned(), cell));
    add("state", s.state_cell());
    if let Some(seconds) = s.last_change_s {
        add("since", Cell::plain(since(seconds)));
    }
    add("admin", Cell::plain(format!("{}{}", s.admin, if s.admin_exact { "" } else { " (derived from the status)" })));
    add("address", Cell::opt(s.address_text()));
    add("weight", Cell::plain(weight(s)));
    add("role", Cell::plain(if s.backup { "backup" } else { "active" }));
    let limit = g.sessions_limit.map(|l| format!(", limit {l}")).unwrap_or_default();
    add("sessions", Cell::plain(format!("{} now, {} at most{limit}, {} in all", g.sessions, g.sessions_max, g.sessions_total)));
    add("connections", Cell::plain(format!("{} in use, {} idle", dash(s.used_conns), dash(s.idle_conns))));
    add("maxconn", Cell::opt(s.maxconn));
    add("queue", Cell::plain(g.queue));
    add("rate", Cell::plain(format!("{}/s", g.rate)));
    let times = [("queue", g.queue_ms), ("connect", g.connect_ms), ("response", g.response_ms), ("total", g.total_ms)];
    add("times", Cell::plain(times.map(|(name, value)| format!("{name} {}", ms(value))).join(", ")));
    add("bytes", Cell::plain(format!("{} in, {} out", g.bytes_in, g.bytes_out)));
    add("errors", Cell::plain(format!("{}, 5xx {}, retries {}", g.errors, dash(g.http_5xx), g.retries)));
    add("check", check(s));
    if let Some(cookie) = s.cookie {
        add("cookie", Cell::new(format!("{cookie} (a drained server still takes its holders)"), Tone::Plain));
    }
    match s.drift {
        Some([]) => {}
        Some(drift) => {
            for d in drift {
                let text = format!("{}: {} now, {} in the file", d.what, d.runtime, d.file);
                add("lost on reload", Cell::new(text, Tone::Warn));
            }
        }
        None => add("lost on reload", Cell::new("unknown: the configuration file was not read", Tone::Dim)),
    }
    add("age", s.origin.age_cell());
    add("source", Cell::new(s.origin.source, Tone::Dim));
    if all_fields {
        for (name, value) in &item.fields {
            add(name, Cell::plain(value.as_str().unwrap_or_default()));
        }
    }
    Block::Pairs { title: format!("{}/{} on {}", s.pool, s.server, s.origin.node), pairs }
}

fn dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

fn weight(s: &ServerItem<'_>) -> String {
    match (s.user_weight, s.initial_weight) {
        (Some(user), Some(initial)) if user != initial => format!("{} (asked for {user}, configured {initial})", s.weight),
        (Some(user), _) if user != s.weight => format!("{} (asked for {user})", s.weight),
        _ => s.weight.to_string(),
    }
}

fn check(s: &ServerItem<'_>) -> Cell {
    let on = |name: &str, on: Option<bool>| (on == Some(false)).then(|| format!("{name} checks are off"));
    let off: Vec<String> = [on("health", s.health_checks), on("agent", s.agent_checks)].into_iter().flatten().collect();
    let last = s.check_status.filter(|c| !c.is_empty()).map(|status| {
        let code = s.check_code.map(|c| format!("/{c}")).unwrap_or_default();
        let took = s.check_ms.map(|ms| format!(" in {ms}ms")).unwrap_or_default();
        let text = s.check_text.filter(|t| !t.is_empty()).map(|t| format!(": {t}")).unwrap_or_default();
        format!("{status}{code}{took}{text}")
    });
    let text: Vec<String> = last.into_iter().chain(off).collect();
    if text.is_empty() { Cell::new("-", Tone::Dim) } else { Cell::plain(text.join("; ")) }
}
