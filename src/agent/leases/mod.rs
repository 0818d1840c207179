//! Leases that the agent gives back at their end, whether or not a console is left: those of its own relay and those of other
//! engines of the node.
//!
//! Consoles write a lease into the node's lock folder before they send the change that it is for (`ops::lease_files`). The
//! agent watches that folder, counts each lease's time by a clock that nobody sets, and at the end takes the way of every
//! change: plan, guards, locks, verification, record. So a console that is still there and the agent never work against each
//! other, and whatever version of lbdeck made the lease, the agent keeps it.

mod clock;
mod engines;
mod folder;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::engine::relay::wire;
use crate::ops::lease_files::LeaseFile;
use crate::ops::{Ops, SweepReport};

use super::control::Control;
use super::state::StateError;

pub use folder::LeaseFolder;

/// How often the folder is looked at; a listing of a small folder in memory.
const LOOK: Duration = Duration::from_secs(1);
/// A lease that could not be given back is tried again, ever more slowly.
const RETRY_LEAST: Duration = Duration::from_secs(2);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// Where what is needed lies.
#[derive(Clone, Debug)]
pub struct Places {
    pub lock_dir: PathBuf,
    /// Our own control socket, by which the relay is changed as any console changes it.
    pub socket: PathBuf,
    /// The record of what was given back.
    pub store: PathBuf,
}

#[derive(Debug)]
pub struct Leases {
    control: Arc<Control>,
    places: Places,
    folder: LeaseFolder,
    known: Mutex<BTreeMap<String, Known>>,
    /// One return at a time: several leases on one server depend on each other.
    turn: tokio::sync::Mutex<()>,
    look_now: Notify,
}

/// One lease file.
#[derive(Debug)]
struct Known {
    lease: LeaseFile,
    /// By the clock of `clock::since_boot`; None for a lease without an end.
    due: Option<Duration>,
    /// Not tried again before, after an attempt that failed.
    not_before: Duration,
    pause: Duration,
}

impl Leases {
    pub fn new(control: Arc<Control>, places: Places) -> Leases {
        let folder = LeaseFolder::new(places.lock_dir.clone(), &places.socket);
        Leases { control, places, folder, known: Mutex::default(), turn: tokio::sync::Mutex::default(), look_now: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn list(&self) -> Vec<wire::Lease> {
        let now = clock::since_boot();
        let known = self.lock();
        let mut leases: Vec<wire::Lease> = known
            .values()
            .map(|k| wire::Lease {
                id: k.lease.id.clone(),
                engine: k.lease.engine.clone(),
                target: k.lease.target.clone(),
                change: k.lease.change.clone(),
                inverse: k.lease.inverse.clone(),
                who: k.lease.who.to_string(),
                reason: k.lease.reason.clone(),
                made: k.lease.made,
                ends: k.lease.ends,
                left_s: k.due.map(|due| due.saturating_sub(now).as_secs()),
            })
            .collect();
        leases.sort_by(|a, b| a.made.cmp(&b.made).then_with(|| a.id.cmp(&b.id)));
        leases
    }

    /// Puts back the files of our own relay's leases if a reboot has emptied their folder; what was given back while this
    /// boot lasted stays away.
    pub async fn restore(&self) -> Result<(), StateError> {
        let boot = clock::boot_id();
        let change = self.control.state.change().await?;
        let mut kept = change.before.clone();
        if kept.boot != boot {
            for (name, text) in &kept.leases {
                match self.folder.put_back(name, text) {
                    Ok(true) => self.control.events.tell("lease", name, "put back after a reboot"),
                    Ok(false) => {}
                    Err(e) => tracing::error!(file = name, error = %e, "a lease cannot be put back after a reboot"),
                }
            }
            kept.boot = boot;
        }
        kept.leases = self.folder.own();
        change.write(kept).await
    }

    /// Watches until `stop`.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut turn = tokio::time::interval(LOOK);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turn.tick() => {}
                () = self.look_now.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.look().await;
            let due = self.due();
            if !due.is_empty() {
                self.return_these(&due).await;
            }
        }
    }

    async fn look(&self) {
        let folder = self.folder.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || folder.all()).await else { return };
        let (now, wall) = (clock::since_boot(), Timestamp::now());
        let changed = {
            let mut known = self.lock();
            known.retain(|name, _| found.contains_key(name));
            for (name, lease) in found {
                match known.get_mut(&name) {
                    // Another console may have moved what it gives back to.
                    Some(k) => k.lease = lease,
                    None => {
                        let due = lease.ends.map(|ends| now + clock::until(ends, wall));
                        known.insert(name, Known { lease, due, not_before: Duration::ZERO, pause: RETRY_LEAST });
                    }
                }
            }
            let own = self.folder.own();
            (own != self.control.state.kept().leases).then_some(own)
        };
        if let Some(own) = changed {
            self.remember(own).await;
        }
    }

    async fn remember(&self, own: BTreeMap<String, String>) {
        let change = match self.control.state.change().await {
            Ok(change) => change,
            // The new process looks at the same folder.
            Err(_) => return,
        };
        let mut kept = change.before.clone();
        kept.leases = own;
        if let Err(e) = change.write(kept).await {
            tracing::error!(error = %e, "leases cannot be written down: a reboot would forget them");
        }
    }

    fn due(&self) -> Vec<String> {
        let now = clock::since_boot();
        let due = |k: &&Known| k.due.is_some_and(|due| due <= now) && k.not_before <= now;
        self.lock().values().filter(due).map(|k| k.lease.id.clone()).collect()
    }

    /// Gives one back now.
    pub async fn give_back(&self, id: &str) -> Result<(), String> {
        self.look().await;
        let report = self.return_these(&[id.to_owned()]).await;
        match report.failed.into_iter().next() {
            Some((_, why)) => Err(why),
            None if report.returned.is_empty() && report.overtaken.is_empty() => {
                Err("it is being given back by somebody else, or was".to_owned())
            }
            None => Ok(()),
        }
    }

    async fn return_these(&self, ids: &[String]) -> SweepReport {
        let _turn = self.turn.lock().await;
        let engines: Vec<String> = {
            let mut engines: Vec<String> =
                self.lock().values().filter(|k| ids.contains(&k.lease.id)).map(|k| k.lease.engine.clone()).collect();
            engines.sort();
            engines.dedup();
            engines
        };
        let ops: Ops = engines::ops(&engines, &self.places);
        let report = ops.sweep_these(ids).await;
        ops.settle().await;
        let events = &self.control.events;
        for lease in &report.returned {
            events.tell("lease", lease.id.clone(), format!("{} of {} given back at its end", lease.change, lease.target));
        }
        for lease in &report.overtaken {
            let text = format!("{} of {} had been changed since by somebody else: left as it is", lease.change, lease.target);
            events.tell("lease", lease.id.clone(), text);
        }
        for (lease, why) in &report.failed {
            events.tell("lease", lease.id.clone(), format!("{} of {} not given back yet: {why}", lease.change, lease.target));
        }
        self.after(ids, &report);
        report
    }

    /// Whatever was not given back waits a while: also what nobody reported on (another sweep held the lock).
    fn after(&self, ids: &[String], report: &SweepReport) {
        let now = clock::since_boot();
        let done = |id: &String| report.returned.iter().chain(&report.overtaken).any(|l| l.id == *id);
        for k in self.lock().values_mut().filter(|k| ids.contains(&k.lease.id) && !done(&k.lease.id)) {
            k.not_before = now + k.pause;
            k.pause = (k.pause * 2).min(RETRY_MOST);
        }
    }
}
