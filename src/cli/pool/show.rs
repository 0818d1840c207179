//! `lbdeck pool show`: the view in which nodes that disagree stand side by side.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::cli::context::{Context, Look, Origin, SeenServer, looked};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Cell, Tone};
use crate::cli::printer::Block;
use crate::cli::select::{NodeSelect, name_matcher};
use crate::cli::server::ServerItem;
use crate::model::{Exit, NodeName, PoolName, ServerName};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck pool show web
  lbdeck pool show 'web*' --group edge
  lbdeck pool show web -o json | jq '.items[] | select(.agree | not) | .server'")]
pub struct ShowArgs {
    /// Pools (names or globs)
    #[arg(value_name = "POOL", required = true)]
    pools: Vec<String>,

    #[command(flatten)]
    nodes: NodeSelect,
}

/// One server of a pool: what each node says of it.
#[derive(Serialize)]
struct ServerRow<'a> {
    pool: &'a PoolName,
    server: &'a ServerName,
    /// All nodes that have the pool have the server, in the same state and with the same weight.
    agree: bool,
    /// Nodes that have the pool but not the server.
    missing_on: Vec<&'a NodeName>,
    cells: Vec<ServerItem<'a>>,
}

impl ShowArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let wanted = name_matcher(&self.pools)?;
        let look = context.look(&self.nodes).await?;
        let mut rows = Vec::new();
        let mut blocks = Vec::new();
        for pool in look.view.pool_names().into_iter().filter(|p| wanted(p.as_str())) {
            let (block, mut of_pool) = show(&look, &pool);
            blocks.push(block);
            rows.append(&mut of_pool);
        }
        let unread = look.unread();
        if blocks.is_empty() && unread.is_empty() {
            return Err(Failure::invalid(format!("no pool is called '{}'", self.pools.join("' or '")))
                .hint("`lbdeck pool list` shows them all"));
        }
        context.printer.show("pool_details", &rows, &blocks, &unread)?;
        Ok(looked(&unread))
    }
}

fn show<'a>(look: &'a Look, name: &PoolName) -> (Block, Vec<ServerRow<'a>>) {
    let seen: Vec<_> = look.fresh().filter_map(|(node, obs)| Some((node, obs, obs.pool(name.as_str())?))).collect();
    let mut servers: BTreeMap<&ServerName, (&PoolName, Vec<ServerItem<'a>>)> = BTreeMap::new();
    for &(node, obs, pool) in &seen {
        for server in &pool.servers {
            let item = ServerItem::new(SeenServer { node, obs, pool, server });
            servers.entry(&server.name).or_insert_with(|| (&pool.name, Vec::new())).1.push(item);
        }
    }
    let rows: Vec<ServerRow<'a>> = servers
        .into_iter()
        .map(|(server, (pool, cells))| {
            let missing_on: Vec<&NodeName> =
                seen.iter().map(|(node, _, _)| &node.meta.name).filter(|n| !cells.iter().any(|c| c.origin.node == *n)).collect();
            let differs = cells.windows(2).any(|pair| matches!(pair, [a, b] if (&a.state, a.weight) != (&b.state, b.weight)));
            ServerRow { pool, server, agree: missing_on.is_empty() && !differs, missing_on, cells }
        })
        .collect();

    let mut header = vec!["SERVER".to_owned()];
    header.extend(seen.iter().map(|(node, _, _)| node.meta.name.to_string()));
    header.push("NOTE".into());
    let mut table: Vec<Vec<Cell>> =
        rows.iter().map(|row| table_row(row, seen.iter().map(|(node, _, _)| &node.meta.name))).collect();
    let mut foot = |name: &str, cell: &dyn Fn(&Origin<'_>) -> Cell| {
        let cells = seen.iter().map(|(node, obs, _)| cell(&Origin::new(node, obs)));
        table.push(std::iter::once(Cell::new(name, Tone::Dim)).chain(cells).chain([Cell::default()]).collect());
    };
    foot("(age)", &|origin| origin.age_cell());
    foot("(source)", &|origin| origin.source_cell());
    let about = seen.first().map(|(_, _, pool)| format!("{name}  {} {}", pool.mode, pool.algorithm)).unwrap_or_default();
    (Block::Table { title: about.trim_end().to_owned(), header, rows: table }, rows)
}

fn table_row<'a>(row: &ServerRow<'_>, nodes: impl Iterator<Item = &'a NodeName>) -> Vec<Cell> {
    let mut cells = vec![Cell::plain(row.server)];
    for node in nodes {
        cells.push(match row.cells.iter().find(|c| c.origin.node == node) {
            Some(item) => {
                let mut cell = item.state_cell();
                cell.text.push_str(&format!(" w{} s{}", item.weight, item.gauges.sessions));
                cell
            }
            None => Cell::new("missing", Tone::Warn),
        });
    }
    let mut notes = Vec::new();
    if !row.agree {
        notes.push("nodes disagree".to_owned());
    }
    if let Some(item) = row.cells.iter().find(|c| c.drift.is_some_and(|d| !d.is_empty())) {
        notes.push(item.drift_cell().text);
    }
    cells.push(Cell::new(notes.join("; "), Tone::Warn));
    cells
}
