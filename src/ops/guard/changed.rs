//! Giving back what somebody else has changed since would undo their work, not ours.

use crate::ops::verify::{Aspect, Holds, aspect, holds};
use crate::ops::{Judgement, Verdict};

use super::{Context, seen, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for record in context.known.give_back {
        if aspect(&record.change) == Aspect::Passing || record.kept_by.is_some() {
            continue;
        }
        let Some(seen) = seen(context, &record.node) else { continue };
        // What is back already needs nothing; what is neither as we left it nor as it was has another author.
        let is_back = record.inverse.iter().all(|change| holds(&record.target, change, seen).is_yes());
        if is_back {
            continue;
        }
        if let Holds::No(state) = holds(&record.target, &record.change, seen) {
            let text = format!(
                "{} on {} is no longer as '{}' left it ({state}): somebody changed it since",
                record.target, record.node, record.change
            );
            verdicts.push(verdict("changed", Judgement::Refuse, text));
        }
    }
    verdicts
}
