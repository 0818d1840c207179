//! Keys become commands here and nowhere else; the hints at the bottom and the help are made from the same table.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::command::{Action, Command};
use super::state::screen::Kind;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

const fn key(code: KeyCode) -> Chord {
    Chord { code, modifiers: KeyModifiers::NONE }
}
const fn char(c: char) -> Chord {
    key(KeyCode::Char(c))
}
const fn ctrl(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), modifiers: KeyModifiers::CONTROL }
}

impl Chord {
    /// Terminals differ in whether they report shift with a capital letter: the letter says it.
    fn matches(self, event: &KeyEvent) -> bool {
        let mut modifiers = event.modifiers;
        if matches!(event.code, KeyCode::Char(_) | KeyCode::BackTab) {
            modifiers.remove(KeyModifiers::SHIFT);
        }
        self.code == event.code && self.modifiers == modifiers
    }

    pub fn label(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "space".to_owned(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Enter => "enter".into(),
            KeyCode::Esc => "esc".into(),
            KeyCode::Tab => "tab".into(),
            KeyCode::BackTab => "shift-tab".into(),
            KeyCode::Up => "↑".into(),
            KeyCode::Down => "↓".into(),
            KeyCode::Left => "←".into(),
            KeyCode::Right => "→".into(),
            KeyCode::PageUp => "pgup".into(),
            KeyCode::PageDown => "pgdn".into(),
            KeyCode::Home => "home".into(),
            KeyCode::End => "end".into(),
            KeyCode::F(n) => format!("f{n}"),
            other => format!("{other:?}").to_lowercase(),
        };
        if self.modifiers.contains(KeyModifiers::CONTROL) { format!("ctrl-{name}") } else { name }
    }
}

pub struct Binding {
    pub keys: &'static [Chord],
    pub command: Command,
    /// Views where it works; empty means all.
    pub on: &'static [Kind],
    /// Shown at the bottom of the screen, in the order of the table; None is for help only.
    pub hint: Option<&'static str>,
}

/// Views whose rows are servers or lead to one.
const SERVERS: &[Kind] = &[Kind::Servers, Kind::Server, Kind::Node, Kind::Overview];

const fn act(keys: &'static [Chord], action: Action, on: &'static [Kind], hint: Option<&'static str>) -> Binding {
    Binding { keys, command: Command::Act(action), on, hint }
}
const fn bind(keys: &'static [Chord], command: Command, hint: Option<&'static str>) -> Binding {
    Binding { keys, command, on: &[], hint }
}
const fn on(keys: &'static [Chord], command: Command, on: &'static [Kind], hint: Option<&'static str>) -> Binding {
    Binding { keys, command, on, hint }
}

