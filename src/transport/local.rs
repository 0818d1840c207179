//! This machine as a node: sockets, commands and files with no ssh between.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;

use super::{BoxStream, Endpoint, FileStat, Files, Limits, Result, RunOutput, Transport, TransportError};

const AT: &str = "local";

/// The machine that lbdeck runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalTransport;

#[async_trait]
impl Transport for LocalTransport {
    fn describe(&self) -> String {
        AT.into()
    }

    async fn open(&self, endpoint: &Endpoint, deadline: Duration) -> Result<BoxStream> {
        let connect = async {
            Ok::<BoxStream, io::Error>(match endpoint {
                Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
                Endpoint::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            })
        };
        match tokio::time::timeout(deadline, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(connect_error(endpoint, &e)),
            Err(_) => Err(TransportError::Timeout { at: AT.into(), doing: format!("opening {endpoint}"), after: deadline }),
        }
    }

    fn way(&self, _: &Endpoint) -> String {
        AT.into()
    }

    async fn run(&self, argv: &[&str], stdin: &[u8], limits: Limits) -> Result<RunOutput> {
        let Some((program, args)) = argv.split_first() else {
            return Err(TransportError::Unsupported { at: AT.into(), what: "no command given".into() });
        };
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| file_error("running", Path::new(program), &e))?;
        let (Some(mut input), Some(out), Some(err)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(TransportError::Other { at: AT.into(), what: format!("{program} has no pipes") });
        };
        let work = async {
            let feed = async {
                // The command may well end without having read all.
                let _ = input.write_all(stdin).await;
                drop(input);
            };
            let ((), (stdout, out_cut), (stderr, err_cut)) =
                tokio::join!(feed, read_bounded(out, limits.output), read_bounded(err, limits.output));
            let truncated = out_cut || err_cut;
            if truncated {
                // It may write for ever.
                let _ = child.start_kill();
            }
            let status = child.wait().await.ok().and_then(|s| s.code()).and_then(|c| u32::try_from(c).ok());
            RunOutput { status, stdout, stderr, truncated }
        };
        tokio::time::timeout(limits.deadline, work).await.map_err(|_| TransportError::Timeout {
            at: AT.into(),
            doing: format!("running {program}"),
            after: limits.deadline,
        })
    }

    fn files(&self) -> Option<&dyn Files> {
        Some(self)
    }
}

/// At most `limit` bytes, and whether there was more.
async fn read_bounded(mut from: impl AsyncRead + Unpin, limit: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let _ = (&mut from).take(limit as u64).read_to_end(&mut bytes).await;
    let more = bytes.len() == limit && matches!(from.read(&mut [0]).await, Ok(1..));
    (bytes, more)
}

/// Runs file work off the threads that serve connections.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let owned = path.to_owned();
    match tokio::task::spawn_blocking(move || work(&owned)).await {
        Ok(result) => result.map_err(|e| file_error(doing, path, &e)),
        Err(e) => Err(TransportError::Other { at: AT.into(), what: format!("{doing} {}: {e}", path.display()) }),
    }
}

#[async_trait]
impl Files for LocalTransport {
    async fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        let bytes = blocking("reading", path, move |path| {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, limit as u64 + 1), &mut bytes)?;
            Ok(bytes)
        });
        let bytes = bytes.await?;
        if bytes.len() > limit {
            return Err(TransportError::TooLarge { at: AT.into(), doing: format!("reading {}", path.display()), limit });
        }
        Ok(bytes)
    }

    async fn write_atomic(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let bytes = bytes.to_vec();
        blocking("writing", path, move |path| {
            let temporary = beside(path);
            let result = create(&temporary, &bytes, mode, true).and_then(|()| fs::rename(&temporary, path));
            if result.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            result.and_then(|()| sync_folder(path))
        })
        .await
    }

    async fn create_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
        let bytes = bytes.to_vec();
        blocking("creating", path, move |path| match create(path, &bytes, mode, false) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        })
        .await
    }

    async fn write_at(&self, path: &Path, offset: u64, bytes: &[u8], mode: u32) -> Result<()> {
        let bytes = bytes.to_vec();
        blocking("writing", path, move |path| {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(mode).open(path)?;
            file.set_len(offset)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
            file.write_all(&bytes)
        })
        .await
    }

    async fn stat(&self, path: &Path) -> Result<Option<FileStat>> {
        blocking("looking at", path, |path| match fs::metadata(path) {
            Ok(m) => Ok(Some(FileStat { size: m.len(), mtime: m.mtime(), is_dir: m.is_dir() })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await
    }

    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        blocking("listing", dir, |dir| match fs::read_dir(dir) {
            Ok(entries) => entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e),
        })
        .await
    }

    async fn ensure_dir(&self, dir: &Path, mode: u32) -> Result<()> {
        blocking("making", dir, move |dir| match fs::DirBuilder::new().mode(mode).create(dir) {
            // The mode given to mkdir is cut by the umask.
            Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(mode)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            Err(e) => Err(e),
        })
        .await
    }

    async fn remove(&self, path: &Path) -> Result<bool> {
        blocking("removing", path, |path| match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        })
        .await
    }
}

