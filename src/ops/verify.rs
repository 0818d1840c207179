//! Does a change hold in what was seen? The one place that decides it: for 'already done', for verification, for leases.

use crate::model::{Change, CheckKind, NodeObs, ServerObs, StatusWord, Target, Weight};

/// The part of a server that a change sets: a later change of the same part replaces the earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Aspect {
    Admin,
    Weight,
    Address,
    MaxConn,
    HealthChecks,
    AgentChecks,
    Existence,
    Frontend,
    /// Leaves no state behind that could be given back (killed sessions, cleared entries).
    Passing,
}

pub fn aspect(change: &Change) -> Aspect {
    match change {
        Change::Ready | Change::Drain | Change::Maint => Aspect::Admin,
        Change::Weight(_) => Aspect::Weight,
        Change::Address { .. } => Aspect::Address,
        Change::MaxConn(_) => Aspect::MaxConn,
        Change::Checks { kind: CheckKind::Health, .. } => Aspect::HealthChecks,
        Change::Checks { kind: CheckKind::Agent, .. } => Aspect::AgentChecks,
        Change::AddServer(_) | Change::RemoveServer => Aspect::Existence,
        Change::EnableFrontend | Change::DisableFrontend => Aspect::Frontend,
        Change::KillSessions | Change::KillSession { .. } | Change::ClearTable { .. } | Change::PurgeCache { .. } => {
            Aspect::Passing
        }
    }
}

/// What was seen, against what was wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holds {
    /// It holds; the state in words.
    Yes(String),
    /// It does not; what is seen instead.
    No(String),
    /// The reading does not tell (a field that this engine or socket level does not give).
    Unknown(String),
}

impl Holds {
    pub fn is_yes(&self) -> bool {
        matches!(self, Holds::Yes(_))
    }
    pub fn text(&self) -> &str {
        match self {
            Holds::Yes(text) | Holds::No(text) | Holds::Unknown(text) => text,
        }
    }
}

pub fn holds(target: &Target, change: &Change, seen: &NodeObs) -> Holds {
    match target {
        Target::Server(at) => match (seen.server(at.pool.as_str(), at.server.as_str()), change) {
            (None, Change::RemoveServer) => Holds::Yes("the server is gone".into()),
            (None, _) => Holds::No(format!("{} has no server {at}", seen.node)),
            (Some(server), Change::RemoveServer) => Holds::No(format!("still there: {}", describe(server))),
            (Some(server), change) => server_holds(server, change),
        },
        Target::Frontend(name) => {
            let Some(frontend) = seen.frontends.iter().find(|f| *f.name == **name) else {
                return Holds::No(format!("{} has no frontend {name}", seen.node));
            };
            let open = frontend.status.word == StatusWord::Open;
            let wanted = *change == Change::EnableFrontend;
            yes_or_no(open == wanted, frontend.status.to_string())
        }
        Target::Table(_) => Holds::Unknown("tables are not part of a reading".into()),
        Target::Cache(_) => Holds::Unknown("what is cached is not part of a reading".into()),
    }
}

fn server_holds(server: &ServerObs, change: &Change) -> Holds {
    use crate::model::AdminState;
    let state = describe(server);
    match change {
        // The statistics page shows a server that is down as down, whether or not it drains too.
        Change::Ready | Change::Drain if hides_drain(server) => Holds::Unknown(format!("{state}: hides whether it drains")),
        // Inherited and configured states are not an operator's to lift: `ready` clears only what was forced.
        Change::Ready => yes_or_no(!server.admin.has(AdminState::FDRAIN | AdminState::FMAINT), state),
        Change::Drain => yes_or_no(server.admin.has(AdminState::FDRAIN) && !server.admin.has(AdminState::FMAINT), state),
        Change::Maint => yes_or_no(server.admin.has(AdminState::FMAINT), state),
        Change::Weight(wanted) => match (wanted_weight(server, *wanted), server.user_weight) {
            (Some(wanted), Some(has)) => yes_or_no(wanted == has, state),
            (Some(0), None) => yes_or_no(server.weight == 0, state),
            (Some(wanted), None) => yes_or_no(wanted == server.weight, state),
            (None, _) => Holds::Unknown(format!("the configured weight is not known: {state}")),
        },
        Change::Address { address, port } => match server.address.as_deref() {
            Some(has) => {
                yes_or_no(same_address(has, address) && port.is_none_or(|p| server.port == Some(p)), with_address(server))
            }
            None => Holds::Unknown(format!("this socket level does not tell addresses: {state}")),
        },
        Change::MaxConn(wanted) => match server.maxconn {
            Some(has) => yes_or_no(has == *wanted, format!("{state}, maxconn {has}")),
            // An empty limit column is how HAProxy writes 'no limit'.
            None => yes_or_no(*wanted == 0, format!("{state}, no maxconn")),
        },
        Change::Checks { kind, on } => {
            let (name, has) = match kind {
                CheckKind::Health => ("health", server.health_checks),
                CheckKind::Agent => ("agent", server.agent_checks),
            };
            match has {
                Some(has) => yes_or_no(has == *on, format!("{state}, {name} checks {}", if has { "on" } else { "off" })),
                None => Holds::Unknown(format!("{state}, {name} checks not told")),
            }
        }
        Change::AddServer(new) => match server.address.as_deref() {
            Some(has) => yes_or_no(same_address(has, &new.address) && server.port == Some(new.port), with_address(server)),
            None => Holds::Yes(state),
        },
        Change::KillSessions => yes_or_no(server.left() == 0, state),
        Change::KillSession { .. } | Change::ClearTable { .. } | Change::PurgeCache { .. } => Holds::Unknown(state),
        Change::RemoveServer | Change::EnableFrontend | Change::DisableFrontend => Holds::No(state),
    }
}

/// True where the reading cannot tell a server that drains from one that does not.
pub fn hides_drain(server: &ServerObs) -> bool {
    !server.admin_exact && server.status.word == StatusWord::Down
}

fn yes_or_no(yes: bool, state: String) -> Holds {
    if yes { Holds::Yes(state) } else { Holds::No(state) }
}

/// HAProxy rounds a percentage of the configured weight down, and stops at 256.
fn wanted_weight(server: &ServerObs, weight: Weight) -> Option<u32> {
    match weight {
        Weight::Absolute(w) => Some(u32::from(w)),
        Weight::Percent(0) => Some(0),
        Weight::Percent(p) => server.initial_weight.map(|initial| (initial * u32::from(p) / 100).min(256)),
    }
}

fn same_address(a: &str, b: &str) -> bool {
    match (a.parse::<std::net::IpAddr>(), b.parse::<std::net::IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// `UP, weight 100, 12 sessions`.
pub fn describe(server: &ServerObs) -> String {
    let mut text = format!(
        "{}, weight {}, {} sessions",
        server.summary(),
        server.user_weight.unwrap_or(server.weight),
        server.gauges.sessions
    );
    if server.gauges.queue > 0 {
        text.push_str(&format!(", {} queued", server.gauges.queue));
    }
    text
}

fn with_address(server: &ServerObs) -> String {
    match (&server.address, server.port) {
        (Some(address), Some(port)) => format!("{}, {address}:{port}", describe(server)),
        _ => describe(server),
    }
}
