//! Stands between lbdeck and a real statistics socket and spoils what comes back, as broken or hostile nodes do.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// What is done to each reply.
#[derive(Clone)]
pub enum Meddling {
    /// Accepts, reads, and never says a word.
    Silence,
    /// Says this many bytes of nonsense.
    Flood(usize),
    /// Ends the connection after so many bytes.
    Cut(usize),
    /// Replaces text in what the engine says.
    Replace(&'static str, &'static str),
}

pub struct Meddler {
    dir: TempDir,
    stop: Arc<AtomicBool>,
}

impl Meddler {
    pub fn before(engine: &Path, meddling: Meddling) -> Meddler {
        let dir = tempfile::Builder::new().prefix("meddler").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, engine) = (stop.clone(), engine.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(client), engine, meddling, stopped) = (client, engine.clone(), meddling.clone(), stopped.clone()) else {
                    continue;
                };
                // What the client does with a spoiled connection is its own affair.
                std::thread::spawn(move || drop(meddle(client, &engine, &meddling, &stopped)));
            }
        });
        Meddler { dir, stop }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.socket());
    }
}

fn meddle(mut client: UnixStream, engine: &Path, meddling: &Meddling, stop: &AtomicBool) -> std::io::Result<()> {
    match meddling {
        Meddling::Silence => {
            client.set_read_timeout(Some(Duration::from_millis(100)))?;
            let mut sink = [0; 1024];
            while !stop.load(Ordering::SeqCst) {
                match client.read(&mut sink) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        }
        Meddling::Flood(bytes) => {
            // Whatever was asked: how much of it came does not matter.
            let _asked = client.read(&mut [0; 1024])?;
            let nonsense = vec![b'x'; 1 << 16];
            for _ in 0..bytes.div_ceil(nonsense.len()) {
                client.write_all(&nonsense)?;
            }
            Ok(())
        }
        Meddling::Cut(_) | Meddling::Replace(..) => {
            let mut server = UnixStream::connect(engine)?;
            let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(std::net::Shutdown::Write);
            });
            let mut left = if let Meddling::Cut(bytes) = meddling { *bytes } else { usize::MAX };
            let mut buffer = vec![0; 1 << 20];
            loop {
                let n = server.read(&mut buffer)?;
                let Some(said) = buffer.get(..n).filter(|said| !said.is_empty()) else { break };
                let said = match meddling {
                    Meddling::Replace(from, to) => String::from_utf8_lossy(said).replace(from, to).into_bytes(),
                    _ => said.iter().copied().take(left).collect(),
                };
                left -= said.len().min(left);
                client.write_all(&said)?;
                if left == 0 {
                    break;
                }
            }
            client.shutdown(std::net::Shutdown::Both)
        }
    }
}
