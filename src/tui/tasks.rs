//! What effects become: tasks that ask a node, the store or the operations layer, and send what they learnt as an event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::collect::problems;
use crate::model::{FleetView, NodeName};
use crate::store::AuditFilter;

use super::event::{Answer, Charted, Confirmed, Effect, Event};
use super::state::State;
use super::state::curve::Curves;

/// Nodes asked side by side by one view.
const SIDE_BY_SIDE: usize = 32;
/// Sessions and entries asked of a node at most.
const MOST_ROWS: usize = 2_000;
/// Operations of the audit shown at most.
const MOST_AUDIT: u32 = 1_000;

pub struct Tasks {
    pub app: Arc<App>,
    events: mpsc::Sender<Event>,
    stoppers: HashMap<u64, CancellationToken>,
}

impl Tasks {
    pub fn new(app: Arc<App>, events: mpsc::Sender<Event>) -> Tasks {
        Tasks { app, events, stoppers: HashMap::new() }
    }

    /// Begins what an effect asks for; never waits. True where the console is to end.
    pub fn begin(&mut self, effect: Effect, state: &mut State) -> bool {
        match effect {
            Effect::Quit => return true,
            Effect::Poke(nodes) => nodes.iter().for_each(|node| self.app.collector.poke(node)),
            Effect::Sessions { ticket, nodes, of } => self.each(nodes, move |app, node| {
                let of = of.clone();
                async move {
                    let result = app.collector.sessions(&node, of.as_ref(), MOST_ROWS).await;
                    Answer::Sessions { ticket, node, result }
                }
            }),
            Effect::Tables { ticket, nodes } => self.each(nodes, move |app, node| async move {
                let result = app.collector.tables(&node).await;
                Answer::Tables { ticket, node, result }
            }),
            Effect::Entries { ticket, node, table } => self.each(vec![node], move |app, node| {
                let table = table.clone();
                async move {
                    let result = app.collector.table_entries(&node, &table, MOST_ROWS).await;
                    Answer::Entries { ticket, node, result }
                }
            }),
            Effect::Details(node) => {
                self.each(vec![node.clone()], |app, node| async move {
                    Answer::Workers { result: app.collector.workers(&node).await, node }
                });
                self.each(vec![node.clone()], |app, node| async move {
                    Answer::Reading { result: Box::new(app.collector.node_reading(&node).await), node }
                });
                self.each(vec![node], |app, node| async move {
                    Answer::Certificates { result: app.collector.certificates(&node).await, node }
                });
            }
            Effect::History { of, nodes } => {
                let curves = self.curves(&of, &nodes);
                state.history = Some((of, curves));
            }
            Effect::Leases => self.one(|app| async move { Answer::Leases(app.ops.leases().await) }),
            Effect::Sweep { if_due } => self.one(move |app| async move {
                Answer::Swept(if if_due { app.ops.sweep_if_due().await } else { app.ops.sweep().await })
            }),
            Effect::Audit => self.blocking(|app| {
                let filter = AuditFilter { limit: Some(MOST_AUDIT), ..AuditFilter::default() };
                Answer::Audit(app.ops.audit(&filter).map_err(|e| e.to_string()))
            }),
            Effect::Unfinished => {
                self.blocking(|app| Answer::Unfinished(app.ops.unfinished().map_err(|e| e.to_string())));
            }
            Effect::Findings => {
                let (view, leases) = (state.view.clone(), state.leases.rows().to_vec());
                let (unfinished, now) = (state.unfinished.rows().to_vec(), state.clock.wall);
                self.blocking(move |app| {
                    let began = Instant::now();
                    let facts = problems::Facts { view: &view, fleet: &app.fleet, leases: &leases, unfinished: &unfinished, now };
                    let findings = problems::find(&facts);
                    Answer::Findings { findings, took: began.elapsed() }
                });
            }
            Effect::Plan { ticket, requests } => {
                let view: Arc<FleetView> = state.view.clone();
                // Planning reads the store, which may be busy: beside the loop.
                self.blocking(move |app| {
                    let results = requests.into_iter().map(|request| app.ops.plan(request, &view)).collect();
                    Answer::Planned { ticket, results }
                });
            }
            Effect::Apply { plans } => self.apply(plans),
            Effect::Stop { run } => {
                if let Some(stopper) = self.stoppers.get(&run) {
                    stopper.cancel();
                }
            }
        }
        false
    }

