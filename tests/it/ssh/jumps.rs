//! ProxyJump through a second sshd, and ProxyCommand.

use std::sync::Arc;

use lbdeck::config::SshSpec;
use lbdeck::transport::{Limits, SshTransport, Transport, TransportError};

use super::{Home, refusal, says};
use crate::support::sshd::{Sshd, SshdOptions};

fn logged_on(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[tokio::test]
async fn nodes_behind_one_jump_share_its_connection() {
    let (jump, one, two) = (Sshd::start(), Sshd::start(), Sshd::start());
    let config =
        format!("{}{}{}Host one two\n  ProxyJump jump\n", one.ssh_config("one"), two.ssh_config("two"), jump.ssh_config("jump"));
    let home = Home::new(&config);
    let (first, second) = (home.transport("one"), home.transport("two"));
    tokio::join!(says(&first, &["true"]), says(&second, &["true"]));
    assert_eq!((logged_on(&jump), logged_on(&one), logged_on(&two)), (1, 1, 1));
    let out = first.run(&["head", "-c", "3000000", "/dev/zero"], b"", Limits::default()).await.unwrap();
    assert_eq!(out.stdout.len(), 3_000_000);
}

#[tokio::test]
async fn a_chain_of_jumps() {
    let (a, b, node) = (Sshd::start(), Sshd::start(), Sshd::start());
    let config = format!("{}{}{}", a.ssh_config("a"), b.ssh_config("b"), node.ssh_config("node"));
    let home = Home::new(&config);
    let spec = SshSpec { host: "node".into(), proxy_jump: Some("a,b".into()), ..SshSpec::default() };
    let transport = SshTransport::new(&spec, Arc::clone(&home.env)).unwrap();
    says(&transport, &["true"]).await;
    assert_eq!((logged_on(&a), logged_on(&b), logged_on(&node)), (1, 1, 1));
}

#[tokio::test]
async fn a_jump_that_is_down_is_named() {
    let (mut jump, node) = (Sshd::start(), Sshd::start());
    let config = format!("{}{}Host node\n  ProxyJump jump\n", node.ssh_config("node"), jump.ssh_config("jump"));
    jump.stop();
    let error = refusal(&Home::new(&config), "node").await;
    let named = format!("ProxyJump ssh {}@127.0.0.1:{} is down", crate::support::sshd::user(), jump.port());
    assert!(error.to_string().contains(&named) && error.is_transient(), "{error}");

    jump.start_again();
    let mut node = node;
    node.stop();
    let error = refusal(&Home::new(&config), "node").await;
    assert!(error.to_string().contains("as seen from the jump host") && !error.to_string().contains("is down"), "{error}");
}

#[tokio::test]
async fn a_jump_that_forbids_forwarding_and_a_loop() {
    let jump = Sshd::with(SshdOptions { extra: "AllowTcpForwarding no".into(), ..SshdOptions::default() });
    let node = Sshd::start();
    let config = format!("{}{}Host node\n  ProxyJump jump\n", node.ssh_config("node"), jump.ssh_config("jump"));
    let error = refusal(&Home::new(&config), "node").await;
    assert!(matches!(error, TransportError::Denied { .. }) && error.hint().unwrap().contains("AllowTcpForwarding"), "{error}");

    let home = Home::new(&format!("{}Host *\n  ProxyJump jump\n", node.ssh_config("node")));
    let spec = SshSpec { host: "node".into(), ..SshSpec::default() };
    let error = SshTransport::new(&spec, Arc::clone(&home.env)).unwrap_err();
    assert!(error.to_string().contains("ProxyJump goes round in a circle (at jump)"), "{error}");
}

#[tokio::test]
async fn proxy_command_carries_the_connection() {
    let node = Sshd::start();
    let config = format!("{}  ProxyCommand socat - 'TCP:%h:%p' 2>/dev/null\n", node.ssh_config("node"));
    let home = Home::new(&config);
    says(&home.transport("node"), &["true"]).await;
    let broken = Home::new(&config.replace("socat - ", "false "));
    let error = refusal(&broken, "node").await;
    assert!(error.to_string().contains("ProxyCommand") && error.is_transient(), "{error}");
}
