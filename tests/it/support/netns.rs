//! Network namespaces for tests: named after the test process, removed when dropped. Traffic never leaves them.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// One namespace with `lo` up.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

/// Two runs of the tests, and two tests of a run, must not meet.
pub fn unique_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("lbt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs argv, which must succeed.
#[track_caller]
pub fn sh(argv: &[&str]) -> Output {
    let out = Command::new(argv[0]).args(&argv[1..]).output().unwrap_or_else(|e| panic!("{argv:?}: {e}"));
    assert!(out.status.success(), "{argv:?}: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    out
}

impl Netns {
    pub fn new(name: &str) -> Netns {
        sh(&["ip", "netns", "add", name]);
        let ns = Netns { name: name.to_owned() };
        ns.ip(&["link", "set", "lo", "up"]);
        ns
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// For `setns`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// `ip -n NAME …`, which must succeed.
    #[track_caller]
    pub fn ip(&self, words: &[&str]) -> String {
        let argv: Vec<&str> = ["ip", "-n", &self.name].into_iter().chain(words.iter().copied()).collect();
        String::from_utf8(sh(&argv).stdout).unwrap()
    }

    /// A command inside; `ip` becomes the program, so its pid is the program's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs argv inside, which must succeed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let argv: Vec<&str> = ["ip", "netns", "exec", &self.name].into_iter().chain(words.iter().copied()).collect();
        String::from_utf8(sh(&argv).stdout).unwrap()
    }

    /// Joined to a bridge in another namespace as `eth0`, with an address.
    pub fn plug(&self, switch: &Netns, port: &str, address: &str) {
        switch.ip(&["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", &self.name]);
        switch.ip(&["link", "set", port, "master", "br0", "up"]);
        self.ip(&["addr", "add", address, "dev", "eth0", "nodad"]);
        self.ip(&["link", "set", "eth0", "up"]);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A bridge in a namespace of its own: the switch between the nodes.
pub fn switch(name: &str) -> Netns {
    let switch = Netns::new(name);
    switch.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0"]);
    switch.ip(&["link", "set", "br0", "up"]);
    switch
}
