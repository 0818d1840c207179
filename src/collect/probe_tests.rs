//! Probing hosts that are made up: what they run, and how they refuse.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::probe::{ProbeReport, SocketAt, probe};
use crate::model::SocketLevel;
use crate::transport::{BoxStream, Endpoint, FileStat, Files, Limits, Result, RunOutput, Transport, TransportError};

/// What a socket of the host does.
#[derive(Clone, Debug)]
enum Socket {
    Says(String),
    Denies,
    Hangs,
}

#[derive(Debug, Default)]
struct Host {
    ps: String,
    commands: HashMap<&'static str, &'static str>,
    files: HashMap<PathBuf, String>,
    folders: HashMap<PathBuf, Vec<String>>,
    sockets: HashMap<String, Socket>,
}

fn haproxy(pid: u32, level: &str) -> Socket {
    Socket::Says(format!("Name: HAProxy\nVersion: 2.6.12\nPid: {pid}\n\n{level}\n\n"))
}

impl Host {
    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
    fn socket(mut self, at: &str, socket: Socket) -> Self {
        self.sockets.insert(at.into(), socket);
        self
    }
    fn at(&self, path: &Path) -> String {
        path.display().to_string()
    }
    async fn probe(&self) -> ProbeReport {
        probe(self, Duration::from_millis(200)).await.unwrap()
    }
}

#[async_trait]
impl Transport for Host {
    fn describe(&self) -> String {
        "made up".into()
    }
    async fn open(&self, endpoint: &Endpoint, _: Duration) -> Result<BoxStream> {
        let at = endpoint.to_string();
        let (ours, mut theirs) = tokio::io::duplex(4096);
        match self.sockets.get(&at).cloned() {
            None => return Err(TransportError::NotFound { at, what: "no socket".into() }),
            Some(Socket::Denies) => return Err(TransportError::Denied { at, what: "connect".into(), hint: "ask".into() }),
            Some(Socket::Says(text)) => drop(tokio::spawn(async move {
                let mut asked = [0; 64];
                let _ = theirs.read(&mut asked).await;
                let _ = theirs.write_all(text.as_bytes()).await;
            })),
            // Held open for longer than anybody waits.
            Some(Socket::Hangs) => drop(tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(theirs);
            })),
        }
        Ok(Box::new(ours))
    }
    fn way(&self, _: &Endpoint) -> String {
        "made up".into()
    }
    async fn run(&self, argv: &[&str], _: &[u8], _: Limits) -> Result<RunOutput> {
        let said = if argv.first() == Some(&"ps") {
            Some(self.ps.as_str())
        } else {
            self.commands.get(argv.join(" ").as_str()).copied()
        };
        Ok(match said {
            Some(text) => RunOutput { status: Some(0), stdout: text.into(), ..RunOutput::default() },
            None => RunOutput { status: Some(1), ..RunOutput::default() },
        })
    }
    fn files(&self) -> Option<&dyn Files> {
        Some(self)
    }
}

#[async_trait]
impl Files for Host {
    async fn read(&self, path: &Path, _: usize) -> Result<Vec<u8>> {
        let missing = || TransportError::NotFound { at: self.at(path), what: "no such file".into() };
        self.files.get(path).map(|t| t.clone().into_bytes()).ok_or_else(missing)
    }
    async fn write_atomic(&self, path: &Path, _: &[u8], _: u32) -> Result<()> {
        panic!("a probe writes nothing, not {}", path.display())
    }
    async fn create_new(&self, path: &Path, _: &[u8], _: u32) -> Result<bool> {
        panic!("a probe makes nothing, not {}", path.display())
    }
    async fn stat(&self, path: &Path) -> Result<Option<FileStat>> {
        let is_dir = self.folders.contains_key(path);
        Ok((is_dir || self.files.contains_key(path)).then_some(FileStat { size: 0, mtime: 0, is_dir }))
    }
    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        Ok(self.folders.get(dir).cloned().unwrap_or_default())
    }
    async fn ensure_dir(&self, dir: &Path, _: u32) -> Result<()> {
        panic!("a probe makes nothing, not {}", dir.display())
    }
    async fn remove(&self, path: &Path) -> Result<bool> {
        panic!("a probe removes nothing, not {}", path.display())
    }
}

