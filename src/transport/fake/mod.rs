//! A node made of memory: replies by a script, with latency, silence and half answers. For benchmarks with more nodes than
//! a machine can run, and for tests of what stands on a transport.

mod talk;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{BoxStream, Endpoint, FileStat, Files, Limits, Result, RunOutput, Transport, TransportError};
use async_trait::async_trait;
use talk::Talk;

/// What a node answers to one command.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The whole answer.
    Text(Arc<str>),
    /// A part of an answer, and then the end of the connection.
    Half(Arc<str>),
    /// The command is taken, and nothing comes.
    Hang,
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Reply::Text(text.into())
    }
}

type Script = dyn Fn(&str) -> Reply + Send + Sync;

/// Speaks like HAProxy's statistics socket: a line of commands joined by `;`, each reply ended by an empty line, then the
/// end; after `prompt` it stays open and shows `> ` when it is ready.
#[derive(Clone)]
pub struct FakeTransport {
    name: String,
    script: Arc<Script>,
    latency: Duration,
    /// Set where nothing can be opened at all.
    down: Option<TransportError>,
    files: Arc<Mutex<BTreeMap<PathBuf, Entry>>>,
}

#[derive(Clone, Debug)]
enum Entry {
    Folder,
    File { bytes: Vec<u8>, mtime: i64 },
}

impl fmt::Debug for FakeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeTransport").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FakeTransport {
    /// `script` is given each command, on a socket or as argv joined by spaces.
    pub fn new(name: &str, script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self { name: name.into(), script: Arc::new(script), latency: Duration::ZERO, down: None, files: Arc::default() }
    }

    /// Each answer takes so long.
    #[must_use]
    pub fn latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// Everything fails with this.
    #[must_use]
    pub fn down(self, error: TransportError) -> Self {
        Self { down: Some(error), ..self }
    }

    fn up(&self) -> Result<()> {
        self.down.clone().map_or(Ok(()), Err)
    }

    /// None where the far side falls silent.
    async fn answer(&self, command: &str) -> Option<Arc<str>> {
        tokio::time::sleep(self.latency).await;
        match (self.script)(command) {
            Reply::Text(text) | Reply::Half(text) => Some(text),
            Reply::Hang => None,
        }
    }

    fn with_files<T>(&self, work: impl FnOnce(&mut BTreeMap<PathBuf, Entry>) -> T) -> Result<T> {
        self.up()?;
        Ok(work(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[async_trait]
impl Transport for FakeTransport {
    fn describe(&self) -> String {
        format!("fake {}", self.name)
    }

    async fn open(&self, _: &Endpoint, _: Duration) -> Result<BoxStream> {
        self.up()?;
        Ok(Box::new(Talk::with(self.clone())))
    }

    fn way(&self, _: &Endpoint) -> String {
        "fake".into()
    }

    async fn run(&self, argv: &[&str], _: &[u8], limits: Limits) -> Result<RunOutput> {
        self.up()?;
        let command = argv.join(" ");
        match tokio::time::timeout(limits.deadline, self.answer(&command)).await {
            Ok(Some(text)) => {
                let stdout = text.as_bytes().get(..limits.output).unwrap_or(text.as_bytes()).to_vec();
                Ok(RunOutput { status: Some(0), truncated: stdout.len() < text.len(), stdout, stderr: Vec::new() })
            }
            _ => {
                Err(TransportError::Timeout { at: self.describe(), doing: format!("running {command}"), after: limits.deadline })
            }
        }
    }

    fn files(&self) -> Option<&dyn Files> {
        Some(self)
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_secs()).ok()).unwrap_or(0)
}

#[async_trait]
impl Files for FakeTransport {
    async fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        let found = self.with_files(|files| files.get(path).cloned())?;
        match found {
            Some(Entry::File { bytes, .. }) if bytes.len() <= limit => Ok(bytes),
            Some(Entry::File { .. }) => Err(TransportError::TooLarge { at: self.describe(), doing: "reading".into(), limit }),
            _ => Err(TransportError::NotFound { at: self.describe(), what: path.display().to_string() }),
        }
    }
    async fn write_atomic(&self, path: &Path, bytes: &[u8], _: u32) -> Result<()> {
        let entry = Entry::File { bytes: bytes.to_vec(), mtime: now() };
        self.with_files(|files| files.insert(path.to_owned(), entry)).map(drop)
    }
    async fn create_new(&self, path: &Path, bytes: &[u8], _: u32) -> Result<bool> {
        self.with_files(|files| {
            let free = !files.contains_key(path);
            if free {
                files.insert(path.to_owned(), Entry::File { bytes: bytes.to_vec(), mtime: now() });
            }
            free
        })
    }
    async fn stat(&self, path: &Path) -> Result<Option<FileStat>> {
        self.with_files(|files| {
            files.get(path).map(|entry| match entry {
                Entry::Folder => FileStat { size: 0, mtime: 0, is_dir: true },
                Entry::File { bytes, mtime } => FileStat { size: bytes.len() as u64, mtime: *mtime, is_dir: false },
            })
        })
    }
    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.with_files(|files| {
            let inside = files.keys().filter(|p| p.parent() == Some(dir));
            inside.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect()
        })
    }
    async fn ensure_dir(&self, dir: &Path, _: u32) -> Result<()> {
        self.with_files(|files| files.entry(dir.to_owned()).or_insert(Entry::Folder).clone()).map(drop)
    }
    async fn remove(&self, path: &Path) -> Result<bool> {
        self.with_files(|files| files.remove(path).is_some())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn node() -> FakeTransport {
        FakeTransport::new("n1", |command| match command {
            "hang" => Reply::Hang,
            "half" => Reply::Half("hal".into()),
            other => Reply::from(format!("did {other}\n").as_str()),
        })
    }

    async fn send(node: &FakeTransport, text: &str) -> BoxStream {
        let mut stream = node.open(&Endpoint::Unix("/s".into()), Duration::from_secs(1)).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn all(node: &FakeTransport, text: &str) -> String {
        let mut out = String::new();
        send(node, text).await.read_to_string(&mut out).await.unwrap();
        out
    }

    #[tokio::test]
    async fn speaks_like_a_statistics_socket() {
        assert_eq!(all(&node(), "a;b\n").await, "did a\n\ndid b\n\n");
        assert_eq!(all(&node(), "half;b\n").await, "hal");
        let mut stream = send(&node(), "prompt\na\n").await;
        let mut bytes = vec![0; "\n> did a\n\n\n> ".len()];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "\n> did a\n\n\n> ");
        let mut hanging = send(&node(), "hang\n").await;
        let waited = tokio::time::timeout(Duration::from_millis(20), hanging.read_u8()).await;
        assert!(waited.is_err(), "nothing comes");
    }

    #[tokio::test]
    async fn commands_files_and_failure() {
        let node = node();
        assert_eq!(node.run(&["a", "b"], b"", Limits::default()).await.unwrap().stdout, b"did a b\n");
        let path = Path::new("/locks/a");
        node.ensure_dir(Path::new("/locks"), 0o777).await.unwrap();
        assert!(node.create_new(path, b"x", 0).await.unwrap() && !node.create_new(path, b"y", 0).await.unwrap());
        assert_eq!(node.read(path, 9).await.unwrap(), b"x");
        assert_eq!(node.list(Path::new("/locks")).await.unwrap(), ["a"]);
        let down = node.down(TransportError::Unreachable { at: "n1".into(), what: "off".into() });
        assert!(down.open(&Endpoint::Tcp("x:1".into()), Duration::ZERO).await.is_err() && down.stat(path).await.is_err());
    }
}
