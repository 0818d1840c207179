//! The relay's rules against real clients: curl in front, small servers behind, everything on loopback.

mod content;
mod echo;
mod log;
mod route;
