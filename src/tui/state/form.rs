//! The plan dialog: fields that say what is wanted, the plan that comes of it, and the confirmation that it asks for.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use crate::config::ConfirmLevel;
use crate::config::duration::parse_duration;
use crate::model::{AddServer, Change, CheckKind, NodeName, PoolName, ServerRef, Target, Weight};
use crate::ops::vip::{VipRequest, VipVerb};
use crate::ops::{Approval, AtDeadline, DrainOptions, Judgement, Plan, Request, Selector, Verb};
use crate::tui::command::Action;

/// What a field is called, in the dialog and as `--NAME` on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    For,
    Reason,
    Deadline,
    Then,
    Wait,
    Force,
    Weight,
    Address,
    Port,
    MaxConn,
    Checks,
    Server,
    Check,
    Backup,
    To,
    AddTrackFile,
}

impl Name {
    pub const fn word(self) -> &'static str {
        match self {
            Name::For => "for",
            Name::Reason => "reason",
            Name::Deadline => "deadline",
            Name::Then => "then",
            Name::Wait => "wait",
            Name::Force => "force",
            Name::Weight => "weight",
            Name::Address => "address",
            Name::Port => "port",
            Name::MaxConn => "maxconn",
            Name::Checks => "checks",
            Name::Server => "name",
            Name::Check => "check",
            Name::Backup => "backup",
            Name::To => "to",
            Name::AddTrackFile => "add-track-file",
        }
    }
    const fn hint(self) -> &'static str {
        match self {
            Name::For => "given back after this time, e.g. 2h; empty: until somebody returns it",
            Name::Reason => "why, for the audit and whoever finds it",
            Name::Deadline => "wait at most, e.g. 5m; empty: until the last session has gone",
            Name::Then => "at the deadline, with sessions left",
            Name::Wait => "wait until the last session has gone",
            Name::Force => "override the capacity guard (recorded, typed confirmation)",
            Name::Weight => "0-256, or a percentage of the configured weight such as 50%",
            Name::Address => "IP address",
            Name::Port => "1-65535; empty keeps it",
            Name::MaxConn => "connections at most",
            Name::Checks => "which checks",
            Name::Server => "name of the new server",
            Name::Check => "health checks as the pool's other servers have them",
            Name::Backup => "only when no other server is left",
            Name::To => "node that takes it; empty: the healthy peer with the highest priority",
            Name::AddTrackFile => "add a weighted track file to the configuration where there is none",
        }
    }
    const fn choices(self) -> &'static [&'static str] {
        match self {
            Name::Then => &["fail", "kill", "maint", "return"],
            Name::Wait | Name::Check => &["yes", "no"],
            Name::Force | Name::Backup | Name::AddTrackFile => &["no", "yes"],
            Name::Checks => &["health", "agent"],
            _ => &[],
        }
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: Name,
    pub input: Input,
    pub error: Option<String>,
}

impl Field {
    fn new(name: Name) -> Self {
        let input = Input::new(name.choices().first().copied().unwrap_or_default().to_owned());
        Self { name, input, error: None }
    }
    pub fn hint(&self) -> &'static str {
        self.name.hint()
    }
    pub fn choices(&self) -> &'static [&'static str] {
        self.name.choices()
    }
    pub fn value(&self) -> &str {
        self.input.value().trim()
    }
    /// The next or previous of the choices; false where it has none.
    pub fn turn(&mut self, by: isize) -> bool {
        let choices = self.choices();
        let Some(at) = choices.iter().position(|c| *c == self.input.value()) else { return false };
        let to = (at + choices.len()).wrapping_add_signed(by) % choices.len();
        self.input = Input::new(choices.get(to).copied().unwrap_or_default().to_owned());
        true
    }
}

/// What is acted upon.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    Servers(Selector),
    Pool(PoolName),
    Frontends(Vec<String>),
    /// Table and keys; no key means the whole table. The selector names the node.
    Table {
        table: String,
        keys: Vec<String>,
        selector: Selector,
    },
    /// Session and its server, on a node.
    Sessions(Vec<(String, Selector)>),
    Operations(Vec<i64>),
    Vips(Vec<IpAddr>),
    Nodes(Vec<NodeName>),
    Leases(Vec<String>),
}

