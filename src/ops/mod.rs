//! THE layer of mutation: plan -> approve -> apply -> verify -> record.
//!
//! `plan` is pure. `approve` consumes a plan and yields an [`Approved`] that nothing else can make, so that no view, cron job
//! or plugin gets round read-only mode, guards, confirmation, locks or audit.

pub mod event;
pub mod plan;
pub mod request;

pub use event::{Event, EventKind, NodeOutcome, NodeResult, Outcome};
pub use plan::{Judgement, Plan, Step, Verdict};
pub use request::{AtDeadline, DrainOptions, Request, Selector, Verb};
