//! The whole console without its terminal, network and clock: events in, effects and a screen out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{Event as TermEvent, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::SignedDuration;
use lbdeck::app::{App, Options, Prompting};
use lbdeck::collect::{Sample, problems};
use lbdeck::config::Fleet;
use lbdeck::model::FleetView;
use lbdeck::tui::event::{Answer, Clock, Effect, Event};
use lbdeck::tui::state::State;
use lbdeck::tui::state::curve::Curves;
use lbdeck::tui::theme::ThemeName;
use lbdeck::tui::update::update;
use lbdeck::tui::view;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::fleet;

pub struct Console {
    pub state: State,
    app: App,
    _memory: tempfile::TempDir,
    terminal: Terminal<TestBackend>,
    start: Instant,
    passed: Duration,
    /// Effects that were asked for and not answered by the harness.
    pub asked: Vec<Effect>,
}

impl Console {
    pub fn new(width: u16, height: u16) -> Console {
        let start = Instant::now();
        Console::on(width, height, fleet::config(), fleet::view(start), start, ThemeName::Dark)
    }

    pub fn on(width: u16, height: u16, config: Fleet, view: Arc<FleetView>, start: Instant, theme: ThemeName) -> Console {
        let clock = Clock { now: start, wall: fleet::wall() };
        let memory = tempfile::tempdir().unwrap();
        let options = Options { prompting: Prompting::Nobody, state: Some(memory.path().join("lbdeck.db")) };
        // Nothing is connected: plans are made of the picture alone.
        let app = App::compose(config.clone(), options);
        let mut state = State::new(Arc::new(config), view, theme, clock);
        state.ask_what_is_due();
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut console = Console { state, app, _memory: memory, terminal, start, passed: Duration::ZERO, asked: vec![] };
        console.settle();
        console
    }

    pub fn clock(&self) -> Clock {
        let wall = fleet::wall() + SignedDuration::try_from(self.passed).unwrap();
        Clock { now: self.start + self.passed, wall }
    }

    pub fn wait(&mut self, time: Duration) {
        self.passed += time;
        self.event(Event::Tick);
    }

    pub fn event(&mut self, event: Event) {
        let clock = self.clock();
        update(&mut self.state, clock, event);
        self.settle();
    }

    /// Keys by their names (`enter`, `ctrl-a`, `esc` …), everything else letter by letter.
    pub fn keys(&mut self, keys: &[&str]) -> &mut Self {
        for key in keys {
            let one = |code| vec![KeyEvent::new(code, KeyModifiers::NONE)];
            let events = match *key {
                "enter" => one(KeyCode::Enter),
                "esc" => one(KeyCode::Esc),
                "tab" => one(KeyCode::Tab),
                "backtab" => vec![KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)],
                "up" => one(KeyCode::Up),
                "down" => one(KeyCode::Down),
                "left" => one(KeyCode::Left),
                "right" => one(KeyCode::Right),
                "end" => one(KeyCode::End),
                "space" => one(KeyCode::Char(' ')),
                "ctrl-a" => vec![KeyEvent::new(KeyCode::Char('a'), KeyModifiers::CONTROL)],
                "ctrl-c" => vec![KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)],
                text => text.chars().map(|c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)).collect(),
            };
            for event in events {
                self.event(Event::Terminal(TermEvent::Key(event)));
            }
        }
        self
    }

    pub fn click(&mut self, column: u16, row: u16) {
        self.screen();
        let kind = MouseEventKind::Down(MouseButton::Left);
        let mouse = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        self.event(Event::Terminal(TermEvent::Mouse(mouse)));
    }

    /// Clicks on the first place where this text stands.
    pub fn click_on(&mut self, text: &str) {
        let screen = self.screen();
        let (row, line) =
            screen.lines().enumerate().find(|(_, l)| l.contains(text)).unwrap_or_else(|| panic!("{text} not on\n{screen}"));
        let column = line[..line.find(text).unwrap()].chars().count();
        self.click(u16::try_from(column).unwrap(), u16::try_from(row).unwrap());
    }

    pub fn resize(&mut self, width: u16, height: u16) {
        self.terminal.backend_mut().resize(width, height);
        self.event(Event::Terminal(TermEvent::Resize(width, height)));
    }

    /// The screen as text, one line a row.
    pub fn screen(&mut self) -> String {
        view::prepare(&mut self.state);
        let mut shown = None;
        self.terminal.draw(|canvas| shown = Some(view::draw(&self.state, canvas))).unwrap();
        let frame = shown.unwrap();
        self.state.journey.here.list.top = frame.table.top;
        self.state.frame = frame;
        let buffer = self.terminal.backend().buffer();
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let mut line = String::new();
            let mut x = 0;
            while x < buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                line.push_str(symbol);
                x += u16::try_from(unicode_width::UnicodeWidthStr::width(symbol)).unwrap().max(1);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    pub fn buffer(&mut self) -> ratatui::buffer::Buffer {
        self.screen();
        self.terminal.backend().buffer().clone()
    }

    /// Answers what can be answered by hand; keeps the rest for the test to look at.
    fn settle(&mut self) {
        loop {
            let effects = self.state.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                let answer = match effect {
                    Effect::Plan { ticket, requests } => {
                        let results = requests.into_iter().map(|r| self.app.ops.plan(r, &self.state.view)).collect();
                        Answer::Planned { ticket, results }
                    }
                    Effect::Findings => {
                        let facts = problems::Facts {
                            view: &self.state.view,
                            fleet: &self.state.fleet,
                            leases: self.state.leases.rows(),
                            unfinished: self.state.unfinished.rows(),
                            now: self.clock().wall,
                        };
                        Answer::Findings { findings: problems::find(&facts), took: Duration::from_millis(50) }
                    }
                    Effect::History { of, nodes } => {
                        let of_each: Vec<_> = nodes.iter().map(|_| samples(self.start)).collect();
                        self.state.history = Some((of, Curves::of(&of_each, self.state.fleet.settings.refresh)));
                        continue;
                    }
                    other => {
                        self.asked.push(other);
                        continue;
                    }
                };
                let clock = self.clock();
                update(&mut self.state, clock, Event::Answer(Box::new(answer)));
            }
        }
    }
}

fn samples(now: Instant) -> Vec<Sample> {
    let wave = |i: u32, period: u32, most: u32| (i % period) * most / period;
    let series = (0..90).map(|i| Sample {
        at: now.checked_sub(Duration::from_secs(u64::from(90 - i))).unwrap(),
        rate: 20 + wave(i, 30, 60),
        sessions: 10 + wave(i, 45, 20),
        queue: 0,
        latency_ms: 10 + wave(i, 13, 9),
        errors: if i > 70 { 3 } else { 0 },
    });
    series.collect()
}
