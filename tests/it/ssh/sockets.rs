//! Sockets of the node: permissions, and the ways round an sshd that forbids forwarding.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lbdeck::transport::{Endpoint, SshTransport, Transport, TransportError};
use nix::unistd::Uid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Home, SECONDS, echo_server};
use crate::support::sshd::{Sshd, SshdOptions, user};

/// A node that forbids streamlocal forwarding and has only some commands.
struct Forbidding {
    sshd: Sshd,
    _commands: tempfile::TempDir,
}

fn forbidding(commands: &[&str]) -> Forbidding {
    let dir = tempfile::tempdir().unwrap();
    for name in commands {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), dir.path().join(name)).unwrap();
    }
    let extra = format!("SetEnv SHLVL=5 PATH={}", dir.path().display());
    Forbidding { sshd: Sshd::with(SshdOptions { streamlocal: false, extra, ..SshdOptions::default() }), _commands: dir }
}

async fn echoes(node: &SshTransport, path: &Path) {
    let mut stream = node.open(&Endpoint::Unix(path.into()), SECONDS).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

async fn failure(node: &SshTransport, path: &Path) -> TransportError {
    node.open(&Endpoint::Unix(path.into()), SECONDS).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn forbidden_forwarding_falls_back_to_socat_or_nc_and_says_so() {
    for (commands, way) in [(&["socat", "nc"][..], "exec socat"), (&["nc"][..], "exec nc")] {
        let node = forbidding(commands);
        let home = Home::new(&node.sshd.ssh_config("node"));
        let transport = home.transport("node");
        // A name that both the shell and socat would like to read their own way.
        let path = node.sshd.dir().join("a 'b',c:d$(id)!!.sock");
        let endpoint = Endpoint::Unix(path.clone());
        assert_eq!(transport.way(&endpoint), "");
        let _echo = echo_server(&path);
        echoes(&transport, &path).await;
        assert!(transport.way(&endpoint).starts_with(way), "{}", transport.way(&endpoint));
        let before = node.sshd.log().matches("refused streamlocal").count();
        echoes(&transport, &path).await;
        assert_eq!(node.sshd.log().matches("refused streamlocal").count(), before, "the way that works is remembered");

        let missing = failure(&transport, &node.sshd.dir().join("none")).await;
        assert!(matches!(missing, TransportError::NotFound { .. }), "{missing}");
        let dead = node.sshd.dir().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        // Once a command carries the stream, its complaint is the stream's error.
        let mut stream = transport.open(&Endpoint::Unix(dead), SECONDS).await.unwrap();
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_apart_where_forwarding_is_forbidden() {
    let node = forbidding(&["socat"]);
    let home = Home::new(&node.sshd.ssh_config("node"));
    let dead = node.sshd.dir().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let refused = failure(&home.transport("node"), &dead).await;
    assert!(refused.to_string().contains("nobody listens"), "{refused}");
    let missing = failure(&home.transport("node"), &node.sshd.dir().join("none")).await;
    assert!(matches!(missing, TransportError::NotFound { .. }), "{missing}");
    let file = node.sshd.dir().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(failure(&home.transport("node"), &file).await.to_string().contains("is not a socket"));

    let bare = forbidding(&[]);
    let path = bare.sshd.dir().join("echo.sock");
    let _echo = echo_server(&path);
    let home = Home::new(&bare.sshd.ssh_config("node"));
    let error = failure(&home.transport("node"), &path).await;
    assert!(matches!(error, TransportError::Denied { .. }), "{error}");
    assert!(error.hint().unwrap().contains("AllowStreamLocalForwarding yes") && error.hint().unwrap().contains("socat"));
}

/// As root, the ssh user is `nobody`; as anybody else, our own socket is closed to us.
#[tokio::test]
async fn permission_denied_is_not_a_forbidden_forwarding() {
    for streamlocal in [true, false] {
        let sshd = Sshd::with(SshdOptions { streamlocal, ..SshdOptions::default() });
        let path = sshd.dir().join("echo.sock");
        let _echo = echo_server(&path);
        let mut config = sshd.ssh_config("node");
        if Uid::effective().is_root() {
            // sshd reads the keys as the user who logs on.
            std::fs::set_permissions(sshd.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
            config = config.replace(&format!("User {}", user()), "User nobody");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        } else {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        let home = Home::new(&config);
        let error = failure(&home.transport("node"), &path).await;
        assert!(matches!(error, TransportError::Denied { .. }) && !error.is_transient(), "{error}");
        assert!(error.hint().unwrap().contains("mode 660 group"), "{error:?}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        if streamlocal {
            echoes(&home.transport("node"), &path).await;
        }
    }
}

#[tokio::test]
async fn tcp_from_the_node() {
    let sshd = Sshd::start();
    let node = Home::new(&sshd.ssh_config("node")).transport("node");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    let mut near = node.open(&endpoint, SECONDS).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    far.write_all(b"hello").await.unwrap();
    drop(far);
    let mut said = String::new();
    near.read_to_string(&mut said).await.unwrap();
    assert_eq!((said.as_str(), node.way(&endpoint).as_str()), ("hello", "direct-tcpip"));
    drop(listener);
    let refused = node.open(&endpoint, SECONDS).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("Connection refused"), "{refused}");
    assert!(node.open(&Endpoint::Tcp("nonsense".into()), SECONDS).await.is_err());

    let strict = Sshd::with(SshdOptions { extra: "AllowTcpForwarding no".into(), ..SshdOptions::default() });
    let node = Home::new(&strict.ssh_config("node")).transport("node");
    let denied = node.open(&endpoint, SECONDS).await.map(drop).unwrap_err();
    assert!(denied.hint().is_some_and(|h| h.contains("AllowTcpForwarding")), "{denied}");
}
