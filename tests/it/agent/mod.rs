//! The agent as a real process: its API, what it keeps, leases that outlive the console, handover, and the console's engine
//! against agents that are newer, older or hostile.

mod api;
mod checks;
mod door;
mod engine;
mod handover;
mod health;
mod leases;
mod life;
mod relay;
