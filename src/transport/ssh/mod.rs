//! SSH by russh: one connection a node, shared by all calls.

pub mod config;
mod known_hosts;
