//! From the parts of a look to an observation: the daemon's words and the files' words side by side. Pure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::{
    InterfaceAddress, NodeName, TrackFileStatus, VrrpConfigFile, VrrpDaemon, VrrpInstance, VrrpObs, VrrpState, sanitize,
};

use super::look::Part;
use super::settings::{self, File, Settings};
use super::{DEFAULT_CONFIG, dump, json, sockets};

/// What the node says without its files.
pub struct Daemon {
    pub version: String,
    pub daemons: Vec<VrrpDaemon>,
    /// What the first daemon that tells says; None where none told.
    pub told: Option<(Vec<VrrpInstance>, &'static str)>,
    pub addresses: Vec<InterfaceAddress>,
    pub listening: Vec<SocketAddr>,
    /// `-i`, else the name of the host: what `@id` conditions mean.
    pub config_id: String,
    pub notes: Vec<String>,
}

pub fn addresses(parts: &[Part]) -> Result<Vec<InterfaceAddress>, String> {
    let part = parts.iter().find(|p| p.name == "addresses").ok_or("the answer has no addresses")?;
    sockets::addresses(&part.text)
}

/// # Errors
/// A dump is not whole, or the addresses cannot be read.
pub fn daemon(parts: &[Part]) -> Result<Daemon, String> {
    let of = |name: &str| parts.iter().filter(|p| p.name == name).collect::<Vec<_>>();
    let mut host = of("host").first().map_or("", |p| p.text.as_str()).lines();
    let (name, root) = (host.next().unwrap_or_default(), host.next() == Some("0"));
    let mut notes = Vec::new();
    let (mut daemons, mut config_id) = (Vec::new(), sanitize(name).into_owned());
    for process in of("process") {
        let argv: Vec<&str> = process.text.lines().collect();
        let tmp = of("tmp").iter().find_map(|t| t.words.strip_prefix(&format!("{} ", process.words)).map(str::to_owned));
        if let (Some(id), true) = (option(&argv, 'i', "config-id"), daemons.is_empty()) {
            config_id = sanitize(id).into_owned();
        }
        daemons.push(VrrpDaemon {
            pid: process.words.parse().map_err(|_| format!("'{}' is no process id", sanitize(&process.words)))?,
            config: sanitize(option(&argv, 'f', "use-file").unwrap_or(DEFAULT_CONFIG)).into_owned(),
            tmp: sanitize(&tmp.unwrap_or_default()).into_owned(),
            unit: of("unit")
                .iter()
                .find(|u| u.words == process.words)
                .and_then(|u| u.text.lines().find(|l| l.starts_with("keepalived")))
                .map(|unit| sanitize(unit).into_owned()),
        });
    }
    let mut told = None;
    for part in of("dump") {
        let (_, kind) = part.words.split_once(' ').unwrap_or_default();
        let instances = if kind == "json" { json::parse(&part.text)? } else { dump::parse(&part.text)? };
        if told.is_none() {
            told = Some((instances, if kind == "json" { "json" } else { "data" }));
        }
    }
    for part in of("silent") {
        let (pid, kind) = part.words.split_once(' ').unwrap_or((&part.words, ""));
        let signal = if kind == "json" { "JSON" } else { "USR1" };
        notes.push(format!("keepalived (process {pid}) does not answer signal {signal}: is it stopped (SIGSTOP) or hung?"));
    }
    for part in of("refused") {
        let hint = if root { "" } else { ": signals take root, so connect as root or write sudo: true under keepalived" };
        notes.push(format!("keepalived (process {}) cannot be asked{hint}", part.words));
    }
    let running = of("version").first().and_then(|p| version(&p.text));
    let installed = of("installed").first().and_then(|p| version(&p.text));
    Ok(Daemon {
        version: running.or(installed).unwrap_or_default(),
        daemons,
        told,
        addresses: addresses(parts)?,
        listening: of("listening").first().map(|p| sockets::listening(&p.text)).unwrap_or_default(),
        config_id,
        notes,
    })
}

/// The value of an option on a command line: `-f X`, `-fX`, `--use-file X`, `--use-file=X`.
fn option<'a>(argv: &[&'a str], short: char, long: &str) -> Option<&'a str> {
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        if let Some(rest) = word.strip_prefix("--") {
            match rest.strip_prefix(long) {
                Some("") => return words.next().copied(),
                Some(value) if value.starts_with('=') => return value.get(1..),
                _ => {}
            }
        } else if let Some(rest) = word.strip_prefix('-').and_then(|w| w.strip_prefix(short)) {
            return if rest.is_empty() { words.next().copied() } else { Some(rest) };
        }
    }
    None
}

