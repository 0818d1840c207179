//! known_hosts files, read by ourselves: russh's reader knows neither `@revoked`, nor `@cert-authority`, nor patterns, and
//! takes a known host that presents a key of another type for an unknown one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::config::pattern::{Listed, in_list};

/// Bytes of one file.
const MAX_SIZE: u64 = 32 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Marker {
    None,
    Revoked,
    /// `@cert-authority`: the key signs others and is never a host's own.
    Authority,
}

#[derive(Debug)]
enum Hosts {
    Patterns(String),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

#[derive(Debug)]
struct Entry {
    line: usize,
    marker: Marker,
    hosts: Hosts,
    key_type: String,
    /// Base64 of the key, as written.
    key: String,
}

impl Entry {
    fn parse(line: usize, text: &str) -> Option<Self> {
        let mut words = text.split([' ', '\t']).filter(|w| !w.is_empty()).peekable();
        let marker = match words.peek()? {
            w if w.starts_with('#') => return None,
            &"@revoked" => Marker::Revoked,
            &"@cert-authority" => Marker::Authority,
            w if w.starts_with('@') => return None,
            _ => Marker::None,
        };
        if marker != Marker::None {
            words.next();
        }
        let names = words.next()?;
        let hosts = match names.strip_prefix("|1|") {
            Some(hashed) => {
                let (salt, hash) = hashed.split_once('|')?;
                Hosts::Hashed { salt: BASE64.decode(salt).ok()?, hash: BASE64.decode(hash).ok()? }
            }
            None => Hosts::Patterns(names.to_ascii_lowercase()),
        };
        Some(Self { line, marker, hosts, key_type: words.next()?.to_owned(), key: words.next()?.to_owned() })
    }

    /// `name` in lower case, as known_hosts writes it.
    fn is_for(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Patterns(patterns) => in_list(patterns.split(','), name) == Listed::Yes,
            Hosts::Hashed { salt, hash } => hash_name(salt, name).as_deref() == Some(hash),
        }
    }
}

fn hash_name(salt: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// Where a key is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    pub key_type: String,
    /// Base64.
    pub key: String,
}

/// What the files say about a key that a host presents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// Another key of this type is known.
    Changed(Place),
    /// Only keys of other types are known.
    OtherType(Vec<Place>),
    Revoked(Place),
}

/// The name under which known_hosts lists a host: `[host]:port` unless the port is 22.
pub fn entry_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

#[derive(Debug)]
struct Cached {
    stamp: Option<(SystemTime, u64)>,
    entries: Arc<Vec<Entry>>,
}

/// Files are read once and again when they change, so that `ssh-keygen -R` helps a console that runs.
#[derive(Debug, Default)]
pub struct KnownHosts {
    files: Mutex<HashMap<PathBuf, Cached>>,
}

impl KnownHosts {
    /// # Errors
    /// A file that is there and cannot be read: keys that may be revoked in it must not pass.
    pub fn check(&self, files: &[PathBuf], name: &str, key_type: &str, key: &str) -> io::Result<Verdict> {
        let (mut known, mut changed, mut others) = (false, None, Vec::new());
        for path in files {
            for entry in self.entries(path)?.iter().filter(|e| e.marker != Marker::Authority && e.is_for(name)) {
                let same = entry.key == key;
                let place =
                    || Place { file: path.clone(), line: entry.line, key_type: entry.key_type.clone(), key: entry.key.clone() };
                match (entry.marker, same) {
                    (Marker::Revoked, true) => return Ok(Verdict::Revoked(place())),
                    (Marker::Revoked, false) => {}
                    (_, true) => known = true,
                    (_, false) if entry.key_type == key_type => changed = changed.or_else(|| Some(place())),
                    (_, false) => others.push(place()),
                }
            }
        }
        Ok(match changed {
            _ if known => Verdict::Known,
            Some(place) => Verdict::Changed(place),
            None if others.is_empty() => Verdict::Unknown,
            None => Verdict::OtherType(others),
        })
    }

