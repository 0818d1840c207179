//! The exact words of every kind of error.

use super::errors;

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

    f:8:21: a password must not stand in this file: it is shared, backed up and shown
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

    f:17:14: 'confirm': 'tiped' is not known
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
      = hint: the file is to be one document; remove the '---'
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
      = hint: keys: haproxy, relay, keepalived
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
    f:4:5: a password must not stand in this file: it is shared, backed up and shown
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
