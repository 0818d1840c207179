//! THE layer of mutation: plan -> approve -> apply -> verify -> record.
//!
//! `plan` is pure. `approve` consumes a plan and yields an [`Approved`] that nothing else can make, so that no view, cron job
//! or plugin gets round read-only mode, guards, confirmation, locks or audit.

pub mod agent;
mod apply;
pub mod approve;
mod blocking;
pub mod drill;
pub mod error;
pub mod event;
mod give_back;
mod guard;
mod inner;
pub mod lease_files;
pub mod lock;
pub mod plan;
pub mod planner;
pub mod request;
pub mod select;
pub mod service;
mod sweep;
mod targets;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;
pub mod vip;

pub use approve::{Approval, Approved, Refusal};
pub use error::PlanError;
pub use event::{Event, EventKind, NodeOutcome, NodeResult, Outcome};
pub use plan::{Basis, ExecPlan, Judgement, Plan, Step, Verdict};
pub use request::{AtDeadline, DrainOptions, Request, Selector, Verb};
pub use select::Matcher;
pub use service::{Ops, Running, SweepReport};
