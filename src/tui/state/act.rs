//! From what is under the cursor or selected to the dialog of an action; and why an action cannot be had here.

use globset::escape;

use crate::model::{FleetView, NodeName, PoolName, ServerRef, SocketLevel};
use crate::ops::Selector;
use crate::tui::command::Action;
use crate::tui::event::{Confirmed, Effect};
use crate::tui::theme::Tone;
use crate::tui::view::nodes::level_word;

use super::State;
use super::form::{Form, Planned, Subject};
use super::grid::Key;
use super::runs::Run;
use super::screen::Screen;

impl State {
    /// What the list's actions are for: the selected rows, else the one under the cursor.
    pub fn targets(&self) -> Vec<Key> {
        self.journey.here.list.targets(self.grid.as_ref())
    }

    /// Why the action does nothing here; None where it opens its dialog. What may be done is judged by `ops`, not here: this
    /// only spares the operator a dialog that must end in a refusal.
    pub fn why_not(&self, action: Action) -> Option<String> {
        if self.fleet.settings.read_only {
            return Some(format!("read-only: `read_only` is set in {}", self.fleet.path.display()));
        }
        if let Err(why) = self.subject(action) {
            return Some(why);
        }
        let targets = self.targets();
        let (servers, nodes) = self.chosen_servers(&targets).unwrap_or_default();
        let pools = servers.iter().map(|s| &s.pool).chain(self.chosen_pool(&targets));
        for pool in pools {
            if self.fleet.policy(pool).is_some_and(|p| p.read_only) {
                return Some(format!("pool {pool} is read-only in {}", self.fleet.path.display()));
            }
        }
        level_too_low(&self.view, &servers, &nodes)
    }

    pub fn open_action(&mut self, action: Action) {
        if let Some(why) = self.why_not(action) {
            self.say(Tone::Warn, &format!("{}: {why}", action.label()));
            return;
        }
        match self.subject(action) {
            Ok((subject, what)) => self.open_form(Form::new(action, format!("{} {what}", action.label()), subject)),
            Err(why) => self.say(Tone::Warn, &format!("{}: {why}", action.label())),
        }
    }

    pub fn open_form(&mut self, form: Form) {
        self.form = Some(form);
        self.plan_form();
    }

    /// Asks for the plan of what the dialog says now.
    pub fn plan_form(&mut self) {
        let ticket = self.number();
        let Some(form) = &mut self.form else { return };
        form.ticket = ticket;
        match form.requests() {
            Some(requests) => {
                // The plan of before stays in sight until the new one is there; it cannot be applied.
                let before = match std::mem::take(&mut form.planned) {
                    Planned::Ready(plans) | Planned::Pending { before: plans } => plans,
                    Planned::Failed { .. } => Vec::new(),
                };
                form.planned = Planned::Pending { before };
                self.ask(Effect::Plan { ticket, requests });
            }
            None => form.planned = Planned::Failed { what: "a field cannot be read".into(), hint: None },
        }
    }

    /// Plans anew from a new picture, behind the plan that is shown. Once the operator is at the confirmation of a plan that can
    /// be sent, that plan stays as it is: what is confirmed is what was read.
    pub fn refresh_plan(&mut self) {
        if self.form.as_ref().is_none_or(|f| f.is_settled() || matches!(f.planned, Planned::Pending { .. })) {
            return;
        }
        let ticket = self.number();
        let Some(form) = &mut self.form else { return };
        if let Some(requests) = form.requests() {
            form.ticket = ticket;
            self.ask(Effect::Plan { ticket, requests });
        }
    }

    /// Sends what the dialog shows, if it may be.
    pub fn apply_form(&mut self) {
        let Some(form) = &mut self.form else { return };
        if let Some(obstacle) = form.obstacle() {
            form.note = Some(obstacle);
            return;
        }
        let Planned::Ready(plans) = &form.planned else { return };
        let mut confirmed = Vec::new();
        for plan in plans.iter().filter(|p| !p.is_empty()) {
            let Some(approval) = form.approval(plan) else {
                let (_, word) = form.confirmation();
                form.focus = form.fields.len();
                form.note = Some(format!("type {word} to confirm"));
                return;
            };
            confirmed.push((plan.clone(), approval));
        }
        self.form = None;
        let clock = self.clock;
        let mut plans = Vec::new();
        for (plan, approval) in confirmed {
            let run = self.number();
            self.runs.push(Run::new(run, &plan, clock));
            plans.push(Confirmed { run, plan, approval });
        }
        let last = plans.last().map(|c| c.run);
        self.journey.here.list.selected.clear();
        self.ask(Effect::Apply { plans });
        if let Some(run) = last {
            self.go(Screen::Operation(run));
        }
    }

