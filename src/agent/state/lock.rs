//! One agent to a state folder: a second one would write over what the first has promised.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StateError;

const NAME: &str = "lock";

/// Held for as long as the value lives, and as the copies do that the next process was given.
#[derive(Debug)]
pub struct StateLock(File);

impl StateLock {
    /// # Errors
    /// Another process holds it, or the folder cannot be made.
    pub fn take(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join(NAME);
        let failed = |doing: &str, e: io::Error| StateError::Failed { path: path.clone(), what: format!("{doing}: {e}") };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| failed("making the state folder", e))?;
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(|e| failed("opening", e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let by = std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                return Err(StateError::Held { folder: folder.to_owned(), by });
            }
            Err(e) => return Err(failed("locking", e.into())),
        }
        // Who it was is only for the words of a refusal: a full disk must not keep the agent from starting.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
        Ok(Self(file))
    }

    /// The lock of the process before this one.
    pub fn over(fd: OwnedFd) -> Self {
        Self(fd.into())
    }

    /// For the next process: it is held until both have let it go.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_last_copy_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateLock::take(dir.path()).unwrap();
        let refused = StateLock::take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())) && refused.contains("--state"), "{refused}");
        let next = StateLock::over(first.copy().unwrap());
        drop(first);
        assert!(StateLock::take(dir.path()).is_err(), "the next process holds it");
        drop(next);
        StateLock::take(dir.path()).unwrap();
    }
}
