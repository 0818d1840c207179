//! All integration tests are one binary: one link, one shared `support`. Each module drives the real thing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

mod agent;
mod agent_install;
mod ansible_inventory;
mod cli;
mod faults;
mod fleet;
mod fuzz;
mod haproxy;
mod http;
mod keepalived;
mod lab;
mod layering;
mod ops;
mod over_ssh;
mod relay_http;
mod relay_policy;
mod relay_pool;
mod ssh;
mod tui;
