//! Which view is shown, and how one got there: back and forward keep each view as it was left.

use crate::model::{NodeName, PoolName, ServerRef};

use super::list::{List, Sort};

/// A view and what it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Screen {
    Overview,
    Nodes,
    /// One node: its engine and its servers.
    Node(NodeName),
    Pools,
    /// Servers across nodes, of one pool or of all.
    Servers(Option<PoolName>),
    /// One server on every node.
    Server(ServerRef),
    Frontends,
    /// Virtual addresses and who holds them.
    Vips,
    /// Live sessions of a server (on one node or on all that have it), or of a node.
    Sessions {
        node: Option<NodeName>,
        server: Option<ServerRef>,
    },
    Tables,
    Entries {
        node: NodeName,
        table: String,
    },
    Leases,
    Audit,
    Operations,
    /// One operation of this console, by the console's own number.
    Operation(u64),
    /// What the last run left unfinished.
    Unfinished,
    Messages,
}

/// The kind of a view, for keys and help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Overview,
    Nodes,
    Node,
    Pools,
    Servers,
    Server,
    Frontends,
    Vips,
    Sessions,
    Tables,
    Entries,
    Leases,
    Audit,
    Operations,
    Operation,
    Unfinished,
    Messages,
}

/// The tabs of the top line, in order: what the digits open.
pub const TABS: [(&str, Screen); 9] = [
    ("Fleet", Screen::Overview),
    ("Nodes", Screen::Nodes),
    ("Pools", Screen::Pools),
    ("Servers", Screen::Servers(None)),
    ("Frontends", Screen::Frontends),
    ("Leases", Screen::Leases),
    ("Ops", Screen::Operations),
    ("Audit", Screen::Audit),
    ("Log", Screen::Messages),
];

impl Screen {
    pub const fn kind(&self) -> Kind {
        match self {
            Screen::Overview => Kind::Overview,
            Screen::Nodes => Kind::Nodes,
            Screen::Node(_) => Kind::Node,
            Screen::Pools => Kind::Pools,
            Screen::Servers(_) => Kind::Servers,
            Screen::Server(_) => Kind::Server,
            Screen::Frontends => Kind::Frontends,
            Screen::Vips => Kind::Vips,
            Screen::Sessions { .. } => Kind::Sessions,
            Screen::Tables => Kind::Tables,
            Screen::Entries { .. } => Kind::Entries,
            Screen::Leases => Kind::Leases,
            Screen::Audit => Kind::Audit,
            Screen::Operations => Kind::Operations,
            Screen::Operation(_) => Kind::Operation,
            Screen::Unfinished => Kind::Unfinished,
            Screen::Messages => Kind::Messages,
        }
    }

    /// The tab that stays lit while one is deeper in.
    pub fn tab(&self) -> usize {
        match self.kind() {
            Kind::Overview => 0,
            Kind::Nodes | Kind::Node | Kind::Vips | Kind::Tables | Kind::Entries => 1,
            Kind::Pools => 2,
            Kind::Servers | Kind::Server | Kind::Sessions => 3,
            Kind::Frontends => 4,
            Kind::Leases => 5,
            Kind::Operations | Kind::Operation | Kind::Unfinished => 6,
            Kind::Audit => 7,
            Kind::Messages => 8,
        }
    }

    /// The way from the fleet down to here, outermost first; each can be gone to.
    pub fn trail(&self) -> Vec<(String, Screen)> {
        let this = |name: String| (name, self.clone());
        match self {
            Screen::Overview => vec![this("Fleet".into())],
            Screen::Nodes => vec![this("Nodes".into())],
            Screen::Node(node) => vec![("Nodes".into(), Screen::Nodes), this(node.to_string())],
            Screen::Pools => vec![this("Pools".into())],
            Screen::Servers(None) => vec![this("Servers".into())],
            Screen::Servers(Some(pool)) => vec![("Pools".into(), Screen::Pools), this(pool.to_string())],
            Screen::Server(server) => vec![
                ("Pools".into(), Screen::Pools),
                (server.pool.to_string(), Screen::Servers(Some(server.pool.clone()))),
                this(server.server.to_string()),
            ],
            Screen::Frontends => vec![this("Frontends".into())],
            Screen::Vips => vec![("Nodes".into(), Screen::Nodes), this("VIPs".into())],
            Screen::Sessions { node, server } => {
                let mut trail = match server {
                    Some(server) => Screen::Server(server.clone()).trail(),
                    None => node.as_ref().map(|n| Screen::Node(n.clone()).trail()).unwrap_or_default(),
                };
                let name = match (node, server) {
                    (Some(node), Some(_)) => format!("Sessions on {node}"),
                    _ => "Sessions".into(),
                };
                trail.push(this(name));
                trail
            }
            Screen::Tables => vec![this("Stick tables".into())],
            Screen::Entries { node, table } => vec![("Stick tables".into(), Screen::Tables), this(format!("{table} on {node}"))],
            Screen::Leases => vec![this("Leases".into())],
            Screen::Audit => vec![this("Audit".into())],
            Screen::Operations => vec![this("Operations".into())],
            Screen::Operation(id) => vec![("Operations".into(), Screen::Operations), this(format!("#{id}"))],
            Screen::Unfinished => vec![("Operations".into(), Screen::Operations), this("Left unfinished".into())],
            Screen::Messages => vec![this("Log".into())],
        }
    }

