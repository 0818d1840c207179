//! The agent of lbdeck (`lbdeck agent run`): it runs on a node, carries a data plane of its own (the relay), and keeps
//! promises (server states, leases) when the console is gone.

pub mod relay;
