//! The relay's layer 7 against real servers and clients, and against those that break the rules.

mod clients;
mod h2;
mod raw;
mod servers;
mod tls;
