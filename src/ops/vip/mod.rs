//! VIPs moved on purpose: planned failover, failback, whole nodes taken out of service and brought back.
//!
//! `moves` decides which VIP goes where and in which way (pure), `edit` puts a tracked file into a configuration (pure), `checks` says what stands
//! against it, `plan` puts them together; `ops::apply::vip` carries it out and watches who owns the address.

mod checks;
mod edit;
mod moves;
pub mod plan;
pub mod request;

pub use plan::{VipAction, VipMove, VipPlan, Way};
pub use request::{VipRequest, VipVerb};
