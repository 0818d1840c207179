//! What is known of servers' health, on disk: a process that takes over, or is started again, does not send clients to servers that the one
//! before knew as down.
//!
//! Not part of the state file: nobody was promised it, it changes by itself, and losing it costs no more than a round of checks. So it is
//! written without a sync, and one that cannot be read or written is said and done without.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::plane::{Healths, ServerHealth};

const NAME: &str = "health.json";
/// Written again after this although nothing has changed, so that its age is no more than this where a process was killed.
const AGAIN: Duration = Duration::from_secs(60);
/// Far above what ten thousand servers need.
const LIMIT: u64 = 16 << 20;

#[derive(Debug, Default)]
struct Written {
    /// What decides whether it is written again.
    shape: Vec<(String, Shape)>,
    at: Option<Instant>,
    /// A new process has the file.
    handed_over: bool,
    /// It was said that it cannot be written.
    said: bool,
}

/// What of one server is worth a new file.
type Shape = (String, String, Option<bool>, Option<jiff::Timestamp>);

#[derive(Debug)]
pub struct HealthFile {
    path: PathBuf,
    written: Mutex<Written>,
}

impl HealthFile {
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME), written: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a process before this one knew; nothing where there is no such file or it is damaged.
    pub fn read(&self) -> Healths {
        let refused = |why: String| {
            tracing::warn!("{}: {why}; servers are found out anew", self.path.display());
            Healths::default()
        };
        match fs::metadata(&self.path) {
            Ok(meta) if meta.len() > LIMIT => return refused(format!("{} bytes", meta.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Healths::default(),
            Ok(_) | Err(_) => {}
        }
        match fs::read(&self.path).map_err(|e| e.to_string()).and_then(|b| serde_json::from_slice(&b).map_err(|e| e.to_string()))
        {
            Ok(known) => known,
            Err(why) => refused(why),
        }
    }

    /// Writes where something has changed that the next process should know. Nothing happens once a new process has the file.
    pub fn write(&self, known: Healths) {
        let mut written = self.lock();
        let shape: Vec<_> = known.servers.iter().map(|(name, server)| (name.clone(), shape(server))).collect();
        let due = written.at.is_none_or(|at| at.elapsed() >= AGAIN);
        if written.handed_over || (shape == written.shape && !due) {
            return;
        }
        match self.replace(&known) {
            Ok(()) => *written = Written { shape, at: Some(Instant::now()), ..Written::default() },
            Err(why) if !written.said => {
                written.said = true;
                tracing::warn!("{}: {why}; a restart would begin without what is known of servers", self.path.display());
            }
            Err(_) => {}
        }
    }

    fn replace(&self, known: &Healths) -> std::io::Result<()> {
        let new = self.path.with_extension("json.new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(known)?)?;
        fs::rename(&new, &self.path)
    }

    /// The next process writes from here on, unless it is taken back.
    pub fn hand_over(&self) {
        self.lock().handed_over = true;
    }

    /// The next process did not get ready; it may have written already.
    pub fn take_back(&self) {
        let mut written = self.lock();
        (written.handed_over, written.at) = (false, None);
    }
}

fn shape(server: &ServerHealth) -> Shape {
    (server.address.clone(), server.check.clone(), server.up, server.ejected_until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(up: bool, held_ms: u64) -> Healths {
        let server = ServerHealth { address: "10.0.0.1:80".into(), up: Some(up), held_ms, ..ServerHealth::default() };
        Healths { at: jiff::Timestamp::UNIX_EPOCH, servers: [("app/a".to_owned(), server)].into() }
    }

    #[test]
    fn it_is_written_when_a_state_changes_and_only_by_who_owns_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = HealthFile::new(dir.path());
        assert_eq!(file.read(), Healths::default());
        file.write(known(true, 1));
        file.write(known(true, 2));
        assert_eq!(file.read(), known(true, 1), "nothing has changed that matters");
        file.write(known(false, 3));
        assert_eq!(file.read(), known(false, 3));
        file.hand_over();
        file.write(known(true, 4));
        assert_eq!(file.read(), known(false, 3), "the new process's");
        file.take_back();
        file.write(known(true, 4));
        assert_eq!(file.read(), known(true, 4));
    }

    #[test]
    fn what_is_damaged_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let file = HealthFile::new(dir.path());
        for bytes in [&b""[..], b"{", b"\0\0\0\0", b"{\"servers\": 7}"] {
            fs::write(dir.path().join(NAME), bytes).unwrap();
            assert_eq!(file.read(), Healths::default());
        }
        fs::create_dir(dir.path().join("health.json.new")).unwrap();
        file.write(known(true, 1));
        assert_eq!(file.read(), Healths::default(), "a folder that cannot be written stops nothing");
    }
}
