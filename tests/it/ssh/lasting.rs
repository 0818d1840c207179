//! Connections over time: shared, lost, made again; and bounds on what a node can do to us.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use lbdeck::transport::{Endpoint, Limits, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{Home, SECONDS, echo_server, says, through};
use crate::support::sshd::Sshd;
use crate::support::wait::until_async;

#[tokio::test]
async fn many_calls_share_one_connection() {
    let sshd = Sshd::start();
    let node = Home::new(&sshd.ssh_config("node")).transport("node");
    let path = sshd.dir().join("echo.sock");
    let _echo = echo_server(&path);
    let endpoint = Endpoint::Unix(path);
    let calls = (0..100usize).map(|i| {
        let (node, endpoint) = (&node, &endpoint);
        async move {
            let text = i.to_string().repeat(1000);
            if i % 2 == 0 {
                assert_eq!(through(node, endpoint, text.as_bytes()).await, text.as_bytes());
            } else {
                assert_eq!(says(node, &["echo", &text]).await.trim(), text);
            }
        }
    });
    futures::future::join_all(calls).await;
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn a_connection_that_drops_is_an_error_and_is_made_again() {
    let mut sshd = Sshd::start();
    let node = Home::new(&sshd.ssh_config("node")).transport("node");
    let path = sshd.dir().join("echo.sock");
    let _echo = echo_server(&path);
    let mut stream = node.open(&Endpoint::Unix(path.clone()), SECONDS).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    sshd.drop_connections();
    // Not an end of file: half an answer must not pass for a whole one.
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    says(&node, &["true"]).await;

    sshd.stop();
    let refused = until_async("the loss is noticed", SECONDS, || async {
        let error = node.run(&["true"], b"", Limits::default()).await.err()?;
        error.to_string().contains("refused").then_some(error)
    });
    let error = refused.await;
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    // The longer it is down, the longer the pause between attempts: calls fail at once meanwhile, with the last error.
    let mut in_a_row = 0;
    while in_a_row < 20 {
        let begun = Instant::now();
        let again = node.run(&["true"], b"", Limits::default()).await.unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        in_a_row = if begun.elapsed() < Duration::from_millis(1) { in_a_row + 1 } else { 0 };
    }
    sshd.start_again();
    until_async("it connects again", SECONDS, || async { node.run(&["true"], b"", Limits::default()).await.ok() }).await;
}

#[tokio::test]
async fn output_is_bounded() {
    let sshd = Sshd::start();
    let node = Home::new(&sshd.ssh_config("node")).transport("node");
    let limits = Limits { output: 1 << 20, ..Limits::default() };
    let out = node.run(&["head", "-c", "100000000", "/dev/zero"], b"", limits).await.unwrap();
    assert_eq!((out.stdout.len(), out.truncated), (1 << 20, true));
    let begun = Instant::now();
    let out = node.run(&["yes"], b"", limits).await.unwrap();
    assert!(out.truncated && begun.elapsed() < SECONDS);

    // 100 MB from a socket: whoever reads stops when there is enough, and the connection is as good as before.
    let path = sshd.dir().join("big.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let big = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let block = vec![b'x'; 1 << 20];
        let mut sent = 0;
        while sent < 100 && stream.write_all(&block).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let stream = node.open(&Endpoint::Unix(path), SECONDS).await.unwrap();
    let mut some = Vec::new();
    stream.take(5 << 20).read_to_end(&mut some).await.unwrap();
    assert_eq!(some.len(), 5 << 20);
    assert!(big.await.unwrap() < 100, "the rest was not sent");
    says(&node, &["true"]).await;
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn a_socket_that_never_answers_holds_nobody_up() {
    let sshd = Sshd::start();
    let node = Home::new(&sshd.ssh_config("node")).transport("node");
    let path = sshd.dir().join("silent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut stream = node.open(&Endpoint::Unix(path), SECONDS).await.unwrap();
    stream.write_all(b"show stat\n").await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    far.read_exact(&mut [0; 10]).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await.is_err(), "nothing comes");
    says(&node, &["true"]).await;
    drop(stream);
    // Dropping it closes it on the node.
    assert_eq!(tokio::time::timeout(SECONDS, far.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_deadline_ends_the_command_on_the_node() {
    let sshd = Sshd::start();
    let node = Home::new(&sshd.ssh_config("node")).transport("node");
    says(&node, &["true"]).await;
    let mark = format!("{}.5", 100_000 + u32::from(sshd.port()));
    let limits = Limits { deadline: Duration::from_millis(500), ..Limits::default() };
    // OpenSSH passes signals on to commands of any user but root; the closed channel ends those that write.
    let error = node.run(&["sh", "-c", "while echo x; do sleep 0.05; done", &mark], b"", limits).await.unwrap_err();
    assert!(matches!(&error, TransportError::Timeout { doing, .. } if doing == "running sh"), "{error}");
    until_async("the command has ended", SECONDS, || async {
        let running = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line.ends_with(format!("\0{mark}\0").as_bytes()))
        });
        (!running).then_some(())
    })
    .await;
    says(&node, &["true"]).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_ends_at_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = Home::new(&format!("Host node\n  HostName 127.0.0.1\n  Port {port}\n"));
    let limits = Limits { deadline: Duration::from_millis(200), ..Limits::default() };
    let node = home.transport("node");
    for _ in 0..2 {
        let error = node.run(&["true"], b"", limits).await.unwrap_err();
        assert!(matches!(&error, TransportError::Timeout { doing, .. } if doing == "connecting"), "{error}");
    }
}

#[tokio::test]
async fn keep_alive_notices_a_server_that_has_fallen_silent() {
    let sshd = Sshd::start();
    let config = format!("ServerAliveInterval 1\nServerAliveCountMax 1\n{}", sshd.ssh_config("node"));
    let node = Home::new(&config).transport("node");
    let path = sshd.dir().join("echo.sock");
    let _echo = echo_server(&path);
    let mut stream = node.open(&Endpoint::Unix(path), SECONDS).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    sshd.freeze_connections();
    let lost = tokio::time::timeout(SECONDS, stream.read_u8()).await.expect("noticed").unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
    says(&node, &["true"]).await;
}

/// With no keep-alive in time, a call that runs out of time is enough to ask the server whether it is still there.
#[tokio::test]
async fn a_silent_connection_is_replaced_after_a_timeout() {
    let sshd = Sshd::start();
    let node = Home::new(&sshd.ssh_config("node")).transport("node");
    says(&node, &["true"]).await;
    sshd.freeze_connections();
    let short = Limits { deadline: Duration::from_millis(300), ..Limits::default() };
    assert!(matches!(node.run(&["true"], b"", short).await, Err(TransportError::Timeout { .. })));
    until_async("another connection works", SECONDS, || async { node.run(&["true"], b"", Limits::default()).await.ok() }).await;
}
