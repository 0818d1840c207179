//! What is wrong with the fleet, gravest first: the same list for `lbdeck status` and for the console. Pure.
//!
//! Only fresh nodes are believed about pools and servers; a node that is not fresh is a problem by itself.

mod vips;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Fleet;
use crate::config::duration::show_duration;
use crate::model::{FleetView, Health, NodeName, NodeView, PoolName, PoolObs, ServerObs, ServerRef, StatusWord, Target};
use crate::store::{Lease, Unfinished};

/// A lease that ends within this time is worth a word.
const LEASE_SOON: Duration = Duration::from_secs(10 * 60);
/// A certificate that ends within this time is worth a warning.
const CERTIFICATE_SOON: Duration = Duration::from_secs(21 * 24 * 3600);

/// Ordered by gravity, gravest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Clients are or may be hurt, or we are blind.
    Critical,
    /// Somebody should look today.
    Warning,
    /// Worth knowing.
    Notice,
}

impl Severity {
    pub const fn label(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        }
    }
}

/// Kinds in the order in which they are listed within one severity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    SplitBrain,
    NoOwner,
    /// keepalived's word against the interface's.
    VipDisagreement,
    /// Peers that cannot hear each other.
    VrrpMismatch,
    NodeDead,
    NodeStale,
    PoolDown,
    PoolBelowMinimum,
    Unfinished,
    Keepalived,
    VipMisplaced,
    TrackFile,
    ServerDown,
    Disagreement,
    /// Drained or in maintenance, and no lease says by whom and until when.
    Forgotten,
    LeaseEnded,
    LeaseEnding,
    LostOnReload,
    Certificate,
    OldWorker,
    Note,
}

impl ProblemKind {
    pub const fn label(self) -> &'static str {
        match self {
            ProblemKind::SplitBrain => "split brain",
            ProblemKind::NoOwner => "no owner",
            ProblemKind::VipDisagreement => "vip disagreement",
            ProblemKind::VrrpMismatch => "vrrp mismatch",
            ProblemKind::Keepalived => "keepalived",
            ProblemKind::VipMisplaced => "vip misplaced",
            ProblemKind::TrackFile => "track file",
            ProblemKind::NodeDead => "node dead",
            ProblemKind::NodeStale => "node stale",
            ProblemKind::PoolDown => "pool down",
            ProblemKind::PoolBelowMinimum => "pool below minimum",
            ProblemKind::Unfinished => "unfinished",
            ProblemKind::ServerDown => "server down",
            ProblemKind::Disagreement => "disagreement",
            ProblemKind::Forgotten => "forgotten",
            ProblemKind::LeaseEnded => "lease ended",
            ProblemKind::LeaseEnding => "lease ending",
            ProblemKind::LostOnReload => "lost on reload",
            ProblemKind::Certificate => "certificate",
            ProblemKind::OldWorker => "old worker",
            ProblemKind::Note => "note",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub kind: ProblemKind,
    /// What it is about: a node, a pool, `pool/server`, an operation, a file.
    pub subject: String,
    pub text: String,
    pub hint: Option<String>,
    pub nodes: Vec<NodeName>,
    pub pool: Option<PoolName>,
    pub server: Option<ServerRef>,
}

/// What the finder looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub view: &'a FleetView,
    pub fleet: &'a Fleet,
    pub leases: &'a [Lease],
    pub unfinished: &'a [Unfinished],
    pub now: Timestamp,
}

/// All problems, gravest first, then by kind, then by name.
pub fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    nodes(facts, &mut found);
    pools(facts, &mut found);
    servers(facts, &mut found);
    leases(facts, &mut found);
    unfinished(facts, &mut found);
    vips::find(facts.view, &mut found);
    found.sort_by(|a, b| (a.severity, a.kind, &a.subject).cmp(&(b.severity, b.kind, &b.subject)));
    found
}

impl Finding {
    fn new(severity: Severity, kind: ProblemKind, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            severity,
            kind,
            subject: subject.into(),
            text: text.into(),
            hint: None,
            nodes: Vec::new(),
            pool: None,
            server: None,
        }
    }
    fn on(mut self, nodes: Vec<NodeName>) -> Self {
        self.nodes = nodes;
        self
    }
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    fn of_pool(mut self, pool: &PoolName) -> Self {
        self.pool = Some(pool.clone());
        self
    }
    fn of_server(mut self, server: &ServerRef) -> Self {
        self.pool = Some(server.pool.clone());
        self.server = Some(server.clone());
        self
    }
}

