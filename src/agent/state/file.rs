//! The state file: a line with version, checksum and length, then JSON. Written beside, synced, renamed over; the one before
//! is kept. A file that does not match its checksum is set aside under another name and said, never silently replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Kept;

const NAME: &str = "state.json";
const PREVIOUS: &str = "state.json.previous";
const NEW: &str = "state.json.new";
const MAGIC: &str = "lbdeck-agent-state";
const VERSION: u32 = 1;
/// Far above what ten thousand servers need.
const LIMIT: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{}: {what}", path.display())]
    Failed { path: PathBuf, what: String },
    #[error("{}: written by a newer lbdeck (format {found}, this one knows {VERSION}); start that one", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("{}: another agent keeps its state here ({by}); stop it, or give this one a folder of its own with --state", folder.display())]
    Held { folder: PathBuf, by: String },
    #[error("a new process has taken over; ask it")]
    HandedOver,
}

fn failed(path: &Path, doing: &str) -> impl FnOnce(io::Error) -> StateError {
    move |e| StateError::Failed { path: path.to_owned(), what: format!("{doing}: {e}") }
}

/// Why a file cannot be used.
enum Broken {
    Missing,
    Newer(u32),
    Damaged(String),
}

/// The newest whole state, and what was wrong on the way.
pub fn read(folder: &Path) -> Result<(Kept, Vec<String>), StateError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder, "making the state folder"))?;
    let mut said = Vec::new();
    let mut anything = false;
    for name in [NAME, PREVIOUS] {
        let path = folder.join(name);
        match read_one(&path).map_err(failed(&path, "reading"))? {
            Ok(kept) => {
                if anything {
                    said.push(format!("{} is used instead: changes made after it are lost", path.display()));
                }
                return Ok((kept, said));
            }
            Err(Broken::Missing) => {}
            Err(Broken::Newer(found)) => return Err(StateError::Newer { path, found }),
            Err(Broken::Damaged(why)) => {
                anything = true;
                let aside = folder.join(format!("{name}.broken-{}", Timestamp::now().as_millisecond()));
                fs::rename(&path, &aside).map_err(failed(&path, "setting a damaged file aside"))?;
                said.push(format!("{} is damaged ({why}) and was set aside as {}", path.display(), aside.display()));
            }
        }
    }
    if anything {
        said.push("no whole state is left: servers are as the configuration has them".to_owned());
    }
    Ok((Kept::default(), said))
}

fn read_one(path: &Path) -> io::Result<Result<Kept, Broken>> {
    let bytes = match fs::metadata(path) {
        Ok(meta) if meta.len() > LIMIT => return Ok(Err(Broken::Damaged(format!("{} bytes", meta.len())))),
        Ok(_) => fs::read(path)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err(Broken::Missing)),
        Err(e) => return Err(e),
    };
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Result<Kept, Broken> {
    let damaged = |why: &str| Broken::Damaged(why.to_owned());
    let end = memchr::memchr(b'\n', bytes).ok_or_else(|| damaged("no first line"))?;
    let (head, body) = bytes.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| damaged("the first line is no text"))?;
    let mut words = head.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(damaged("the first line is another's"));
    }
    let version: u32 = words.next().and_then(|w| w.parse().ok()).ok_or_else(|| damaged("no version"))?;
    if version > VERSION {
        return Err(Broken::Newer(version));
    }
    let (sum, length) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if length.parse() != Ok(body.len()) {
        return Err(Broken::Damaged(format!("{} bytes instead of {length}", body.len())));
    }
    if sum != hex(body) {
        return Err(damaged("the checksum differs"));
    }
    serde_json::from_slice(body).map_err(|e| Broken::Damaged(e.to_string()))
}

pub(super) fn write(folder: &Path, kept: &Kept) -> Result<(), StateError> {
    let (new, path, previous) = (folder.join(NEW), folder.join(NAME), folder.join(PREVIOUS));
    let body = serde_json::to_vec(kept).map_err(|e| StateError::Failed { path: path.clone(), what: e.to_string() })?;
    let head = format!("{MAGIC} {VERSION} {} {}\n", hex(&body), body.len());
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed(&new, "opening"))?;
    file.write_all(head.as_bytes()).and_then(|()| file.write_all(&body)).map_err(failed(&new, "writing"))?;
    file.sync_all().map_err(failed(&new, "syncing"))?;
    // At every moment one of the two names leads to a whole file.
    match fs::remove_file(&previous) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&previous, "removing")(e)),
        _ => {}
    }
    match fs::hard_link(&path, &previous) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&previous, "linking")(e)),
        _ => {}
    }
    fs::rename(&new, &path).map_err(failed(&path, "renaming over"))?;
    File::open(folder).and_then(|dir| dir.sync_all()).map_err(failed(folder, "syncing"))
}

/// SHA-256 in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(generation: u64) -> Kept {
        Kept { generation, ..Kept::default() }
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_the_one_before_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        for generation in 1..=3 {
            write(folder, &kept(generation)).unwrap();
        }
        assert_eq!(read(folder).unwrap(), (kept(3), Vec::new()));
        let path = folder.join(NAME);
        let whole = fs::read(&path).unwrap();
        // Cut off, a flipped bit, a hole of zeros as a power cut leaves it, nothing at all, somebody else's file.
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let zeros = vec![0; whole.len()];
        for bad in [&whole[..whole.len() - 1], &flipped, &zeros, b"", b"hello\nworld"] {
            write(folder, &kept(2)).unwrap();
            write(folder, &kept(3)).unwrap();
            fs::write(&path, bad).unwrap();
            let (found, said) = read(folder).unwrap();
            assert_eq!(found, kept(2), "{said:?}");
            assert!(said.iter().any(|s| s.contains("set aside as")), "{said:?}");
            assert!(!path.exists());
        }
        let aside =
            fs::read_dir(folder).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("broken"));
        assert!(aside.count() >= 1);
    }

    #[test]
    fn a_newer_format_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{MAGIC} {} x 2\n{{}}", VERSION + 1);
        fs::write(dir.path().join(NAME), &text).unwrap();
        assert!(matches!(read(dir.path()), Err(StateError::Newer { found, .. }) if found == VERSION + 1));
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), text);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_and_the_state_stays() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &kept(1)).unwrap();
        fs::create_dir(dir.path().join(NEW)).unwrap();
        assert!(write(dir.path(), &kept(2)).is_err());
        assert_eq!(read(dir.path()).unwrap().0, kept(1));
    }
}
