//! The agent's stream: snapshots at the rate that is asked for and at once after a change, events as they happen. Nobody polls.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engine::{Follow, Result, Streams};
use crate::model::NodeObs;

use super::Relay;
use super::client::Lines;
use super::observe::{self, Reading, observation};
use super::wire::Line;

/// Events that are shown with a reading.
const RECENT: usize = 20;

struct Following<'a> {
    relay: &'a Relay,
    lines: Lines<'a>,
    events: VecDeque<crate::model::EngineEvent>,
}

#[async_trait]
impl Streams for Relay {
    async fn follow(&self, every: Duration, deadline: Duration) -> Result<Box<dyn Follow + '_>> {
        let path = format!("/v1/stream?interval_ms={}&recent={RECENT}", every.as_millis());
        let lines = self.client.lines(&path, deadline).await?;
        Ok(Box::new(Following { relay: self, lines, events: VecDeque::new() }))
    }
}

#[async_trait]
impl Follow for Following<'_> {
    async fn next(&mut self) -> Result<Option<NodeObs>> {
        loop {
            match self.lines.next().await? {
                Line::Snapshot(snapshot) => {
                    let relay = self.relay;
                    let reading = Reading { node: relay.node.clone(), began: Instant::now(), source: relay.client.describe() };
                    let mut seen = observation(*snapshot, relay.client.hello().as_ref(), reading);
                    seen.events = self.events.iter().cloned().collect();
                    return Ok(Some(seen));
                }
                Line::Event(event) => {
                    self.events.truncate(RECENT - 1);
                    self.events.push_front(observe::event(event));
                }
                Line::Bye(_) => return Ok(None),
            }
        }
    }
}