/// The first binding that matches wins: those of a view stand before those of all views.
pub const BINDINGS: &[Binding] = &[
    act(&[char('d')], Action::Drain, SERVERS, Some("drain")),
    act(&[char('r')], Action::Ready, SERVERS, Some("ready")),
    act(&[char('m')], Action::Maint, SERVERS, Some("maint")),
    act(&[char('w')], Action::Weight, SERVERS, Some("weight")),
    act(&[char('K')], Action::KillSessions, SERVERS, Some("kill")),
    act(&[char('K'), key(KeyCode::Delete)], Action::KillSessions, &[Kind::Sessions], Some("kill")),
    act(&[char('A')], Action::Address, SERVERS, None),
    act(&[char('M')], Action::MaxConn, SERVERS, None),
    act(&[char('c')], Action::ChecksOn, SERVERS, None),
    act(&[char('C')], Action::ChecksOff, SERVERS, None),
    act(&[char('a')], Action::AddServer, &[Kind::Pools, Kind::Servers], None),
    act(&[char('X')], Action::RemoveServer, SERVERS, None),
    act(&[char('e')], Action::EnableFrontend, &[Kind::Frontends], Some("enable")),
    act(&[char('d')], Action::DisableFrontend, &[Kind::Frontends], Some("disable")),
    act(&[char('f')], Action::Failover, &[Kind::Vips], Some("fail over")),
    act(&[char('b')], Action::Failback, &[Kind::Vips], Some("fail back")),
    act(&[char('d')], Action::DrainNode, &[Kind::Nodes], Some("drain node")),
    act(&[char('r')], Action::ReturnNode, &[Kind::Nodes], Some("return node")),
    act(&[char('X'), key(KeyCode::Delete)], Action::ClearTable, &[Kind::Tables, Kind::Entries], Some("clear")),
    act(&[char('u')], Action::Undo, &[Kind::Operations, Kind::Operation, Kind::Audit, Kind::Unfinished], Some("undo")),
    act(&[char('r')], Action::ReturnLease, &[Kind::Leases], Some("return")),
    on(&[char('S')], Command::Sweep, &[Kind::Leases], Some("sweep")),
    on(&[char('s')], Command::StopOperation, &[Kind::Operations, Kind::Operation], Some("stop")),
    on(&[char('U')], Command::Unfinished, &[Kind::Overview, Kind::Operations, Kind::Audit], None),
    on(
        &[char('s')],
        Command::Sessions,
        &[Kind::Servers, Kind::Server, Kind::Node, Kind::Nodes, Kind::Overview],
        Some("sessions"),
    ),
    on(&[char('v')], Command::Vips, &[Kind::Overview, Kind::Nodes, Kind::Node], Some("vips")),
    on(&[char('t')], Command::Tables, &[Kind::Overview, Kind::Nodes, Kind::Node], Some("tables")),
    on(&[char('f')], Command::Fields, &[Kind::Server, Kind::Node, Kind::Nodes, Kind::Sessions, Kind::Audit], Some("fields")),
    on(&[char('=')], Command::SameAddress, &[Kind::Servers, Kind::Server], None),
    bind(&[key(KeyCode::Enter), char('l')], Command::Open, Some("open")),
    bind(&[key(KeyCode::Esc), char('h')], Command::Leave, Some("up")),
    bind(&[char(':')], Command::CommandLine, Some("command")),
    bind(&[char('/')], Command::Filter, Some("filter")),
    bind(&[char('?'), key(KeyCode::F(1))], Command::Help, Some("help")),
    bind(&[char('q'), ctrl('c')], Command::Quit, Some("quit")),
    bind(&[ctrl('z')], Command::Suspend, None),
    bind(&[key(KeyCode::Up), char('k')], Command::Up, None),
    bind(&[key(KeyCode::Down), char('j')], Command::Down, None),
    bind(&[key(KeyCode::PageUp), ctrl('b')], Command::PageUp, None),
    bind(&[key(KeyCode::PageDown), ctrl('f')], Command::PageDown, None),
    bind(&[key(KeyCode::Home), char('g')], Command::First, None),
    bind(&[key(KeyCode::End), char('G')], Command::Last, None),
    bind(&[key(KeyCode::Left)], Command::ScrollLeft, None),
    bind(&[key(KeyCode::Right)], Command::ScrollRight, None),
    bind(&[char('<')], Command::SortLeft, None),
    bind(&[char('>')], Command::SortRight, None),
    bind(&[char('o')], Command::SortFlip, None),
    bind(&[char(' ')], Command::Select, None),
    bind(&[ctrl('a')], Command::SelectAll, None),
    bind(&[char('*')], Command::SelectInvert, None),
    bind(&[char('[')], Command::Back, None),
    bind(&[char(']')], Command::Forward, None),
    bind(&[key(KeyCode::Tab)], Command::NextTab, None),
    bind(&[key(KeyCode::BackTab)], Command::PreviousTab, None),
    bind(&[char('1')], Command::Tab(1), None),
    bind(&[char('2')], Command::Tab(2), None),
    bind(&[char('3')], Command::Tab(3), None),
    bind(&[char('4')], Command::Tab(4), None),
    bind(&[char('5')], Command::Tab(5), None),
    bind(&[char('6')], Command::Tab(6), None),
    bind(&[char('7')], Command::Tab(7), None),
    bind(&[char('8')], Command::Tab(8), None),
    bind(&[char('9')], Command::Tab(9), None),
    bind(&[ctrl('r'), key(KeyCode::F(5))], Command::Refresh, None),
    bind(&[char('T')], Command::NextTheme, None),
];