/// `lb1, lb2 and 5 more`.
fn names(nodes: &[NodeName]) -> String {
    const SHOWN: usize = 6;
    let shown = nodes.iter().take(SHOWN).map(NodeName::as_str).collect::<Vec<_>>().join(", ");
    match nodes.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn nodes(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for node in &facts.view.nodes {
        let name = &node.meta.name;
        let here = vec![name.clone()];
        let (severity, kind) = match node.health {
            Health::Fresh | Health::Connecting => {
                readings(node, facts.now, found);
                continue;
            }
            Health::Stale => (Severity::Warning, ProblemKind::NodeStale),
            Health::Dead => (Severity::Critical, ProblemKind::NodeDead),
        };
        let why = node.problem.as_ref().map_or("its readings are late", |p| p.what.as_str());
        let text = match node.age(facts.view.now) {
            Some(age) => format!("last read {} ago: {why}", show_duration(age)),
            None => format!("never read: {why}"),
        };
        let hint = node
            .problem
            .as_ref()
            .and_then(|p| p.hint.clone())
            .unwrap_or_else(|| format!("`lbdeck fleet check --node {name}` says what is missing"));
        found.push(Finding::new(severity, kind, name.as_str(), text).on(here).hint(hint));
    }
}

/// What a node that answers says of itself.
fn readings(node: &NodeView, now: Timestamp, found: &mut Vec<Finding>) {
    let (name, Some(seen)) = (&node.meta.name, node.fresh()) else { return };
    for note in &seen.notes {
        found.push(Finding::new(Severity::Notice, ProblemKind::Note, name.as_str(), note.clone()).on(vec![name.clone()]));
    }
    for worker in seen.workers.iter().flatten().filter(|w| w.old) {
        let text = format!("old worker {} still holds connections, {} after the reload", worker.pid, worker.uptime);
        found.push(Finding::new(Severity::Notice, ProblemKind::OldWorker, name.as_str(), text).on(vec![name.clone()]));
    }
    for certificate in seen.certificates.iter().flatten() {
        let Some(end) = certificate.not_after else { continue };
        let left = Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO);
        let (severity, text) = match left {
            Duration::ZERO => (Severity::Critical, format!("{} ended at {end}", certificate.subject)),
            left if left < CERTIFICATE_SOON => {
                (Severity::Warning, format!("{} ends in {}", certificate.subject, show_duration(left)))
            }
            _ => continue,
        };
        found.push(
            Finding::new(severity, ProblemKind::Certificate, certificate.file.clone(), format!("{text} on {name}"))
                .on(vec![name.clone()]),
        );
    }
}

fn pools(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&PoolName, Vec<(&NodeName, &PoolObs)>> = BTreeMap::new();
    for node in &facts.view.nodes {
        for pool in node.fresh().map(|o| o.pools.as_slice()).unwrap_or_default() {
            if !pool.servers.is_empty() {
                seen.entry(&pool.name).or_default().push((&node.meta.name, pool));
            }
        }
    }
    for (name, cells) in seen {
        let minimum = facts.fleet.policy(name).and_then(|p| p.min_healthy);
        let (mut down, mut below, mut least) = (Vec::new(), Vec::new(), None);
        for (node, pool) in cells {
            let (serving, floor) = (pool.serving(), minimum.map_or(0, |m| m.of(pool.servers.len())));
            if serving == 0 {
                down.push((*node).clone());
            } else if serving < floor {
                below.push((*node).clone());
                least = Some(least.map_or((serving, floor), |l: (usize, usize)| l.min((serving, floor))));
            }
        }
        let hint = format!("`lbdeck pool show {name}` shows its servers on every node");
        if !down.is_empty() {
            let text = format!("no server takes traffic on {}", names(&down));
            found.push(
                Finding::new(Severity::Critical, ProblemKind::PoolDown, name.as_str(), text).on(down).of_pool(name).hint(&*hint),
            );
        }
        if let Some((serving, floor)) = least {
            let text = format!("{serving} serve where min_healthy asks for {floor}, on {}", names(&below));
            found.push(
                Finding::new(Severity::Critical, ProblemKind::PoolBelowMinimum, name.as_str(), text)
                    .on(below)
                    .of_pool(name)
                    .hint(hint),
            );
        }
    }
}

type Cells<'a> = Vec<(&'a NodeName, &'a ServerObs)>;

