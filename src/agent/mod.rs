//! The agent of lbdeck (`lbdeck agent run`): it runs on a node, carries a data plane of its own (the relay), and keeps
//! promises (server states, leases) when the console is gone.
//!
//! `control` is what it does, `api` is HTTP around it, `state` is what it must not forget, `leases` gives back at their end,
//! `node` reads the machine, `handover` passes everything to the next process; `run` composes. `supervise` keeps it running where there is no systemd, `ask`
//! is one request to its socket; `pki` makes the certificates of mutual TLS.

pub mod api;
pub mod ask;
pub mod control;
pub mod events;
pub mod handover;
pub mod health_file;
pub mod leases;
pub mod node;
pub mod pki;
pub mod plane;
pub mod relay;
mod relay_plane;
mod run;
pub mod state;
pub mod supervise;
mod tls;
mod watched_files;

pub use relay_plane::RelayPlanes;
pub use run::{AgentError, Options, raise_file_limit, run};
pub use tls::TlsFiles;
