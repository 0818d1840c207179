//! Several nodes at once: how many are touched at a time, and what becomes of the others when one fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::double::{LBDECK, Mode, Place};
use crate::support::fleet::{Fleet, Ran};
use crate::support::sshd::{Sshd, SshdOptions, user};

const NODES: [&str; 4] = ["lb1", "lb2", "lb3", "lb4"];

/// Nodes that are apart by their mounts: each has its own folder under one and the same path.
struct Nodes {
    builds: Place,
    own: Vec<PathBuf>,
    fleet: Fleet,
    file: PathBuf,
    _sshds: Vec<Sshd>,
}

impl Nodes {
    fn start() -> Nodes {
        let builds = Place::new();
        let dir = builds.dir.path().to_owned();
        let make = |path: PathBuf| {
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (prefix, locks) = (make(dir.join("prefix")), make(dir.join("locks")));
        let (mut own, mut sshds, mut text) = (Vec::new(), Vec::new(), "nodes:\n".to_owned());
        for name in NODES {
            let folder = |what: &str| make(dir.join(name).join(what));
            let sshd = Sshd::with(SshdOptions {
                binds: vec![(folder("prefix"), prefix.clone()), (folder("locks"), locks.clone())],
                extra: format!("SetEnv SHLVL=5 HOME={}\n", folder("home").display()),
                ..SshdOptions::default()
            });
            let known_hosts = sshd.dir().join("known_hosts");
            fs::write(&known_hosts, sshd.known_hosts_line()).unwrap();
            text.push_str(&format!(
                "  - name: {name}\n    address: 127.0.0.1\n    lock_dir: {}\n    engines: {{relay: true}}\n    ssh: {{port: {}, user: {}, identity_file: {}, known_hosts: {}}}\n",
                locks.display(),
                sshd.port(),
                user(),
                sshd.client_key().display(),
                known_hosts.display()
            ));
            own.push(folder("prefix"));
            sshds.push(sshd);
        }
        let file = dir.join("fleet.yaml");
        fs::write(&file, text).unwrap();
        Nodes { builds, own, fleet: Fleet::new(), file, _sshds: sshds }
    }

    fn run(&self, words: &[&str]) -> Ran {
        let prefix = self.builds.dir.path().join("prefix").display().to_string();
        self.fleet.run(&[words, &["--prefix", &prefix, "--fleet", self.file.to_str().unwrap()]].concat())
    }

    fn versions(&self) -> Vec<String> {
        let items = self.run(&["agent", "status", "-o", "json"]).exits(0).json()["items"].clone();
        items.as_array().unwrap().iter().map(|item| item["version"].as_str().unwrap_or("none").to_owned()).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for prefix in &self.own {
            let _ = Command::new(LBDECK).args(["agent", "supervise", "stop", "--prefix"]).arg(prefix).output();
        }
    }
}

/// The most nodes that were in progress at once: from a node's first command to its last event.
fn most_at_once(ran: &Ran) -> usize {
    let events: Vec<serde_json::Value> = ran.stderr.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let nodes: Vec<Option<&str>> = events.iter().map(|e| e["node"].as_str()).collect();
    let sent = |e: &serde_json::Value| e.to_string().contains("\"sent\"") || e.to_string().contains("\"progress\"");
    let spans: Vec<(usize, usize)> = NODES
        .iter()
        .filter_map(|node| {
            let first = (0..events.len()).find(|i| nodes[*i] == Some(node) && sent(&events[*i]))?;
            let last = (0..events.len()).rev().find(|i| nodes[*i] == Some(node) && sent(&events[*i]))?;
            Some((first, last))
        })
        .collect();
    assert!(spans.len() == NODES.len(), "events of {} nodes:\n{}", spans.len(), ran.stderr);
    spans.iter().map(|(at, _)| spans.iter().filter(|(first, last)| first <= at && at <= last).count()).max().unwrap()
}

#[test]
fn no_more_than_max_unavailable_are_touched_at_once_and_a_failure_stops_the_rest() {
    if !nix::unistd::Uid::effective().is_root() {
        let test = "agent_install::batch::no_more_than_max_unavailable_are_touched_at_once_and_a_failure_stops_the_rest";
        return crate::support::skip(test, "nodes of their own mounts take root");
    }
    let nodes = Nodes::start();
    let path = |build: &Path| build.to_str().unwrap().to_owned();
    let one = path(&nodes.builds.build("1.0.0", Mode::Serves, 0));
    let ran = nodes.run(&["agent", "install", "--all", "--yes", "--events", "--max-unavailable", "2", "--binary", &one]).exits(0);
    assert!((1..=2).contains(&most_at_once(&ran)), "{} at once\n{}", most_at_once(&ran), ran.stderr);
    assert_eq!(nodes.versions(), ["1.0.0"; 4]);

    // The first node shows that the build is broken: it goes back, and no other one is touched.
    let broken = path(&nodes.builds.build("1.1.0", Mode::NeverAnswers, 0));
    let words = [
        "agent",
        "upgrade",
        "--all",
        "--yes",
        "--ready-within",
        "3s",
        "--max-unavailable",
        "1",
        "--binary",
        &broken,
        "-o",
        "json",
    ];
    let ran = nodes.run(&words).exits(3);
    assert_eq!(nodes.versions(), ["1.0.0"; 4], "{}", ran.said());
    let untouched = ran.said().matches("another node failed first").count();
    assert!(untouched >= 3, "{}", ran.said());

    let two = path(&nodes.builds.build("1.2.0", Mode::Serves, 0));
    let ran = nodes.run(&["agent", "upgrade", "--all", "--yes", "--events", "--max-unavailable", "1", "--binary", &two]).exits(0);
    assert_eq!(most_at_once(&ran), 1, "{}", ran.stderr);
    assert_eq!(nodes.versions().into_iter().collect::<BTreeSet<_>>(), ["1.2.0".to_owned()].into());
}