fn servers(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let mut pools: BTreeMap<&PoolName, (Vec<&NodeName>, BTreeMap<&str, Cells<'_>>)> = BTreeMap::new();
    for node in &facts.view.nodes {
        for pool in node.fresh().map(|o| o.pools.as_slice()).unwrap_or_default() {
            let (nodes, servers) = pools.entry(&pool.name).or_default();
            nodes.push(&node.meta.name);
            for server in &pool.servers {
                servers.entry(server.name.as_str()).or_default().push((&node.meta.name, server));
            }
        }
    }
    for (pool, (nodes, servers)) in pools {
        for (server, cells) in servers {
            if cells.len() == nodes.len() && unremarkable(&cells) {
                continue;
            }
            let server = ServerRef::new(pool.clone(), server);
            down(&server, &cells, found);
            disagreement(&server, &nodes, &cells, found);
            let forgotten = forgotten(facts, &server, &cells, found);
            drift(facts, &server, &cells, &forgotten, found);
        }
    }
}

/// Nothing to be told of a server that all nodes see alike, up and as its file has it. Nearly all are, so each cell is
/// looked at once: in a large fleet that is what costs.
fn unremarkable(cells: &Cells<'_>) -> bool {
    let Some((_, first)) = cells.first() else { return true };
    let first = opinion(first);
    cells.iter().all(|(_, s)| opinion(s) == first && !is_down(s) && !by_hand(s) && s.drift.as_ref().is_none_or(|d| d.is_empty()))
}

fn is_down(server: &ServerObs) -> bool {
    matches!(server.status.word, StatusWord::Down | StatusWord::Stop)
}

/// An operator took it out, as far as the engine tells.
fn by_hand(server: &ServerObs) -> bool {
    if server.admin_exact { server.admin.is_asked_for() } else { !server.admin.is_ready() }
}

fn down(server: &ServerRef, cells: &Cells<'_>, found: &mut Vec<Finding>) {
    let down: Vec<_> = cells.iter().filter(|(_, s)| is_down(s)).collect();
    let Some((_, first)) = down.first() else { return };
    let nodes: Vec<NodeName> = down.iter().map(|(n, _)| (*n).clone()).collect();
    let mut text = format!("{} on {}", first.status, names(&nodes));
    if let Some(check) = first.check.as_ref().filter(|c| !c.status.is_empty()) {
        text.push_str(&format!(": {}", check.status));
        if !check.text.is_empty() {
            text.push_str(&format!(" {}", check.text));
        }
    }
    if let Some(since) = first.last_change_s {
        text.push_str(&format!(", for {}", show_duration(Duration::from_secs(since.into()))));
    }
    found.push(
        Finding::new(Severity::Warning, ProblemKind::ServerDown, server.to_string(), text)
            .on(nodes)
            .of_server(server)
            .hint(format!("`lbdeck server show {server}` shows its checks")),
    );
}

/// What nodes may differ in: what an operator asked, whether it is healthy, its weight where it serves.
fn opinion(server: &ServerObs) -> (bool, bool, bool, Option<u32>) {
    let (maint, ready) = (server.admin.is_maint(), server.admin.is_ready());
    (maint, ready, server.status.is_healthy() || !ready, ready.then(|| server.user_weight.unwrap_or(server.weight)))
}

fn disagreement(server: &ServerRef, nodes: &[&NodeName], cells: &Cells<'_>, found: &mut Vec<Finding>) {
    let differs = cells.windows(2).any(|pair| matches!(pair, [(_, a), (_, b)] if opinion(a) != opinion(b)));
    if !differs && cells.len() == nodes.len() {
        return;
    }
    let mut groups: Vec<(String, Vec<NodeName>)> = Vec::new();
    let mut add = |words: String, node: &NodeName| match groups.iter_mut().find(|(w, _)| *w == words) {
        Some((_, nodes)) => nodes.push(node.clone()),
        None => groups.push((words, vec![node.clone()])),
    };
    for (node, seen) in cells {
        let words = match opinion(seen).3 {
            Some(weight) => format!("{} weight {weight}", seen.status.word.label()),
            None => seen.admin.word().to_uppercase(),
        };
        add(words, node);
    }
    for node in nodes.iter().filter(|n| !cells.iter().any(|(have, _)| have == *n)) {
        add("missing".into(), node);
    }
    let text = groups.iter().map(|(words, nodes)| format!("{words} on {}", names(nodes))).collect::<Vec<_>>().join("; ");
    found.push(
        Finding::new(Severity::Warning, ProblemKind::Disagreement, server.to_string(), text)
            .on(nodes.iter().map(|n| (*n).clone()).collect())
            .of_server(server)
            .hint(format!("`lbdeck pool show {}` shows a column a node", server.pool)),
    );
}

fn lease_of<'a>(facts: &Facts<'a>, server: &ServerRef, node: &NodeName) -> Option<&'a Lease> {
    facts.leases.iter().find(|lease| {
        lease.is_open()
            && matches!(&lease.target, Target::Server(held) if held == server)
            && lease.holds.iter().any(|hold| hold.node == *node)
    })
}

