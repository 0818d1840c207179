//! Draining servers still admit clients that hold their cookie: a drain to zero may take as long as those clients stay.

use std::collections::BTreeSet;

use crate::model::{Change, Target};
use crate::ops::{Judgement, Verdict};

use super::{Context, seen, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let sticky: BTreeSet<_> = context
        .steps
        .iter()
        .filter(|s| s.change == Change::Drain && !s.already)
        .filter_map(|s| match &s.target {
            Target::Server(at) => Some((s, at)),
            _ => None,
        })
        .filter(|(s, at)| {
            seen(context, &s.node)
                .and_then(|o| o.server(at.pool.as_str(), at.server.as_str()))
                .is_some_and(|s| s.cookie.is_some())
        })
        .map(|(_, at)| at)
        .collect();
    sticky
        .into_iter()
        .map(|at| {
            let text = format!(
                "{at} has a persistence cookie: clients that hold it are still let in while it drains; --then kill or maint ends that"
            );
            verdict("persistence", Judgement::Warn, text)
        })
        .collect()
}
