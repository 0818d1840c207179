//! `fleet init`: hosts of an ssh configuration, an inventory or by hand become a file that the next verb reads.
//!
//! Other tests run haproxies of their own on the same machine, and a look at the machine finds them too: what is asserted is
//! that ours is among them.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lbdeck::config::{self, HaproxyAccess, NodeSpec, Reach};
use portable_pty::CommandBuilder;

use crate::support::haproxy::{Haproxy, Pool};
use crate::support::sshd::{Sshd, user};
use crate::support::terminal::Terminal;

/// A home folder and a working folder of its own.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("home/.ssh")).unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        Self { dir }
    }
    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }
    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }
    fn file(&self) -> PathBuf {
        self.work().join("lbdeck.yaml")
    }
    fn init(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lbdeck"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home())
            .current_dir(self.work())
            .args(["fleet", "init"])
            .args(words)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    }
}

#[track_caller]
fn exits(out: &Output, code: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(code), "{said}");
    said
}

/// The node whose haproxy is ours.
#[track_caller]
fn ours(file: &Path, haproxy: &Haproxy) -> NodeSpec {
    let fleet = config::load(file).unwrap_or_else(|e| panic!("{e}"));
    let is_ours =
        |n: &&NodeSpec| matches!(&n.haproxy.as_ref().unwrap().access, HaproxyAccess::Socket(p) if *p == haproxy.socket());
    let text = fs::read_to_string(file).unwrap();
    fleet.nodes.iter().find(is_ours).unwrap_or_else(|| panic!("our haproxy is missing in\n{text}")).clone()
}

fn haproxy() -> Haproxy {
    Haproxy::builder().pool(Pool::new("web").idle_servers("w", 2)).master_worker().start()
}

#[test]
fn from_the_ssh_configuration() {
    let (desk, sshd, haproxy) = (Desk::new(), Sshd::start(), haproxy());
    fs::write(desk.home().join(".ssh/config"), format!("{}\nHost *.wild\n  User x\nHost other\n", sshd.ssh_config("edge1")))
        .unwrap();
    exits(&desk.init(&["--from-ssh-config", "--only", "edge*"]), 0);
    let node = ours(&desk.file(), &haproxy);
    assert!(node.meta.name.as_str().starts_with("edge1"), "{node:?}");
    assert!(matches!(&node.reach, Reach::Ssh(s) if s.host == "edge1"), "{node:?}");
    let spec = node.haproxy.unwrap();
    assert_eq!((spec.master_socket, spec.config_file), (Some(haproxy.master_socket()), Some(haproxy.config_file())));
    assert!(fs::read_to_string(desk.file()).unwrap().contains("# haproxy 2."));

    // A file that is there stays, unless --force says otherwise.
    fs::write(desk.file(), "mine").unwrap();
    assert!(exits(&desk.init(&["--from-ssh-config", "--only", "edge*"]), 2).contains("--force replaces it"));
    assert_eq!(fs::read_to_string(desk.file()).unwrap(), "mine");
    exits(&desk.init(&["--from-ssh-config", "--only", "edge*", "--force"]), 0);
    ours(&desk.file(), &haproxy);
}

#[test]
fn from_another_ssh_configuration() {
    let (desk, sshd, haproxy) = (Desk::new(), Sshd::start(), haproxy());
    let given = desk.work().join("ssh.conf");
    fs::write(&given, sshd.ssh_config("edge1")).unwrap();
    exits(&desk.init(&["--from-ssh-config", given.to_str().unwrap()]), 0);
    let node = ours(&desk.file(), &haproxy);
    assert!(matches!(&node.reach, Reach::Ssh(s) if s.config_file.as_deref() == Some(&*given)), "{node:?}");
}

