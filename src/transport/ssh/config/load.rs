//! Reads configuration files with what they include. Files are read once; hosts are looked up in memory.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

use super::parse::{Directive, parse};
use crate::transport::{Result, TransportError};

/// OpenSSH's own bound on Include within Include.
const MAX_DEPTH: usize = 16;
/// Bound on all files together: a loop that grows as a tree would still end late.
const MAX_FILES: usize = 1000;
/// Bytes of one file.
const MAX_SIZE: u64 = 4 << 20;

/// One file: its directives, with the files that its Include lines bring in.
#[derive(Debug, Default)]
pub struct File {
    pub path: PathBuf,
    pub items: Vec<Item>,
}

#[derive(Debug)]
pub enum Item {
    Directive(Directive),
    Include(Vec<File>),
}

/// Whose file it is, as OpenSSH tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `~/.ssh/config`: nobody else may write it.
    User,
    /// Named by the fleet file (`ssh -F`): it must be there.
    Given,
    /// `/etc/ssh/ssh_config`: what it includes is relative to its own folder.
    System,
}

/// Reads a file and what it includes. One that is missing says nothing, unless it was [`Origin::Given`].
pub fn load(path: &Path, home: &Path, origin: Origin) -> Result<File> {
    if origin == Origin::Given && !path.exists() {
        return Err(TransportError::NotFound { at: path.display().to_string(), what: "ssh configuration file".into() });
    }
    let base = match (origin, path.parent()) {
        (Origin::System, Some(folder)) => folder.to_owned(),
        _ => home.join(".ssh"),
    };
    Loader { home, base, check_owner: origin == Origin::User, files: 0 }.file(path, 0)
}

struct Loader<'a> {
    home: &'a Path,
    base: PathBuf,
    check_owner: bool,
    files: usize,
}

impl Loader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<File> {
        let mut file = File { path: path.to_owned(), items: Vec::new() };
        let at = || path.display().to_string();
        self.files += 1;
        if depth > MAX_DEPTH || self.files > MAX_FILES {
            return Err(invalid(at(), "Include goes too deep; does the file include itself?".into()));
        }
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(file),
            Err(e) => return Err(unreadable(at(), &e)),
        };
        let mine = metadata.uid() == 0 || metadata.uid() == Uid::effective().as_raw();
        // Like Debian's OpenSSH: a group of one's own may write, which is what a umask of 002 leaves.
        let others = if metadata.gid() == Gid::effective().as_raw() { 0o002 } else { 0o022 };
        if self.check_owner && (!mine || metadata.mode() & others != 0) {
            return Err(TransportError::Denied {
                at: at(),
                what: "others may write this ssh configuration, so it is not trusted".into(),
                hint: format!("chmod go-w {} (and chown it to yourself)", path.display()),
            });
        }
        if metadata.len() > MAX_SIZE {
            return Err(TransportError::TooLarge {
                at: at(),
                doing: "reading ssh configuration".into(),
                limit: MAX_SIZE as usize,
            });
        }
        let bytes = std::fs::read(path).map_err(|e| unreadable(at(), &e))?;
        let (directives, malformed) = parse(&String::from_utf8_lossy(&bytes));
        if let Some(bad) = malformed {
            return Err(invalid(format!("{}:{}", at(), bad.line), bad.what));
        }
        for directive in directives {
            if directive.keyword != "include" {
                file.items.push(Item::Directive(directive));
                continue;
            }
            let mut included = Vec::new();
            for pattern in &directive.args {
                for found in glob(&self.absolute(pattern)) {
                    included.push(self.file(&found, depth + 1)?);
                }
            }
            file.items.push(Item::Include(included));
        }
        Ok(file)
    }

    fn absolute(&self, pattern: &str) -> PathBuf {
        match pattern.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => self.base.join(pattern),
        }
    }
}

/// Paths that exist and match, in order of name, like glob(3).
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str();
        let wild = name.to_str().filter(|n| n.contains(['*', '?', '[']));
        let Some(matcher) = wild.and_then(|n| globset::Glob::new(n).ok()).map(|g| g.compile_matcher()) else {
            for path in &mut found {
                path.push(name);
            }
            continue;
        };
        let hidden = name.as_encoded_bytes().starts_with(b".");
        found = found
            .iter()
            .flat_map(|dir| {
                let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
                let mut names: Vec<_> = entries.map(|e| e.file_name()).filter(|n| matcher.is_match(n)).collect();
                names.retain(|n| hidden || !n.as_encoded_bytes().starts_with(b"."));
                names.sort();
                names.into_iter().map(|n| dir.join(n)).collect::<Vec<_>>()
            })
            .collect();
    }
    found.retain(|path| path.exists());
    found
}

/// Configuration that cannot be used until somebody mends it.
pub fn invalid(at: String, what: String) -> TransportError {
    TransportError::Unsupported { at, what: format!("ssh configuration: {what}") }
}

fn unreadable(at: String, error: &io::Error) -> TransportError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            TransportError::Denied { at, what: "ssh configuration".into(), hint: "let your user read the file".into() }
        }
        _ => TransportError::Unsupported { at, what: format!("ssh configuration cannot be read: {error}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(home: &Path, name: &str, text: &str) -> PathBuf {
        let path = home.join(".ssh").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_file_that_includes_itself_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let config = write(home.path(), "config", "Include config\nInclude config\n");
        assert!(load(&config, home.path(), Origin::User).unwrap_err().to_string().contains("too deep"));
    }

    #[test]
    fn includes_are_globs_relative_to_ssh() {
        let home = tempfile::tempdir().unwrap();
        let config = write(home.path(), "config", "Include conf.d/*.conf missing ~/.ssh/other\n");
        for name in ["conf.d/b.conf", "conf.d/a.conf", "conf.d/.hidden.conf", "conf.d/note.txt", "other"] {
            write(home.path(), name, "User x\n");
        }
        let file = load(&config, home.path(), Origin::User).unwrap();
        let Some(Item::Include(files)) = file.items.first() else { panic!("{file:?}") };
        let names: Vec<_> = files.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.conf", "b.conf", "other"]);
    }

    #[test]
    fn a_file_that_others_may_write_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let config = write(home.path(), "config", "User x\n");
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(load(&config, home.path(), Origin::User), Err(TransportError::Denied { .. })));
        assert!(load(&config, home.path(), Origin::Given).is_ok());
    }

    #[test]
    fn the_error_names_file_and_line() {
        let home = tempfile::tempdir().unwrap();
        let config = write(home.path(), "config", "Host a\nUser 'x\n");
        assert!(
            load(&config, home.path(), Origin::User).unwrap_err().to_string().contains("config:2: ssh configuration: a quote")
        );
    }
}
