//! keepalived of one node: what it says, what its files say, and what the interfaces carry.
//!
//! `look` moves bytes; `syntax`, `settings`, `json`, `dump`, `sockets` read them (pure); `reading` puts them together. The daemon is asked
//! seldom, because it logs a line each time; the interfaces are read at every turn, and the daemon at once when they have changed.

mod dump;
mod json;
mod look;
mod reading;
pub mod settings;
mod sockets;
pub mod syntax;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{KeepalivedSpec, Settings};
use crate::engine::{EngineError, Result, Vrrp};
use crate::model::{InterfaceAddress, NodeName, VrrpObs};
use crate::transport::{Transport, TransportError};

use look::Part;

/// Where keepalived looks for its configuration when nothing is said.
pub const DEFAULT_CONFIG: &str = "/etc/keepalived/keepalived.conf";
/// Files of one configuration, at most: more is an include that goes in circles.
const MOST_FILES: usize = 1000;
/// Rounds of includes within includes.
const DEEPEST: usize = 16;
/// Dumps that are read anew because a part of one was read.
const AGAIN: usize = 3;

/// keepalived of one node.
#[derive(Debug)]
pub struct Keepalived {
    node: NodeName,
    transport: Arc<dyn Transport>,
    config: Option<String>,
    sudo: bool,
    ask_every: Duration,
    limit: usize,
    /// What the daemon told last.
    told: Mutex<Option<Arc<VrrpObs>>>,
}

impl Keepalived {
    /// Opens nothing yet.
    pub fn new(node: NodeName, spec: &KeepalivedSpec, transport: Arc<dyn Transport>, settings: &Settings) -> Keepalived {
        Keepalived {
            node,
            transport,
            config: spec.config.as_deref().map(|p: &Path| p.display().to_string()),
            sudo: spec.sudo,
            ask_every: spec.ask_every,
            limit: settings.max_reply,
            told: Mutex::default(),
        }
    }

    async fn look(&self, what: &str, words: &[String], ends: Instant) -> Result<Vec<Part>> {
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let at = self.transport.describe();
            return Err(TransportError::Timeout { at, doing: format!("looking at keepalived's {what}"), after: left }.into());
        }
        look::run(&*self.transport, self.sudo, what, words, left, self.limit).await
    }

    fn malformed(&self, what: String) -> EngineError {
        EngineError::Malformed { at: self.transport.describe(), what }
    }

    /// Everything: the daemons' words, files, sockets.
    async fn ask(&self, ends: Instant) -> Result<VrrpObs> {
        let began = Instant::now();
        let mut daemon = None;
        for turn in 1..=AGAIN {
            let read = reading::daemon(&self.look("daemon", &[], ends).await?);
            match read {
                Ok(read) => {
                    daemon = Some(read);
                    break;
                }
                // It was written while it was read.
                Err(what) if turn == AGAIN => return Err(self.malformed(what)),
                Err(_) => {}
            }
        }
        let Some(mut daemon) = daemon else { return Err(self.malformed("nothing was read".into())) };
        let path = self
            .config
            .clone()
            .or_else(|| daemon.daemons.first().map(|d| d.config.clone()))
            .unwrap_or_else(|| DEFAULT_CONFIG.to_owned());
        let config_id = daemon.config_id.clone();
        let (files, mut notes) = self.files(path, &config_id, ends).await?;
        daemon.notes.append(&mut notes);
        let mut obs = reading::merge(daemon, &files, &config_id);
        self.track_files(&mut obs, ends).await?;
        obs.node = self.node.clone();
        obs.source = self.transport.describe().into();
        obs.took = began.elapsed();
        Ok(obs)
    }

    /// The configuration with everything that it includes, each file once, in the order in which it is read.
    async fn files(&self, main: String, config_id: &str, ends: Instant) -> Result<(Vec<settings::File>, Vec<String>)> {
        let (mut files, mut notes) = (Vec::<settings::File>::new(), Vec::new());
        let (mut wanted, mut asked) = (vec![main], BTreeSet::new());
        for _ in 0..DEEPEST {
            wanted.retain(|pattern| asked.insert(pattern.clone()));
            if wanted.is_empty() {
                return Ok((files, notes));
            }
            let parts = self.look("files", &wanted, ends).await?;
            wanted = Vec::new();
            for part in parts {
                match part.name.as_str() {
                    "file" if files.iter().any(|f| f.path == part.words) => {}
                    "file" if files.len() == MOST_FILES => {
                        notes.push(format!("the configuration has more than {MOST_FILES} files; the rest was not read"));
                        return Ok((files, notes));
                    }
                    "file" => {
                        let file = settings::File { path: part.words, text: part.text };
                        // What is no configuration is told when it is read as a whole.
                        wanted.extend(settings::includes(&file, config_id).unwrap_or_default());
                        files.push(file);
                    }
                    "unreadable" => {
                        files.retain(|f| f.path != part.words);
                        notes.push(format!("{} cannot be read by this user: sudo: true under keepalived, or root", part.words));
                    }
                    "missing" if part.words.contains('*') => {}
                    "missing" => notes.push(format!("{} is not there", part.words)),
                    _ => {}
                }
            }
        }
        notes.push(format!("includes are nested deeper than {DEEPEST}: do they go in a circle?"));
        Ok((files, notes))
    }

    async fn track_files(&self, obs: &mut VrrpObs, ends: Instant) -> Result<()> {
        let mut paths: Vec<String> =
            obs.instances.iter().flat_map(|i| &i.track_files).map(|f| f.path.clone()).filter(|p| !p.is_empty()).collect();
        paths.sort();
        paths.dedup();
        if !paths.is_empty() {
            let parts = self.look("state", &paths, ends).await?;
            reading::track_files(obs, &parts);
        }
        Ok(())
    }

    fn remember(&self, obs: &VrrpObs) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(obs.clone()));
    }
}

#[async_trait]
impl Vrrp for Keepalived {
    fn identity(&self) -> String {
        "keepalived".to_owned()
    }
    fn source(&self) -> String {
        self.transport.describe()
    }
    fn rights(&self) -> &'static [&'static str] {
        look::rights(self.sudo)
    }

    async fn observe(&self, anew: bool, deadline: Duration) -> Result<VrrpObs> {
        let began = Instant::now();
        let ends = began + deadline;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(told) = told.filter(|t| !anew && t.told.is_some_and(|at| at.elapsed() < self.ask_every)) {
            let addresses = reading::addresses(&self.look("addresses", &[], ends).await?).map_err(|what| self.malformed(what))?;
            if same(&addresses, &told.addresses) {
                return Ok(VrrpObs {
                    addresses,
                    at: Timestamp::now(),
                    seen: Instant::now(),
                    took: began.elapsed(),
                    ..VrrpObs::clone(&told)
                });
            }
        }
        let obs = self.ask(ends).await?;
        self.remember(&obs);
        Ok(obs)
    }
}

fn same(a: &[InterfaceAddress], b: &[InterfaceAddress]) -> bool {
    a.len() == b.len() && a.iter().all(|x| b.contains(x))
}