    /// What an action would act on, and how that is called.
    fn subject(&self, action: Action) -> Result<(Subject, String), String> {
        let targets = self.targets();
        match action {
            Action::Undo => self.operations(&targets),
            Action::ReturnLease => {
                let leases: Vec<String> =
                    targets.iter().filter_map(|k| if let Key::Lease(id) = k { Some(id.clone()) } else { None }).collect();
                some(leases, "no lease is chosen").map(|l| (Subject::Leases(l.clone()), format!("lease {}", l.join(" "))))
            }
            Action::EnableFrontend | Action::DisableFrontend => {
                let names: Vec<String> =
                    targets.iter().filter_map(|k| if let Key::Frontend(n) = k { Some(n.to_string()) } else { None }).collect();
                some(names, "no frontend is chosen").map(|n| (Subject::Frontends(n.clone()), format!("frontend {}", n.join(" "))))
            }
            Action::Failover | Action::Failback => {
                let vips: Vec<std::net::IpAddr> =
                    targets.iter().filter_map(|k| if let Key::Vip(address) = k { Some(*address) } else { None }).collect();
                let what = vips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                some(vips, "no VIP is chosen").map(|v| (Subject::Vips(v), what))
            }
            Action::DrainNode | Action::ReturnNode => {
                let nodes: Vec<NodeName> =
                    targets.iter().filter_map(|k| if let Key::Node(n) = k { Some(n.clone()) } else { None }).collect();
                if let Some(without) = nodes.iter().find(|n| self.view.node(n.as_str()).is_none_or(|v| v.vrrp.is_none())) {
                    return Err(format!("the fleet file names no keepalived on {without}"));
                }
                let what = nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                some(nodes, "no node is chosen").map(|n| (Subject::Nodes(n), what))
            }
            Action::ClearTable => self.table(&targets),
            Action::AddServer => {
                let pool = self.chosen_pool(&targets).cloned();
                pool.map(|p| (Subject::Pool(p.clone()), format!("to {p}"))).ok_or_else(|| "no pool is chosen".to_owned())
            }
            Action::KillSessions if matches!(self.screen(), Screen::Sessions { .. }) => self.chosen_sessions(&targets),
            _ => self.servers(&targets),
        }
    }

    /// The pool that a new server would belong to.
    fn chosen_pool<'a>(&'a self, targets: &'a [Key]) -> Option<&'a PoolName> {
        match (self.screen(), targets.first()) {
            (Screen::Servers(Some(pool)), _) => Some(pool),
            (_, Some(Key::Pool(pool))) => Some(pool),
            (_, Some(Key::Server(server))) => Some(&server.pool),
            _ => None,
        }
    }

    /// Servers, and the nodes where only these were chosen.
    fn chosen_servers(&self, targets: &[Key]) -> Result<(Vec<ServerRef>, Vec<NodeName>), String> {
        let (mut servers, mut nodes): (Vec<ServerRef>, Vec<NodeName>) = (Vec::new(), Vec::new());
        if let Screen::Server(server) = self.screen() {
            servers.push(server.clone());
            // On every node, unless nodes were chosen: one row under the cursor is not a choice.
            if !self.journey.here.list.selected.is_empty() {
                nodes.extend(targets.iter().filter_map(|k| if let Key::Cell(node, _) = k { Some(node.clone()) } else { None }));
            }
        } else {
            for key in targets {
                match key {
                    Key::Server(server) => servers.push(server.clone()),
                    Key::Cell(node, server) => {
                        servers.push(server.clone());
                        nodes.push(node.clone());
                    }
                    Key::Problem(_) => servers.extend(self.problem_server(key)),
                    _ => {}
                }
            }
        }
        servers.sort();
        servers.dedup();
        nodes.sort();
        nodes.dedup();
        some(servers, "no server is chosen").map(|servers| (servers, nodes))
    }

