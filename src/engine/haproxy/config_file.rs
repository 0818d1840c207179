//! The file that the node's next reload would read: fetched when it changed, looked at only now and then.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::transport::{Files, Transport, TransportError};

use super::parse::config::{self, Config};
use super::socket::Deadline;

/// Where packages put it.
const DEFAULT_PATH: &str = "/etc/haproxy/haproxy.cfg";
/// A look at the node's file system is a round trip: this often is often enough, and after each reload.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Bytes of all its parts at most.
const MAX_SIZE: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct ConfigFile {
    transport: Arc<dyn Transport>,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    /// Process that answered at the last look.
    pid: Option<u32>,
    stamp: Option<Stamp>,
    known: Option<Known>,
}

/// What tells one version of the file from the next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    parts: Vec<(PathBuf, u64, i64)>,
}

/// What the last look found.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub config: Result<Arc<Config>, String>,
    /// Seconds since the epoch on the node's clock.
    pub changed: Option<i64>,
}

impl ConfigFile {
    /// None where the node's files cannot be read at all.
    pub(super) fn new(path: Option<&Path>, transport: Option<&Arc<dyn Transport>>) -> Option<ConfigFile> {
        let transport = transport.filter(|t| t.files().is_some())?.clone();
        Some(ConfigFile {
            transport,
            path: path.map_or_else(|| PathBuf::from(DEFAULT_PATH), Path::to_path_buf),
            state: Mutex::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is known now, without asking the node.
    pub(super) fn known(&self) -> Option<Known> {
        self.lock().known.clone()
    }

    /// Nobody has looked yet.
    pub(super) fn is_new(&self) -> bool {
        self.lock().looked.is_none()
    }

    /// True where it is time to look again: a while has passed, or another process answers.
    pub(super) fn is_due(&self, pid: Option<u32>) -> bool {
        let mut state = self.lock();
        if state.looked.is_some() && state.pid.is_none() {
            state.pid = pid; // the first look did not know yet which process it was for
        }
        state.pid != pid || state.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY)
    }

    /// Looks at the file and reads it if it changed. What goes wrong is remembered as a reason.
    pub(super) async fn look(&self, pid: Option<u32>, deadline: Deadline) {
        {
            let mut state = self.lock();
            if state.pid != pid {
                // An edit within the second of the last look keeps size and time; after a reload nothing is assumed.
                state.stamp = None;
            }
        }
        let known = match tokio::time::timeout(deadline.left(), self.fetch()).await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some((stamp, config)))) => {
                let changed = stamp.parts.iter().map(|(_, _, mtime)| *mtime).max();
                self.lock().stamp = Some(stamp);
                Some(Known { config: Ok(config), changed })
            }
            Ok(Err(e)) => Some(self.failed(&e.to_string())),
            Err(_) => Some(self.failed("no answer in time")),
        };
        let mut state = self.lock();
        state.looked = Some(Instant::now());
        state.pid = pid;
        if let Some(known) = known {
            if known.config.is_err() {
                state.stamp = None;
            }
            state.known = Some(known);
        }
    }

    fn failed(&self, why: &str) -> Known {
        let why = format!("{}: {why}; what differs from the file is unknown", self.path.display());
        Known { config: Err(why), changed: None }
    }

    /// None where it is as it was.
    async fn fetch(&self) -> Result<Option<(Stamp, Arc<Config>)>, TransportError> {
        let files = self
            .transport
            .files()
            .ok_or_else(|| TransportError::Unsupported { at: self.transport.describe(), what: "no access to files".into() })?;
        let stamp = self.stamp(files).await?;
        if self.lock().stamp.as_ref() == Some(&stamp) {
            return Ok(None);
        }
        let mut text = String::new();
        for (path, _, _) in &stamp.parts {
            let bytes = files.read(path, MAX_SIZE.saturating_sub(text.len())).await?;
            text.push_str(&String::from_utf8_lossy(&bytes));
            text.push('\n');
        }
        Ok(Some((stamp, Arc::new(config::parse(&text)))))
    }

    /// The file, or all `*.cfg` of the folder in the order in which HAProxy reads them.
    async fn stamp(&self, files: &dyn Files) -> Result<Stamp, TransportError> {
        let missing = || TransportError::NotFound { at: self.transport.describe(), what: self.path.display().to_string() };
        let stat = files.stat(&self.path).await?.ok_or_else(missing)?;
        if !stat.is_dir {
            return Ok(Stamp { parts: vec![(self.path.clone(), stat.size, stat.mtime)] });
        }
        let mut names = files.list(&self.path).await?;
        names.retain(|name| name.ends_with(".cfg") && !name.starts_with('.'));
        names.sort();
        let mut parts = Vec::with_capacity(names.len());
        for name in names {
            let path = self.path.join(name);
            if let Some(stat) = files.stat(&path).await?.filter(|s| !s.is_dir) {
                parts.push((path, stat.size, stat.mtime));
            }
        }
        Ok(Stamp { parts })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
