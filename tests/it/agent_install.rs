//! The agent's life on nodes: over a real sshd with a stand-in for the agent that behaves as each test wants it, and on a real
//! systemd node with lbdeck itself.

mod batch;
mod cert;
mod double;
mod faults;
mod life;
mod systemd;
