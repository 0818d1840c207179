//! keepalived for real: two directors in network namespaces, looked at over ssh from a client's namespace.

mod failover;
mod findings;
mod observe;

use nix::unistd::Uid;

/// Namespaces take root; what cannot run says so.
fn can_run(test: &str) -> bool {
    if Uid::effective().is_root() {
        return true;
    }
    crate::support::skip(test, "network namespaces take root");
    false
}
