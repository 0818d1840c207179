//! What every connection does: log on, run, forward, handle files.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lbdeck::transport::{Endpoint, Limits, Transport, TransportError};

use super::{Home, SECONDS, echo_server, says, through};
use crate::support::sshd::{Agent, Sshd, keygen, user};

/// The helper itself, seen with OpenSSH's own client: a key, an agent's key, a stop and a start.
#[test]
fn sshd_of_the_tests_works() {
    let mut sshd = Sshd::start();
    let config = sshd.dir().join("config");
    std::fs::write(&config, sshd.ssh_config("node")).unwrap();
    let ssh = || {
        let out =
            Command::new("ssh").args(["-o", "BatchMode=yes", "-F"]).arg(&config).args(["node", "id", "-un"]).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    assert_eq!(ssh(), (Some(0), user()), "{}", sshd.log());
    sshd.stop();
    assert_eq!(ssh().0, Some(255));
    assert!(std::net::TcpStream::connect(("127.0.0.1", sshd.port())).is_err());
    sshd.start_again();

    let mut held = Command::new("ssh");
    held.arg("-F").arg(&config).args(["node", "echo up; cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut held = held.spawn().unwrap();
    held.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    sshd.drop_connections();
    assert_eq!(held.wait().unwrap().code(), Some(255));
    assert_eq!(ssh().0, Some(0), "the server itself goes on");

    let other = sshd.dir().join("other");
    keygen("ed25519", &other, "");
    sshd.authorize(&std::fs::read_to_string(other.with_extension("pub")).unwrap());
    let agent = Agent::start(&[&other]);
    std::fs::remove_file(sshd.client_key()).unwrap();
    std::fs::remove_file(&other).unwrap();
    let text = sshd.ssh_config("node").replace("IdentitiesOnly yes", "IdentitiesOnly no");
    std::fs::write(&config, format!("{text}  IdentityAgent {}\n", agent.socket().display())).unwrap();
    assert_eq!(ssh(), (Some(0), user()), "{}", sshd.log());

    sshd.stop();
    sshd.new_host_keys();
    sshd.start_again();
    assert_eq!(ssh().0, Some(255), "OpenSSH refuses the changed host key");
}

#[tokio::test]
async fn a_key_file_logs_on_and_argv_arrives_as_it_was() {
    let sshd = Sshd::start();
    let home = Home::new(&sshd.ssh_config("node"));
    let node = home.transport("node");
    assert_eq!(node.describe(), format!("ssh {}@127.0.0.1:{}", user(), sshd.port()));
    let words = ["a b", "it's", "\"q\"", "$(id) `id` $HOME", "*", "new\nline", "", "a=b", "~", "\\", "-n", "ü"];
    let mut argv = vec!["printf", "%s|"];
    argv.extend(words);
    assert_eq!(says(&node, &argv).await, words.join("|") + "|");
    let out = node.run(&["sh", "-c", "cat; echo oops >&2; exit 7"], b"input", Limits::default()).await.unwrap();
    assert_eq!((out.status, out.stdout, out.stderr), (Some(7), b"input".to_vec(), b"oops\n".to_vec()));
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "one connection for all");
}

#[tokio::test]
async fn unix_sockets_by_streamlocal() {
    let sshd = Sshd::start();
    let home = Home::new(&sshd.ssh_config("node"));
    let node = home.transport("node");
    let path = sshd.dir().join("echo.sock");
    let _echo = echo_server(&path);
    let endpoint = Endpoint::Unix(path.clone());
    let big: Vec<u8> = (0..5_000_000u32).map(|i| i as u8).collect();
    assert_eq!(through(&node, &endpoint, &big).await, big);
    assert_eq!(node.way(&endpoint), "streamlocal");

    let missing = node.open(&Endpoint::Unix(sshd.dir().join("none")), SECONDS).await.map(drop).unwrap_err();
    assert!(matches!(missing, TransportError::NotFound { .. }), "{missing}");
    let dead = sshd.dir().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let refused = node.open(&Endpoint::Unix(dead), SECONDS).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("nobody listens"), "{refused}");
}

#[tokio::test]
async fn files_over_sftp() {
    let sshd = Sshd::start();
    let home = Home::new(&sshd.ssh_config("node"));
    let node = home.transport("node");
    let files = node.files().unwrap();
    let dir = sshd.dir().join("locks");
    assert!(files.list(&dir).await.unwrap().is_empty());
    files.ensure_dir(&dir, 0o777).await.unwrap();
    files.ensure_dir(&dir, 0o777).await.unwrap();
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o777);
    let path = dir.join("a");
    assert!(files.create_new(&path, b"one", 0o666).await.unwrap());
    assert!(!files.create_new(&path, b"two", 0o666).await.unwrap());
    assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o666));
    let big: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
    files.write_atomic(&path, &big, 0o640).await.unwrap();
    assert_eq!((std::fs::read(&path).unwrap() == big, mode(&path)), (true, 0o640));
    assert!(files.read(&path, big.len()).await.unwrap() == big);
    assert!(matches!(files.read(&path, 1000).await, Err(TransportError::TooLarge { .. })));
    assert_eq!(files.list(&dir).await.unwrap(), ["a"], "nothing temporary is left");
    let stat = files.stat(&path).await.unwrap().unwrap();
    assert!((stat.size, stat.is_dir) == (3_000_000, false) && stat.mtime > 1_600_000_000);
    assert_eq!(files.stat(&dir.join("b")).await.unwrap(), None);
    assert!(files.remove(&path).await.unwrap() && !files.remove(&path).await.unwrap());
    assert!(files.create_new(&path, b"", 0o600).await.unwrap());
    assert_eq!(files.read(&path, 10).await.unwrap(), b"");
    assert!(!files.read(Path::new("/proc/self/status"), 100_000).await.unwrap().is_empty());
    for i in 0..300 {
        std::fs::write(dir.join(format!("f{i}")), "").unwrap();
    }
    assert_eq!(files.list(&dir).await.unwrap().len(), 301);
    assert!(matches!(files.write_atomic(&dir.join("no/x"), b"", 0o600).await, Err(TransportError::NotFound { .. })));

    let lock = dir.join("lock");
    let tries = (0..50).map(|i: u32| async move { (i, i.to_string()) }).map(|t| async {
        let (_, text) = t.await;
        files.create_new(&lock, text.as_bytes(), 0o600).await.unwrap()
    });
    let won = futures::future::join_all(tries).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1, "exactly one holds the lock");
}
