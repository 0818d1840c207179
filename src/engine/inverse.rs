//! What gives back what was seen before a change: the same for every engine, because it is said in changes.

use crate::model::{AdminState, Change, CheckKind, MAX_WEIGHT, NodeObs, ServerObs, StatusWord, Target, Weight};

/// The changes that bring back what was seen; empty where nothing can.
pub fn inverse(target: &Target, change: &Change, seen: &NodeObs) -> Vec<Change> {
    match target {
        Target::Frontend(frontend) => {
            let stopped =
                seen.frontends.iter().find(|f| &*f.name == frontend.as_str()).is_some_and(|f| f.status.word != StatusWord::Open);
            match change {
                Change::EnableFrontend | Change::DisableFrontend if stopped => vec![Change::DisableFrontend],
                Change::EnableFrontend | Change::DisableFrontend => vec![Change::EnableFrontend],
                _ => Vec::new(),
            }
        }
        Target::Table(_) | Target::Cache(_) => Vec::new(),
        Target::Server(server) => {
            let pool = seen.pool(server.pool.as_str());
            let was = pool.and_then(|p| p.server(server.server.as_str()));
            match (change, was) {
                (Change::AddServer(_), _) => vec![Change::RemoveServer],
                (_, None) => Vec::new(),
                (Change::Ready | Change::Drain | Change::Maint, Some(was)) => vec![admin_change(was.admin)],
                (Change::Weight(_), Some(was)) => vec![Change::Weight(weight_of(was))],
                (Change::Address { .. }, Some(was)) => address_of(was).into_iter().collect(),
                (Change::MaxConn(_), Some(was)) => {
                    let n = was.maxconn.unwrap_or(0); // 0 is no limit
                    vec![Change::MaxConn(n)]
                }
                (Change::Checks { kind, on }, Some(was)) => {
                    let were_on = match kind {
                        CheckKind::Health => was.health_checks,
                        CheckKind::Agent => was.agent_checks,
                    };
                    vec![Change::Checks { kind: *kind, on: were_on.unwrap_or(!on) }]
                }
                _ => Vec::new(),
            }
        }
    }
}

/// What an operator would have asked for to get this state. Inherited maintenance or drain is not the server's own.
fn admin_change(admin: AdminState) -> Change {
    if admin.has(AdminState::FMAINT) {
        Change::Maint
    } else if admin.has(AdminState::FDRAIN) {
        Change::Drain
    } else {
        Change::Ready
    }
}

/// Static algorithms take the configured weight back only as 100 %.
fn weight_of(was: &ServerObs) -> Weight {
    let weight = was.user_weight.unwrap_or(was.weight);
    match was.initial_weight {
        Some(initial) if initial == weight && weight > 0 => Weight::Percent(100),
        _ => Weight::Absolute(u16::try_from(weight).unwrap_or(MAX_WEIGHT).min(MAX_WEIGHT)),
    }
}

fn address_of(was: &ServerObs) -> Option<Change> {
    let address = was.address.as_deref()?.to_owned();
    Some(Change::Address { address, port: was.port })
}
