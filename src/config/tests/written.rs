//! What is written reads back as the same fleet.

use std::path::Path;

use super::{FULL, read};
use crate::config::{ConfigError, Fleet, Reach, SshSpec, write};

fn written(fleet: &Fleet) -> String {
    let note = |name: &crate::model::NodeName| (name.as_str() == "lb1").then(|| "haproxy 2.6.12".to_owned());
    write::to_yaml(fleet, &["Made by a test.".to_owned()], note, Some(Path::new("/home/ops")))
}

#[test]
fn a_written_file_is_readable_and_reads_back_the_same() {
    let fleet = read(FULL).unwrap();
    let text = written(&fleet);
    assert_eq!(read(&text).unwrap(), fleet, "{text}");
    insta::assert_snapshot!(text, @r#"
    # Made by a test.
    version: 1

    settings:
      refresh: 500ms
      timeout: 3s
      dead_after: 1m
      read_only: true
      max_reply: 16MiB

    # What every node takes that says nothing else itself.
    defaults:
      lock_dir: /var/lock/lb

    nodes:
      - name: lb1  # haproxy 2.6.12
        address: 10.0.0.1
        zone: fra
        role: edge
        tags: [prod, blue]
        ssh: {user: ops, identity_file: [~/.ssh/lb, /etc/lb/keys/lb], connect_timeout: 2s}
        engines: {haproxy: {socket: /var/run/haproxy.sock, config: /etc/haproxy/main.cfg}}
      - name: lb2
        address: "2001:db8::2"
        zone: "01"
        tags: [prod]
        ssh: {host: lb2.example, user: ops, port: 2222, identity_file: [~/.ssh/lb, /etc/lb/keys/lb], proxy_jump: "ops@bastion,inner", connect_timeout: 2s, password_env: LB_PW}
        engines: {haproxy: {tcp: "[::1]:9999", master_socket: /run/haproxy-master.sock, config: /etc/haproxy/main.cfg}}
      - name: lb3
        zone: fra
        tags: [prod]
        local: true
        engines: {haproxy: {socket: /var/run/haproxy.sock, config: /etc/haproxy/main.cfg}}
      - name: lb4
        zone: fra
        tags: [prod]
        engines: {haproxy: {stats: {url: https://lb4:8404/stats, user: admin, password_command: [pass, show, lb4], ca_file: /etc/lb/ca.pem}, metrics: http://lb4:8404/metrics, config: /etc/haproxy/main.cfg}}
      - name: lb5
        zone: fra
        tags: [prod]
        ssh: {user: ops, identity_file: [~/.ssh/lb, /etc/lb/keys/lb], connect_timeout: 2s}
        engines: {}

    groups:
      edge: [lb1, lb2, lb3]
      all: [lb1, lb2, lb3, lb4]

    policies:
      - {pool: "web*", min_healthy: 50%, confirm: typed}
      - {pool: db, min_healthy: 2, read_only: true}
    "#);
}

#[test]
fn what_all_nodes_share_is_written_once() {
    let shared = "defaults: {ssh: {user: ops}, haproxy: {socket: /s.sock, config: /c.cfg}, lock_dir: /locks}
nodes: [{name: lb1}, {name: lb2, ssh: {port: 2222}}, {name: \"10.0.0.3\"}]\n";
    let fleet = read(shared).unwrap();
    let text = written(&fleet);
    assert_eq!(read(&text).unwrap(), fleet, "{text}");
    insta::assert_snapshot!(text, @r#"
    # Made by a test.
    version: 1

    # What every node takes that says nothing else itself.
    defaults:
      ssh: {user: ops}
      haproxy: {socket: /s.sock, config: /c.cfg}
      lock_dir: /locks

    nodes:
      - name: lb1  # haproxy 2.6.12
      - name: lb2
        ssh: {port: 2222}
      - name: 10.0.0.3

    # Floors and confirmation for pools; the first policy that matches holds.
    # policies:
    #   - {pool: "web*", min_healthy: 50%, confirm: typed}
    "#);
}

#[test]
fn files_are_replaced_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/lbdeck.yaml");
    write::write_file(&path, "one", false).unwrap();
    assert!(matches!(write::write_file(&path, "two", false), Err(ConfigError::Exists { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    write::write_file(&path, "two", true).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    assert!(matches!(write::write_file(&path.join("x"), "three", false), Err(ConfigError::Unwritable { .. })));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_that_is_written_reads_back(name in "[^\\p{C}/*?\\[\\]{}!,\\\\\"'\\s-][^\\p{C}/*?\\[\\]{}!,\\\\\"'\\s]{0,12}", tag in "[a-z0-9:#&~=<>.-]{1,6}", user in "[^\\p{C}\\s-][^\\p{C}\\s]{0,8}", port: u16) {
        let mut fleet = read("nodes: [{name: a, ssh: true}, {name: longer-than-any-made-up, local: true}]").unwrap();
        let node = &mut fleet.nodes[0];
        node.meta.name = name.as_str().into();
        node.meta.address = "lb".into();
        if !tag.starts_with('-') {
            node.meta.tags.push(tag);
        }
        node.reach = Reach::Ssh(Box::new(SshSpec { host: "lb".into(), user: Some(user), port: Some(port.max(1)), ..SshSpec::default() }));
        let text = written(&fleet);
        proptest::prop_assert_eq!(read(&text).map_err(|e| e.to_string()), Ok(fleet), "{}", text);
    }
}
