//! What an undo will not bring back is said before the change, while it can still be left alone.

use std::collections::BTreeMap;

use crate::ops::{Judgement, Verdict};

use super::{Context, some_names, verdict};

pub fn check(context: &Context<'_>) -> Vec<Verdict> {
    let mut told: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for step in context.steps {
        if let Some(lost) = &step.lost {
            told.entry(format!("{}: {lost}", step.target)).or_default().push(&step.node);
        }
    }
    told.into_iter().map(|(text, nodes)| verdict("undo", Judgement::Warn, format!("{text} ({})", some_names(nodes)))).collect()
}
