//! Drills as changes of nodes: what is broken, how it is undone, and the switch on the node that undoes it by itself.

pub mod fault;

pub use fault::{Direction, Fault, KillSignal, Killing, Netem};
