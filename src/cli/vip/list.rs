//! `lbdeck vip list`.

use clap::Args;
use serde::Serialize;

use super::vrrp_unread;
use crate::cli::context::{Context, looked};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Cell, Column, Tone};
use crate::cli::select::NodeSelect;
use crate::model::{Exit, VipNode, VipView};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck vip list
  lbdeck vip list --zone eu-1 -o wide
  lbdeck vip list -o json | jq -r '.items[] | select(.owners | length != 1) | .address'")]
pub struct ListArgs {
    #[command(flatten)]
    nodes: NodeSelect,
}

#[derive(Serialize)]
struct VipItem<'a> {
    #[serde(flatten)]
    vip: &'a VipView,
    /// Nodes whose interface carries the address.
    owners: Vec<&'a str>,
    /// `ok`, `split brain`, `no owner`.
    state: &'static str,
    /// Where the configured priority is the highest.
    home: Option<&'a str>,
}

impl ListArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let look = context.look(&self.nodes).await?;
        if look.view.nodes.iter().all(|n| n.vrrp.is_none()) {
            return Err(Failure::invalid("no node of the fleet file has keepalived")
                .hint("write `engines: {keepalived: true}` (and haproxy beside it) for the nodes that hold VIPs"));
        }
        let vips = look.view.vips();
        let items: Vec<VipItem<'_>> = vips.iter().map(item).collect();
        let unread = vrrp_unread(&look);
        context.printer.list("vips", &items, &columns(), &unread)?;
        Ok(looked(&unread))
    }
}

fn item(vip: &VipView) -> VipItem<'_> {
    let owners: Vec<&str> = vip.owners().map(|n| n.node.as_str()).collect();
    let state = match owners.len() {
        0 => "no owner",
        1 => "ok",
        _ => "split brain",
    };
    VipItem { vip, owners, state, home: vip.home().map(|n| n.node.as_str()) }
}

type Col<'a> = Column<'a, VipItem<'a>>;

fn columns<'a>() -> Vec<Col<'a>> {
    vec![
        Col::left("VIP", |v| Cell::plain(v.vip.address)),
        Col::left("OWNER", |v| match v.owners.as_slice() {
            [] => Cell::new("NOBODY", Tone::Bad),
            owners => Cell::new(owners.join(", "), if owners.len() == 1 { Tone::Good } else { Tone::Bad }),
        }),
        Col::left("STATE", |v| Cell::new(v.state, if v.state == "ok" { Tone::Good } else { Tone::Bad })),
        Col::left("HOME", |v| Cell::opt(v.home)),
        Col::left("INSTANCE", |v| Cell::opt(v.vip.nodes.iter().find_map(|n| n.instance.as_deref()))),
        Col::right("VRID", |v| Cell::opt(v.vip.nodes.iter().find_map(|n| n.vrid))),
        Col::left("NODES", |v| Cell::plain(v.vip.nodes.iter().map(words).collect::<Vec<_>>().join(", "))),
    ]
}

/// `lb1 MASTER 150 on eth0`.
fn words(node: &VipNode) -> String {
    let mut text = node.node.to_string();
    match (node.state, &node.instance) {
        (Some(state), _) => text.push_str(&format!(" {state}")),
        (None, Some(_)) => text.push_str(" (keepalived did not tell)"),
        (None, None) => text.push_str(" (no instance)"),
    }
    if let Some(priority) = node.priority {
        text.push_str(&format!(" {priority}"));
    }
    if node.owns() {
        text.push_str(&format!(" on {}", node.on.join("+")));
    }
    text
}
