//! The engine of a node: does it answer, what does it let us do, what can this version not do.

use std::path::Path;
use std::time::Duration;

use crate::collect::probe::{self, SocketAt};
use crate::config::{HaproxyAccess, HaproxySpec, Settings};
use crate::engine::{EngineError, NodeHandle, Want};
use crate::model::{NodeObs, SocketLevel};
use crate::transport::{Endpoint, Limits, Transport, TransportError};

use super::{Findings, Level};

/// What an older HAProxy has not, since when it is there, and what lbdeck does without it. `true`: nothing is lost.
const FEATURES: &[((u16, u16), &str, &str, bool)] = &[
    ((1, 8), "show cli level", "the level is found out by the first refusal", true),
    ((2, 2), "show servers conn", "a drain waits for sessions and queue, not for connections in use", false),
    ((2, 4), "add server, del server", "servers cannot be added or removed at run time", false),
    ((3, 0), "wait srv-removable", "emulated by polling show servers conn", true),
    ((3, 2), "show sess server", "emulated: all sessions are read and filtered here", true),
];

pub(super) async fn observe(
    handle: &NodeHandle,
    spec: &HaproxySpec,
    settings: &Settings,
    found: &mut Findings,
) -> Option<NodeObs> {
    let Some(engine) = &handle.engine else {
        found.fail("haproxy", "nothing says how haproxy is reached", "see engines: of this node in the fleet file");
        return None;
    };
    let late = |_| {
        EngineError::Transport(TransportError::Timeout {
            at: engine.source(),
            doing: "reading statistics".to_owned(),
            after: settings.timeout,
        })
    };
    // The engine keeps the deadline itself; twice as long is for one that does not.
    let read = tokio::time::timeout(settings.timeout * 2, engine.observe(Want::All, settings.timeout)).await;
    match read.map_err(late).and_then(|r| r) {
        Ok(obs) => {
            let servers: usize = obs.pools.iter().map(|p| p.servers.len()).sum();
            found.ok("haproxy", format!("{} pools and {servers} servers read by {}", obs.pools.len(), obs.source));
            level(obs.engine.level, spec, settings, found);
            version(&obs, found);
            Some(obs)
        }
        Err(error) => {
            let (text, remedy) = explain(handle, spec, &error, settings.timeout).await;
            found.fail("haproxy", text, remedy);
            None
        }
    }
}

/// What is wrong, in words that lead further than the error alone.
async fn explain(handle: &NodeHandle, spec: &HaproxySpec, error: &EngineError, step: Duration) -> (String, String) {
    let hint = error.hint().map(str::to_owned);
    let (Some(transport), HaproxyAccess::Socket(path)) = (&handle.transport, &spec.access) else {
        let remedy = hint.unwrap_or_else(|| match &spec.access {
            HaproxyAccess::Tcp(address) => {
                format!("does `stats socket ipv4@{address} level admin` stand in haproxy's global section, and is it running?")
            }
            _ => "open the statistics page in a browser: URL, user and password, stats enable in that frontend".to_owned(),
        });
        return (error.to_string(), remedy);
    };
    match error {
        EngineError::Transport(TransportError::NotFound { .. }) => {
            (format!("no socket at {}", path.display()), mend_missing(transport.as_ref(), path, step).await)
        }
        EngineError::Transport(TransportError::Denied { .. }) => mend_denied(transport.as_ref(), path, step).await,
        _ => (
            error.to_string(),
            hint.unwrap_or_else(|| "is haproxy running, and is its socket free? see its log on the node".to_owned()),
        ),
    }
}

