//! `lbdeck fleet show`: the fleet after defaults, groups and policies, as the other verbs see it.

use clap::Args;

use crate::cli::context::{Context, keep};
use crate::cli::failure::Result;
use crate::cli::output::{Cell, Column, Output};
use crate::cli::printer::Block;
use crate::cli::select::NodeSelect;
use crate::config::effective::{EffectiveFleet, EffectiveNode};
use crate::model::Exit;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck fleet show
  lbdeck fleet show --tag canary -o json | jq -r '.items[].nodes[].address'")]
pub struct ShowArgs {
    #[command(flatten)]
    nodes: NodeSelect,
}

impl ShowArgs {
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let mut fleet = context.fleet()?;
        keep(&mut fleet, &self.nodes)?;
        let shown = EffectiveFleet::of(&fleet);
        match context.printer.output {
            // A row a node is what a spreadsheet wants; the rest of the fleet has no columns.
            Output::Csv => context.printer.list("fleet_nodes", &shown.nodes, &columns(), &[])?,
            _ => context.printer.show("fleet", std::slice::from_ref(&shown), &blocks(&shown), &[])?,
        }
        Ok(Exit::Ok)
    }
}

fn columns() -> Vec<Column<'static, EffectiveNode>> {
    header()
        .into_iter()
        .enumerate()
        .map(|(i, name)| Column::left(name, move |n| row(n).into_iter().nth(i).unwrap_or_default()))
        .collect()
}

fn header() -> Vec<String> {
    ["NODE", "ADDRESS", "ZONE", "ROLE", "REACH", "HAPROXY", "TAGS", "GROUPS"].map(str::to_owned).to_vec()
}

fn row(node: &EffectiveNode) -> Vec<Cell> {
    let list = |items: &[String]| Cell::opt((!items.is_empty()).then(|| items.join(",")));
    let reach = match &node.ssh {
        Some(ssh) => {
            let user = ssh.user.as_ref().map(|u| format!("{u}@")).unwrap_or_default();
            let port = ssh.port.map(|p| format!(" port {p}")).unwrap_or_default();
            format!("ssh {user}{}{port}", ssh.host)
        }
        None => node.reach.to_owned(),
    };
    vec![
        Cell::plain(&node.name),
        Cell::plain(&node.address),
        Cell::opt(node.zone.as_ref()),
        Cell::opt(node.role.as_ref()),
        Cell::plain(reach),
        Cell::opt(node.haproxy.as_ref().map(|h| format!("{} {}", h.access, h.at))),
        list(&node.tags),
        list(&node.groups),
    ]
}

fn blocks(fleet: &EffectiveFleet) -> Vec<Block> {
    let s = &fleet.settings;
    let pair = |name: &str, value: &str| (name.to_owned(), Cell::plain(value));
    let mut blocks = vec![
        Block::Pairs {
            title: fleet.path.clone(),
            pairs: vec![
                pair("refresh", &s.refresh),
                pair("timeout", &s.timeout),
                pair("dead_after", &s.dead_after),
                pair("read_only", if s.read_only { "true" } else { "false" }),
                pair("max_reply", &s.max_reply),
            ],
        },
        Block::Table { title: "nodes".to_owned(), header: header(), rows: fleet.nodes.iter().map(row).collect() },
    ];
    if !fleet.groups.is_empty() {
        blocks.push(Block::Pairs {
            title: "groups".to_owned(),
            pairs: fleet.groups.iter().map(|g| pair(&g.name, &g.nodes.join(" "))).collect(),
        });
    }
    if !fleet.policies.is_empty() {
        blocks.push(Block::Table {
            title: "policies (the first that matches holds)".to_owned(),
            header: ["POOL", "MIN_HEALTHY", "READ_ONLY", "CONFIRM"].map(str::to_owned).to_vec(),
            rows: fleet
                .policies
                .iter()
                .map(|p| {
                    vec![Cell::plain(&p.pool), Cell::opt(p.min_healthy.as_ref()), Cell::plain(p.read_only), Cell::opt(p.confirm)]
                })
                .collect(),
        });
    }
    blocks
}
