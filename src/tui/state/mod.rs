//! All that the console knows and shows. Changed by `update` alone; drawn by `view`; no I/O, no clock of its own.

pub mod act;
pub mod asks;
pub mod class;
pub mod cmdline;
pub mod curve;
pub mod form;
pub mod gather;
pub mod grid;
pub mod index;
pub mod list;
pub mod messages;
pub mod question;
pub mod runs;
pub mod screen;
pub mod sums;

use std::sync::Arc;
use std::time::Instant;

use tui_input::Input;

use crate::collect::problems::Finding;
use crate::config::Fleet;
use crate::model::{
    Certificate, FleetView, LoadPicture, NodeName, NodeReading, Problem, Session, StickTable, StickTableEntry, Worker,
};
use crate::store::{Lease, Operation, Unfinished};

use super::event::{Charted, Clock, Effect};
use super::theme::{Theme, ThemeName, Tone};
use super::view::Frame;
use cmdline::CommandLine;
use curve::Curves;
use form::Form;
use gather::Gathered;
use grid::{Ctx, Grid, Listing};
use index::Index;
use messages::Messages;
use question::Questions;
use runs::Run;
use screen::{Journey, Screen};
use sums::FleetSums;

/// What the keyboard types into, when no dialog is open.
#[derive(Debug, Default)]
pub enum Typing {
    #[default]
    Nothing,
    Filter(Input),
    CommandLine(CommandLine),
}

/// A text to read over the view: help, fields, a reason.
#[derive(Debug)]
pub struct Page {
    pub title: String,
    pub lines: Vec<(String, String)>,
    pub scroll: usize,
}

/// What was learnt about one node besides its statistics.
#[derive(Debug)]
pub struct NodeDetails {
    pub node: NodeName,
    pub asked: Instant,
    pub workers: Option<Result<Vec<Worker>, Problem>>,
    pub certificates: Option<Result<Vec<Certificate>, Problem>>,
    /// The machine, where lbdeck's agent runs on it.
    pub reading: Option<NodeReading>,
}

/// A list from the store or from nodes, with the time when it came.
#[derive(Debug)]
pub struct Loaded<T> {
    pub asked: Option<Instant>,
    pub got: Option<(Instant, Result<Vec<T>, String>)>,
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { asked: None, got: None }
    }
}

impl<T> Loaded<T> {
    pub fn rows(&self) -> &[T] {
        match &self.got {
            Some((_, Ok(rows))) => rows,
            _ => &[],
        }
    }
    pub fn error(&self) -> Option<&str> {
        match &self.got {
            Some((_, Err(error))) => Some(error),
            _ => None,
        }
    }
}

pub struct State {
    pub fleet: Arc<Fleet>,
    pub clock: Clock,
    pub theme: Theme,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// The runner is to stop the process before it draws again.
    pub suspend_asked: bool,
    pub view: Arc<FleetView>,
    pub sums: FleetSums,
    pub index: Index,
    pub(super) index_due: bool,
    pub journey: Journey,
    pub grid: Box<dyn Grid>,
    /// Rows must be built anew before they are looked at.
    pub(super) grid_due: bool,
    /// Rows must be filtered and sorted anew.
    pub(super) order_due: bool,
    pub typing: Typing,
    pub form: Option<Form>,
    pub page: Option<Page>,
    pub questions: Questions,
    pub messages: Messages,
    /// Operations of this console, oldest first.
    pub runs: Vec<Run>,
    pub sessions: Gathered<Session>,
    pub tables: Gathered<StickTable>,
    pub entries: Gathered<StickTableEntry>,
    pub leases: Loaded<Lease>,
    pub audit: Loaded<Operation>,
    pub unfinished: Loaded<Unfinished>,
    pub details: Option<NodeDetails>,
    /// What is wrong with the fleet; None until it was looked for.
    pub findings: Option<Vec<Finding>>,
    /// When they may be looked for again, so that looking takes a bounded share of a core.
    pub(super) findings_after: Option<Instant>,
    pub(super) findings_asked: bool,
    pub history: Option<(Charted, Curves)>,
    /// What charts were asked for last, and when.
    history_asked: Option<(Charted, Instant)>,
    /// What clients see of the fleet, where whoever opened the console makes a load.
    pub load: Option<Arc<LoadPicture>>,
    /// What the last frame showed where.
    pub frame: Frame,
    pub command_history: Vec<String>,
    /// Leaving was asked for while operations run; asking again does it.
    pub leaving: bool,
    /// The operator wants to hear of it even if there was nothing to give back.
    pub(super) sweep_asked: bool,
    numbers: u64,
    effects: Vec<Effect>,
}

