//! The relay's rules against real clients: curl in front, small servers behind, everything on loopback.

mod content;
mod log;
mod relay;
mod route;
