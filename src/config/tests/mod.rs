//! The fleet file as a whole: what it yields. The exact words of its errors, its limits and its writing have files of their own.

mod errors;
mod limits;
mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::parse_at;
use super::*;
use crate::model::PoolName;

fn read(text: &str) -> Result<Fleet, ConfigError> {
    parse_at(text, Path::new("/etc/lb/fleet.yaml"), Some(Path::new("/home/ops")))
}

fn errors(text: &str) -> String {
    read(text).expect_err("must be refused").to_string().replace("/etc/lb/fleet.yaml", "f")
}

const FULL: &str = r#"
version: 1
settings: {refresh: 500ms, timeout: 3s, dead_after: 1m, read_only: true, max_reply: 16MiB}
defaults:
  zone: fra
  tags: [prod]
  lock_dir: /var/lock/lb
  ssh: {user: ops, identity_file: [~/.ssh/lb, keys/lb], connect_timeout: 2s}
  haproxy:
    socket: /var/run/haproxy.sock
    config: /etc/haproxy/main.cfg
nodes:
  - name: lb1
    address: 10.0.0.1
    role: edge
    tags: [blue]
  - name: lb2
    address: "[2001:db8::2]"
    zone: 01
    ssh: {host: lb2.example, port: 2222, proxy_jump: "ops@bastion,inner", password_env: LB_PW}
    engines:
      haproxy: {tcp: "[::1]:9999", master_socket: /run/haproxy-master.sock}
  - name: lb3
    local: true
    engines: {haproxy: true}
  - name: lb4
    ssh: false
    engines:
      haproxy:
        stats: {url: "https://lb4:8404/stats", user: admin, password_command: [pass, show, lb4], ca_file: ca.pem}
        metrics: http://lb4:8404/metrics
  - name: lb5
    engines: {}
groups:
  edge: [lb1, "lb[23]"]
  all: [edge, lb4]
policies:
  - {pool: "web*", min_healthy: 50%, confirm: typed}
  - {pool: db, min_healthy: 2, read_only: true}
"#;

#[test]
fn a_full_file() {
    let fleet = read(FULL).unwrap();
    assert_eq!(fleet.settings.refresh, Duration::from_millis(500));
    assert_eq!((fleet.settings.read_only, fleet.settings.max_reply), (true, 16 << 20));
    let lb1 = fleet.node("lb1").unwrap();
    assert_eq!((lb1.meta.zone.as_deref(), lb1.meta.role.as_deref()), (Some("fra"), Some("edge")));
    assert_eq!(lb1.meta.tags, ["prod", "blue"]);
    assert_eq!(lb1.meta.groups, ["edge", "all"]);
    assert_eq!(lb1.lock_dir, Path::new("/var/lock/lb"));
    let Reach::Ssh(ssh) = &lb1.reach else { panic!("{:?}", lb1.reach) };
    assert_eq!((ssh.host.as_str(), ssh.user.as_deref()), ("10.0.0.1", Some("ops")));
    assert_eq!(ssh.identity_files, [PathBuf::from("/home/ops/.ssh/lb"), PathBuf::from("/etc/lb/keys/lb")]);
    let haproxy = lb1.haproxy.as_ref().unwrap();
    assert!(matches!(&haproxy.access, HaproxyAccess::Socket(p) if p == Path::new("/var/run/haproxy.sock")));
    assert_eq!(haproxy.config_file.as_deref(), Some(Path::new("/etc/haproxy/main.cfg")));

    let lb2 = fleet.node("lb2").unwrap();
    assert_eq!((lb2.meta.address.as_str(), lb2.meta.zone.as_deref()), ("2001:db8::2", Some("01")));
    let Reach::Ssh(ssh) = &lb2.reach else { panic!("{:?}", lb2.reach) };
    assert_eq!((ssh.host.as_str(), ssh.port, ssh.user.as_deref()), ("lb2.example", Some(2222), Some("ops")));
    assert_eq!((ssh.proxy_jump.as_deref(), &ssh.password), (Some("ops@bastion,inner"), &Some(SecretRef::Env("LB_PW".into()))));
    assert!(matches!(&lb2.haproxy.as_ref().unwrap().access, HaproxyAccess::Tcp(a) if a == "[::1]:9999"));

    assert!(matches!(fleet.node("lb3").unwrap().reach, Reach::Local));
    let lb4 = fleet.node("lb4").unwrap();
    let HaproxyAccess::Stats { url, ca_file, .. } = &lb4.haproxy.as_ref().unwrap().access else { panic!("{lb4:?}") };
    assert_eq!((url.as_str(), ca_file.as_deref()), ("https://lb4:8404/stats", Some(Path::new("/etc/lb/ca.pem"))));
    assert!(matches!(lb4.reach, Reach::None));
    assert!(fleet.node("lb5").unwrap().haproxy.is_none());

    assert_eq!(fleet.policy(&PoolName::from("web-eu")).unwrap().min_healthy, Some(MinHealthy::Percent(50)));
    assert_eq!(fleet.policy(&PoolName::from("db")).unwrap().min_healthy, Some(MinHealthy::Count(2)));
    assert!(fleet.policy(&PoolName::from("other")).is_none());
}

#[test]
fn the_documented_example_is_read_and_knows_every_key() {
    let text = include_str!("../../../docs/lbdeck.yaml");
    let fleet = read(text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(fleet.nodes.len(), 9);
    let keys = crate::config::reader::SECTIONS.iter().flat_map(|(_, keys)| *keys);
    let missing: Vec<&&str> = keys
        .filter(|key| !key.contains("_file") && !key.contains("_env") && !key.contains("_command"))
        .filter(|key| !text.contains(&format!("{key}:")))
        .collect();
    assert!(missing.is_empty(), "not in the example: {missing:?}");
    let page = include_str!("../../../docs/fleet-file.md");
    let missing: Vec<&&str> = crate::config::reader::SECTIONS
        .iter()
        .flat_map(|(_, keys)| *keys)
        .filter(|key| !page.contains(&format!("`{key}`")) && !page.contains(&format!("{key},")))
        .collect();
    assert!(missing.is_empty(), "not in docs/fleet-file.md: {missing:?}");
}

#[test]
fn the_least_that_works() {
    let fleet = read("nodes: [{name: lb1, ssh: true}]").unwrap();
    let lb1 = fleet.node("lb1").unwrap();
    assert!(matches!(&lb1.reach, Reach::Ssh(s) if s.host == "lb1"));
    assert!(matches!(&lb1.haproxy.as_ref().unwrap().access, HaproxyAccess::Socket(p) if p == Path::new(DEFAULT_SOCKET)));
    assert_eq!(lb1.lock_dir, Path::new(DEFAULT_LOCK_DIR));
}

#[test]
fn crlf_bom_and_anchors_are_fine() {
    assert_eq!(read("\u{feff}nodes:\r\n  - name: lb1\r\n    local: true\r\n").unwrap().nodes.len(), 1);
    let shared = "defaults: {ssh: &s {user: ops}}\nnodes:\n- {name: a, ssh: *s}\n- {name: b, ssh: {<<: *s, port: 22}}\n";
    let fleet = read(shared).unwrap();
    assert!(matches!(&fleet.node("b").unwrap().reach, Reach::Ssh(s) if s.user.as_deref() == Some("ops") && s.port == Some(22)));
}
