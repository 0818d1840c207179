//! The lab on lbdeck's own agent: what the relay of a node is to do, and the installation, over SSH and by the verbs that every
//! operator uses.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};

use super::apps::Apps;
use super::fleet::Lab;
use super::layout::{LabNode, POOLS, write_private};
use super::{Front, LabError};
use crate::model::Exit;

/// Nodes that are worked on side by side where nobody watches the steps.
const SIDE_BY_SIDE: usize = 4;
/// Bytes behind the end of an executable change its sum and nothing that it does.
const MARK: &[u8] = b"\nlbdeck lab: the same program as another build\n";

/// Writes what `agent install --config` gives to a node.
pub(super) fn write_config(path: &Path, node: &LabNode, apps: &Apps) -> Result<(), LabError> {
    write_private(path, &config(node, apps)).map_err(LabError::io(format!("writing {}", path.display())))
}

fn config(node: &LabNode, apps: &Apps) -> String {
    let mut text = format!("# Relay of node {} of `lbdeck lab`.\nversion: 1\nglobal:\n  threads: 1\nlisteners:\n", node.name);
    for (pool, address) in POOLS.iter().zip(&node.frontends) {
        let _ = write!(text, "  - name: {pool}-in\n    bind: {address}\n    pool: {pool}\n");
    }
    // A server that dies is asked again until checks or failures in a row have taken it out: those requests go elsewhere, and
    // refused connections burden nobody, so that the floor of the retry budget may be high.
    text.push_str("pools:\n");
    for pool in POOLS {
        let balance = if pool == "api" { "leastconn" } else { "roundrobin" };
        let _ = write!(
            text,
            "  - name: {pool}\n    \
                 balance: {balance}\n    \
                 check: {{path: /health, status: [200], inter: 2s, fastinter: 500ms, downinter: 500ms, rise: 1, fall: 3}}\n    \
                 outliers: {{consecutive: 3, eject: 5s}}\n    \
                 retries: {{attempts: 2, floor: 200}}\n    \
                 timeouts: {{connect: 2s, server: 60s}}\n    \
                 servers:\n"
        );
        for app in apps.servers().filter(|a| a.pool == pool) {
            let _ = writeln!(text, "      - {{name: {}, address: \"{}\", weight: 100}}", app.name, app.address);
        }
    }
    text
}

/// The program that becomes the agent: as given, else this one.
pub(super) fn build(given: Option<&Path>) -> Result<PathBuf, LabError> {
    match given {
        Some(file) if file.is_file() => Ok(file.to_owned()),
        Some(file) => Err(LabError::NoBuild { tried: file.to_owned() }),
        None => std::env::current_exe().map_err(LabError::io("finding the program that runs")),
    }
}

/// Installs the agent on every node.
pub(super) async fn install(front: &Front, lab: &Lab, build: &Path) -> Result<(), LabError> {
    stream::iter(&lab.layout.nodes)
        .map(|node| async move {
            let config = lab.layout.relay_config(node);
            let config = config.display().to_string();
            let mut words = on_node("install", node, build);
            words.extend(["--config", &config, "--quiet"].map(str::to_owned));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match front.run(lab.command(&words)).await {
                Some(Exit::Ok) => Ok(()),
                // The verb has said why.
                _ => Err(LabError::Agent { node: node.name.clone() }),
            }
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await
}

/// `agent VERB` for one node: each has its agent below a folder of its own.
pub(super) fn on_node(verb: &str, node: &LabNode, build: &Path) -> Vec<String> {
    let prefix = node.agent().prefix().unwrap_or(&node.folder).display().to_string();
    let words = ["agent", verb, &node.name, "--prefix", &prefix, "--binary", &build.display().to_string(), "--yes"];
    words.map(str::to_owned).to_vec()
}

/// Makes another build out of this one, as a new version would be: what it does is the same, its sum is not.
pub(super) fn make_next_build(build: &Path, next: &Path) -> Result<(), LabError> {
    let copy = || {
        std::fs::copy(build, next)?;
        std::fs::set_permissions(next, PermissionsExt::from_mode(0o700))?;
        std::fs::OpenOptions::new().append(true).open(next)?.write_all(MARK)
    };
    copy().map_err(LabError::io(format!("copying {} to {}", build.display(), next.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_relays_configuration_is_one_that_the_agent_takes() {
        let apps = Apps::start(2, 0).unwrap();
        let address = std::net::IpAddr::from([127, 0, 0, 11]);
        let at = |port| std::net::SocketAddr::new(address, port);
        let node =
            LabNode { name: "lb1".into(), folder: "/tmp/x".into(), address, ssh: at(1), frontends: vec![at(8001), at(8002)] };
        let text = config(&node, &apps);
        let read = crate::agent::relay::config::parse(&text, Path::new("lb1.relay.yaml"));
        let config = read.unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        assert_eq!(config.pools.len(), 2, "{text}");
    }

    #[test]
    fn the_next_build_runs_as_this_one_does_under_another_sum() {
        let dir = tempfile::tempdir().unwrap();
        let next = dir.path().join("next");
        make_next_build(Path::new("/bin/true"), &next).unwrap();
        assert!(std::process::Command::new(&next).status().unwrap().success());
        assert_eq!(std::fs::read(&next).unwrap().len(), std::fs::read("/bin/true").unwrap().len() + MARK.len());
        assert!(make_next_build(Path::new("/nonexistent"), &next).is_err());
    }
}
