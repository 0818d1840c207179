//! Real engines and servers for tests: each is started on a port or socket of its own and ended by its pid.

pub mod app;
pub mod fleet;
pub mod haproxy;
pub mod sshd;
pub mod wait;
