//! The agent of lbdeck: what `lbdeck agent run` is made of. It runs on a node, carries a data plane of its own (the relay) and keeps
//! promises (states, leases) when the console is gone.

pub mod relay;