async fn mend_missing(transport: &dyn Transport, path: &Path, step: Duration) -> String {
    let wanted = format!("add `stats socket {} mode 660 level admin` to haproxy's global section and reload", path.display());
    match probe::probe(transport, step).await {
        Ok(report) => match report.best() {
            Some((SocketAt::Unix(other), answer)) => {
                format!("haproxy {} answers at {}: set engines.haproxy.socket to it", answer.version, other.display())
            }
            Some((SocketAt::Tcp(address), answer)) => {
                format!("haproxy {} answers at {address}: set engines.haproxy.tcp to it", answer.version)
            }
            None if !report.runs() => format!("no haproxy runs on the node; start it, or {wanted}"),
            None => wanted,
        },
        Err(_) => wanted,
    }
}

/// Permission denied: who owns the socket, who we are, what would let us in.
async fn mend_denied(transport: &dyn Transport, path: &Path, step: Duration) -> (String, String) {
    let ask = async |argv: &[&str]| {
        let out = transport.run(argv, b"", Limits { deadline: step, output: 4096 }).await.ok().filter(|o| o.status == Some(0))?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let shown = path.display();
    let text = path.to_string_lossy();
    let me = ask(&["id", "-un"]).await.unwrap_or_else(|| "this user".to_owned());
    let owner = ask(&["stat", "-L", "-c", "%U %G %a", &text]).await;
    let owner: Option<Vec<&str>> = owner.as_deref().map(|o| o.split(' ').collect());
    match owner.as_deref() {
        Some([user, group, mode]) => (
            format!("permission denied: {shown} belongs to {user}:{group}, mode {mode}, and {me} is neither"),
            format!(
                "on the node: usermod -aG {group} {me} (with group rights: mode 660 on the stats socket line), then log on again"
            ),
        ),
        _ => (
            format!("permission denied: {me} may not reach {shown}"),
            format!(
                "let {me} into the folder of {shown}, or give the stats socket line `mode 660 group {me}` at a place it may enter"
            ),
        ),
    }
}

fn level(level: SocketLevel, spec: &HaproxySpec, settings: &Settings, found: &mut Findings) {
    // Who only watches needs no more than a level that shows.
    let lacking = if settings.read_only { Level::Warn } else { Level::Fail };
    match (level, &spec.access) {
        (SocketLevel::Admin, _) => found.ok("level", "admin: every change is possible"),
        (SocketLevel::StatsAdmin, _) => found.ok("level", "stats admin: servers can be set to ready, drain and maint"),
        (SocketLevel::User | SocketLevel::Operator, _) => {
            let name = if level == SocketLevel::User { "user" } else { "operator" };
            let remedy = "put `level admin` on the stats socket line and reload haproxy; or set settings.read_only".to_owned();
            found.push("level", lacking, format!("{name}: it shows, changes will be refused"), Some(remedy));
        }
        (SocketLevel::StatsReadOnly, _) => {
            let remedy = "add `stats admin if TRUE` (with stats auth) to that frontend, or use a stats socket".to_owned();
            found.push("level", lacking, "the statistics page only shows", Some(remedy));
        }
        (SocketLevel::Unknown, _) => {
            found.warn("level", "the engine does not say what it allows", "the first change will tell; `level admin` is needed");
        }
    }
}

fn version(obs: &NodeObs, found: &mut Findings) {
    let version = &obs.engine.version;
    let Some(release) = obs.engine.release else {
        return found.warn(
            "version",
            format!("'{version}' is no version that can be read"),
            "what it can do is found out by trying",
        );
    };
    let over_http = matches!(obs.engine.level, SocketLevel::StatsAdmin | SocketLevel::StatsReadOnly);
    if over_http {
        return found.warn(
            "version",
            format!("{version}, over HTTP: no weights, addresses, sessions or tables"),
            "a stats socket reached by ssh or TCP can do all of it",
        );
    }
    let missing: Vec<String> = FEATURES
        .iter()
        .filter(|f| release < f.0)
        .map(|(since, what, instead, _)| format!("{what} ({}.{}; {instead})", since.0, since.1))
        .collect();
    let lost = FEATURES.iter().any(|(since, _, _, harmless)| release < *since && !harmless);
    let text = if missing.is_empty() { version.clone() } else { format!("{version}, without {}", missing.join(", ")) };
    if lost {
        found.warn("version", text, "a newer HAProxy has it");
    } else {
        found.ok("version", text);
    }
}

/// How the socket was reached: the fallback costs a process for each connection.
pub(super) fn way(transport: &dyn Transport, spec: &HaproxySpec, found: &mut Findings) {
    let HaproxyAccess::Socket(path) = &spec.access else { return };
    let way = transport.way(&Endpoint::Unix(path.clone()));
    if way.starts_with("exec") {
        found.warn(
            "forwarding",
            format!("sshd forbids forwarding to unix sockets; reached by {way}"),
            "in sshd_config: AllowStreamLocalForwarding yes (slower without, and it needs socat or nc on the node)",
        );
    } else {
        found.ok("forwarding", way);
    }
}

/// The file that a reload reads: without it nobody knows what a reload would undo.
pub(super) async fn config_file(transport: &dyn Transport, spec: &HaproxySpec, step: Duration, found: &mut Findings) {
    const MOST: usize = 16 << 20;
    let (Some(path), Some(files)) = (&spec.config_file, transport.files()) else { return };
    let shown = path.display();
    match tokio::time::timeout(step, files.read(path, MOST)).await {
        Ok(Ok(_)) => found.ok("config", format!("{shown} can be read: changes that a reload would undo are marked")),
        Ok(Err(error)) => {
            let remedy = match &error {
                TransportError::NotFound { .. } => {
                    "set engines.haproxy.config to the file that haproxy was started with".to_owned()
                }
                TransportError::Denied { .. } => format!("let the user read it: on the node, chgrp and chmod g+r {shown}"),
                _ => error.hint().unwrap_or("without it, what a reload would undo is not known").to_owned(),
            };
            found.warn("config", format!("no comparison with the file: {error}"), remedy);
        }
        Err(_) => found.warn(
            "config",
            format!("{shown}: not read within {step:?}"),
            "without it, what a reload would undo is not known",
        ),
    }
}

/// The Prometheus endpoint beside the socket was read with the rest: what went wrong is a note of the reading.
pub(super) fn metrics(obs: &NodeObs, spec: &HaproxySpec, found: &mut Findings) {
    let url = spec.metrics_url.as_deref().unwrap_or_default();
    let known = obs.engine.info.iter().filter(|(name, _)| name.starts_with("haproxy_process_")).count();
    match obs.notes.iter().find_map(|note| note.strip_prefix("metrics: ")) {
        Some(why) => found.fail(
            "metrics",
            why,
            "in a frontend: `http-request use-service prometheus-exporter if { path /metrics }`; or mend or remove metrics:",
        ),
        None if known == 0 => {
            found.warn("metrics", format!("{url}: no metric of HAProxy in the answer"), "is it the right address?");
        }
        None => found.ok("metrics", format!("{url}: {known} metrics of the process")),
    }
}

/// The master CLI shows old workers that still hold sessions after a reload.
pub(super) async fn master(handle: &NodeHandle, spec: &HaproxySpec, step: Duration, found: &mut Findings) {
    let Some(path) = &spec.master_socket else {
        return found.ok("master", "no master socket is configured: old workers after a reload are not seen");
    };
    let Some(workers) = handle.engine.as_ref().and_then(|e| e.workers()) else {
        return found.warn("master", "this way of reaching haproxy cannot ask the master", "use ssh or local");
    };
    match tokio::time::timeout(step * 2, workers.workers(step)).await {
        Ok(Ok(workers)) => found.ok("master", format!("{}: {} processes", path.display(), workers.len())),
        Ok(Err(error)) => {
            let remedy =
                error.hint().unwrap_or("start haproxy with -S SOCKET (Debian's unit does), or remove master_socket").to_owned();
            found.fail("master", error.to_string(), remedy);
        }
        Err(_) => {
            found.fail("master", format!("{}: no answer within {step:?}", path.display()), "see whether the master process hangs")
        }
    }
}
