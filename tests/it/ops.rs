//! The operations layer against real haproxy: drain with proof, locks, leases, undo, and what goes wrong on the way.

mod bench;
mod changes;
mod clocks;
mod drain;
mod faults;
mod leases;
mod locks;
mod store;