#[derive(Clone, Debug)]
pub enum Planned {
    /// Being worked out; what stood there before is shown, but cannot be applied.
    Pending {
        before: Vec<Plan>,
    },
    Ready(Vec<Plan>),
    Failed {
        what: String,
        hint: Option<String>,
    },
}

impl Default for Planned {
    fn default() -> Self {
        Planned::Pending { before: Vec::new() }
    }
}

#[derive(Clone, Debug)]
pub struct Form {
    pub action: Action,
    /// `drain web/s1 on lb1 only`.
    pub title: String,
    pub subject: Subject,
    pub fields: Vec<Field>,
    /// The field that has the focus; one past the last is the confirmation.
    pub focus: usize,
    pub confirm: Input,
    pub planned: Planned,
    /// When the plan shown was made.
    pub made: Option<Instant>,
    pub ticket: u64,
    /// First line of the plan shown.
    pub scroll: usize,
    /// Why it was not sent.
    pub note: Option<String>,
}

const fn names(action: Action) -> &'static [Name] {
    match action {
        Action::Drain => &[Name::For, Name::Reason, Name::Deadline, Name::Then, Name::Wait, Name::Force],
        Action::Maint => &[Name::For, Name::Reason, Name::Force],
        Action::Weight => &[Name::Weight, Name::For, Name::Reason, Name::Force],
        Action::Address => &[Name::Address, Name::Port, Name::Reason],
        Action::MaxConn => &[Name::MaxConn, Name::Reason],
        Action::ChecksOn | Action::ChecksOff => &[Name::Checks, Name::Reason],
        Action::AddServer => {
            &[Name::Server, Name::Address, Name::Port, Name::Weight, Name::MaxConn, Name::Check, Name::Backup, Name::Reason]
        }
        Action::RemoveServer | Action::Failback => &[Name::Reason, Name::Force],
        Action::Failover => &[Name::To, Name::AddTrackFile, Name::Reason, Name::Force],
        Action::DrainNode => &[Name::Deadline, Name::AddTrackFile, Name::Reason, Name::Force],
        Action::Ready
        | Action::KillSessions
        | Action::EnableFrontend
        | Action::DisableFrontend
        | Action::ClearTable
        | Action::Undo
        | Action::ReturnNode
        | Action::ReturnLease => &[Name::Reason],
    }
}

impl Form {
    pub fn new(action: Action, title: String, subject: Subject) -> Form {
        let fields: Vec<Field> = names(action).iter().map(|n| Field::new(*n)).collect();
        Form {
            action,
            title,
            subject,
            fields,
            focus: 0,
            confirm: Input::default(),
            planned: Planned::default(),
            made: None,
            ticket: 0,
            scroll: 0,
            note: None,
        }
    }

    /// Fills a field in; false where this action has no such field.
    pub fn fill(&mut self, name: &str, value: &str) -> bool {
        let Some(field) = self.fields.iter_mut().find(|f| f.name.word() == name) else { return false };
        field.input = Input::new(value.to_owned());
        true
    }

    pub fn on_confirmation(&self) -> bool {
        self.focus >= self.fields.len()
    }

    /// The operator is about to confirm a plan that can be sent: it must not change any more.
    pub fn is_settled(&self) -> bool {
        self.on_confirmation() && self.obstacle().is_none()
    }

    pub fn move_focus(&mut self, by: isize) {
        let places = self.fields.len() + 1;
        self.focus = (self.focus + places).wrapping_add_signed(by) % places;
    }

