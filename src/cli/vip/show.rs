//! `lbdeck vip show`: one VIP in full, a block a node.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::vrrp_unread;
use crate::cli::context::{Context, age_cell, looked};
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Cell, Tone};
use crate::cli::printer::Block;
use crate::cli::select::NodeSelect;
use crate::config::duration::show_duration;
use crate::model::{Exit, NodeName, NodeView, TrackFile, TrackFileStatus, VipNode, VrrpInstance, VrrpObs};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lbdeck vip show 10.0.0.9
  lbdeck vip show 10.0.0.9 -o json | jq '.items[].instance.counters'")]
pub struct ShowArgs {
    /// The virtual address
    #[arg(value_name = "VIP")]
    vip: IpAddr,

    #[command(flatten)]
    nodes: NodeSelect,
}

/// What one node says of the VIP.
#[derive(Serialize)]
struct VipOnNode<'a> {
    vip: IpAddr,
    node: &'a NodeName,
    owns: bool,
    on: &'a [String],
    /// Null where the interface carries it and no instance claims it.
    instance: Option<&'a VrrpInstance>,
    version: &'a str,
    told_by: Option<&'static str>,
    /// How old keepalived's own words are; it is asked less often than the interfaces.
    told_age_ms: Option<u64>,
    age_ms: u64,
    source: &'a str,
    notes: &'a [String],
    #[serde(skip)]
    part: &'a VipNode,
}

impl ShowArgs {
    pub async fn run(&self, context: &Context) -> Result<Exit> {
        let look = context.look(&self.nodes).await?;
        let unread = vrrp_unread(&look);
        let vips = look.view.vips();
        let Some(vip) = vips.iter().find(|v| v.address == self.vip) else {
            if !unread.is_empty() {
                context.printer.list::<VipOnNode<'_>>("vip_details", &[], &[], &unread)?;
                return Ok(Exit::Failed);
            }
            return Err(Failure::invalid(format!("no keepalived of the selected nodes has the VIP {}", self.vip))
                .hint("`lbdeck vip list` shows them all"));
        };
        let items: Vec<VipOnNode<'_>> = vip
            .nodes
            .iter()
            .filter_map(|part| {
                let node = look.view.node(part.node.as_str())?;
                Some(item(self.vip, part, node, node.vrrp.as_ref()?.last.as_deref()?))
            })
            .collect();
        let blocks: Vec<Block> = items.iter().map(block).collect();
        context.printer.show("vip_details", &items, &blocks, &unread)?;
        Ok(looked(&unread))
    }
}

fn item<'a>(vip: IpAddr, part: &'a VipNode, node: &'a NodeView, obs: &'a VrrpObs) -> VipOnNode<'a> {
    let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    VipOnNode {
        vip,
        node: &node.meta.name,
        owns: part.owns(),
        on: &part.on,
        instance: part.instance.as_deref().and_then(|name| obs.instance(name)),
        version: &obs.version,
        told_by: obs.told_by,
        told_age_ms: obs.told.filter(|_| obs.told_by.is_some()).map(|at| ms(at.elapsed())),
        age_ms: ms(obs.seen.elapsed()),
        source: &obs.source,
        notes: &obs.notes,
        part,
    }
}

fn block(item: &VipOnNode<'_>) -> Block {
    let mut lines: Vec<(&str, Cell)> = Vec::new();
    lines.push(match item.part.on.as_slice() {
        [] => ("interface", Cell::new("does not carry it", Tone::Dim)),
        on => ("interface", Cell::new(format!("carries it: {}", on.join(", ")), Tone::Good)),
    });
    match item.instance {
        None => lines.push(("keepalived", Cell::new("no instance claims it here", Tone::Warn))),
        Some(i) => instance(i, &mut lines),
    }
    let age =
        item.told_age_ms.map_or_else(|| Cell::new("nothing: see the notes", Tone::Warn), |ms| age_cell(ms, item.part.health));
    lines.push((
        "keepalived told",
        Cell::new(format!("{} ({})", age.text, item.told_by.unwrap_or("configuration only")), age.tone),
    ));
    lines.extend(item.notes.iter().map(|n| ("note", Cell::new(n, Tone::Warn))));
    let title = format!("{}  {} keepalived {}  by {}", item.vip, item.node, item.version, item.source);
    Block::Pairs { title, pairs: lines.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect() }
}

fn instance(i: &VrrpInstance, lines: &mut Vec<(&'static str, Cell)>) {
    let state = i.state.map_or_else(|| "not told".to_owned(), |s| s.to_string());
    lines.push(("instance", Cell::plain(format!("{}  vrid {}  VRRPv{} on {}", i.name, i.vrid, i.version, i.interface))));
    lines.push(("state", Cell::plain(format!("{state}, priority {} (configured {})", i.priority(), i.base_priority))));
    if let Some(at) = i.last_transition {
        lines.push(("last transition", Cell::plain(format!("{} (its clock)", at.strftime("%F %TZ")))));
    }
    let preempt = match (i.nopreempt, i.preempt_delay) {
        (true, _) => ", nopreempt".to_owned(),
        (false, Duration::ZERO) => String::new(),
        (false, delay) => format!(", preempts after {}", show_duration(delay)),
    };
    let adverts = format!("every {}, auth {}{preempt}", show_duration(i.advert_interval), i.auth.label());
    lines.push(("adverts", Cell::plain(adverts)));
    if !i.unicast_peers.is_empty() {
        let peers: Vec<String> = i.unicast_peers.iter().map(ToString::to_string).collect();
        lines.push(("unicast peers", Cell::plain(peers.join(", "))));
    }
    if let Some(group) = &i.sync_group {
        lines.push(("sync group", Cell::plain(group)));
    }
    let others: Vec<String> = i.vips.iter().map(|v| v.address.to_string()).collect();
    lines.push(("addresses", Cell::plain(others.join(", "))));
    lines.extend(i.track_files.iter().map(|f| ("track file", track_file(f))));
    if !i.track_scripts.is_empty() {
        lines.push(("tracks", Cell::plain(i.track_scripts.join(", "))));
    }
    if let Some(c) = i.counters {
        let mut text = format!(
            "{} adverts received, {} sent, {} times master, {} times released",
            c.adverts_received, c.adverts_sent, c.became_master, c.released_master
        );
        for (n, what) in [(c.packet_errors, "packet"), (c.interval_errors, "interval"), (c.auth_errors, "authentication")] {
            if n > 0 {
                text.push_str(&format!(", {n} {what} errors"));
            }
        }
        lines.push(("counters", Cell::plain(text)));
    }
    lines.extend(i.drift.iter().map(|d| ("next reload", Cell::new(d, Tone::Warn))));
}

fn track_file(f: &TrackFile) -> Cell {
    let value = f.value.map_or_else(|| "no number".to_owned(), |v| v.to_string());
    let text = format!("{} {}: {value}, weight {}", f.name, f.path, f.weight);
    match &f.status {
        TrackFileStatus::Writable => Cell::plain(text),
        TrackFileStatus::Missing => Cell::new(format!("{} {}: missing", f.name, f.path), Tone::Bad),
        TrackFileStatus::NotOurs(whose) => Cell::new(format!("{text}, belongs to {whose}"), Tone::Warn),
        TrackFileStatus::Unknown => Cell::new(format!("{text}, not looked at"), Tone::Dim),
    }
}