/// `Keepalived v2.2.7 (01/16,2022)`.
fn version(text: &str) -> Option<String> {
    let rest = text.lines().find_map(|l| l.strip_prefix("Keepalived v"))?;
    Some(sanitize(rest.split_whitespace().next()?).into_owned())
}

/// The observation without what only the node's handle knows.
pub fn merge(daemon: Daemon, files: &[File], config_id: &str) -> VrrpObs {
    let mut notes = daemon.notes;
    let written = match settings::read(files, config_id) {
        Ok(mut written) => {
            notes.append(&mut written.notes);
            Some(written).filter(|_| !files.is_empty())
        }
        Err((path, error)) => {
            notes.push(format!("{path} is no configuration that keepalived would take: {error}"));
            None
        }
    };
    let told_by = daemon.told.as_ref().map(|(_, kind)| *kind);
    let instances = instances(written.as_ref(), daemon.told.map(|(instances, _)| instances));
    VrrpObs {
        node: NodeName::from(""),
        at: Timestamp::now(),
        seen: Instant::now(),
        took: Duration::ZERO,
        source: "".into(),
        version: daemon.version,
        daemons: daemon.daemons,
        instances,
        services: written.map(|w| w.services).unwrap_or_default(),
        addresses: daemon.addresses,
        listening: daemon.listening,
        config: files
            .iter()
            .map(|f| VrrpConfigFile {
                path: sanitize(&f.path).into_owned(),
                lines: f.text.lines().count(),
                text: Arc::from(f.text.as_str()),
            })
            .collect(),
        told_by,
        told: Some(Instant::now()),
        notes,
    }
}

/// Instances by name: run-time values are the daemon's, what only a file tells is the file's.
fn instances(written: Option<&Settings>, told: Option<Vec<VrrpInstance>>) -> Vec<VrrpInstance> {
    let Some(told) = told else { return written.map(|w| w.instances.clone()).unwrap_or_default() };
    let Some(written) = written else { return told };
    let mut all: Vec<VrrpInstance> = Vec::new();
    for running in &told {
        let Some(file) = written.instances.iter().find(|i| i.name == running.name) else {
            let drift = Some("it runs, but is not in the configuration any more: the next reload removes it".to_owned());
            all.push(VrrpInstance { drift, ..running.clone() });
            continue;
        };
        all.push(VrrpInstance {
            drift: drift(running, file),
            preempt_delay: file.preempt_delay,
            track_files: file.track_files.clone(),
            track_scripts: file.track_scripts.clone(),
            track_interfaces: file.track_interfaces.clone(),
            unicast_peers: file.unicast_peers.clone(),
            sync_group: file.sync_group.clone(),
            ..running.clone()
        });
    }
    for file in written.instances.iter().filter(|i| !told.iter().any(|t| t.name == i.name)) {
        let drift = Some("it is in the configuration, but does not run: a reload is due".to_owned());
        all.push(VrrpInstance { drift, state: Some(VrrpState::Unknown), ..file.clone() });
    }
    all
}

