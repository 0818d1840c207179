//! Active health checks, all of them on one thread of their own, so that they neither wait for the data threads nor slow them.
//!
//! A check is four system calls where a connection is all that is asked: socket, connect, one poll shared by all that are
//! under way, close. Checks of a pool are spread over their interval and jittered; connections are reset, not closed, so
//! that none is left in TIME_WAIT.

mod probe;
pub mod standing;
#[cfg(test)]
mod tests;
mod tls;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::agent::events::Events;
use crate::engine::relay::wire::{Admin, Health};

use super::clock::{Millis, at, millis, now};
use super::config::check::CheckConfig;
use super::pool::balance::hash;
use super::pool::balance::random::Random;
use super::pool::{Pool, Server, ServerId};
use probe::{Probe, Verdict};
use standing::Standing;

/// Checks under way at once; the rest is late rather than a flood of half-open connections.
const MOST_UNDER_WAY: usize = 2048;
/// Up to so many are watched closely, so that their durations are exact; more are looked at in steps.
const FEW: usize = 16;
const STEP: Duration = Duration::from_millis(10);
/// How often rates are worked out and changes of the configuration looked for at the latest.
const TICK: Millis = 1000;

/// The pools of the relay, replaced as a whole.
pub type Pools = ArcSwap<Vec<Arc<Pool>>>;

/// The thread that checks. It ends with this.
#[derive(Debug)]
pub struct HealthThread {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl HealthThread {
    pub fn start(pools: Arc<Pools>, events: Arc<Events>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || Checker::new(pools, events).run(&stopped);
        let thread = std::thread::Builder::new().name("relay-health".to_owned()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for HealthThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of health checks panicked");
        }
    }
}

/// One server that is checked.
struct Target {
    pool: Arc<Pool>,
    server: Arc<Server>,
    config: Arc<CheckConfig>,
    address: SocketAddr,
    standing: Standing,
    /// Clients are sent where checks connect to.
    same_address: bool,
    /// Whether a check is under way.
    busy: bool,
    /// When the next one begins.
    due: Millis,
}

struct Checker {
    pools: Arc<Pools>,
    events: Arc<Events>,
    targets: HashMap<ServerId, Target>,
    /// Next checks by time. A server that is gone leaves its entry until it is due.
    due: BinaryHeap<Reverse<(Millis, ServerId)>>,
    under_way: Vec<Probe>,
    /// The sets that the targets were made of, to see changes by.
    seen: Vec<(Arc<Pool>, Arc<super::pool::ServerSet>)>,
    random: Random,
    tls: tls::Clients,
}

impl Checker {
    fn new(pools: Arc<Pools>, events: Arc<Events>) -> Self {
        Self {
            pools,
            events,
            targets: HashMap::new(),
            due: BinaryHeap::new(),
            under_way: Vec::new(),
            seen: Vec::new(),
            // Nodes of a fleet that start at once must not check at once.
            random: Random::new(rand::random()),
            tls: tls::Clients::default(),
        }
    }

    fn run(&mut self, stop: &AtomicBool) {
        let mut next_tick = 0;
        while !stop.load(Ordering::Acquire) {
            let time = now();
            if time >= next_tick {
                next_tick = time + TICK;
                self.pools.load().iter().for_each(|pool| pool.tick(time));
            }
            self.follow(time);
            self.hurry(time);
            self.begin(time);
            self.wait(next_tick);
            self.advance();
        }
    }

    /// Takes over what has changed in the pools since the last look.
    fn follow(&mut self, time: Millis) {
        let pools = self.pools.load_full();
        let same = pools.len() == self.seen.len()
            && pools.iter().zip(&self.seen).all(|(p, (pool, set))| Arc::ptr_eq(p, pool) && Arc::ptr_eq(&*p.set(), set));
        if same {
            return;
        }
        self.seen = pools.iter().map(|p| (p.clone(), p.set().clone())).collect();
        let mut before = std::mem::take(&mut self.targets);
        for (pool, set) in &self.seen {
            let shared = set.config.check.clone().map(Arc::new);
            for slot in &set.slots {
                let Some(config) = shared.clone().filter(|_| slot.config.check) else {
                    pool.set_health(&slot.server, Health::Unchecked, time);
                    slot.server.note_check(None, None);
                    continue;
                };
                let port = slot.config.check_port.unwrap_or(slot.address.port());
                let address = SocketAddr::new(slot.address.ip(), port);
                let (id, same_address) = (slot.server.id, address == slot.address);
                let target = match before.remove(&id) {
                    Some(target) => Target { config, address, same_address, pool: pool.clone(), ..target },
                    None => {
                        let known = slot.server.take_known();
                        // Spread over one interval from the start; at once where a server is kept from clients by what was known before.
                        let wait =
                            if known.is_some_and(|k| !k.up) { 0 } else { self.random.draw() % millis(config.inter).max(1) };
                        let due = time + wait;
                        self.due.push(Reverse((due, id)));
                        if known.is_none() {
                            pool.set_health(&slot.server, Health::Starting, time);
                        }
                        let (pool, server, standing) = (pool.clone(), slot.server.clone(), known.unwrap_or_default());
                        Target { pool, server, config, address, standing, same_address, busy: false, due }
                    }
                };
                self.targets.insert(id, target);
            }
        }
        // Results of servers that are gone interest nobody.
        let targets = &self.targets;
        self.under_way.retain(|probe| targets.contains_key(&probe.server));
    }