    fn servers(&self, targets: &[Key]) -> Result<(Subject, String), String> {
        let (servers, nodes) = self.chosen_servers(targets)?;
        let where_ = match nodes.as_slice() {
            [] => "on every node that has it".to_owned(),
            [one] => format!("on {one} only"),
            several => format!("on {} nodes only", several.len()),
        };
        let what = match servers.as_slice() {
            [one] => one.to_string(),
            several => format!("{} servers", several.len()),
        };
        let selector = Selector {
            servers: servers.iter().map(|s| format!("{}/{}", escape(s.pool.as_str()), escape(s.server.as_str()))).collect(),
            nodes: nodes.iter().map(|n| escape(n.as_str())).collect(),
            ..Selector::default()
        };
        Ok((Subject::Servers(selector), format!("{what} {where_}")))
    }

    fn chosen_sessions(&self, targets: &[Key]) -> Result<(Subject, String), String> {
        let mut chosen = Vec::new();
        for (node, session) in self.sessions.rows() {
            if targets.contains(&Key::Session(node.clone(), session.id.clone())) {
                if session.server.is_empty() || session.server.starts_with('<') {
                    return Err(format!("session {} of {node} has no server", session.id));
                }
                let selector = Selector {
                    servers: vec![format!("{}/{}", escape(&session.backend), escape(&session.server))],
                    nodes: vec![escape(node.as_str())],
                    ..Selector::default()
                };
                chosen.push((session.id.clone(), selector));
            }
        }
        let chosen = some(chosen, "no session is chosen")?;
        let what = match chosen.len() {
            1 => "this session".to_owned(),
            n => format!("{n} sessions one by one"),
        };
        Ok((Subject::Sessions(chosen), what))
    }

    fn operations(&self, targets: &[Key]) -> Result<(Subject, String), String> {
        let mut numbers = Vec::new();
        for key in targets {
            match key {
                Key::Operation(id) => numbers.push(*id),
                Key::Run(run) => match self.runs.iter().find(|r| r.id == *run) {
                    Some(run) if !run.is_over() => return Err("it is still running: stop it first".into()),
                    Some(run) => numbers.extend(run.operation),
                    None => {}
                },
                _ => {}
            }
        }
        if let Screen::Operation(run) = self.screen() {
            numbers.extend(self.runs.iter().find(|r| r.id == *run).and_then(|r| r.operation));
        }
        let numbers = some(numbers, "nothing that was recorded is chosen")?;
        let what = numbers.iter().map(|n| format!("#{n}")).collect::<Vec<_>>().join(" ");
        Ok((Subject::Operations(numbers), what))
    }

    fn table(&self, targets: &[Key]) -> Result<(Subject, String), String> {
        let on = |node: &NodeName| Selector { nodes: vec![escape(node.as_str())], ..Selector::default() };
        if let Screen::Entries { node, table } = self.screen() {
            let keys: Vec<String> =
                targets.iter().filter_map(|k| if let Key::Entry(key) = k { Some(key.clone()) } else { None }).collect();
            let keys = some(keys, "no key is chosen")?;
            let what = format!("{} keys of {table} on {node}", keys.len());
            return Ok((Subject::Table { table: table.clone(), keys, selector: on(node) }, what));
        }
        match targets {
            [Key::Table(node, table)] => {
                let what = format!("all of {table} on {node}");
                Ok((Subject::Table { table: table.clone(), keys: Vec::new(), selector: on(node) }, what))
            }
            [] => Err("no table is chosen".into()),
            _ => Err("one table at a time".into()),
        }
    }
}

fn some<T>(list: Vec<T>, otherwise: &str) -> Result<Vec<T>, String> {
    if list.is_empty() { Err(otherwise.to_owned()) } else { Ok(list) }
}

/// Changes need a socket of level admin (or the statistics page with `stats admin`) on some node that has the servers.
fn level_too_low(view: &FleetView, servers: &[ServerRef], nodes: &[NodeName]) -> Option<String> {
    let mut low = None;
    for node in view.nodes.iter().filter(|n| nodes.is_empty() || nodes.contains(&n.meta.name)) {
        let Some(obs) = node.last.as_deref() else { continue };
        if !servers.iter().any(|s| obs.server(s.pool.as_str(), s.server.as_str()).is_some()) {
            continue;
        }
        match obs.engine.level {
            SocketLevel::User | SocketLevel::Operator | SocketLevel::StatsReadOnly => {
                low.get_or_insert((&node.meta.name, obs.engine.level));
            }
            SocketLevel::Unknown | SocketLevel::Admin | SocketLevel::StatsAdmin => return None,
        }
    }
    low.map(|(node, level)| format!("{node} is reached with level {} only; changes need level admin", level_word(level)))
}
