//! Who we are: keys in files and agents, passphrases, passwords.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lbdeck::config::{SecretRef, SshSpec};
use lbdeck::transport::{Limits, SshTransport, Transport, TransportError};
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, Config, Handler, Response, Server as _, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{Answers, Home, refusal, says};
use crate::support::sshd::{Agent, Sshd, keygen, user};

/// The server's block with another key, which the server knows.
fn with_key(sshd: &Sshd, name: &str, kind: &str, passphrase: &str) -> (std::path::PathBuf, String) {
    let key = sshd.dir().join(name);
    keygen(kind, &key, passphrase);
    sshd.authorize(&std::fs::read_to_string(key.with_extension("pub")).unwrap());
    let config = sshd.ssh_config("node");
    let lines = config.lines().filter(|l| !l.contains("IdentityFile")).map(|l| format!("{l}\n"));
    (key.clone(), lines.collect::<String>() + &format!("  IdentityFile {}\n", key.display()))
}

fn node(home: &Home, change: impl FnOnce(&mut SshSpec)) -> SshTransport {
    let mut spec = SshSpec { host: "node".into(), ..SshSpec::default() };
    change(&mut spec);
    SshTransport::new(&spec, Arc::clone(&home.env)).unwrap()
}

#[tokio::test]
async fn keys_of_each_type() {
    let sshd = Sshd::start();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let (_, config) = with_key(&sshd, &format!("key_{kind}"), kind, "");
        says(&Home::new(&config).transport("node"), &["true"]).await;
    }
    // The signature is never made with SHA-1.
    assert!(!sshd.log().contains("ssh-rsa SHA1"));
}

#[tokio::test]
async fn an_encrypted_key_asks_once_for_all_nodes() {
    let sshd = Sshd::start();
    for kind in ["ed25519", "rsa"] {
        let (key, config) = with_key(&sshd, &format!("locked_{kind}"), kind, "open sesame");
        let answers = Answers { secret: Some("open sesame".into()), ..Answers::default() };
        let home = Home::with(&config, answers, None);
        let nodes = [home.transport("node"), home.transport("node"), home.transport("node")];
        futures::future::join_all(nodes.iter().map(|n| says(n, &["true"]))).await;
        assert_eq!(*home.prompt.asked.lock().unwrap(), [format!("Passphrase of {}", key.display())]);
    }
}

#[tokio::test]
async fn a_passphrase_that_nobody_gives() {
    let sshd = Sshd::start();
    let (_, config) = with_key(&sshd, "locked", "ed25519", "open sesame");
    let error = refusal(&Home::new(&config), "node").await;
    assert!(error.to_string().contains("locked: encrypted, and its passphrase was not given"), "{error}");

    let wrong = Home::with(&config, Answers { secret: Some("wrong".into()), ..Answers::default() }, None);
    assert!(matches!(refusal(&wrong, "node").await, TransportError::Auth { .. }));
    assert_eq!(wrong.prompt.asked.lock().unwrap().len(), 3, "three tries");

    let home = Home::new(&config);
    let command = SecretRef::Command(vec!["echo".into(), "open sesame".into()]);
    says(&node(&home, |spec| spec.passphrase = Some(command)), &["true"]).await;
}

#[tokio::test]
async fn the_agents_keys() {
    let sshd = Sshd::start();
    let (key, config) = with_key(&sshd, "held", "ed25519", "");
    let agent = Agent::start(&[&key]);
    std::fs::remove_file(&key).unwrap();
    // Its public half is still beside it, which IdentitiesOnly needs to pick it.
    says(&Home::with(&config, Answers::default(), Some(agent.socket())).transport("node"), &["true"]).await;
    let by_config = format!("{config}  IdentityAgent {}\n", agent.socket().display());
    says(&Home::new(&by_config).transport("node"), &["true"]).await;

    std::fs::remove_file(key.with_extension("pub")).unwrap();
    let error = refusal(&Home::with(&config, Answers::default(), Some(agent.socket())), "node").await;
    assert!(error.to_string().contains("held: no such file"), "IdentitiesOnly leaves other keys of the agent out: {error}");
    let any = config.replace("IdentitiesOnly yes", "IdentitiesOnly no");
    says(&Home::with(&any, Answers::default(), Some(agent.socket())).transport("node"), &["true"]).await;
    let none = format!("{any}  IdentityAgent none\n");
    assert!(matches!(
        refusal(&Home::with(&none, Answers::default(), Some(agent.socket())), "node").await,
        TransportError::Auth { .. }
    ));
}

#[tokio::test]
async fn a_refusal_says_what_was_tried() {
    let sshd = Sshd::start();
    let stranger = sshd.dir().join("stranger");
    keygen("ed25519", &stranger, "");
    let open = sshd.dir().join("open");
    keygen("ed25519", &open, "");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let config = sshd.ssh_config("node").replace(&sshd.client_key().display().to_string(), &stranger.display().to_string());
    let config = format!(
        "{config}  IdentityFile {}\n  IdentityFile /nonexistent/key\n  IdentityAgent /nonexistent/agent\n",
        open.display()
    );
    let error = refusal(&Home::new(&config), "node").await;
    assert!(matches!(error, TransportError::Auth { .. }) && !error.is_transient());
    for words in [
        "the server takes publickey",
        "ssh-agent at /nonexistent/agent: No such file",
        "stranger: not accepted",
        "open: ignored, because others may read it (chmod 600",
        "/nonexistent/key: no such file",
    ] {
        assert!(error.to_string().contains(words), "{words} in {error}");
    }
    assert!(error.hint().unwrap().contains(&format!(
        "ssh-copy-id -i {} -p {} {}@127.0.0.1",
        stranger.display(),
        sshd.port(),
        user()
    )));
}

