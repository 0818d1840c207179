//! THE layer of mutation: plan -> approve -> apply -> verify -> record.
//!
//! `plan` is pure. `approve` consumes a plan and yields an [`Approved`] that nothing else can make, so that no view, cron job
//! or plugin gets round read-only mode, guards, confirmation, locks or audit.

pub mod approve;
pub mod error;
pub mod event;
pub mod plan;
pub mod request;
pub mod select;
pub mod service;

pub use approve::{Approval, Approved, Refusal};
pub use error::PlanError;
pub use event::{Event, EventKind, NodeOutcome, NodeResult, Outcome};
pub use plan::{ExecPlan, Judgement, Plan, Step, Verdict};
pub use request::{AtDeadline, DrainOptions, Request, Selector, Verb};
pub use select::Matcher;
pub use service::{Ops, Running, SweepReport};
