//! Our reading of Ansible inventories against Ansible's own: the same hosts, groups and variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use lbdeck::config::ansible;
use serde_json::Value;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ansible")
}

fn ansible_lists(path: &Path) -> Value {
    let home = tempfile::tempdir().unwrap();
    let out = Command::new("ansible-inventory")
        .args(["--list", "-i"])
        .arg(path)
        .env("HOME", home.path())
        .env("ANSIBLE_LOCALHOST_WARNING", "false")
        .output()
        .expect("Debian's ansible-core is needed (tests/run installs it)");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!said.contains("Unable to parse"), "Ansible refuses {}: {said}", path.display());
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Hosts of a group and of the groups below it, as Ansible lists them.
fn members(list: &Value, group: &str, into: &mut BTreeSet<String>) {
    for host in list[group]["hosts"].as_array().into_iter().flatten() {
        into.insert(host.as_str().unwrap().to_owned());
    }
    for child in list[group]["children"].as_array().into_iter().flatten() {
        members(list, child.as_str().unwrap(), into);
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn agrees(path: &Path) {
    let theirs = ansible_lists(path);
    let ours = ansible::parse(&std::fs::read_to_string(path).unwrap(), path).unwrap();
    let name = path.display();

    let mut hosts = BTreeSet::new();
    members(&theirs, "all", &mut hosts);
    assert_eq!(ours.hosts().iter().cloned().collect::<BTreeSet<_>>(), hosts, "hosts of {name}");

    let groups: BTreeMap<String, BTreeSet<String>> = theirs
        .as_object()
        .unwrap()
        .keys()
        .filter(|g| !["_meta", "all", "ungrouped"].contains(&g.as_str()))
        .map(|g| {
            let mut of = BTreeSet::new();
            members(&theirs, g, &mut of);
            (g.clone(), of)
        })
        .filter(|(_, of)| !of.is_empty())
        .collect();
    let our_groups: BTreeMap<String, BTreeSet<String>> = ours
        .groups()
        .into_iter()
        .map(|(g, of)| (g.to_owned(), of.into_iter().map(str::to_owned).collect::<BTreeSet<_>>()))
        .filter(|(_, of)| !of.is_empty())
        .collect();
    assert_eq!(our_groups, groups, "groups of {name}");

    for host in &hosts {
        let vars: BTreeMap<String, String> = theirs["_meta"]["hostvars"][host]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(k, _)| *k != "ansible_group_priority")
            .filter_map(|(k, v)| Some((k.clone(), scalar(v)?)))
            .collect();
        assert_eq!(ours.vars(host), vars, "variables of {host} in {name}");
    }
}

#[test]
fn classic_ini() {
    agrees(&corpus().join("classic.ini"));
}

#[test]
fn groups_that_meet_again() {
    agrees(&corpus().join("diamond.ini"));
}

#[test]
fn nested_yaml() {
    agrees(&corpus().join("nested.yml"));
}

#[test]
fn short_yaml() {
    agrees(&corpus().join("short.yaml"));
}

#[test]
fn without_an_extension() {
    agrees(&corpus().join("noext"));
}

#[test]
fn what_ansible_prints_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("printed.json");
    let printed = ansible_lists(&corpus().join("classic.ini"));
    std::fs::write(&path, serde_json::to_vec_pretty(&printed).unwrap()).unwrap();
    let ours = ansible::parse(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
    let source = corpus().join("classic.ini");
    let direct = ansible::parse(&std::fs::read_to_string(&source).unwrap(), &source).unwrap();
    assert_eq!(ours.hosts().iter().collect::<BTreeSet<_>>(), direct.hosts().iter().collect::<BTreeSet<_>>());
    assert_eq!(ours.vars("db1"), direct.vars("db1"));
    assert_eq!(ours.members("prod").len(), direct.members("prod").len());
}
