//! Fleets of haproxy behind real sshd, through the program: verbs in a script, and the console with what a connection asks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use portable_pty::CommandBuilder;

use crate::support::app::{App, HeldRequest};
use crate::support::fleet::Fleet;
use crate::support::haproxy::{Haproxy, Pool};
use crate::support::sshd::{Sshd, keygen, user};
use crate::support::terminal::Terminal;
use crate::support::wait::until;

const LONG: Duration = Duration::from_secs(30);

struct Node {
    sshd: Sshd,
    haproxy: Haproxy,
}

fn node(app: &App) -> Node {
    let pool = Pool::new("web").server("s1", app.addr, "").server("s2", app.addr, "").server("s3", app.addr, "");
    Node { sshd: Sshd::start(), haproxy: Haproxy::builder().pool(pool).start() }
}

fn fleet_of(nodes: &[Node]) -> Fleet {
    let with = |fleet: Fleet, (n, node): (usize, &Node)| fleet.ssh(&format!("lb{}", n + 1), &node.sshd, &node.haproxy.socket());
    nodes.iter().enumerate().fold(Fleet::new(), with)
}

fn status(node: &Node, server: &str) -> String {
    node.haproxy.stat("web", server, "status")
}

#[test]
fn a_server_is_drained_on_every_node_waited_for_and_given_back() {
    let app = App::start("app");
    let nodes = [node(&app), node(&app)];
    let fleet = fleet_of(&nodes);
    let held: Vec<HeldRequest> = (0..3).map(|_| HeldRequest::open(nodes[1].haproxy.frontend("web"))).collect();
    assert_eq!(nodes[1].haproxy.stat("web", "s2", "scur"), "1");

    let dry = fleet.run(&["server", "drain", "web/s2", "--dry-run", "--reason", "kernel"]).exits(0);
    assert_eq!(dry.stdout.matches("set server web/s2 state drain").count(), 2, "{}", dry.stdout);
    assert_eq!(status(&nodes[0], "s2"), "no check", "a dry run sends nothing");

    let drain = fleet.spawn(&["server", "drain", "web/s2", "--yes", "--reason", "kernel", "--for", "2h", "--deadline", "60s"]);
    for n in &nodes {
        until("drained on both", LONG, || (status(n, "s2") == "DRAIN").then_some(()));
    }
    app.release();
    drop(held);
    drain.finish().exits(0);
    let leases = fleet.run(&["lease", "list", "-o", "json"]).exits(0).json();
    assert_eq!(leases.to_string().matches("kernel").count(), 1, "{leases}");
    let audit = fleet.run(&["audit", "-o", "json"]).exits(0).json();
    assert!(audit.to_string().contains("web/s2") && audit.to_string().contains(&user()), "{audit}");
    fleet.run(&["undo", "last", "--yes"]).exits(0);
    for n in &nodes {
        assert_eq!(status(n, "s2"), "no check");
    }
    assert_eq!(fleet.run(&["lease", "list", "-o", "json"]).exits(0).json().to_string().matches("kernel").count(), 0);
}

#[test]
fn a_node_whose_sshd_is_down_is_not_drained_and_the_others_are() {
    let app = App::start("app");
    let mut nodes = [node(&app), node(&app)];
    let fleet = fleet_of(&nodes);
    nodes[1].sshd.stop();
    fleet.run(&["server", "drain", "web/s1", "--yes", "--reason", "test", "--deadline", "20s"]).exits(1).says("lb2");
    assert_eq!((status(&nodes[0], "s1"), status(&nodes[1], "s1")), ("DRAIN".into(), "no check".into()));
}

/// The console on a fleet file in `dir`, whose ssh block has these lines.
fn console(dir: &Path, n: &Node, ssh: &str) -> Terminal {
    let file = dir.join("lbdeck.yaml");
    let text = format!(
        "settings: {{refresh: 200ms, timeout: 2s}}\nnodes:\n  - name: lb1\n    address: 127.0.0.1\n    lock_dir: {}\n    ssh: {{port: {}, user: {}, {ssh}}}\n    engines: {{haproxy: {{socket: {}}}}}\n",
        dir.join("locks").display(),
        n.sshd.port(),
        user(),
        n.haproxy.socket().display()
    );
    fs::write(&file, text).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lbdeck"));
    command.arg("--fleet");
    command.arg(&file);
    command.arg("tui");
    command.env("LBDECK_STATE", dir.join("state"));
    command.env("HOME", dir);
    command.env_remove("SSH_AUTH_SOCK");
    Terminal::start(command, (120, 40))
}

#[test]
fn the_console_asks_about_a_new_host_key_and_remembers_the_answer() {
    let app = App::start("app");
    let mut n = node(&app);
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known_hosts");
    let ssh = format!("identity_file: {}, known_hosts: {}", n.sshd.client_key().display(), known.display());
    let mut lbdeck = console(dir.path(), &n, &ssh);
    lbdeck.sees("SHA256:");
    assert!(!known.exists() || fs::read_to_string(&known).unwrap().is_empty(), "nothing is believed before the answer");
    lbdeck.press("y");
    lbdeck.sees("1 fresh");
    lbdeck.press("q");
    assert_eq!(lbdeck.ends(), 0);
    let line = n.sshd.known_hosts_line();
    let key = line.split_whitespace().nth(2).unwrap();
    assert!(fs::read_to_string(&known).unwrap().contains(key));

    // Another key under the same name: refused, whatever anybody would answer.
    n.sshd.new_host_keys();
    n.sshd.stop();
    n.sshd.start_again();
    let mut lbdeck = console(dir.path(), &n, &ssh);
    lbdeck.sees("changed");
    lbdeck.press("q");
    assert_eq!(lbdeck.ends(), 0);
    assert_eq!(fs::read_to_string(&known).unwrap().lines().count(), 1);
}

#[test]
fn the_console_asks_for_a_passphrase_and_never_shows_it() {
    let app = App::start("app");
    let n = node(&app);
    let dir = tempfile::tempdir().unwrap();
    let (key, known) = (dir.path().join("locked"), dir.path().join("known_hosts"));
    keygen("ed25519", &key, "open sesame");
    n.sshd.authorize(&fs::read_to_string(key.with_extension("pub")).unwrap());
    fs::write(&known, n.sshd.known_hosts_line()).unwrap();
    let ssh = format!("identity_file: {}, known_hosts: {}", key.display(), known.display());
    let mut lbdeck = console(dir.path(), &n, &ssh);
    lbdeck.sees("Passphrase of");
    lbdeck.press("wrong");
    lbdeck.sees("•••••");
    lbdeck.press("\r");
    lbdeck.sees_that("the question again", |text| text.contains("Passphrase of") && !text.contains('•'));
    lbdeck.press("open sesame\r");
    lbdeck.sees("1 fresh");
    assert!(!lbdeck.written().contains("sesame"));
    lbdeck.press("q");
    assert_eq!(lbdeck.ends(), 0);
}