    /// Asks every operation to stop.
    pub fn stop_all(&self) {
        self.stoppers.values().for_each(CancellationToken::cancel);
    }

    /// Samples are in memory: put together at once, for the picture that was just taken in.
    fn curves(&self, of: &Charted, nodes: &[NodeName]) -> Curves {
        let history = self.app.collector.history();
        let samples: Vec<_> = match of {
            Charted::Server(server) => {
                history.keep(server);
                nodes.iter().map(|node| history.server(node, server)).collect()
            }
            Charted::Pool(pool) => nodes.iter().map(|node| history.pool(node, pool)).collect(),
            Charted::Node(_) | Charted::Fleet => nodes.iter().map(|node| history.node(node)).collect(),
        };
        Curves::of(&samples, self.app.fleet.settings.refresh)
    }

    /// A task for each node, a few of them at a time; each answer is an event of its own.
    fn each<F>(&self, nodes: Vec<NodeName>, ask: impl Fn(Arc<App>, NodeName) -> F)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
        for node in nodes {
            let (asked, events, turns) = (ask(self.app.clone(), node), self.events.clone(), turns.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire().await;
                // The console may be gone by then: nobody to tell.
                let _ = events.send(Event::Answer(Box::new(asked.await))).await;
            });
        }
    }

    fn one<F>(&self, ask: impl FnOnce(Arc<App>) -> F + Send + 'static)
    where
        F: Future<Output = Answer> + Send,
    {
        let (app, events) = (self.app.clone(), self.events.clone());
        tokio::spawn(async move {
            let _ = events.send(Event::Answer(Box::new(ask(app).await))).await;
        });
    }

    fn blocking(&self, ask: impl FnOnce(Arc<App>) -> Answer + Send + 'static) {
        let (app, events) = (self.app.clone(), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let _ = events.blocking_send(Event::Answer(Box::new(ask(app))));
        });
    }

    /// Plans of one dialog go one after the other, because they may need the same lock. Every event is passed on: the channel
    /// is bounded, so the task waits where the loop is behind.
    fn apply(&mut self, plans: Vec<Confirmed>) {
        let stops: Vec<CancellationToken> = plans.iter().map(|_| CancellationToken::new()).collect();
        self.stoppers.extend(plans.iter().map(|c| c.run).zip(stops.iter().cloned()));
        let (app, events) = (self.app.clone(), self.events.clone());
        tokio::spawn(async move {
            for (Confirmed { run, plan, approval }, stop) in plans.into_iter().zip(stops) {
                if stop.is_cancelled() {
                    let _ = events.send(Event::OperationOver { run }).await;
                    continue;
                }
                let approved = match app.ops.approve(plan, approval) {
                    Ok(approved) => approved,
                    Err(refusal) => {
                        let _ = events.send(Event::Answer(Box::new(Answer::Refused { run, refusal }))).await;
                        continue;
                    }
                };
                let mut running = app.ops.apply(approved);
                loop {
                    tokio::select! {
                        event = running.events.recv() => match event {
                            Some(event) => {
                                // With the console gone the operation goes on; there is only nobody to tell.
                                let _ = events.send(Event::Operation { run, event }).await;
                            }
                            None => break,
                        },
                        () = stop.cancelled(), if !running.stopper().is_cancelled() => running.stop(),
                    }
                }
                let _ = events.send(Event::OperationOver { run }).await;
            }
        });
    }
}
