//! The fleet file as a whole: what it yields, and the exact words of its errors.

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
    let text = include_str!("../../docs/lbdeck.yaml");
    let fleet = read(text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(fleet.nodes.len(), 7);
    let keys = super::reader::SECTIONS.iter().flat_map(|(_, keys)| *keys);
    let missing: Vec<&&str> = keys
        .filter(|key| !key.contains("_file") && !key.contains("_env") && !key.contains("_command"))
        .filter(|key| !text.contains(&format!("{key}:")))
        .collect();
    assert!(missing.is_empty(), "not in the example: {missing:?}");
    let page = include_str!("../../docs/fleet-file.md");
    let missing: Vec<&&str> = super::reader::SECTIONS
        .iter()
        .flat_map(|(_, keys)| *keys)
        .filter(|key| !page.contains(&format!("`{key}`")) && !page.contains(&format!("{key},")) && **key != "url")
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

#[test]
fn all_errors_at_once() {
    insta::assert_snapshot!(errors(
        "version: 2
settings:
  refresh: 5
  timout: 3s
nodes:
  - name: lb1
    adress: 10.0.0.1
    ssh: {prot: 22, password: hunter2}
  - name: lb1
    local: true
    zone: [a, b]
groups:
  edge: [lb1, lb9]
policies:
  - pool: web
    min_healthy: 120%
    confirm: tiped
"
    ), @"
    f:1:10: 'version' is '2'; this lbdeck reads version 1
      |
    1 | version: 2
      |          ^

    f:3:12: 'refresh': '5' has no unit
      |
    3 |   refresh: 5
      |            ^
      = hint: write for instance 5s or 5m

    f:4:3: unknown key 'timout' in settings
      |
    4 |   timout: 3s
      |   ^^^^^^
      = hint: did you mean 'timeout'?

    f:7:5: unknown key 'adress' in a node
      |
    7 |     adress: 10.0.0.1
      |     ^^^^^^
      = hint: did you mean 'address'?

    f:8:11: unknown key 'prot' in ssh
      |
    8 |     ssh: {prot: 22, password: ***
      |           ^^^^
      = hint: did you mean 'port'?

    f:8:21: a password must not stand in the fleet file: the file is shared, backed up and shown
      |
    8 |     ssh: {prot: 22, password: ***
      |                     ^^^^^^^^
      = hint: name where it is: password_file: PATH, password_env: NAME or password_command: [argv, ...]

    f:9:11: node 'lb1' stands here twice, first in line 6
      |
    9 |   - name: lb1
      |           ^^^
      = hint: every node has a name of its own

    f:11:11: 'zone' is text, not a list
       |
    11 |     zone: [a, b]
       |           ^
       = hint: text that begins with [ or { needs quotes

    f:13:15: group 'edge' names 'lb9', which is neither a node nor a group
       |
    13 |   edge: [lb1, lb9]
       |               ^^^
       = hint: did you mean 'lb1'?

    f:16:18: 'min_healthy' is a number of servers or a percentage, not '120%'
       |
    16 |     min_healthy: 120%
       |                  ^^^^
       = hint: write for instance 2 or 50%

    f:17:14: 'confirm': 'tiped' is no level of confirmation
       |
    17 |     confirm: tiped
       |              ^^^^^
       = hint: did you mean 'typed'?
    ");
}

#[test]
fn forms_that_are_wrong() {
    insta::assert_snapshot!(errors(""), @"
    f:1:1: the fleet file is empty
      = hint: `lbdeck fleet init` writes one
    ");
    insta::assert_snapshot!(errors("# nothing\n"), @"
    f:1:1: the fleet file is empty
      |
    1 | # nothing
      | ^
      = hint: `lbdeck fleet init` writes one
    ");
    insta::assert_snapshot!(errors("- a\n"), @"
    f:1:1: the fleet file is a mapping of keys, not a list
      |
    1 | - a
      | ^
      = hint: keys: version, settings, defaults, nodes, groups, policies
    ");
    insta::assert_snapshot!(errors("nodes: {lb1: {local: true}}\n"), @"
    f:1:8: nodes are a list, not a mapping
      |
    1 | nodes: {lb1: {local: true}}
      |        ^
      = hint: write each node as `- name: lb1`
    ");
    insta::assert_snapshot!(errors("nodes: []\n"), @"
    f:1:8: the fleet has no nodes
      |
    1 | nodes: []
      |        ^
      = hint: `lbdeck fleet init` finds some
    ");
    insta::assert_snapshot!(errors("settings:\n"), @"
    f:1:1: the fleet has no nodes
      |
    1 | settings:
      | ^
      = hint: write `nodes:` and below it `- name: lb1`, or let `lbdeck fleet init` write the file
    ");
    insta::assert_snapshot!(errors("nodes:\n  - name: lb1\n\tlocal: true\n"), @"
    f:3:1: a tab in the indentation, which YAML does not allow
      |
    3 |  local: true
      | ^
      = hint: indent with spaces
    ");
    insta::assert_snapshot!(errors("nodes:\n  - name: lb1\n    zone: a: b\n"), @"
    f:3:12: not valid YAML: mapping values are not allowed in this context
      |
    3 |     zone: a: b
      |            ^
      = hint: quote values that hold ': ', and align the keys of one mapping
    ");
    insta::assert_snapshot!(errors("nodes: [{name: lb1\n"), @"
    f:1:9: not valid YAML: unclosed bracket '{'
      |
    1 | nodes: [{name: lb1
      |         ^
    ");
    insta::assert_snapshot!(errors("nodes: *nowhere\n"), @"
    f:1:8: the alias names an anchor that is not defined above
      |
    1 | nodes: *nowhere
      |        ^
    ");
    insta::assert_snapshot!(errors("nodes: []\n---\nnodes: []\n"), @"
    f:3:1: a second document begins here
      |
    3 | nodes: []
      | ^
      = hint: a fleet file is one document; remove the '---'
    ");
    insta::assert_snapshot!(errors("nodes: \"a\n"), @r#"
    f:1:8: not valid YAML: unclosed quote
      |
    1 | nodes: "a
      |        ^
    "#);
}

#[test]
fn duplicates() {
    insta::assert_snapshot!(errors("nodes:\n- {name: a, local: true, zone: x, zone: y}\n"), @"
    f:2:35: 'zone' stands here twice, first in line 2
      |
    2 | - {name: a, local: true, zone: x, zone: y}
      |                                   ^^^^
      = hint: keep one of them
    ");
    insta::assert_snapshot!(errors("nodes:\n- {name: a, local: true}\n- {name: b, local: true}\n"), @"
    f:3:10: node 'b' is the same engine as 'a' in line 2
      |
    3 | - {name: b, local: true}
      |          ^
      = hint: it would be counted twice by the capacity guards; give it another address, port or socket
    ");
    insta::assert_snapshot!(errors("nodes: [{name: a, local: true}]\npolicies:\n- pool: '*'\n- pool: web\n- pool: '*'\n"), @"
    f:4:9: this policy never holds: '*' in line 3 matches first
      |
    4 | - pool: web
      |         ^^^
      = hint: put narrow policies before wide ones

    f:5:9: this policy never holds: '*' in line 3 matches first
      |
    5 | - pool: '*'
      |         ^^^
      = hint: put narrow policies before wide ones
    ");
}

#[test]
fn reach_and_engines() {
    insta::assert_snapshot!(errors("nodes: [{name: a}]\n"), @"
    f:1:16: nothing says how this node is reached
      |
    1 | nodes: [{name: a}]
      |                ^
      = hint: write ssh: true or local: true; or engines: {haproxy: {stats: URL}} or {tcp: HOST:PORT}
    ");
    insta::assert_snapshot!(errors("nodes: [{name: a, local: true, ssh: true}]\n"), @"
    f:1:32: a node is reached by ssh or is local, not both
      |
    1 | nodes: [{name: a, local: true, ssh: true}]
      |                                ^^^
      = hint: remove one of 'ssh' and 'local'
    ");
    insta::assert_snapshot!(errors("nodes: [{name: a, local: true, engines: {haproxy: {socket: admin.sock, tcp: ':9', stats: ''}}}]\n"), @"
    f:1:60: 'socket': admin.sock does not begin with /
      |
    1 | nodes: [{name: a, local: true, engines: {haproxy: {socket: admin.sock, tcp: ':9', stats: ''}}}]
      |                                                            ^^^^^^^^^^
      = hint: paths on nodes are absolute

    f:1:72: 'socket' and 'tcp' both say where haproxy answers
      |
    1 | nodes: [{name: a, local: true, engines: {haproxy: {socket: admin.sock, tcp: ':9', stats: ''}}}]
      |                                                                        ^^^
      = hint: keep one of socket, tcp and stats
    ");
    insta::assert_snapshot!(errors("nodes: [{name: a, engines: {haproxy: {stats: 'http://u:p@lb/'}, nginx: true}}]\n"), @"
    f:1:46: 'stats': credentials must not stand in the URL
      |
    1 | nodes: [{name: a, engines: {haproxy: {stats: 'http://u:***@lb/'}, nginx: true}}]
      |                                              ^^^^^^^^^^^^^^^^
      = hint: write user: NAME and password_file: PATH (or password_env, password_command) beside it

    f:1:65: unknown key 'nginx' in engines
      |
    1 | nodes: [{name: a, engines: {haproxy: {stats: 'http://u:***@lb/'}, nginx: true}}]
      |                                                                 ^^^^^
      = hint: keys: haproxy
    ");
    insta::assert_snapshot!(errors("nodes: [{name: a, engines: {haproxy: {stats: {user: 'u'}}}}]\n"), @"
    f:1:16: the statistics page of this node has no url
      |
    1 | nodes: [{name: a, engines: {haproxy: {stats: {user: 'u'}}}}]
      |                ^
      = hint: write engines: {haproxy: {stats: {url: http://HOST:8404/stats}}}
    ");
    insta::assert_snapshot!(errors("nodes: [{name: a, engines: {haproxy: {tcp: lb1}, metrics: http://x}}]\n"), @"
    f:1:44: 'tcp': 'lb1' has no host and port
      |
    1 | nodes: [{name: a, engines: {haproxy: {tcp: lb1}, metrics: http://x}}]
      |                                            ^^^
      = hint: write host:port, for instance 10.0.0.5:9999 or [2001:db8::5]:9999

    f:1:50: unknown key 'metrics' in engines
      |
    1 | nodes: [{name: a, engines: {haproxy: {tcp: lb1}, metrics: http://x}}]
      |                                                  ^^^^^^^
      = hint: 'metrics' belongs under haproxy
    ");
    let long = format!("nodes: [{{name: a, local: true, engines: {{haproxy: {{socket: /{}}}}}}}]\n", "x".repeat(120));
    insta::assert_snapshot!(errors(&long), @"
    f:1:60: 'socket': 121 bytes are too long for a unix socket (at most 107)
      |
    1 | …name: a, local: true, engines: {haproxy: {socket: /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
      |                                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn secrets() {
    insta::assert_snapshot!(errors("nodes:\n- name: a\n  ssh:\n    password: hunter2\n"), @"
    f:4:5: a password must not stand in the fleet file: the file is shared, backed up and shown
      |
    4 |     password: ***
      |     ^^^^^^^^
      = hint: name where it is: password_file: PATH, password_env: NAME or password_command: [argv, ...]
    ");
    insta::assert_snapshot!(errors("nodes:\n- name: a\n  ssh:\n    password_env: ${PW}\n    passphrase_command: pass show x\n"), @"
    f:4:19: 'password_env' is the name of an environment variable
      |
    4 |     password_env: ${PW}
      |                   ^^^^^
      = hint: write the name alone, for instance PW

    f:5:25: 'passphrase_command' is argv, not text
      |
    5 |     passphrase_command: pass show x
      |                         ^^^^^^^^^^^
      = hint: write a list: [pass, show, lb/stats]; no shell reads it
    ");
    insta::assert_snapshot!(errors("nodes:\n- name: a\n  ssh:\n    password_env: A\n    password_file: b\n"), @"
    f:4:5: 'password_file' and 'password_env' both name the password
      |
    4 |     password_env: A
      |     ^^^^^^^^^^^^
      = hint: keep one of them
    ");
}

#[test]
fn names_and_addresses() {
    insta::assert_snapshot!(errors(
        "nodes:
- {name: 'a b', local: true}
- {name: -x, local: true}
- {name: true, local: true}
- {name: c, address: 'ops@lb1', ssh: true}
- {name: d, address: 'lb1:22', ssh: true}
- {name: e, address: [::1], ssh: true}
- {name: f, address: 'http://lb', ssh: {port: 70000}}
- {address: x}
- name: g
  lock_dir: locks
  ssh: {identity_file: ~bob/.ssh/id, user: '-oProxyCommand=x'}
"
    ), @r#"
    f:2:10: 'name': 'a b' holds white space or one of / * ? [ ] { } ! , \ " '
      |
    2 | - {name: 'a b', local: true}
      |          ^^^^^

    f:3:10: 'name': '-x' begins with '-' and would be taken for an option
      |
    3 | - {name: -x, local: true}
      |          ^^

    f:4:10: 'name' is text, not a boolean
      |
    4 | - {name: true, local: true}
      |          ^^^^
      = hint: quote it

    f:5:22: 'address': 'ops@lb1' is neither a host name nor an address
      |
    5 | - {name: c, address: 'ops@lb1', ssh: true}
      |                      ^^^^^^^^^
      = hint: write the host alone; the user of SSH is ssh: {user: …}

    f:6:22: 'address': 'lb1:22' is neither a host name nor an address
      |
    6 | - {name: d, address: 'lb1:22', ssh: true}
      |                      ^^^^^^^^
      = hint: the port of SSH is ssh: {port: …}, that of HAProxy stands under engines

    f:7:22: 'address' is text, not a list
      |
    7 | - {name: e, address: [::1], ssh: true}
      |                      ^
      = hint: text that begins with [ or { needs quotes

    f:8:22: 'address': 'http://lb' is a URL
      |
    8 | - {name: f, address: 'http://lb', ssh: {port: 70000}}
      |                      ^^^^^^^^^^^
      = hint: write the host alone; URLs belong under engines

    f:8:47: 'port' is a port from 1 to 65535, not '70000'
      |
    8 | - {name: f, address: 'http://lb', ssh: {port: 70000}}
      |                                               ^^^^^

    f:9:3: a node needs 'name'
      |
    9 | - {address: x}
      |   ^
      = hint: it is how lbdeck calls the node everywhere

    f:11:13: 'lock_dir': locks does not begin with /
       |
    11 |   lock_dir: locks
       |             ^^^^^
       = hint: paths on nodes are absolute

    f:12:24: 'identity_file': only ~/ is expanded, not the home folder of others
       |
    12 |   ssh: {identity_file: ~bob/.ssh/id, user: '-oProxyCommand=x'}
       |                        ^^^^^^^^^^^^
       = hint: write the path out

    f:12:44: 'user': '-oProxyCommand=x' begins with '-' or holds white space
       |
    12 |   ssh: {identity_file: ~bob/.ssh/id, user: '-oProxyCommand=x'}
       |                                            ^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn groups_are_checked() {
    insta::assert_snapshot!(errors(
        "nodes: [{name: lb1, local: true}]
groups:
  lb1: [lb1]
  one: [two, one]
  two: ['lb[', lb2]
"
    ), @"
    f:3:3: group 'lb1' has the name of a node
      |
    3 |   lb1: [lb1]
      |   ^^^
      = hint: selectors could not tell them apart; rename the group

    f:4:9: group 'one' holds 'two', which does not stand above it
      |
    4 |   one: [two, one]
      |         ^^^
      = hint: groups hold only groups that stand above them; move it up

    f:4:14: group 'one' holds 'one', which does not stand above it
      |
    4 |   one: [two, one]
      |              ^^^
      = hint: groups hold only groups that stand above them; move it up

    f:5:9: 'lb[' is not a glob: unclosed character class; missing ']'
      |
    5 |   two: ['lb[', lb2]
      |         ^^^^^

    f:5:16: group 'two' names 'lb2', which is neither a node nor a group
      |
    5 |   two: ['lb[', lb2]
      |                ^^^
      = hint: did you mean 'lb1'?
    ");
}

#[test]
fn sizes_and_durations() {
    insta::assert_snapshot!(errors(
        "settings: {refresh: 1ms, dead_after: soon, timeout: [5s], max_reply: 3GiB, read_only: yes}
nodes: [{name: a, local: true}]
"
    ), @"
    f:1:21: 'refresh': 1ms is too short
      |
    1 | settings: {refresh: 1ms, dead_after: soon, timeout: [5s], max_reply: 3GiB, read_only: yes}
      |                     ^^^
      = hint: at least 100ms

    f:1:38: 'dead_after': 'soon' is not a duration
      |
    1 | settings: {refresh: 1ms, dead_after: soon, timeout: [5s], max_reply: 3GiB, read_only: yes}
      |                                      ^^^^
      = hint: write for instance 30s, 5m, 2h or 1d

    f:1:53: 'timeout' is a duration, not a list
      |
    1 | settings: {refresh: 1ms, dead_after: soon, timeout: [5s], max_reply: 3GiB, read_only: yes}
      |                                                     ^
      = hint: write for instance 5s or 2m

    f:1:70: 'max_reply': '3GiB' is outside 64KiB to 1GiB
      |
    1 | settings: {refresh: 1ms, dead_after: soon, timeout: [5s], max_reply: 3GiB, read_only: yes}
      |                                                                      ^^^^

    f:1:87: 'read_only' is true or false, not 'yes'
      |
    1 | settings: {refresh: 1ms, dead_after: soon, timeout: [5s], max_reply: 3GiB, read_only: yes}
      |                                                                                       ^^^
    ");
}

#[test]
fn bombs_and_depth_are_refused() {
    let mut bomb = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        bomb.push_str(&format!("b{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    assert!(errors(&bomb).contains("grows beyond every sensible fleet"), "{}", errors(&bomb));
    let deep = format!("nodes: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(errors(&deep).contains("grows beyond every sensible fleet"), "{}", errors(&deep));
    let deep = (0..500).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>();
    assert!(errors(&deep).contains("grows beyond every sensible fleet"), "{}", errors(&deep));
    let wide = format!("nodes: [{}]", "{name: a, x: [1,2,3]},".repeat(450_000));
    assert!(errors(&wide).contains("larger than 8MiB"), "{}", errors(&wide));
}

#[test]
fn only_so_many_errors_are_shown() {
    let text = format!("nodes: [{{name: a, local: true}}]\n{}", (0..100).map(|i| format!("key{i}: 1\n")).collect::<String>());
    let shown = errors(&text);
    assert_eq!(shown.matches("unknown key").count(), 20);
    assert!(shown.ends_with("f: and 80 more"), "{shown}");
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.yaml");
    let error = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        load(&path).expect_err("must be refused").to_string().replace(path.to_str().unwrap(), "f")
    };
    insta::assert_snapshot!(error(b"nodes:\n- name: \xff\n"), @"f: cannot read the fleet file: line 2 is not UTF-8 text");
    insta::assert_snapshot!(error(&vec![b'#'; 10 << 20]), @"f: larger than 8MiB, which no fleet file needs to be");
    std::fs::remove_file(&path).unwrap();
    insta::assert_snapshot!(load(&path).unwrap_err().to_string().replace(path.to_str().unwrap(), "f"), @"f: cannot read the fleet file: No such file or directory (os error 2)");
    insta::assert_snapshot!(load(dir.path()).unwrap_err().to_string().replace(dir.path().to_str().unwrap(), "d"), @"d: cannot read the fleet file: Is a directory (os error 21)");
}

#[test]
fn the_search_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_owned();
    let none = locate(None, |name| (name == "HOME").then(|| home.clone().into())).unwrap_err().to_string();
    insta::assert_snapshot!(none.replace(home.to_str().unwrap(), "~"), @"
    no fleet file found; looked at
      --fleet         not given
      $LBDECK_FLEET   not set
      working folder  no lbdeck.yaml
      configuration   no ~/.config/lbdeck/lbdeck.yaml
    hint: `lbdeck fleet init` makes one, `lbdeck lab` shows a fleet without one, --fleet FILE names one
    ");
    insta::assert_snapshot!(locate(Some(Path::new("/nowhere/f")), |_| None).unwrap_err().to_string(), @"
    /nowhere/f: no such fleet file (named by --fleet)
    hint: `lbdeck fleet init --write /nowhere/f` makes it
    ");

    let user = home.join(".config/lbdeck/lbdeck.yaml");
    std::fs::create_dir_all(user.parent().unwrap()).unwrap();
    std::fs::write(&user, "").unwrap();
    assert_eq!(locate(None, |name| (name == "HOME").then(|| home.clone().into())).unwrap(), user);
    let xdg = home.join(".config");
    assert_eq!(locate(None, |name| (name == "XDG_CONFIG_HOME").then(|| xdg.clone().into())).unwrap(), user);
    assert_eq!(locate(None, |name| (name == "LBDECK_FLEET").then(|| user.clone().into())).unwrap(), user);
    assert!(locate(None, |name| (name == "LBDECK_FLEET").then(|| "/nowhere".into())).is_err());
}

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
    fn never_panics_on_any_text(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn any_text_that_is_written_reads_back(name in "[^\\p{C}/*?\\[\\]{}!,\\\\\"'\\s-][^\\p{C}/*?\\[\\]{}!,\\\\\"'\\s]{0,12}", tag in "[a-z0-9:#&~=<>.-]{1,6}", user in "[^\\p{C}\\s-][^\\p{C}\\s]{0,8}", port: u16) {
        let mut fleet = read("nodes: [{name: a, ssh: true}, {name: b, local: true}]").unwrap();
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

    #[test]
    fn never_panics_on_mutations(at in 0usize..FULL.len(), cut in 0usize..40, with in "[-:{}\\[\\]&*!|>'\"%@`#,? \n\ta1\u{e9}\u{1b}]{0,6}") {
        let mut text: String = FULL.chars().take(at).collect();
        text.push_str(&with);
        text.extend(FULL.chars().skip(at + cut));
        if let Err(error) = read(&text) {
            let shown = error.to_string();
            proptest::prop_assert!(!shown.contains('\u{1b}'), "{}", shown);
        }
    }
}