/// What the next reload would change.
fn drift(running: &VrrpInstance, file: &VrrpInstance) -> Option<String> {
    let mut what = Vec::new();
    let mut differ = |name: &str, runs: String, written: String| {
        if runs != written {
            what.push(format!("{name} {runs} runs, {written} is in the file"));
        }
    };
    differ("priority", running.base_priority.to_string(), file.base_priority.to_string());
    differ("virtual_router_id", running.vrid.to_string(), file.vrid.to_string());
    differ("advert_int", format!("{:?}", running.advert_interval), format!("{:?}", file.advert_interval));
    let vips = |i: &VrrpInstance| {
        let mut all: Vec<String> = i.vips.iter().map(|v| v.address.to_string()).collect();
        all.sort();
        all.join(" ")
    };
    differ("addresses", vips(running), vips(file));
    (!what.is_empty()).then(|| what.join("; "))
}

/// What the tracked files hold.
pub fn track_files(obs: &mut VrrpObs, parts: &[Part]) {
    for file in obs.instances.iter_mut().flat_map(|i| &mut i.track_files) {
        let Some(part) = parts.iter().find(|p| p.words == file.path) else { continue };
        if part.name == "missing" {
            file.status = TrackFileStatus::Missing;
            continue;
        }
        let (whose, value) = part.text.split_once('\n').unwrap_or((&part.text, ""));
        file.value = value.trim().parse().ok();
        file.status = match whose {
            "writable" => TrackFileStatus::Writable,
            owner => TrackFileStatus::NotOurs(sanitize(owner).into_owned()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, words: &str, text: &str) -> Part {
        Part { name: name.into(), words: words.into(), text: text.into() }
    }

    fn parts(kind: &str, dump: &str) -> Vec<Part> {
        vec![
            part("addresses", "", "[]"),
            part("host", "", "lb1\n0\n"),
            part("process", "12", "keepalived\n-D\n-f\n/etc/ka.conf\n-iblue\n"),
            part("tmp", "12", "/tmp"),
            part("version", "12", "Keepalived v2.2.7 (01/16,2022)\n"),
            part("dump", &format!("12 {kind}"), dump),
        ]
    }

    #[test]
    fn daemon_and_file_stand_side_by_side() {
        let seen = daemon(&parts("json", include_str!("fixtures/2.2.7-master.json"))).unwrap();
        assert_eq!((seen.version.as_str(), seen.config_id.as_str()), ("2.2.7", "blue"));
        assert_eq!(seen.daemons[0].config, "/etc/ka.conf");
        let text = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 140\n virtual_ipaddress {\n 10.77.0.100/24\n }\n}\n\
            vrrp_instance NEW { virtual_router_id 9 }\n";
        let obs = merge(seen, &[File { path: "/etc/ka.conf".into(), text: text.into() }], "blue");
        assert_eq!(obs.instances[0].state, Some(VrrpState::Master));
        let drift = obs.instances[0].drift.as_deref().unwrap();
        assert!(drift.contains("priority 150 runs, 140 is in the file") && drift.contains("addresses"), "{drift}");
        assert!(obs.instances[1].drift.as_deref().unwrap().contains("a reload is due"));
    }

    #[test]
    fn half_a_dump_is_an_error_and_silence_a_note() {
        let whole = include_str!("fixtures/2.2.7-master.json");
        assert!(daemon(&parts("json", &whole[..100])).is_err());
        let mut silent = parts("json", whole);
        silent.pop();
        silent.push(part("silent", "12 data", ""));
        let seen = daemon(&silent).unwrap();
        assert!(seen.told.is_none() && seen.notes[0].contains("process 12) does not answer"), "{:?}", seen.notes);
    }

    #[test]
    fn options_in_all_their_forms() {
        for argv in [&["k", "-f", "/a"][..], &["k", "-f/a"], &["k", "--use-file", "/a"], &["k", "-D", "--use-file=/a"]] {
            assert_eq!(option(argv, 'f', "use-file"), Some("/a"), "{argv:?}");
        }
        assert_eq!(option(&["k", "-D"], 'f', "use-file"), None);
    }
}