    /// Types into what has the focus; true where the plan must be made anew.
    pub fn type_key(&mut self, event: &crossterm::event::Event) -> bool {
        self.note = None;
        match self.fields.get_mut(self.focus) {
            Some(field) if field.choices().is_empty() => field.input.handle_event(event).is_some_and(|change| change.value),
            Some(field) => match event {
                crossterm::event::Event::Key(key) => match key.code {
                    crossterm::event::KeyCode::Left => field.turn(-1),
                    crossterm::event::KeyCode::Right | crossterm::event::KeyCode::Char(' ') => field.turn(1),
                    crossterm::event::KeyCode::Char(c) => {
                        // The first letter chooses.
                        let found = field.choices().iter().find(|choice| choice.starts_with(c));
                        found.is_some_and(|choice| {
                            field.input = Input::new((*choice).to_owned());
                            true
                        })
                    }
                    _ => false,
                },
                _ => false,
            },
            None => {
                self.confirm.handle_event(event);
                false
            }
        }
    }

    pub fn paste(&mut self, text: &str) -> bool {
        let clean: String = text.chars().filter(|c| !c.is_control()).collect();
        let input = match self.fields.get_mut(self.focus) {
            Some(field) if field.choices().is_empty() => &mut field.input,
            Some(_) => return false,
            None => &mut self.confirm,
        };
        for c in clean.chars() {
            input.handle(tui_input::InputRequest::InsertChar(c));
        }
        !self.on_confirmation()
    }

    fn value(&self, name: Name) -> &str {
        self.fields.iter().find(|f| f.name == name).map_or("", Field::value)
    }
    fn yes(&self, name: Name) -> bool {
        self.value(name) == "yes"
    }

