//! The SSH transport against real sshd.

mod basics;
mod host_keys;
mod jumps;
mod lasting;
mod log_on;
mod sockets;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lbdeck::config::SshSpec;
use lbdeck::transport::{Endpoint, Limits, Prompt, SshEnv, SshTransport, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;

/// Long enough for a busy machine; no test waits it out.
const SECONDS: Duration = Duration::from_secs(20);

/// A prompt that gives the answers of a test, and remembers what it was asked.
#[derive(Default)]
struct Answers {
    accept_key: bool,
    secret: Option<String>,
    /// How long the person thinks.
    takes: Duration,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Prompt for Answers {
    async fn new_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool {
        self.asked.lock().unwrap().push(format!("{host} {key_type} {fingerprint}"));
        tokio::time::sleep(self.takes).await;
        self.accept_key
    }
    async fn secret(&self, question: &str) -> Option<String> {
        self.asked.lock().unwrap().push(question.into());
        self.secret.clone()
    }
    async fn text(&self, question: &str) -> Option<String> {
        self.asked.lock().unwrap().push(question.into());
        self.secret.clone()
    }
}

/// A home folder with an ssh configuration, and what connects by it.
struct Home {
    dir: tempfile::TempDir,
    env: Arc<SshEnv>,
    prompt: Arc<Answers>,
}

impl Home {
    fn new(config: &str) -> Self {
        Self::with(config, Answers::default(), None)
    }
    fn with(config: &str, prompt: Answers, agent: Option<PathBuf>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".ssh")).unwrap();
        std::fs::write(dir.path().join(".ssh/config"), config).unwrap();
        let prompt = Arc::new(prompt);
        let env = SshEnv::with(Arc::clone(&prompt) as Arc<dyn Prompt>, dir.path().into(), agent, "/nonexistent".into());
        Self { dir, env: Arc::new(env), prompt }
    }
    fn transport(&self, host: &str) -> SshTransport {
        SshTransport::new(&SshSpec { host: host.into(), ..SshSpec::default() }, Arc::clone(&self.env)).unwrap()
    }
}

async fn says(transport: &SshTransport, argv: &[&str]) -> String {
    let output = transport.run(argv, b"", Limits::default()).await.unwrap();
    assert_eq!(output.status, Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn refusal(home: &Home, host: &str) -> TransportError {
    home.transport(host).run(&["true"], b"", Limits::default()).await.unwrap_err()
}

/// Sends bytes and reads until the far side ends.
async fn through(node: &SshTransport, endpoint: &Endpoint, bytes: &[u8]) -> Vec<u8> {
    let stream = node.open(endpoint, SECONDS).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let mut back = Vec::new();
    let send = async {
        write.write_all(bytes).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let ((), result) = tokio::join!(send, read.read_to_end(&mut back));
    result.unwrap();
    back
}

/// Gives back what it gets, on each connection, until dropped.
fn echo_server(path: &Path) -> AbortOnDropHandle<()> {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    }))
}