    /// One level up; None at the top.
    pub fn parent(&self) -> Option<Screen> {
        let trail = self.trail();
        match trail.len() {
            0 | 1 if *self == Screen::Overview => None,
            0 | 1 => Some(Screen::Overview),
            n => trail.into_iter().nth(n - 2).map(|(_, screen)| screen),
        }
    }

    /// How its list is ordered at first.
    fn sort(&self) -> Sort {
        match self.kind() {
            Kind::Sessions | Kind::Audit | Kind::Operations | Kind::Messages | Kind::Unfinished => Sort::down(0),
            _ => Sort::up(0),
        }
    }
}

/// A view with the state of its list.
#[derive(Clone, Debug)]
pub struct Visit {
    pub screen: Screen,
    pub list: List,
}

impl Visit {
    pub fn new(screen: Screen) -> Self {
        let list = List::new(screen.sort());
        Self { screen, list }
    }
}

/// As many views as one can go back.
const REMEMBERED: usize = 100;

#[derive(Clone, Debug)]
pub struct Journey {
    back: Vec<Visit>,
    pub here: Visit,
    forward: Vec<Visit>,
}

impl Journey {
    pub fn start(screen: Screen) -> Self {
        Self { back: Vec::new(), here: Visit::new(screen), forward: Vec::new() }
    }

    pub fn go(&mut self, screen: Screen) {
        if screen == self.here.screen {
            return;
        }
        // Where one was before, things stand as they were left.
        let known = self.back.iter().rev().find(|v| v.screen == screen).cloned();
        let visit = known.unwrap_or_else(|| Visit::new(screen));
        let left = std::mem::replace(&mut self.here, visit);
        self.back.push(left);
        if self.back.len() > REMEMBERED {
            self.back.remove(0);
        }
        self.forward.clear();
    }

    pub fn back(&mut self) -> bool {
        let Some(visit) = self.back.pop() else { return false };
        self.forward.push(std::mem::replace(&mut self.here, visit));
        true
    }

    pub fn forward(&mut self) -> bool {
        let Some(visit) = self.forward.pop() else { return false };
        self.back.push(std::mem::replace(&mut self.here, visit));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_and_forward_keep_each_view_as_it_was() {
        let mut journey = Journey::start(Screen::Overview);
        journey.go(Screen::Pools);
        journey.here.list.filter.set("web");
        journey.go(Screen::Servers(Some("web".into())));
        assert!(journey.back());
        assert_eq!((journey.here.screen.clone(), journey.here.list.filter.text.as_str()), (Screen::Pools, "web"));
        assert!(journey.forward());
        assert_eq!(journey.here.screen, Screen::Servers(Some("web".into())));
        assert!(!journey.forward());
        journey.go(Screen::Pools);
        assert_eq!(journey.here.list.filter.text, "web", "the same view again is as it was left");
        journey.go(Screen::Pools);
        assert!(journey.back() && journey.back() && journey.back());
        assert!(!journey.back());
    }

    #[test]
    fn every_view_leads_up_to_the_fleet() {
        let server = ServerRef::new("web", "s1");
        let mut screen = Screen::Sessions { node: Some("lb1".into()), server: Some(server.clone()) };
        let mut path = Vec::new();
        while let Some(parent) = screen.parent() {
            path.push(parent.clone());
            screen = parent;
        }
        assert_eq!(path, [Screen::Server(server), Screen::Servers(Some("web".into())), Screen::Pools, Screen::Overview]);
    }
}
