//! The operator console: runner, events, keymap, state, views, widgets, themes. Never touches `engine` or `transport`.
//!
//! One loop takes events from one bounded channel, lets `update` change the state, carries out the effects that the state asks
//! for in tasks of their own, and draws at most one frame for all that was waiting. Nothing in the loop waits for a network.

pub mod command;
pub mod event;
pub mod keymap;
mod runner;
pub mod state;
mod tasks;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
pub mod widget;

pub use runner::{Options, run, runtime};
pub use view::ascii::is_wanted as wants_ascii;