/// Makes a file that must not exist yet; one that could not be filled is taken away again.
fn create(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let mut fill = || {
        file.write_all(bytes)?;
        // The mode given to open is cut by the umask.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if sync { file.sync_all() } else { Ok(()) }
    };
    fill().inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    PathBuf::from(name)
}

/// A rename lasts through a power cut only once its folder is on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn connect_error(endpoint: &Endpoint, error: &io::Error) -> TransportError {
    let at = AT.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            TransportError::Denied { at, what: endpoint.to_string(), hint: super::SOCKET_HINT.into() }
        }
        io::ErrorKind::NotFound => TransportError::NotFound { at, what: format!("socket {endpoint}") },
        _ => TransportError::Unreachable { at, what: format!("{endpoint}: {error}") },
    }
}

fn file_error(doing: &str, path: &Path, error: &io::Error) -> TransportError {
    let at = AT.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => TransportError::NotFound { at, what: path.display().to_string() },
        io::ErrorKind::PermissionDenied => TransportError::Denied {
            at,
            what: format!("{doing} {}", path.display()),
            hint: "let your user have it, or run lbdeck as another user".into(),
        },
        _ => TransportError::Other { at, what: format!("{doing} {}: {error}", path.display()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(ms: u64, output: usize) -> Limits {
        Limits { deadline: Duration::from_millis(ms), output }
    }

    #[tokio::test]
    async fn commands_get_their_words_and_input() {
        let argv = ["sh", "-c", "printf '%s|' \"$@\"; cat; echo oops >&2; exit 3", "x", "a b", "$(id)", "'\n*"];
        let out = LocalTransport.run(&argv, b"in", Limits::default()).await.unwrap();
        assert_eq!(
            (out.status, out.stdout.as_slice(), out.stderr.as_slice()),
            (Some(3), &b"a b|$(id)|'\n*|in"[..], &b"oops\n"[..])
        );
        assert!(matches!(
            LocalTransport.run(&["/nonexistent/x"], b"", Limits::default()).await,
            Err(TransportError::NotFound { .. })
        ));
        assert!(LocalTransport.run(&[], b"", Limits::default()).await.is_err());
    }

    #[tokio::test]
    async fn output_and_time_are_bounded() {
        let out = LocalTransport.run(&["yes"], b"", limits(10_000, 1000)).await.unwrap();
        assert_eq!((out.stdout.len(), out.truncated), (1000, true));
        let late = LocalTransport.run(&["sleep", "60"], b"", limits(50, 10)).await;
        assert!(matches!(late, Err(TransportError::Timeout { .. })));
        // A command that reads nothing does not block on its input.
        assert_eq!(LocalTransport.run(&["true"], &vec![0; 1 << 20], limits(10_000, 10)).await.unwrap().status, Some(0));
    }

    #[tokio::test]
    async fn files() {
        let dir = tempfile::tempdir().unwrap();
        let (files, sub) = (LocalTransport, dir.path().join("locks"));
        assert!(files.list(&sub).await.unwrap().is_empty());
        files.ensure_dir(&sub, 0o777).await.unwrap();
        files.ensure_dir(&sub, 0o777).await.unwrap();
        assert_eq!(fs::metadata(&sub).unwrap().permissions().mode() & 0o7777, 0o777);
        let path = sub.join("a");
        assert!(files.create_new(&path, b"one", 0o666).await.unwrap());
        assert!(!files.create_new(&path, b"two", 0o666).await.unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        files.write_atomic(&path, b"three", 0o640).await.unwrap();
        assert_eq!(files.read(&path, 5).await.unwrap(), b"three");
        assert!(matches!(files.read(&path, 4).await, Err(TransportError::TooLarge { limit: 4, .. })));
        assert_eq!(files.list(&sub).await.unwrap(), ["a"], "nothing temporary is left");
        assert_eq!(files.stat(&path).await.unwrap().map(|s| (s.size, s.is_dir)), Some((5, false)));
        assert_eq!(files.stat(&sub.join("b")).await.unwrap(), None);
        assert!(files.remove(&path).await.unwrap() && !files.remove(&path).await.unwrap());
        assert!(matches!(files.write_atomic(&sub.join("no/x"), b"", 0o600).await, Err(TransportError::NotFound { .. })));
        assert!(matches!(files.ensure_dir(&sub.join("no/x"), 0o700).await, Err(TransportError::NotFound { .. })));
    }

    #[tokio::test]
    async fn one_of_many_creates_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let tries = (0..50).map(|_| LocalTransport.create_new(&path, b"x", 0o600));
        let won = futures::future::join_all(tries).await.into_iter().filter(|r| *r.as_ref().unwrap()).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn sockets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let open = |path: &Path| {
            let endpoint = Endpoint::Unix(path.to_owned());
            async move { LocalTransport.open(&endpoint, Duration::from_secs(5)).await.map(drop) }
        };
        assert!(matches!(open(&path).await, Err(TransportError::NotFound { .. })));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        open(&path).await.unwrap();
        drop(listener);
        assert!(matches!(open(&path).await, Err(TransportError::Unreachable { .. })));
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::Tcp(tcp.local_addr().unwrap().to_string());
        LocalTransport.open(&endpoint, Duration::from_secs(5)).await.map(drop).unwrap();
    }
}