    /// Reads a field; what is wrong with it is kept beside it.
    fn read<T>(&mut self, name: Name, needed: bool, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ()> {
        let Some(field) = self.fields.iter_mut().find(|f| f.name == name) else { return Ok(None) };
        field.error = None;
        let value = field.input.value().trim();
        if value.is_empty() && !needed {
            return Ok(None);
        }
        let read = if value.is_empty() { Err("needed".to_owned()) } else { parse(value) };
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                field.error = Some(error);
                Err(())
            }
        }
    }

    fn duration(&mut self, name: Name) -> Result<Option<Duration>, ()> {
        self.read(name, false, parse_duration)
    }
    fn number<T: std::str::FromStr>(&mut self, name: Name, needed: bool, what: &str) -> Result<Option<T>, ()> {
        self.read(name, needed, |text| text.parse().map_err(|_| format!("'{text}' is not {what}")))
    }

    /// The change that the fields ask for; Err where one cannot be read (it says so beside it).
    fn verb(&mut self) -> Result<Verb, ()> {
        let change = match self.action {
            Action::Drain => {
                let deadline = self.duration(Name::Deadline)?;
                let then = match self.value(Name::Then) {
                    "kill" => AtDeadline::Kill,
                    "maint" => AtDeadline::Maint,
                    "return" => AtDeadline::Return,
                    _ => AtDeadline::Fail,
                };
                return Ok(Verb::Drain(DrainOptions { deadline, then, wait: self.yes(Name::Wait) }));
            }
            Action::Ready => Change::Ready,
            Action::Maint => Change::Maint,
            Action::Weight => {
                let weight = self.read(Name::Weight, true, str::parse::<Weight>)?;
                Change::Weight(weight.unwrap_or(Weight::Percent(100)))
            }
            Action::Address => {
                let address = self.read(Name::Address, true, parse_address)?.unwrap_or_default();
                Change::Address { address, port: self.number(Name::Port, false, "a port")? }
            }
            Action::MaxConn => Change::MaxConn(self.number(Name::MaxConn, true, "a number")?.unwrap_or_default()),
            Action::ChecksOn | Action::ChecksOff => {
                let kind = if self.value(Name::Checks) == "agent" { CheckKind::Agent } else { CheckKind::Health };
                Change::Checks { kind, on: self.action == Action::ChecksOn }
            }
            Action::AddServer => {
                let address = self.read(Name::Address, true, parse_address)?.unwrap_or_default();
                Change::AddServer(AddServer {
                    address,
                    port: self.number(Name::Port, true, "a port")?.unwrap_or_default(),
                    weight: self.number(Name::Weight, false, "a weight from 0 to 256")?,
                    maxconn: self.number(Name::MaxConn, false, "a number")?,
                    check: self.yes(Name::Check),
                    backup: self.yes(Name::Backup),
                    ..AddServer::default()
                })
            }
            Action::RemoveServer => Change::RemoveServer,
            Action::KillSessions => Change::KillSessions,
            Action::EnableFrontend => Change::EnableFrontend,
            Action::DisableFrontend => Change::DisableFrontend,
            Action::ClearTable => Change::ClearTable { key: None },
            Action::Failover | Action::Failback | Action::DrainNode | Action::ReturnNode => return self.vip_verb(),
            // These have verbs of their own, by their subject.
            Action::Undo | Action::ReturnLease => Change::Ready,
        };
        Ok(Verb::Server(change))
    }

    /// Moves of VIPs; which VIPs or nodes is the subject's to say.
    fn vip_verb(&mut self) -> Result<Verb, ()> {
        let verb = match self.action {
            Action::Failover => VipVerb::Failover,
            Action::Failback => VipVerb::Failback,
            Action::DrainNode => VipVerb::DrainNode,
            _ => VipVerb::ReturnNode,
        };
        let node = Some(self.value(Name::To)).filter(|n| !n.is_empty()).map(NodeName::from);
        // A node is drained for a day at most where nothing is said: the operation can be stopped.
        let wait = match verb {
            VipVerb::DrainNode => Some(self.duration(Name::Deadline)?.unwrap_or(Duration::from_secs(24 * 3600))),
            _ => None,
        };
        let add_track_file = self.yes(Name::AddTrackFile);
        Ok(Verb::Vip(VipRequest { verb, vips: Vec::new(), node, add_track_file, wait }))
    }

    /// What is asked for; None while a field cannot be read.
    pub fn requests(&mut self) -> Option<Vec<Request>> {
        let lease = self.duration(Name::For).ok()?;
        let verb = self.verb().ok()?;
        let name = match self.action {
            Action::AddServer => self.read(Name::Server, true, parse_name).ok()?.unwrap_or_default(),
            _ => String::new(),
        };
        let reason = Some(self.value(Name::Reason).to_owned()).filter(|r| !r.is_empty());
        let force = self.yes(Name::Force);
        let request = |verb: Verb, selector: Selector| Request { verb, selector, reason: reason.clone(), lease, force };
        let change = match &verb {
            Verb::Server(change) => change.clone(),
            _ => Change::Drain,
        };
        Some(match &self.subject {
            Subject::Servers(selector) => vec![request(verb, selector.clone())],
            Subject::Pool(pool) => {
                let target = Target::Server(ServerRef::new(pool.clone(), name));
                vec![request(Verb::Named { target, change }, Selector::default())]
            }
            Subject::Frontends(frontends) => frontends
                .iter()
                .map(|name| {
                    let target = Target::Frontend(name.clone());
                    request(Verb::Named { target, change: change.clone() }, Selector::default())
                })
                .collect(),
            Subject::Table { table, keys, selector } => {
                let one = |key: Option<String>| {
                    let verb = Verb::Named { target: Target::Table(table.clone()), change: Change::ClearTable { key } };
                    request(verb, selector.clone())
                };
                if keys.is_empty() { vec![one(None)] } else { keys.iter().map(|k| one(Some(k.clone()))).collect() }
            }
            Subject::Vips(vips) => match verb {
                Verb::Vip(asked) => {
                    vec![request(Verb::Vip(VipRequest { vips: vips.clone(), ..asked }), Selector::default())]
                }
                _ => Vec::new(),
            },
            Subject::Nodes(nodes) => nodes
                .iter()
                .filter_map(|node| match &verb {
                    Verb::Vip(asked) => {
                        let asked = VipRequest { node: Some(node.clone()), ..asked.clone() };
                        Some(request(Verb::Vip(asked), Selector::default()))
                    }
                    _ => None,
                })
                .collect(),
            Subject::Sessions(sessions) => sessions
                .iter()
                .map(|(id, selector)| request(Verb::Server(Change::KillSession { id: id.clone() }), selector.clone()))
                .collect(),
            Subject::Operations(operations) => {
                operations.iter().map(|id| request(Verb::Undo { operation: *id }, Selector::default())).collect()
            }
            Subject::Leases(leases) => {
                leases.iter().map(|id| request(Verb::ReturnLease { lease: id.clone() }, Selector::default())).collect()
            }
        })
    }

    /// How much asking the plans need, and what must be typed.
    pub fn confirmation(&self) -> (ConfirmLevel, String) {
        let Planned::Ready(plans) = &self.planned else { return (ConfirmLevel::Ask, String::new()) };
        let level = plans.iter().map(|p| p.confirm).max().unwrap_or(ConfirmLevel::Ask);
        let mut words: Vec<&str> =
            plans.iter().filter(|p| p.confirm == ConfirmLevel::Typed).map(|p| p.confirm_word.as_str()).collect();
        words.dedup();
        (level, words.join(" "))
    }

    /// Why the plan cannot be applied as it stands.
    pub fn obstacle(&self) -> Option<String> {
        match &self.planned {
            Planned::Pending { .. } => Some("the plan is not ready".into()),
            Planned::Failed { what, .. } => Some(what.clone()),
            Planned::Ready(plans) => {
                if plans.iter().all(Plan::is_empty) {
                    return Some("nothing to do: it holds already".into());
                }
                let limit = if self.yes(Name::Force) { Judgement::Refuse } else { Judgement::Warn };
                let against =
                    plans.iter().flat_map(|p| &p.verdicts).filter(|v| v.judgement > limit).max_by_key(|v| v.judgement)?;
                Some(format!("refused by the {} guard: {}", against.guard, against.text))
            }
        }
    }

    /// What was confirmed, for the operations layer to judge; None where something is still to be typed.
    pub fn approval(&self, plan: &Plan) -> Option<Approval> {
        match plan.confirm {
            ConfirmLevel::None => Some(Approval::None),
            ConfirmLevel::Ask => Some(Approval::Yes),
            ConfirmLevel::Typed => {
                let (_, words) = self.confirmation();
                (self.confirm.value().trim() == words).then(|| Approval::Typed(plan.confirm_word.clone()))
            }
        }
    }
}

