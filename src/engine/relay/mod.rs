//! lbdeck's own agent and its relay, by the control API: HTTP with JSON over the agent's unix socket.

pub mod wire;
