//! Failover drills: what is broken, what is measured meanwhile, what came of it.
//!
//! A drill file is read into a [`spec::Drill`]; `run` leads it through its phases by the operations layer, which alone
//! changes nodes; `verdict` and `report` are pure.

pub mod find;
pub mod read;
pub mod spec;
pub mod window;