fn parse_address(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().map(|ip| ip.to_string()).map_err(|_| format!("'{text}' is not an IP address"))
}

fn parse_name(text: &str) -> Result<String, String> {
    let good = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'));
    if good { Ok(text.to_owned()) } else { Err("only letters, digits, '-', '_', '.' and ':'".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain() -> Form {
        let selector = Selector { servers: vec!["web/s1".into()], ..Selector::default() };
        Form::new(Action::Drain, "drain web/s1".into(), Subject::Servers(selector))
    }

    #[test]
    fn fields_become_a_request() {
        let mut form = drain();
        for (name, value) in [("for", "2h"), ("reason", "kernel"), ("deadline", "5m"), ("then", "kill"), ("force", "yes")] {
            assert!(form.fill(name, value));
        }
        assert!(!form.fill("weight", "3"));
        let requests = form.requests().unwrap();
        let options = DrainOptions { deadline: Some(Duration::from_secs(300)), then: AtDeadline::Kill, wait: true };
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].verb, Verb::Drain(options));
        assert_eq!(requests[0].lease, Some(Duration::from_secs(7200)));
        assert_eq!((requests[0].reason.as_deref(), requests[0].force), (Some("kernel"), true));
    }

    #[test]
    fn a_field_that_cannot_be_read_says_so_and_nothing_is_asked() {
        let mut form = drain();
        form.fill("for", "2");
        assert_eq!(form.requests(), None);
        assert!(form.fields[0].error.as_ref().unwrap().contains("no unit"));
        form.fill("for", "");
        assert!(form.requests().is_some());
        assert_eq!(form.fields[0].error, None);
        assert!(parse_address("web1.example").is_err());
        assert_eq!(parse_address("[::1]"), Ok("::1".into()));
        assert!(parse_name("s1; shutdown").is_err());
    }
}
