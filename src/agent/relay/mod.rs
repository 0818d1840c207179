//! The relay: the data plane of the agent. One current-thread runtime a core, each with its own listening sockets and connections to servers.

pub mod backend;
pub mod buffer;
pub mod clock;
pub mod config;
pub mod content;
pub mod deadline;
pub mod health;
pub mod http;
pub mod listener;
pub mod log;
pub mod metrics;
pub mod pool;
pub mod protect;
pub mod proxy_protocol;
pub mod record;
pub mod roster;
pub mod route;
pub mod rules;
pub mod running;
pub mod runtime;
pub mod serving;
pub mod session;
pub mod stream;
pub mod tcp;
pub mod tls;
pub mod udp;