    /// Servers that no connection could be made to are checked at once.
    fn hurry(&mut self, time: Millis) {
        for (pool, set) in self.seen.iter().filter(|(pool, _)| pool.take_suspicion()) {
            for slot in &set.slots {
                let Some(is_new) = slot.server.take_suspicion() else { continue };
                if is_new {
                    let others =
                        format!("no connection can be made: other servers of {} are preferred while that is so", pool.name);
                    self.events.tell("server", &*slot.server.place, others);
                }
                if let Some(target) = self.targets.get_mut(&slot.server.id)
                    && target.due > time
                {
                    target.due = time;
                    self.due.push(Reverse((time, slot.server.id)));
                }
            }
        }
    }

    /// Begins the checks that are due.
    fn begin(&mut self, time: Millis) {
        while self.under_way.len() < MOST_UNDER_WAY
            && let Some(Reverse((when, id))) = self.due.peek().copied()
            && when <= time
        {
            self.due.pop();
            let Some(target) = self.targets.get_mut(&id) else { continue };
            if target.busy || target.due != when {
                continue;
            }
            let checks_on = target.server.checks_on();
            if !checks_on || target.server.admin() == Admin::Maint {
                if !checks_on {
                    target.pool.set_health(&target.server, Health::Unchecked, time);
                    target.standing = Standing::default();
                    target.server.note_check(None, None);
                }
                target.due = time + millis(target.config.inter);
                self.due.push(Reverse((target.due, id)));
                continue;
            }
            match Probe::begin(id, &target.config, target.address, &mut self.tls) {
                Ok(probe) => {
                    target.busy = true;
                    self.under_way.push(probe);
                }
                Err(verdict) => self.conclude(id, &verdict),
            }
        }
    }

    /// Waits for something to happen on the connections under way, or for the next check to be due.
    fn wait(&mut self, next_tick: Millis) {
        let time = now();
        let next_due = self.due.peek().map_or(Millis::MAX, |Reverse((when, _))| *when);
        let deadline = self.under_way.iter().map(|p| at(p.deadline)).min().unwrap_or(Millis::MAX);
        let until = Duration::from_millis(next_tick.min(next_due).min(deadline).saturating_sub(time)).max(STEP / 2);
        // The tick bounds how late a change of the configuration or the end is seen.
        let until = until.min(Duration::from_millis(100));
        if self.under_way.is_empty() {
            return std::thread::sleep(until);
        }
        let many = self.under_way.len() > FEW;
        if many {
            // All that has come meanwhile is taken in one go: a wake-up for each would cost more than the checks.
            std::thread::sleep(STEP);
        }
        let timeout = if many { PollTimeout::ZERO } else { PollTimeout::try_from(until).unwrap_or(PollTimeout::ZERO) };
        let mut fds: Vec<PollFd<'_>> = self.under_way.iter().map(|p| PollFd::new(p.socket.as_fd(), p.interest())).collect();
        match poll(&mut fds, timeout) {
            Ok(0) => {}
            Ok(_) => {
                let happened: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR)).collect();
                for (probe, happened) in self.under_way.iter_mut().zip(happened) {
                    probe.ready = !happened.is_empty();
                    probe.troubled = happened.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL);
                }
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "health checks cannot wait for their connections");
                std::thread::sleep(STEP);
            }
        }
    }

    /// Goes on with every check that can, and ends those whose time is up.
    fn advance(&mut self) {
        let instant = Instant::now();
        let mut ended = Vec::new();
        self.under_way.retain_mut(|probe| {
            let verdict = if std::mem::take(&mut probe.ready) { probe.advance() } else { None };
            let verdict = verdict.or_else(|| (instant >= probe.deadline).then(|| probe.timed_out()));
            match verdict {
                Some(verdict) => {
                    ended.push((probe.server, verdict));
                    false
                }
                None => true,
            }
        });
        for (id, verdict) in ended {
            self.conclude(id, &verdict);
        }
    }

    /// What a check's result means for the server, and when the next one is.
    fn conclude(&mut self, id: ServerId, verdict: &Verdict) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        target.busy = false;
        let time = now();
        if target.server.checks_on() && target.server.admin() != Admin::Maint {
            let moved = target.standing.observe(verdict.ok, target.config.rise, target.config.fall);
            let health = if target.standing.up { Health::Up } else { Health::Down };
            let progress = target.standing.progress(target.config.rise, target.config.fall);
            target.server.note_check(Some(verdict.to_wire()), progress);
            target.pool.set_health(&target.server, health, time);
            if verdict.ok && target.same_address {
                target.pool.reached(&target.server);
            }
            if moved {
                let state = if target.standing.up { "up" } else { "down" };
                self.events.tell("health", &*target.server.place, format!("{state}: {verdict}"));
            }
        }
        let interval = millis(target.standing.interval(&target.config)).max(1);
        // Five percent either way, so that checks which once met do not meet for ever.
        let spread = interval / 10;
        let jitter = if spread == 0 { 0 } else { hash::mix(self.random.draw()) % spread };
        target.due = time + interval - interval / 20 + jitter;
        self.due.push(Reverse((target.due, id)));
    }
}
