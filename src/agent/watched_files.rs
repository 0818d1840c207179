//! Files that certificates are read from: whether they have changed since they were read, told by looking at them and not into them.
//!
//! Looking every second finds what notification by the kernel misses: files behind symbolic links that are exchanged, on network
//! file systems, in folders that are made anew.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Device, inode, length, time of the last change (s, ns); `None` where there is no such file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let m = std::fs::metadata(path).ok()?;
        Some((m.dev(), m.ino(), m.size(), m.ctime(), m.ctime_nsec()))
    };
    files.iter().map(stamp).collect()
}

/// What a look at files has found.
#[derive(Debug)]
pub enum Looked {
    /// As they were, or not yet as they will be.
    Same,
    /// They have changed and are used from now on.
    Taken,
    /// They have changed and cannot be used: what was read before stays. Said once a change.
    Refused(String),
}

#[derive(Debug)]
struct Seen {
    /// Of what is used.
    used: Vec<Stamp>,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    stamps: Vec<Stamp>,
    why: String,
    told: bool,
}

/// The files of one thing that is made of them.
#[derive(Debug)]
pub struct WatchedFiles {
    files: Vec<PathBuf>,
    seen: Mutex<Seen>,
}

impl WatchedFiles {
    /// To be made before the files are read, so that no change is missed.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let used = stamps(&files);
        Self { files, seen: Mutex::new(Seen { used, refused: None }) }
    }

    /// Has `renew` read the files again if they have changed. What does not fit together is read again at the next look, and only said
    /// if the files still are the same then: certificate and key are two files, written one after the other.
    pub fn look(&self, renew: impl FnOnce() -> Result<(), String>) -> Looked {
        let now = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now == seen.used {
            seen.refused = None;
            return Looked::Same;
        }
        let second = seen.refused.as_ref().is_some_and(|r| r.stamps == now);
        if second && seen.refused.as_ref().is_some_and(|r| r.told) {
            return Looked::Same;
        }
        match renew() {
            Ok(()) => {
                *seen = Seen { used: now, refused: None };
                Looked::Taken
            }
            Err(why) => {
                seen.refused = Some(Refused { stamps: now, why: why.clone(), told: second });
                if second { Looked::Refused(why) } else { Looked::Same }
            }
        }
    }

    /// Why the files as they are now are not what is used.
    pub fn refused(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.refused.as_ref().filter(|r| r.told).map(|r| r.why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_taken_once_and_what_is_wrong_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "1").unwrap();
        let watched = WatchedFiles::new(vec![file.clone()]);
        let good = || Ok(());
        let bad = || Err("bad".to_owned());
        assert!(matches!(watched.look(bad), Looked::Same), "nothing has changed");
        std::fs::write(&file, "22").unwrap();
        assert!(matches!(watched.look(good), Looked::Taken));
        assert!(matches!(watched.look(bad), Looked::Same));
        // Half of a pair: tried again, and taken once the other half is there.
        std::fs::write(&file, "333").unwrap();
        assert!(matches!(watched.look(bad), Looked::Same) && watched.refused().is_none());
        assert!(matches!(watched.look(good), Looked::Taken));
        // It stays wrong.
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(watched.look(bad), Looked::Same));
        assert!(matches!(watched.look(bad), Looked::Refused(_)));
        assert!(matches!(watched.look(bad), Looked::Same) && watched.refused().is_some_and(|why| why.contains("bad")));
        std::fs::write(&file, "4444").unwrap();
        assert!(matches!(watched.look(good), Looked::Taken) && watched.refused().is_none());
    }
}
