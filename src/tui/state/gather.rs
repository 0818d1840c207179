//! Answers of several nodes to one question, as they come in: each node's newest answer, its age, or why it gave none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::{NodeName, Problem};

use super::screen::Screen;

/// A live list is asked for again after so long.
pub const AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Reply<T> {
    /// When the rows came, and the rows.
    pub last: Option<(Instant, Vec<T>)>,
    pub problem: Option<Problem>,
    pub waiting: bool,
}

/// One live list over nodes. Belongs to a view: another view starts anew.
#[derive(Debug)]
pub struct Gathered<T> {
    pub screen: Option<Screen>,
    pub ticket: u64,
    asked: Option<Instant>,
    pub nodes: BTreeMap<NodeName, Reply<T>>,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { screen: None, ticket: 0, asked: None, nodes: BTreeMap::new() }
    }
}

impl<T> Gathered<T> {
    /// True where this view's list should be asked for now: it is new, or its answers are old and all in.
    pub fn is_due(&self, screen: &Screen, now: Instant) -> bool {
        self.screen.as_ref() != Some(screen)
            || (!self.is_waiting() && self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= AGAIN))
    }

    /// Notes that these nodes are asked. Rows of the same view stay until new ones come.
    pub fn ask(&mut self, screen: &Screen, ticket: u64, nodes: &[NodeName], now: Instant) {
        if self.screen.as_ref() != Some(screen) {
            self.nodes.clear();
        }
        self.nodes.retain(|name, _| nodes.contains(name));
        for node in nodes {
            let reply = self.nodes.entry(node.clone()).or_insert(Reply { last: None, problem: None, waiting: false });
            reply.waiting = true;
        }
        (self.screen, self.ticket, self.asked) = (Some(screen.clone()), ticket, Some(now));
    }

    /// Takes an answer; false where it belongs to a question of before.
    pub fn take(&mut self, ticket: u64, node: &NodeName, result: Result<Vec<T>, Problem>, now: Instant) -> bool {
        if ticket != self.ticket {
            return false;
        }
        let Some(reply) = self.nodes.get_mut(node) else { return false };
        reply.waiting = false;
        match result {
            Ok(rows) => {
                reply.last = Some((now, rows));
                reply.problem = None;
            }
            Err(problem) => reply.problem = Some(problem),
        }
        true
    }

    pub fn is_waiting(&self) -> bool {
        self.nodes.values().any(|reply| reply.waiting)
    }
    pub fn rows(&self) -> impl Iterator<Item = (&NodeName, &T)> {
        self.nodes
            .iter()
            .flat_map(|(node, reply)| reply.last.iter().flat_map(move |(_, rows)| rows.iter().map(move |r| (node, r))))
    }

    /// `3 of 4 nodes · 1.2s old · lb2: permission denied`: where the rows come from and what is missing.
    pub fn status(&self, now: Instant) -> String {
        let answered = self.nodes.values().filter(|r| r.last.is_some()).count();
        let mut parts = vec![format!("{answered} of {} nodes", self.nodes.len())];
        let oldest = self.nodes.values().filter_map(|r| r.last.as_ref().map(|(at, _)| *at)).min();
        if let Some(oldest) = oldest {
            parts.push(format!("{:.1}s old", now.saturating_duration_since(oldest).as_secs_f64()));
        }
        let waiting = self.nodes.values().filter(|r| r.waiting && r.last.is_none()).count();
        if waiting > 0 {
            parts.push(format!("waiting for {waiting}"));
        }
        let problems: Vec<String> =
            self.nodes.iter().filter_map(|(node, r)| r.problem.as_ref().map(|p| format!("{node}: {}", p.what))).collect();
        parts.extend(problems.first().cloned());
        if problems.len() > 1 {
            parts.push(format!("and {} more", problems.len() - 1));
        }
        parts.join(" · ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_answers_fall_away_and_failures_keep_old_rows() {
        let now = Instant::now();
        let (screen, lb1) = (Screen::Tables, NodeName::from("lb1"));
        let mut tables: Gathered<u32> = Gathered::default();
        assert!(tables.is_due(&screen, now));
        tables.ask(&screen, 1, std::slice::from_ref(&lb1), now);
        assert!(!tables.is_due(&screen, now + AGAIN), "an answer is still awaited");
        assert!(tables.take(1, &lb1, Ok(vec![7]), now));
        assert!(!tables.is_due(&screen, now) && tables.is_due(&screen, now + AGAIN));
        tables.ask(&screen, 2, std::slice::from_ref(&lb1), now + AGAIN);
        assert!(!tables.take(1, &lb1, Ok(vec![]), now), "an answer to an older question");
        let problem = Problem { what: "refused".into(), hint: None, retry: true };
        assert!(tables.take(2, &lb1, Err(problem), now + AGAIN));
        assert_eq!(tables.rows().map(|(_, n)| *n).collect::<Vec<_>>(), [7]);
        assert_eq!(tables.status(now + AGAIN), "1 of 1 nodes · 2.0s old · lb1: refused");
    }
}
