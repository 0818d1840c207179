//! One task a node reads it over and over, or listens where the engine tells by itself; one task publishes what they found.
//! A hung node holds up nobody: its task waits alone, bounded by the deadline, while everybody else's readings are published.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use rand::Rng;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::config::Settings;
use crate::engine::{EngineError, NodeHandle, Streams, Want};
use crate::model::{FleetView, Health, NodeName, NodeObs, NodeView, Problem, VrrpObs, VrrpView};

use super::History;

/// A node whose problem cannot mend itself (host key, permission) is asked again so often, in case somebody mended it.
const RETRY_UNLIKELY: Duration = Duration::from_secs(30);
/// Longest pause between attempts on a node that is down.
const RETRY_MOST: Duration = Duration::from_secs(15);

/// Before a stream is opened anew that the far side has ended in order: another process takes over.
const MOVED: Duration = Duration::from_millis(200);

/// In so many groups large fleets are read, one after the other within an interval.
const SLOTS: u32 = 20;

/// Reads the fleet; keeps the newest picture. Shared by all views.
#[derive(Debug)]
pub struct Collector {
    pub(super) nodes: Vec<Polled>,
    pub(super) timeout: Duration,
    refresh: Duration,
    dead_after: Duration,
    publish: watch::Sender<Arc<FleetView>>,
    /// Wakes the publisher.
    dirty: Notify,
    history: History,
}

#[derive(Debug)]
pub(super) struct Polled {
    pub(super) handle: NodeHandle,
    state: Mutex<NodeState>,
    poke: Notify,
    poke_vrrp: Notify,
}

/// What is known of a node apart from its health, which is a matter of the clock.
#[derive(Debug, Default)]
struct NodeState {
    last: Option<Arc<NodeObs>>,
    /// The one before, until the next is read: so that its memory is given back here, by then nobody else having it, and
    /// taken again at once. Given back by whoever looked last, on another thread, it would go to the system and come
    /// again with every reading.
    before: Option<Arc<NodeObs>>,
    problem: Option<Problem>,
    failures: u32,
    next_try: Option<Instant>,
    /// keepalived, which is read and fails by itself.
    vrrp: VrrpReading,
    /// The view as it was published last; kept so that nodes with no news cost no allocation.
    shown: Option<Arc<NodeView>>,
}

#[derive(Debug, Default)]
struct VrrpReading {
    last: Option<Arc<VrrpObs>>,
    problem: Option<Problem>,
    failures: u32,
}

/// Polls until it is dropped.
#[derive(Debug)]
pub struct Polling {
    _tasks: JoinSet<()>,
}

impl Collector {
    pub fn new(nodes: Vec<NodeHandle>, settings: &Settings) -> Arc<Self> {
        let nodes: Vec<Polled> = nodes
            .into_iter()
            .map(|handle| Polled { handle, state: Mutex::default(), poke: Notify::new(), poke_vrrp: Notify::new() })
            .collect();
        let now = Instant::now();
        let first = FleetView {
            at: Timestamp::now(),
            now,
            nodes: nodes
                .iter()
                .map(|p| {
                    Arc::new(NodeView {
                        meta: p.handle.meta.clone(),
                        health: Health::Connecting,
                        last: None,
                        problem: None,
                        failures: 0,
                        next_try: None,
                        vrrp: None,
                    })
                })
                .collect(),
        };
        Arc::new(Self {
            nodes,
            timeout: settings.timeout,
            refresh: settings.refresh,
            dead_after: settings.dead_after,
            publish: watch::Sender::new(Arc::new(first)),
            dirty: Notify::new(),
            history: History::default(),
        })
    }

