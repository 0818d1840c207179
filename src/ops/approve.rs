//! Approval: the one gate between a plan and the fleet. Only this module can make an [`Approved`].

use crate::config::{ConfirmLevel, Fleet};
use crate::model::Exit;

use super::{Judgement, Plan, Verdict};

/// What whoever asked has confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Approval {
    None,
    /// A yes in a dialog, or `--yes`.
    Yes,
    /// What was typed, or given with `--confirm`.
    Typed(String),
}

/// A plan that may be applied. It cannot be made outside of this module.
#[derive(Debug)]
pub struct Approved {
    plan: Plan,
    approval: Approval,
}

impl Approved {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    pub(super) fn into_parts(self) -> (Plan, Approval) {
        (self.plan, self.approval)
    }
}

/// Why a plan was not approved.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    pub exit: Exit,
    pub what: String,
    pub hint: Option<String>,
    /// The guards' verdicts that stood against it.
    pub verdicts: Vec<Verdict>,
}

/// Consumes a plan; an approval weaker than the plan asks for, or a guard that refuses, is a refusal.
pub fn approve(plan: Plan, approval: Approval, fleet: &Fleet) -> Result<Approved, Refusal> {
    if fleet.settings.read_only {
        return Err(Refusal {
            exit: Exit::GuardRefused,
            what: "the fleet is read-only".into(),
            hint: Some(format!("`read_only` is set in {}", fleet.path.display())),
            verdicts: Vec::new(),
        });
    }
    let limit = if plan.request.force { Judgement::Refuse } else { Judgement::Warn };
    let against: Vec<Verdict> = plan.verdicts.iter().filter(|v| v.judgement > limit).cloned().collect();
    if let Some(gravest) = against.iter().max_by_key(|v| v.judgement) {
        let hint = match gravest.judgement {
            Judgement::Never => None,
            _ => Some("--force overrides this guard (it is recorded, and asks for the name to be typed)".into()),
        };
        return Err(Refusal {
            exit: Exit::GuardRefused,
            what: format!("refused by the {} guard: {}", gravest.guard, gravest.text),
            hint,
            verdicts: against,
        });
    }
    let missing = match (plan.confirm, &approval) {
        (ConfirmLevel::None, _) | (ConfirmLevel::Ask, Approval::Yes) => None,
        (_, Approval::Typed(word)) if *word == plan.confirm_word => None,
        (_, Approval::Typed(word)) => Some((
            format!("'{word}' is not what was asked for"),
            format!("type '{}' or give --confirm '{}'", plan.confirm_word, plan.confirm_word),
        )),
        (ConfirmLevel::Ask, Approval::None) => Some(("not confirmed".to_owned(), "say yes, or give --yes".to_owned())),
        (ConfirmLevel::Typed, _) => Some((
            "not confirmed: this asks for the name to be typed".to_owned(),
            format!("type '{}' or give --confirm '{}'", plan.confirm_word, plan.confirm_word),
        )),
    };
    match missing {
        None => Ok(Approved { plan, approval }),
        Some((what, hint)) => Err(Refusal { exit: Exit::GuardRefused, what, hint: Some(hint), verdicts: Vec::new() }),
    }
}