/// A server that wants a password, which Debian's sshd does only with PAM or a password in the shadow file.
#[derive(Clone)]
struct Doorman {
    methods: MethodSet,
    tries: Arc<AtomicUsize>,
}

impl russh::server::Server for Doorman {
    type Handler = Self;
    fn new_client(&mut self, _: Option<std::net::SocketAddr>) -> Self {
        self.clone()
    }
}

impl Doorman {
    fn judge(&self, right: bool) -> Auth {
        self.tries.fetch_add(1, Ordering::Relaxed);
        if right {
            Auth::Accept
        } else {
            Auth::Reject { proceed_with_methods: Some(self.methods.clone()), partial_success: false }
        }
    }
}

impl Handler for Doorman {
    type Error = russh::Error;
    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Reject { proceed_with_methods: Some(self.methods.clone()), partial_success: false })
    }
    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(self.judge(user == "ops" && password == "hunter2"))
    }
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(response) = response else {
            let prompts = vec![("Password: ".into(), false), ("Token\x1b[2J: ".into(), true)];
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: prompts.into() });
        };
        let answers: Vec<_> = response.map(|r| r.to_vec()).collect();
        Ok(self.judge(answers == [b"hunter2", b"hunter2"]))
    }
    async fn channel_open_session(
        &mut self,
        _: Channel<russh::server::Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }
    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(channel)?;
        session.exit_status_request(channel, 0)?;
        session.close(channel)
    }
}

struct Door {
    home: Home,
    tries: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

async fn door(methods: &[MethodKind], answers: Answers) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
    let known = format!("[127.0.0.1]:{port} {}\n", key.public_key().to_openssh().unwrap());
    let methods = MethodSet::from(methods);
    let config =
        Config { methods: methods.clone(), keys: vec![key], auth_rejection_time: std::time::Duration::ZERO, ..Config::default() };
    let tries = Arc::new(AtomicUsize::new(0));
    let mut doorman = Doorman { methods, tries: Arc::clone(&tries) };
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = doorman.run_on_socket(Arc::new(config), &listener).await;
    }));
    let home = Home::with(&format!("Host node\n  HostName 127.0.0.1\n  Port {port}\n  User ops\n"), answers, None);
    std::fs::write(home.dir.path().join(".ssh/known_hosts"), known).unwrap();
    Door { home, tries, _task: task }
}

fn password(home: &Home, text: &str) -> SecretRef {
    let path: &Path = home.dir.path();
    let file = path.join("password");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    SecretRef::File(file)
}

async fn enter(transport: &SshTransport) -> Result<Option<u32>, TransportError> {
    transport.run(&["true"], b"", Limits::default()).await.map(|o| o.status)
}

#[tokio::test]
async fn a_password_as_the_last_resort() {
    let knows = Answers { secret: Some("hunter2".into()), ..Answers::default() };
    let asking = door(&[MethodKind::Password], knows).await;
    assert_eq!(enter(&asking.home.transport("node")).await.unwrap(), Some(0));
    assert!(asking.home.prompt.asked.lock().unwrap()[0].starts_with("Password of ops@127.0.0.1:"));

    let secret = door(&[MethodKind::Password], Answers::default()).await;
    let right = password(&secret.home, "hunter2\n");
    assert_eq!(enter(&node(&secret.home, |s| s.password = Some(right))).await.unwrap(), Some(0));
    let wrong = password(&secret.home, "wrong1\n");
    let error = enter(&node(&secret.home, |s| s.password = Some(wrong))).await.unwrap_err();
    assert!(error.to_string().contains("password: not accepted") && !format!("{error:?}").contains("wrong1"), "{error}");
    assert!(secret.home.prompt.asked.lock().unwrap().is_empty());

    let script = door(&[MethodKind::Password], Answers::default()).await;
    let error = enter(&script.home.transport("node")).await.unwrap_err();
    assert!(error.to_string().contains("the server takes password") && error.to_string().contains("none was given"), "{error}");
    assert_eq!(script.tries.load(Ordering::Relaxed), 0, "no empty password is tried");
}

#[tokio::test]
async fn keyboard_interactive() {
    let knows = Answers { secret: Some("hunter2".into()), ..Answers::default() };
    let asking = door(&[MethodKind::KeyboardInteractive], knows).await;
    assert_eq!(enter(&asking.home.transport("node")).await.unwrap(), Some(0));
    let asked = asking.home.prompt.asked.lock().unwrap().clone();
    assert!(
        asked[0].ends_with(": Password:") && asked[1].ends_with(r": Token\x1b[2J:"),
        "the server's words are harmless: {asked:?}"
    );

    let script = door(&[MethodKind::KeyboardInteractive], Answers::default()).await;
    let error = enter(&script.home.transport("node")).await.unwrap_err();
    assert!(error.to_string().contains("keyboard-interactive: nobody answered"), "{error}");
    assert_eq!(script.tries.load(Ordering::Relaxed), 0);
}