#[tokio::test]
async fn an_ordinary_debian_host() {
    let host = Host {
        ps:
            "1 /sbin/init\n70 /usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/haproxy-master.sock\n\
             72 /usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid -S /run/haproxy-master.sock\n"
                .into(),
        ..Host::default()
    }
    .file(
        "/etc/haproxy/haproxy.cfg",
        "global\n stats socket /run/haproxy/admin.sock level admin\n stats socket /run/haproxy/user.sock level user\n",
    )
    .socket("/run/haproxy/user.sock", haproxy(72, "user"))
    .socket("/run/haproxy/admin.sock", haproxy(72, "admin"))
    .socket("/run/haproxy-master.sock", Socket::Says(String::new()));
    let report = host.probe().await;
    let [only] = report.instances.as_slice() else { panic!("master and worker are one: {report:#?}") };
    let (at, answer) = only.best().unwrap();
    assert_eq!((at, answer.level), (&SocketAt::Unix("/run/haproxy/admin.sock".into()), SocketLevel::Admin));
    assert_eq!(only.sockets.len(), 2);
    assert_eq!(only.master_socket.as_deref(), Some(Path::new("/run/haproxy-master.sock")));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[tokio::test]
async fn two_haproxies_one_in_a_folder_one_started_relative() {
    let mut host = Host { ps: "7 haproxy -f /etc/a\n8 haproxy -f b.cfg\n".into(), ..Host::default() }
        .file("/etc/a/1.cfg", "global\n stats socket /run/a.sock level operator\n")
        .file("/etc/a/notes.txt", "global\n stats socket /run/no.sock\n")
        .file("/srv/b.cfg", "global\n stats socket ipv4@*:9999 level admin\n")
        .socket("/run/a.sock", haproxy(7, "operator"))
        .socket("127.0.0.1:9999", haproxy(8, "admin"));
    host.folders.insert("/etc/a".into(), vec!["notes.txt".into(), "1.cfg".into(), ".hidden.cfg".into()]);
    host.commands.insert("readlink /proc/8/cwd", "/srv\n");
    let report = host.probe().await;
    let found: Vec<_> = report.instances.iter().map(|i| (i.configs.clone(), i.best().map(|(_, a)| a.level))).collect();
    assert_eq!(
        found,
        [
            (vec![PathBuf::from("/etc/a/1.cfg")], Some(SocketLevel::Operator)),
            (vec![PathBuf::from("/srv/b.cfg")], Some(SocketLevel::Admin)),
        ]
    );
}

#[tokio::test]
async fn a_configuration_that_may_not_be_read_leaves_the_usual_places() {
    let host = Host { ps: "7 haproxy -f /etc/haproxy/haproxy.cfg\n".into(), ..Host::default() }
        .socket("/run/haproxy/admin.sock", Socket::Denies)
        .socket("/var/lib/haproxy/stats", haproxy(7, "operator"));
    let report = host.probe().await;
    let [only] = report.instances.as_slice() else { panic!("{report:#?}") };
    assert!(only.runs);
    assert_eq!(only.best().map(|(at, _)| at.clone()), Some(SocketAt::Unix("/var/lib/haproxy/stats".into())));
    assert!(only.sockets.iter().any(|s| matches!(s.answer, Err(TransportError::Denied { .. }))), "{only:?}");
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
}

#[tokio::test]
async fn sockets_that_hang_or_are_somebody_elses() {
    let host = Host::default()
        .socket("/run/haproxy/admin.sock", Socket::Hangs)
        .socket("/run/haproxy.sock", Socket::Says("SSH-2.0-OpenSSH\r\n".into()));
    let report = host.probe().await;
    assert!(report.best().is_none());
    let [unseen] = report.instances.as_slice() else { panic!("{report:#?}") };
    assert_eq!((unseen.runs, unseen.sockets.len()), (false, 2));
}

#[tokio::test]
async fn a_host_with_nothing() {
    assert!(Host::default().probe().await.instances.is_empty());
}