    /// The newest picture; never waits.
    pub fn view(&self) -> Arc<FleetView> {
        self.publish.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Arc<FleetView>> {
        self.publish.subscribe()
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// Reads all nodes side by side, each within the timeout, and publishes the result.
    pub async fn observe_once(&self) -> Arc<FleetView> {
        let mut readings: FuturesUnordered<_> = self
            .nodes
            .iter()
            .map(|node| async {
                // Behind the engine, which may have to wait for a person who lets us log on.
                self.read_for_a_person(node).await;
                self.read_vrrp(node, true).await;
            })
            .collect();
        while readings.next().await.is_some() {}
        drop(readings);
        // Whoever answered is fresh, even where the look as a whole waited for a node that hangs.
        self.publish_now(self.timeout * 3);
        self.view()
    }

    /// A reading that ran out of time because a person had to answer first is made again.
    async fn read_for_a_person(&self, node: &Polled) {
        loop {
            self.read(node).await;
            let Some(transport) = node.handle.transport.as_ref().filter(|_| lock(&node.state).problem.is_some()) else { return };
            if !transport.answered().await {
                return;
            }
        }
    }

    /// Reads a node at once instead of at its next turn.
    pub fn poke(&self, node: &NodeName) {
        if let Some(node) = self.nodes.iter().find(|n| n.handle.name() == node) {
            node.poke.notify_one();
            node.poke_vrrp.notify_one();
        }
    }

    /// Polls every node until the value returned is dropped.
    pub fn start(self: &Arc<Self>) -> Polling {
        let mut tasks = JoinSet::new();
        // Many consoles must not read in step.
        let start = Instant::now()
            + if self.nodes.len() > SLOTS as usize {
                self.refresh.mul_f64(rand::rng().random_range(0.0..1.0)) / SLOTS
            } else {
                Duration::ZERO
            };
        for index in 0..self.nodes.len() {
            let this = self.clone();
            tasks.spawn(async move {
                tokio::join!(this.poll_node(index, start), this.poll_vrrp(index));
            });
        }
        let this = self.clone();
        tasks.spawn(async move { this.publisher().await });
        Polling { _tasks: tasks }
    }

    async fn poll_node(&self, index: usize, start: Instant) {
        let Some(node) = self.nodes.get(index) else { return };
        if node.handle.engine.is_none() {
            if node.handle.vrrp.is_none() {
                self.read(node).await;
            }
            return;
        }
        // Many nodes must not be read all at once, nor each by itself: waking a thread costs as much as reading a small node.
        let mut due = start;
        if self.nodes.len() > SLOTS as usize {
            due += self.refresh * rand::rng().random_range(0..SLOTS) / SLOTS;
        }
        tokio::time::sleep_until(due.into()).await;
        let mut streams = node.handle.engine.as_ref().and_then(|engine| engine.streams());
        loop {
            let pause = match streams {
                Some(able) => self.listen(node, able).await,
                None => Some(self.read(node).await),
            };
            let Some(pause) = pause else {
                streams = None;
                continue;
            };
            // The next turn is counted from the last one, so that a node stays with those that it is read with.
            due = (due + pause).max(Instant::now());
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = node.poke.notified() => due = Instant::now(),
            }
        }
    }

    async fn poll_vrrp(&self, index: usize) {
        let Some(node) = self.nodes.get(index).filter(|n| n.handle.vrrp.is_some()) else { return };
        loop {
            let due = Instant::now() + self.read_vrrp(node, false).await;
            tokio::select! {
                () = tokio::time::sleep_until(due.max(Instant::now()).into()) => {}
                () = node.poke_vrrp.notified() => {}
            }
        }
    }

    /// One reading of keepalived, where there is one; gives the time from its start to the next one.
    async fn read_vrrp(&self, node: &Polled, anew: bool) -> Duration {
        let Some(vrrp) = &node.handle.vrrp else { return Duration::MAX };
        let result = match tokio::time::timeout(self.timeout * 2, vrrp.observe(anew, self.timeout)).await {
            Ok(result) => result.map_err(|e| e.problem()),
            Err(_) => {
                let what = format!("{}: no answer within {:?}", vrrp.source(), self.timeout);
                Err(Problem { what, hint: None, retry: true })
            }
        };
        let mut state = lock(&node.state);
        state.shown = None;
        let pause = match result {
            Ok(seen) => {
                state.vrrp = VrrpReading { last: Some(Arc::new(seen)), problem: None, failures: 0 };
                self.refresh
            }
            Err(problem) => {
                let pause = self.pause_after(&problem, state.vrrp.failures);
                state.vrrp.failures = state.vrrp.failures.saturating_add(1);
                state.vrrp.problem = Some(problem);
                pause
            }
        };
        drop(state);
        self.dirty.notify_one();
        pause
    }

    /// How long a node is left alone after so many failures in a row.
    fn pause_after(&self, problem: &Problem, failures: u32) -> Duration {
        if problem.retry {
            self.refresh.saturating_mul(1 << failures.min(6)).clamp(self.refresh, RETRY_MOST.max(self.refresh))
        } else {
            RETRY_UNLIKELY.max(self.refresh)
        }
    }

    /// Takes readings as they come, until that ends; gives the time until it is tried again, or None where the far side is too old for it.
    async fn listen(&self, node: &Polled, streams: &dyn Streams) -> Option<Duration> {
        let mut following = match streams.follow(self.refresh, self.timeout).await {
            Ok(following) => following,
            Err(EngineError::Refused { .. }) => return None,
            Err(error) => return Some(self.note(node, Err(error.problem()))),
        };
        loop {
            tokio::select! {
                told = tokio::time::timeout(self.refresh + self.timeout, following.next()) => match told {
                    Ok(Ok(Some(seen))) => {
                        self.note(node, Ok(seen));
                    }
                    Ok(Ok(None)) => return Some(MOVED),
                    Ok(Err(error)) => return Some(self.note(node, Err(error.problem()))),
                    Err(_) => {
                        let source = node.handle.engine.as_ref().map(|e| e.source()).unwrap_or_default();
                        let what = format!("{source}: the stream has been silent for {:?}", self.refresh + self.timeout);
                        return Some(self.note(node, Err(Problem { what, hint: None, retry: true })));
                    }
                },
                () = node.poke.notified() => {
                    self.read(node).await;
                }
            }
        }
    }

    /// One reading; gives the time from its start to the next one.
    async fn read(&self, node: &Polled) -> Duration {
        drop(lock(&node.state).before.take());
        let result = match &node.handle.engine {
            // The engine keeps the deadline itself; the outer one is for an engine that does not.
            Some(engine) => match tokio::time::timeout(self.timeout * 2, engine.observe(Want::All, self.timeout)).await {
                Ok(Ok(seen)) => Ok(seen),
                Ok(Err(error)) => Err(error.problem()),
                Err(_) => Err(Problem {
                    what: format!("{}: no answer within {:?}", engine.source(), self.timeout),
                    hint: None,
                    retry: true,
                }),
            },
            None => Err(Problem {
                what: "no engine is configured on this node".into(),
                hint: Some("name one under engines: in the fleet file, for instance haproxy".into()),
                retry: false,
            }),
        };
        self.note(node, result)
    }

    /// Keeps what came of a reading; gives the time to the next one.
    fn note(&self, node: &Polled, result: Result<NodeObs, Problem>) -> Duration {
        let mut state = lock(&node.state);
        state.shown = None;
        let pause = match result {
            Ok(mut seen) => {
                if let Some(last) = state.last.as_ref().filter(|_| seen.events.is_empty()) {
                    // A reading beside the stream tells of none.
                    seen.events.clone_from(&last.events);
                }
                self.history.record(&seen);
                state.before = state.last.replace(Arc::new(seen));
                state.problem = None;
                state.failures = 0;
                state.next_try = None;
                self.refresh
            }
            Err(problem) => {
                let pause = self.pause_after(&problem, state.failures);
                state.failures = state.failures.saturating_add(1);
                state.problem = Some(problem);
                state.next_try = Some(Instant::now() + pause);
                pause
            }
        };
        drop(state);
        self.dirty.notify_one();
        pause
    }

    /// Publishes soon after news, but gathers what arrives together; and once an interval in any case, because data ages.
    async fn publisher(&self) {
        // A picture of a large fleet costs; but what nobody shows any more is to be freed in small portions, because
        // allocators give large ones back to the system, and then take as much again.
        let gather = if self.nodes.len() > 100 { Duration::from_millis(150) } else { Duration::from_millis(20) };
        loop {
            tokio::select! {
                () = self.dirty.notified() => tokio::time::sleep(gather).await,
                () = tokio::time::sleep(self.refresh.max(Duration::from_millis(250))) => {}
            }
            self.publish_now(self.refresh * 3);
        }
    }

    fn publish_now(&self, stale_after: Duration) {
        let now = Instant::now();
        let nodes = self.nodes.iter().map(|node| self.show(node, now, stale_after)).collect();
        self.publish.send_replace(Arc::new(FleetView { at: Timestamp::now(), now, nodes }));
    }

    fn show(&self, node: &Polled, now: Instant, stale_after: Duration) -> Arc<NodeView> {
        let mut state = lock(&node.state);
        let vrrp = node.handle.vrrp.as_ref().map(|_| {
            let seen = state.vrrp.last.as_ref().map(|o| o.seen);
            self.health(seen, state.vrrp.failures, now, stale_after)
        });
        // A node without an engine is as well as its keepalived is.
        let alone = vrrp.filter(|_| node.handle.engine.is_none());
        let health = alone.unwrap_or_else(|| self.health(state.last.as_ref().map(|o| o.seen), state.failures, now, stale_after));
        match &state.shown {
            Some(shown) if shown.health == health && shown.vrrp.as_ref().map(|v| v.health) == vrrp => shown.clone(),
            _ => {
                let (problem, failures) = match alone {
                    Some(_) => (state.vrrp.problem.clone(), state.vrrp.failures),
                    None => (state.problem.clone(), state.failures),
                };
                let view = Arc::new(NodeView {
                    meta: node.handle.meta.clone(),
                    health,
                    last: state.last.clone(),
                    problem,
                    failures,
                    next_try: state.next_try,
                    vrrp: vrrp.map(|health| VrrpView {
                        health,
                        last: state.vrrp.last.clone(),
                        problem: state.vrrp.problem.clone(),
                    }),
                });
                state.shown = Some(view.clone());
                view
            }
        }
    }

    fn health(&self, seen: Option<Instant>, failures: u32, now: Instant, stale_after: Duration) -> Health {
        let Some(seen) = seen else {
            return if failures == 0 { Health::Connecting } else { Health::Dead };
        };
        let age = now.saturating_duration_since(seen);
        if age > self.dead_after.max(stale_after) {
            Health::Dead
        } else if failures > 0 || age > stale_after {
            Health::Stale
        } else {
            Health::Fresh
        }
    }
}

/// The state is plain data: a panic elsewhere cannot leave it half-made.
fn lock(state: &Mutex<NodeState>) -> MutexGuard<'_, NodeState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