impl State {
    pub fn new(fleet: Arc<Fleet>, view: Arc<FleetView>, theme: ThemeName, clock: Clock) -> State {
        let mut state = State {
            fleet,
            clock,
            theme: Theme::of(theme),
            view: view.clone(),
            sums: FleetSums::default(),
            index: Index::default(),
            index_due: true,
            journey: Journey::start(Screen::Overview),
            grid: Box::new(Listing::<runs::Lane> { columns: &[], rows: Vec::new() }),
            grid_due: true,
            order_due: true,
            typing: Typing::Nothing,
            form: None,
            page: None,
            questions: Questions::default(),
            messages: Messages::default(),
            runs: Vec::new(),
            sessions: Gathered::default(),
            tables: Gathered::default(),
            entries: Gathered::default(),
            leases: Loaded::default(),
            audit: Loaded::default(),
            unfinished: Loaded::default(),
            details: None,
            findings: None,
            findings_after: None,
            findings_asked: false,
            history: None,
            history_asked: None,
            load: None,
            frame: Frame::default(),
            command_history: Vec::new(),
            leaving: false,
            sweep_asked: false,
            suspend_asked: false,
            ascii: false,
            numbers: 0,
            effects: Vec::new(),
        };
        state.take_view(view);
        state
    }

    /// A new picture replaces the old one.
    pub fn take_view(&mut self, view: Arc<FleetView>) {
        self.sums.update(&view);
        self.view = view;
        self.index_due = true;
        self.grid_due = true;
    }

    /// The index of the present picture; built when it is first needed.
    pub fn need_index(&mut self) {
        if std::mem::take(&mut self.index_due) {
            self.index = Index::build(&self.view);
        }
    }

    pub fn screen(&self) -> &Screen {
        &self.journey.here.screen
    }

    pub fn ctx(&self) -> Ctx<'_> {
        Ctx { now: self.clock.now, wall: self.clock.wall, view: &self.view }
    }

    pub fn go(&mut self, screen: Screen) {
        self.journey.go(screen);
        self.arrived();
    }

    /// After any change of view: its rows and answers are due.
    pub(super) fn arrived(&mut self) {
        self.grid_due = true;
        self.leaving = false;
        self.ask_what_is_due();
    }

    pub fn say(&mut self, tone: Tone, text: &str) {
        self.messages.say(self.clock, tone, text);
        if *self.screen() == Screen::Messages {
            self.grid_due = true;
        }
    }

    /// A number that nothing else of this console has.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn ask(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// What the runner is to do now.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub fn running(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !run.is_over())
    }
}

impl cmdline::Names for State {
    fn nodes(&self) -> Vec<String> {
        self.view.nodes.iter().map(|n| n.meta.name.to_string()).collect()
    }
    fn pools(&self) -> Vec<String> {
        self.index.pools.iter().map(|line| line.pool.to_string()).collect()
    }
    fn servers(&self) -> Vec<String> {
        self.index.servers.iter().map(|line| line.server.to_string()).collect()
    }
    fn frontends(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for frontend in self.view.nodes.iter().filter_map(|n| n.last.as_deref()).flat_map(|o| &o.frontends) {
            if !names.iter().any(|n| **n == *frontend.name) {
                names.push(frontend.name.to_string());
            }
        }
        names
    }
    fn leases(&self) -> Vec<String> {
        self.leases.rows().iter().map(|lease| lease.id.clone()).collect()
    }
    fn vips(&self) -> Vec<String> {
        self.view.vips().iter().map(|v| v.address.to_string()).collect()
    }
}
