//! The agent's life on nodes: installed, upgraded, restarted, taken back, removed, by the way of every mutation.
//!
//! [`facts`] looks at a node, [`program`] makes of that the exact steps with what undoes each (pure), [`carry`] carries one out;
//! `ops::apply` goes through the nodes within `--max-unavailable`. A run that was cut off anywhere is gone on with by running it again: what is there
//! already is seen, and an upload is continued where it stopped.

pub mod carry;
pub mod elf;
pub mod facts;
pub mod far;
pub mod logs;
pub mod payload;
pub mod plan;
pub mod program;
pub mod request;
pub mod survey;
pub mod unit;

pub use facts::{NodeFacts, Running};
pub use payload::{Payload, PayloadError};
pub use plan::{AgentPlan, NodeProgram};
pub use program::{Action, Step};
pub use request::{AgentRequest, AgentVerb, MaxUnavailable};
