//! lbdeck: terminal operations console and automation CLI for fleets of load balancers.
//!
//! Dependencies point one way: `model` <- `config`, `transport`, `store` <- `engine` <- `collect`, `ops` <- `tui`, `cli`.
//! `agent` is what runs on a node. `app` composes; `tests/layering.rs` reads the sources and keeps it so.

pub mod agent;
pub mod app;
pub mod cli;
pub mod collect;
pub mod config;
pub mod drill;
pub mod engine;
pub mod lab;
pub mod model;
pub mod ops;
pub mod probe;
pub mod store;
pub mod transport;
pub mod tui;
