//! VIPs: who holds each by what the interfaces say, and what keepalived believes on each node.

use std::net::IpAddr;

use crate::model::{FleetView, Health, NodeName, VipNode, VipView};
use crate::tui::state::grid::{Cell, Column, Key, Listing, Row, natural};
use crate::tui::theme::Tone;

pub struct Line {
    vip: VipView,
    words: String,
}

impl Row for Line {
    fn key(&self) -> Key {
        Key::Vip(self.vip.address)
    }
    fn search(&self, into: &mut String) {
        into.push_str(&self.vip.address.to_string());
        into.push(' ');
        into.push_str(&self.words);
    }
    fn stale(&self) -> bool {
        !self.vip.nodes.iter().any(VipNode::is_fresh)
    }
    fn marked(&self) -> bool {
        self.vip.owner().is_none()
    }
}

fn owner(vip: &VipView) -> Cell {
    let owners: Vec<&str> = vip.owners().map(|n| n.node.as_str()).collect();
    match owners.as_slice() {
        [] if vip.nodes.iter().any(|n| !n.is_fresh()) => Cell::new("? not all can be read", Tone::Warn),
        [] => Cell::new("✖ NOBODY", Tone::Bad),
        [one] => Cell::new(format!("● {one}"), Tone::Ok),
        many => Cell::new(format!("✖ SPLIT {}", many.join(" ")), Tone::Bad),
    }
}

/// `lb1 MASTER 150, lb2 BACKUP 100`.
fn words(vip: &VipView) -> String {
    let one = |n: &VipNode| {
        let state = match (n.health, n.state, &n.instance) {
            (Health::Fresh, Some(state), _) => state.label().to_owned(),
            (Health::Fresh, None, Some(_)) => "not told".to_owned(),
            (Health::Fresh, None, None) => "no instance".to_owned(),
            (health, ..) => format!("{health:?}").to_lowercase(),
        };
        let priority = n.priority.map(|p| format!(" {p}")).unwrap_or_default();
        let on = if n.owns() { format!(" on {}", n.on.join("+")) } else { String::new() };
        format!("{} {state}{priority}{on}", n.node)
    };
    vip.nodes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn instance(vip: &VipView) -> &str {
    vip.nodes.iter().find_map(|n| n.instance.as_deref()).unwrap_or("")
}

fn vrid(vip: &VipView) -> u64 {
    vip.nodes.iter().find_map(|n| n.vrid).map_or(0, u64::from)
}

fn home(vip: &VipView) -> Cell {
    let Some(home) = vip.home() else { return Cell::dim("-") };
    let away = vip.owner().is_some_and(|o| o.node != home.node);
    Cell::new(home.node.to_string(), if away { Tone::Warn } else { Tone::Plain })
}

fn order(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (false, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => (true, u128::from(v6)),
    }
}

const COLUMNS: &[Column<Line>] = &[
    Column::left(
        "VIP",
        (9, 39),
        0,
        |r, _| Cell::name(&r.vip.address.to_string()),
        |a, b| order(a.vip.address).cmp(&order(b.vip.address)),
    ),
    Column::left("OWNER", (8, 26), 0, |r, _| owner(&r.vip), |a, b| owner(&a.vip).text.cmp(&owner(&b.vip).text)),
    Column::left("HOME", (4, 14), 1, |r, _| home(&r.vip), |a, b| home(&a.vip).text.cmp(&home(&b.vip).text)),
    Column::left("NODES", (10, 80), 0, |r, _| Cell::plain(r.words.clone()), |a, b| a.words.cmp(&b.words)),
    Column::left(
        "INSTANCE",
        (8, 20),
        2,
        |r, _| Cell::plain(instance(&r.vip).to_owned()),
        |a, b| natural(instance(&a.vip), instance(&b.vip)),
    ),
    Column::right("VRID", (4, 4), 3, |r, _| Cell::count(vrid(&r.vip)), |a, b| vrid(&a.vip).cmp(&vrid(&b.vip))),
];

pub fn grid(view: &FleetView) -> Listing<Line> {
    let rows: Vec<Line> = view.vips().into_iter().map(|vip| Line { words: words(&vip), vip }).collect();
    Listing { columns: COLUMNS, rows }
}

/// The node that an entry leads to: the owner, else where it is at home.
pub fn owner_of(view: &FleetView, address: IpAddr) -> Option<NodeName> {
    let vips = view.vips();
    let vip = vips.iter().find(|v| v.address == address)?;
    vip.owner().or_else(|| vip.home()).map(|n| n.node.clone())
}