    /// Types of the keys that are known for a host, in order: the server is asked for these first.
    pub fn types(&self, files: &[PathBuf], names: &[String]) -> io::Result<Vec<String>> {
        let mut types = Vec::new();
        for path in files {
            for entry in self.entries(path)?.iter().filter(|e| e.marker == Marker::None) {
                if !types.contains(&entry.key_type) && names.iter().any(|name| entry.is_for(name)) {
                    types.push(entry.key_type.clone());
                }
            }
        }
        Ok(types)
    }

    /// Keys of authorities whose certificates vouch for a host, in base64.
    pub fn authorities(&self, files: &[PathBuf], names: &[String]) -> io::Result<Vec<String>> {
        let mut keys = Vec::new();
        for path in files {
            let entries = self.entries(path)?;
            let authorities = entries.iter().filter(|e| e.marker == Marker::Authority);
            keys.extend(authorities.filter(|e| names.iter().any(|name| e.is_for(name))).map(|e| e.key.clone()));
        }
        Ok(keys)
    }

    /// Writes a key down at the end of `file`; hashed if `hash` says so or the file's other entries are.
    pub fn add(&self, file: &Path, hash: bool, name: &str, key_type: &str, key: &str) -> io::Result<()> {
        let entries = self.entries(file)?;
        let hashed = |e: &Entry| matches!(e.hosts, Hosts::Hashed { .. });
        let hash = hash || (!entries.is_empty() && entries.iter().all(hashed));
        let listed = if hash { hashed_name(name) } else { name.to_owned() };
        if let Some(folder) = file.parent().filter(|f| !f.exists()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut out = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
        let mut line = String::new();
        if ends_without_newline(&mut out)? {
            line.push('\n');
        }
        let _ = writeln!(line, "{listed} {key_type} {key}");
        // One write, so that two programs that append at once do not mix their lines.
        out.write_all(line.as_bytes())?;
        out.sync_all()
    }

    fn entries(&self, path: &Path) -> io::Result<Arc<Vec<Entry>>> {
        let stamp = match std::fs::metadata(path) {
            Ok(metadata) if metadata.size() > MAX_SIZE => return Err(io::Error::other("larger than 32 MiB")),
            Ok(metadata) => Some((metadata.modified()?, metadata.size())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = files.get(path).filter(|c| c.stamp == stamp) {
            return Ok(Arc::clone(&cached.entries));
        }
        let bytes = if stamp.is_some() { std::fs::read(path)? } else { Vec::new() };
        let text = String::from_utf8_lossy(&bytes);
        let entries: Arc<Vec<_>> = Arc::new(text.lines().enumerate().filter_map(|(i, line)| Entry::parse(i + 1, line)).collect());
        files.insert(path.to_owned(), Cached { stamp, entries: Arc::clone(&entries) });
        Ok(entries)
    }
}

fn hashed_name(name: &str) -> String {
    let salt: [u8; 20] = rand::random();
    let hash = hash_name(&salt, name).unwrap_or_default();
    format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(hash))
}

fn ends_without_newline(file: &mut std::fs::File) -> io::Result<bool> {
    use std::io::{Seek, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    struct Files {
        dir: tempfile::TempDir,
        hosts: KnownHosts,
    }

    impl Files {
        fn with(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("known_hosts"), text).unwrap();
            Self { dir, hosts: KnownHosts::default() }
        }
        fn path(&self) -> PathBuf {
            self.dir.path().join("known_hosts")
        }
        fn check(&self, name: &str, key: &str) -> Verdict {
            self.hosts.check(&[self.path()], name, "ssh-ed25519", key).unwrap()
        }
        fn line_of(&self, name: &str, key: &str) -> usize {
            match self.check(name, key) {
                Verdict::Changed(p) | Verdict::Revoked(p) => p.line,
                Verdict::OtherType(p) => p[0].line,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn names_patterns_and_ports() {
        let files = Files::with(
            "# comment\n\nlb1,10.0.0.1 ssh-ed25519 AAAA comment\n[lb1]:2222 ssh-ed25519 BBBB\n*.eu,!bad.eu ssh-ed25519 CCCC\nmalformed\n",
        );
        assert_eq!(files.check("lb1", "AAAA"), Verdict::Known);
        assert_eq!(files.check("10.0.0.1", "AAAA"), Verdict::Known);
        assert_eq!(files.check(&entry_name("LB1", 2222), "BBBB"), Verdict::Known);
        assert_eq!(files.line_of("[lb1]:2222", "AAAA"), 4);
        assert_eq!(files.check("x.eu", "CCCC"), Verdict::Known);
        assert_eq!(files.check("bad.eu", "CCCC"), Verdict::Unknown);
        assert_eq!(files.line_of("lb1", "ZZZZ"), 3);
    }

    #[test]
    fn another_type_is_not_unknown() {
        let files = Files::with("lb1 ssh-rsa RRRR\nlb1 ecdsa-sha2-nistp256 EEEE\n");
        let Verdict::OtherType(places) = files.check("lb1", "AAAA") else { panic!() };
        assert_eq!(places.iter().map(|p| p.key_type.as_str()).collect::<Vec<_>>(), ["ssh-rsa", "ecdsa-sha2-nistp256"]);
        assert_eq!(files.hosts.types(&[files.path()], &["lb1".into()]).unwrap(), ["ssh-rsa", "ecdsa-sha2-nistp256"]);
        assert!(files.hosts.types(&[files.path()], &["lb2".into()]).unwrap().is_empty());
    }

    #[test]
    fn revoked_and_authorities() {
        let files = Files::with(
            "lb1 ssh-ed25519 AAAA\n@revoked * ssh-ed25519 AAAA\n@cert-authority * ssh-ed25519 CCCC\n@unknown lb9 ssh-ed25519 X\n",
        );
        assert_eq!(files.line_of("lb1", "AAAA"), 2);
        assert_eq!(files.check("lb2", "CCCC"), Verdict::Unknown, "an authority's key is no host key");
        assert_eq!(files.hosts.authorities(&[files.path()], &["lb2".into()]).unwrap(), ["CCCC"]);
        assert_eq!(files.check("lb9", "X"), Verdict::Unknown);
    }

    /// Entries that OpenSSH's own ssh-keygen has hashed.
    #[test]
    fn hashed_by_openssh() {
        let files = Files::with("lb1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\n");
        assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(files.path()).output().unwrap().status.success());
        let text = std::fs::read_to_string(files.path()).unwrap();
        assert!(text.starts_with("|1|"), "{text}");
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        assert_eq!(files.check("lb1", key), Verdict::Known);
        assert_eq!(files.check("lb2", key), Verdict::Unknown);

        files.hosts.add(&files.path(), false, "[lb2]:2222", "ssh-ed25519", key).unwrap();
        let text = std::fs::read_to_string(files.path()).unwrap();
        assert!(text.lines().all(|l| l.starts_with("|1|")), "hashed like its neighbours: {text}");
        assert_eq!(files.check("[lb2]:2222", key), Verdict::Known, "seen though the file had been read before");
        let found = Command::new("ssh-keygen").args(["-F", "[lb2]:2222", "-f"]).arg(files.path()).output().unwrap();
        assert!(found.status.success(), "OpenSSH finds it too");
    }

    #[test]
    fn added_to_a_new_folder_and_after_a_missing_newline() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".ssh/known_hosts");
        let hosts = KnownHosts::default();
        hosts.add(&file, false, "lb1", "ssh-ed25519", "AAAA").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        std::fs::write(&file, "lb1 ssh-ed25519 AAAA").unwrap();
        hosts.add(&file, true, "lb2", "ssh-ed25519", "BBBB").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("lb1 ssh-ed25519 AAAA\n|1|") && text.ends_with(" BBBB\n"), "{text}");
    }

    #[test]
    fn an_unreadable_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(KnownHosts::default().check(&[dir.path().into()], "lb1", "ssh-ed25519", "A").is_err());
    }
}