#[test]
fn from_an_ansible_inventory() {
    let (desk, sshd, haproxy) = (Desk::new(), Sshd::start(), haproxy());
    fs::write(desk.home().join(".ssh/known_hosts"), sshd.known_hosts_line()).unwrap();
    let inventory = desk.work().join("inventory.ini");
    fs::write(&inventory, "[edge]\nlb1\n[prod:children]\nedge\n[web]\napp1 ansible_host=192.0.2.1\n").unwrap();
    fs::create_dir(desk.work().join("group_vars")).unwrap();
    let vars = format!(
        "ansible_host: 127.0.0.1\nansible_port: {}\nansible_user: {}\nansible_ssh_private_key_file: {}\n",
        sshd.port(),
        user(),
        sshd.client_key().display()
    );
    fs::write(desk.work().join("group_vars/edge.yml"), vars).unwrap();
    exits(&desk.init(&["--from-ansible", "inventory.ini", "--only", "prod"]), 0);
    let node = ours(&desk.file(), &haproxy);
    assert_eq!(node.meta.groups, ["edge", "prod"]);
    assert_eq!(node.meta.address, "127.0.0.1");
    assert!(matches!(&node.reach, Reach::Ssh(s) if s.port == Some(sshd.port())), "{node:?}");
    assert!(!fs::read_to_string(desk.file()).unwrap().contains("app1"));
}

#[test]
fn an_inventory_that_is_wrong_shows_the_line() {
    let desk = Desk::new();
    fs::write(desk.work().join("inv.ini"), "[edge]\nlb1 oops\n").unwrap();
    let said = exits(&desk.init(&["--from-ansible", "inv.ini"]), 2);
    assert!(said.contains("inv.ini:2:1: 'oops' is not name=value"), "{said}");
    assert!(exits(&desk.init(&["--from-ansible", "."]), 2).contains("it is a folder"));
    assert!(exits(&desk.init(&["--from-ansible", "none.ini"]), 2).contains("No such file"));
    assert!(!desk.file().exists());
}

#[test]
fn a_host_that_cannot_be_reached_is_kept_and_marked() {
    let desk = Desk::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = exits(&desk.init(&["--host", &closed.to_string(), "--timeout", "2s"]), 0);
    assert!(said.contains("unreachable"), "{said}");
    let text = fs::read_to_string(desk.file()).unwrap();
    assert!(text.contains("could not be reached when this was written"), "{text}");
    config::load(&desk.file()).unwrap();
}

#[test]
fn without_looking_and_to_stdout() {
    let desk = Desk::new();
    let out = desk.init(&["--host", "lb1", "ops@lb2:2222", "[2001:db8::1]:22", "--no-probe", "--write", "-"]);
    exits(&out, 0);
    insta::assert_snapshot!(String::from_utf8_lossy(&out.stdout), @r#"
    # Fleet file of lbdeck, made by `lbdeck fleet init` from hosts given by hand.
    # All keys are told in docs/fleet-file.md; `lbdeck fleet check` verifies what stands here.
    version: 1

    # What every node takes that says nothing else itself.
    defaults:
      ssh: true
      haproxy: {socket: /run/haproxy/admin.sock}

    nodes:
      - name: lb1
      - name: lb2
        ssh: {user: ops, port: 2222}
      - name: "2001:db8::1"
        ssh: {port: 22}

    # Floors and confirmation for pools; the first policy that matches holds.
    # policies:
    #   - {pool: "web*", min_healthy: 50%, confirm: typed}
    "#);
    assert!(!desk.file().exists());
}

#[test]
fn a_script_must_say_where_hosts_come_from() {
    let said = exits(&Desk::new().init(&[]), 2);
    assert!(said.contains("--from-ssh-config, --from-ansible INVENTORY or --host NAME"), "{said}");
}

#[test]
fn in_a_terminal_it_asks() {
    let (desk, haproxy) = (Desk::new(), haproxy());
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lbdeck"));
    command.args(["fleet", "init"]);
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", desk.home());
    command.cwd(desk.work());
    let mut terminal = Terminal::start(command, (160, 40));
    for (question, answer) in
        [("Nodes come from", "\x1b[B\x1b[B\r"), ("separated by blanks", "local\r"), ("Write the fleet file to", "\r")]
    {
        terminal.wrote(question);
        terminal.press(answer);
    }
    let (code, said) = terminal.ends_with();
    assert_eq!(code, 0, "{said}");
    assert_eq!(ours(&desk.file(), &haproxy).reach, Reach::Local);
    assert!(said.contains("fleet check"), "next steps are told");
}