impl Binding {
    pub fn works_on(&self, kind: Kind) -> bool {
        self.on.is_empty() || self.on.contains(&kind)
    }
    pub fn label(&self) -> String {
        self.keys.iter().map(|k| k.label()).collect::<Vec<_>>().join(" ")
    }
}

/// What a key asks for in a view.
pub fn command(kind: Kind, event: &KeyEvent) -> Option<Command> {
    BINDINGS.iter().find(|b| b.works_on(kind) && b.keys.iter().any(|k| k.matches(event))).map(|b| b.command)
}

/// The bindings of a view, those of its own first.
pub fn bindings(kind: Kind) -> impl Iterator<Item = &'static Binding> {
    let own = BINDINGS.iter().filter(move |b| !b.on.is_empty() && b.works_on(kind));
    own.chain(BINDINGS.iter().filter(|b| b.on.is_empty()))
}

/// What a key asks for in a line of text or a dialog; every other key is typing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edit {
    Accept,
    Cancel,
    Next,
    Previous,
    Up,
    Down,
    PageUp,
    PageDown,
}

/// Keys of dialogs, the command line and the filter, with what help says of them.
pub const EDITS: &[(&[Chord], Edit, &str)] = &[
    (&[key(KeyCode::Enter)], Edit::Accept, "accept; in a dialog: next field, and at the end apply"),
    (&[key(KeyCode::Esc), ctrl('c')], Edit::Cancel, "cancel: nothing is sent"),
    (&[key(KeyCode::Tab)], Edit::Next, "next field; in the command line: complete"),
    (&[key(KeyCode::BackTab)], Edit::Previous, "field before; in the command line: complete backwards"),
    (&[key(KeyCode::Up)], Edit::Up, "line before, older command, other choice"),
    (&[key(KeyCode::Down)], Edit::Down, "next line, newer command, other choice"),
    (&[key(KeyCode::PageUp)], Edit::PageUp, "page up in the plan"),
    (&[key(KeyCode::PageDown)], Edit::PageDown, "page down in the plan"),
];

pub fn edit(event: &KeyEvent) -> Option<Edit> {
    EDITS.iter().find(|(keys, ..)| keys.iter().any(|k| k.matches(event))).map(|(_, edit, _)| *edit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 17] = [
        Kind::Vips,
        Kind::Overview,
        Kind::Nodes,
        Kind::Node,
        Kind::Pools,
        Kind::Servers,
        Kind::Server,
        Kind::Frontends,
        Kind::Sessions,
        Kind::Tables,
        Kind::Entries,
        Kind::Leases,
        Kind::Audit,
        Kind::Operations,
        Kind::Operation,
        Kind::Unfinished,
        Kind::Messages,
    ];

    #[test]
    fn no_view_has_two_meanings_for_a_key() {
        for kind in KINDS {
            let mut seen = Vec::new();
            for binding in BINDINGS.iter().filter(|b| b.works_on(kind)) {
                for chord in binding.keys {
                    assert!(!seen.contains(chord), "{} twice in {kind:?}", chord.label());
                    seen.push(*chord);
                }
            }
        }
    }

    #[test]
    fn capitals_come_with_or_without_shift() {
        for modifiers in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
            let event = KeyEvent::new(KeyCode::Char('K'), modifiers);
            assert_eq!(command(Kind::Servers, &event), Some(Command::Act(Action::KillSessions)));
        }
        assert_eq!(command(Kind::Servers, &KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Command::Quit));
    }

    #[test]
    fn every_view_can_be_left_and_every_key_is_explained() {
        for kind in KINDS {
            assert_eq!(command(kind, &KeyEvent::from(KeyCode::Char('q'))), Some(Command::Quit));
            assert_eq!(command(kind, &KeyEvent::from(KeyCode::Esc)), Some(Command::Leave));
            assert!(bindings(kind).all(|b| !b.command.help().is_empty() && !b.label().is_empty()));
        }
    }
}
