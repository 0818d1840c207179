//! What each view needs besides the picture of the fleet, asked for when it is opened and again while it is looked at.

use std::time::Duration;

use crate::model::{Health, NodeName, NodeView, ServerRef};
use crate::tui::event::{Charted, Effect};

use super::screen::Screen;
use super::{NodeDetails, State};

/// Lists of the store and leases are asked for again after so long.
const STORE_AGAIN: Duration = Duration::from_secs(5);
/// Certificates and processes of a node change rarely.
const DETAILS_AGAIN: Duration = Duration::from_secs(30);
/// The overview shows leases and what was left, which cost a question to each node.
const OVERVIEW_AGAIN: Duration = Duration::from_secs(30);

impl State {
    /// Pushes the effects of the view that is shown.
    pub fn ask_what_is_due(&mut self) {
        let now = self.clock.now;
        let screen = self.screen().clone();
        match &screen {
            Screen::Sessions { node, server } if self.sessions.is_due(&screen, now) => {
                let nodes = match (node, server) {
                    (Some(node), _) => vec![node.clone()],
                    (None, Some(server)) => self.nodes_with(server),
                    (None, None) => Vec::new(),
                };
                let ticket = self.number();
                self.sessions.ask(&screen, ticket, &nodes, now);
                self.ask(Effect::Sessions { ticket, nodes, of: server.clone() });
            }
            Screen::Tables if self.tables.is_due(&screen, now) => {
                let nodes: Vec<NodeName> =
                    self.view.nodes.iter().filter(|n| n.last.is_some()).map(|n| n.meta.name.clone()).collect();
                let ticket = self.number();
                self.tables.ask(&screen, ticket, &nodes, now);
                self.ask(Effect::Tables { ticket, nodes });
            }
            Screen::Entries { node, table } if self.entries.is_due(&screen, now) => {
                let ticket = self.number();
                self.entries.ask(&screen, ticket, std::slice::from_ref(node), now);
                self.ask(Effect::Entries { ticket, node: node.clone(), table: table.clone() });
            }
            Screen::Leases if due(self.leases.asked, now, STORE_AGAIN) => {
                self.leases.asked = Some(now);
                self.ask(Effect::Leases);
            }
            Screen::Audit if due(self.audit.asked, now, STORE_AGAIN) => {
                self.audit.asked = Some(now);
                self.ask(Effect::Audit);
            }
            Screen::Unfinished if due(self.unfinished.asked, now, STORE_AGAIN) => {
                self.unfinished.asked = Some(now);
                self.ask(Effect::Unfinished);
            }
            Screen::Node(node) => {
                let known = self.details.as_ref().is_some_and(|d| d.node == *node && !due(Some(d.asked), now, DETAILS_AGAIN));
                if !known {
                    let before = self.details.take().filter(|d| d.node == *node);
                    let (workers, certificates, reading) =
                        before.map_or((None, None, None), |d| (d.workers, d.certificates, d.reading));
                    self.details = Some(NodeDetails { node: node.clone(), asked: now, workers, certificates, reading });
                    self.ask(Effect::Details(node.clone()));
                }
            }
            Screen::Overview => {
                if due(self.leases.asked, now, OVERVIEW_AGAIN) {
                    (self.leases.asked, self.unfinished.asked) = (Some(now), Some(now));
                    self.ask(Effect::Leases);
                    self.ask(Effect::Unfinished);
                }
                if !self.findings_asked && self.findings_after.is_none_or(|after| now >= after) {
                    self.findings_asked = true;
                    self.ask(Effect::Findings);
                }
            }
            _ => {}
        }
        self.ask_history(&screen);
    }

    /// Samples for the charts of the view, at once for another view, else about once for each reading.
    pub fn ask_history(&mut self, screen: &Screen) {
        let of = match screen {
            Screen::Server(server) => Charted::Server(server.clone()),
            Screen::Node(node) => Charted::Node(node.clone()),
            Screen::Servers(Some(pool)) => Charted::Pool(pool.clone()),
            Screen::Overview => Charted::Fleet,
            _ => return,
        };
        let now = self.clock.now;
        // Pictures of a large fleet come several times for each reading of a node.
        let recent = self.fleet.settings.refresh / 2;
        if self.history_asked.as_ref().is_some_and(|(what, at)| *what == of && now.saturating_duration_since(*at) < recent) {
            return;
        }
        let known = |is_of: &dyn Fn(&NodeView) -> bool| {
            self.view.nodes.iter().filter(|n| is_of(n)).map(|n| n.meta.name.clone()).collect()
        };
        let nodes = match &of {
            Charted::Server(server) => self.nodes_with(server),
            Charted::Node(node) => vec![node.clone()],
            Charted::Pool(pool) => known(&|n| n.last.as_ref().is_some_and(|o| o.pool(pool.as_str()).is_some())),
            Charted::Fleet => known(&|n| n.health == Health::Fresh),
        };
        self.history_asked = Some((of.clone(), now));
        self.ask(Effect::History { of, nodes });
    }

    /// Nodes that have the server, as far as is known.
    pub fn nodes_with(&self, server: &ServerRef) -> Vec<NodeName> {
        self.view
            .nodes
            .iter()
            .filter(|n| n.last.as_ref().is_some_and(|o| o.server(server.pool.as_str(), server.server.as_str()).is_some()))
            .map(|n| n.meta.name.clone())
            .collect()
    }
}

fn due(asked: Option<std::time::Instant>, now: std::time::Instant, again: Duration) -> bool {
    asked.is_none_or(|asked| now.saturating_duration_since(asked) >= again)
}