/// Nodes on which an operator took the server out and no lease remembers it.
fn forgotten(facts: &Facts<'_>, server: &ServerRef, cells: &Cells<'_>, found: &mut Vec<Finding>) -> Vec<NodeName> {
    let taken: Vec<_> = cells.iter().filter(|(node, seen)| by_hand(seen) && lease_of(facts, server, node).is_none()).collect();
    let Some((_, first)) = taken.first() else { return Vec::new() };
    let nodes: Vec<NodeName> = taken.iter().map(|(n, _)| (*n).clone()).collect();
    let mut text = format!("{} on {}, and no lease says why or until when", first.admin.word(), names(&nodes));
    if taken.iter().any(|(_, s)| s.drift.iter().flat_map(|d| d.iter()).any(|d| &*d.what == "admin")) {
        text.push_str("; lost on next reload");
    }
    found.push(
        Finding::new(Severity::Warning, ProblemKind::Forgotten, server.to_string(), text)
            .on(nodes.clone())
            .of_server(server)
            .hint(format!("`lbdeck server ready {server}` gives it back")),
    );
    nodes
}

fn drift(facts: &Facts<'_>, server: &ServerRef, cells: &Cells<'_>, told: &[NodeName], found: &mut Vec<Finding>) {
    let mut groups: BTreeMap<String, (bool, Vec<NodeName>)> = BTreeMap::new();
    for (node, seen) in cells {
        for drift in seen.drift.iter().flat_map(|d| d.iter()) {
            let admin = &*drift.what == "admin";
            if admin && told.contains(node) {
                continue;
            }
            let words = format!("{} is {}, the file says {}", drift.what, drift.runtime, drift.file);
            let (leased, nodes) = groups.entry(words).or_insert((true, Vec::new()));
            *leased &= lease_of(facts, server, node).is_some();
            nodes.push((*node).clone());
        }
    }
    for (words, (leased, nodes)) in groups {
        let severity = if leased { Severity::Notice } else { Severity::Warning };
        let text = format!("{words}, on {}", names(&nodes));
        found.push(Finding::new(severity, ProblemKind::LostOnReload, server.to_string(), text).on(nodes).of_server(server));
    }
}

fn leases(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for lease in facts.leases.iter().filter(|l| l.is_open()) {
        let nodes: Vec<NodeName> = lease.holds.iter().map(|h| h.node.clone()).collect();
        let whose = format!("{} by {} on {}", lease.change, lease.who, names(&nodes));
        let (severity, kind, text, hint) = match lease.left(facts.now) {
            Some(Duration::ZERO) => (
                Severity::Warning,
                ProblemKind::LeaseEnded,
                format!("{whose} has ended and was not given back"),
                "`lbdeck lease sweep` gives it back".to_owned(),
            ),
            Some(left) if left < LEASE_SOON => (
                Severity::Notice,
                ProblemKind::LeaseEnding,
                format!("{whose} ends in {}", show_duration(left)),
                format!("`lbdeck lease return {}` gives it back now", lease.id),
            ),
            _ => continue,
        };
        let mut finding = Finding::new(severity, kind, lease.target.to_string(), text).on(nodes).hint(hint);
        if let Target::Server(server) = &lease.target {
            finding = finding.of_server(server);
        }
        found.push(finding);
    }
}

fn unfinished(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for operation in facts.unfinished {
        let mut nodes: Vec<NodeName> = operation.left.iter().map(|entry| entry.node.clone()).collect();
        nodes.sort();
        nodes.dedup();
        let why = operation.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let began = operation.began.strftime("%F %TZ");
        let text = format!("'{}'{why} by {} at {began} was killed before its end", operation.summary, operation.who);
        let text = if nodes.is_empty() { text } else { format!("{text}; it may hold on {}", names(&nodes)) };
        found.push(
            Finding::new(Severity::Critical, ProblemKind::Unfinished, format!("operation {}", operation.operation), text)
                .on(nodes)
                .hint(format!("`lbdeck undo {}` gives back what it changed", operation.operation)),
        );
    }
}

#[cfg(test)]
mod tests;
