//! One node: first whether it can be reached, then everything that hangs on it, each look with its own deadline.

use std::time::Duration;

use crate::config::{HaproxyAccess, NodeSpec, Reach, Settings};
use crate::engine::NodeHandle;
use crate::model::NodeObs;
use crate::transport::{Limits, Transport, TransportError};

use super::{Finding, Findings, agent, engine, host};

/// Looks in all may take so many times the deadline of one.
const LOOKS: u32 = 6;

/// What was found, and what was read of the engine on the way.
#[derive(Debug)]
pub struct Checked {
    pub findings: Vec<Finding>,
    pub obs: Option<NodeObs>,
}

/// Looks at one node. Ends in bounded time whatever the node does, except while a person is asked for a key or passphrase.
pub async fn check_node(handle: &NodeHandle, spec: &NodeSpec, settings: &Settings) -> Checked {
    let mut found = Findings::new(Some(spec.meta.name.clone()));
    let mut obs = None;
    let reached = match &handle.transport {
        Some(transport) => reach(transport.as_ref(), spec, settings.timeout, &mut found).await,
        None => true,
    };
    if reached {
        let looks = look(handle, spec, settings, &mut found, &mut obs);
        let most = settings.timeout * LOOKS;
        if tokio::time::timeout(most, looks).await.is_err() {
            found.fail(
                "time",
                format!("not everything was looked at within {most:?}"),
                "see what makes the node slow, or raise settings.timeout",
            );
        }
    }
    Checked { findings: found.found, obs }
}

async fn look(handle: &NodeHandle, spec: &NodeSpec, settings: &Settings, found: &mut Findings, obs: &mut Option<NodeObs>) {
    if let Some(transport) = &handle.transport {
        host::files(transport.as_ref(), settings.timeout, found).await;
        host::lock_folder(transport.as_ref(), &handle.lock_dir, settings.timeout, found).await;
        host::clock(transport.as_ref(), settings.timeout, found).await;
        host::syslog(transport.as_ref(), settings.timeout, found).await;
    } else {
        found.warn(
            "locks",
            "reached over HTTP or TCP alone: no place for locks, no clock, no syslog",
            "where the node can be reached by ssh, say so (ssh: true); else only this machine's locks hold",
        );
    }
    if let Some(relay) = &spec.relay {
        *obs = agent::observe(handle, relay, settings, found).await;
        return;
    }
    let Some(haproxy) = &spec.haproxy else {
        found.ok("haproxy", "no engine is configured");
        return;
    };
    *obs = engine::observe(handle, haproxy, settings, found).await;
    if let Some(transport) = &handle.transport {
        if let (Some(_), HaproxyAccess::Socket(_)) = (&obs, &haproxy.access) {
            engine::way(transport.as_ref(), haproxy, found);
        }
        engine::config_file(transport.as_ref(), haproxy, settings.timeout, found).await;
    }
    if let (Some(_), Some(obs)) = (&haproxy.metrics_url, obs.as_ref()) {
        engine::metrics(obs, haproxy, found);
    }
    engine::master(handle, haproxy, settings.timeout, found).await;
}

/// True where a command ran on the node.
async fn reach(transport: &dyn Transport, spec: &NodeSpec, step: Duration, found: &mut Findings) -> bool {
    let limits = Limits { deadline: step, output: 4096 };
    match transport.run(&["true"], b"", limits).await {
        Ok(out) if out.status == Some(0) => {
            found.ok("reach", transport.describe());
            true
        }
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.lines().next().unwrap_or_default();
            found.fail(
                "reach",
                format!("{}: logged on, but commands do not run: {said}", transport.describe()),
                "lbdeck runs commands over ssh: give the user a login shell and no ForceCommand",
            );
            false
        }
        Err(error) => {
            found.fail("reach", error.to_string(), mend_reach(&error, spec));
            false
        }
    }
}

fn mend_reach(error: &TransportError, spec: &NodeSpec) -> String {
    if let Some(hint) = error.hint() {
        return hint.to_owned();
    }
    match (error, &spec.reach) {
        (TransportError::Unreachable { .. } | TransportError::Timeout { .. }, Reach::Ssh(ssh)) => {
            format!("see whether `ssh {} true` works from here: address, port, firewall, ProxyJump", ssh.host)
        }
        (_, Reach::Ssh(ssh)) => format!("see what `ssh -v {} true` says", ssh.host),
        _ => "see why commands cannot be run on this machine".to_owned(),
    }
}
