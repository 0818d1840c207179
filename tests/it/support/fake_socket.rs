//! A runtime socket that answers whatever a test wants: hostile bytes, half a reply, nothing, or without end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

/// What happens to one connection.
pub enum Answer {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// Takes the command and stays silent until the client goes.
    Silence,
    /// The same bytes over and over until the client goes.
    Endless(Vec<u8>),
}

/// A unix socket whose every connection is answered by `answer` (given the command line). Ends with the value.
pub struct FakeSocket {
    dir: TempDir,
    stop: Arc<AtomicBool>,
}

impl FakeSocket {
    pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> FakeSocket {
        let dir = tempfile::Builder::new().prefix("fake").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let answer = answer.clone();
                std::thread::spawn(move || serve(stream, &*answer));
            }
        });
        FakeSocket { dir, stop }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
    /// For files beside it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.path()); // wakes accept()
    }
}

fn serve(stream: UnixStream, answer: &(impl Fn(&str) -> Answer + ?Sized)) {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    if !matches!(reader.read_line(&mut line), Ok(n) if n > 0) {
        return;
    }
    match answer(line.trim_end()) {
        Answer::Bytes(bytes) => {
            let _ = (&stream).write_all(&bytes);
        }
        Answer::Silence => {
            let mut rest = String::new();
            while matches!(reader.read_line(&mut rest), Ok(n) if n > 0) {}
        }
        Answer::Endless(bytes) => while (&stream).write_all(&bytes).is_ok() {},
    }
}
