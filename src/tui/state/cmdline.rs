//! The `:` line: which words there are, what they ask for, and what completes them.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher};
use tui_input::Input;

use crate::model::{PoolName, ServerRef};
use crate::ops::Selector;
use crate::tui::command::{Action, Command};
use crate::tui::theme::ThemeName;

use super::form::{Form, Name, Subject};
use super::screen::Screen;

/// What a line asks for.
#[derive(Debug)]
pub enum Said {
    Go(Screen),
    Do(Command),
    Theme(ThemeName),
    Plan(Box<Form>),
}

/// Names that words can be completed to.
pub trait Names {
    fn nodes(&self) -> Vec<String>;
    fn pools(&self) -> Vec<String>;
    fn servers(&self) -> Vec<String>;
    fn frontends(&self) -> Vec<String>;
    fn leases(&self) -> Vec<String>;
    fn vips(&self) -> Vec<String>;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Node,
    Pool,
    Server,
    Frontend,
    Vip,
    Theme,
    Lease,
    Number,
    /// A server or a node.
    Place,
}

#[derive(Clone, Copy)]
enum Does {
    View(fn() -> Screen),
    /// A view about what the argument names; without one, the list of them.
    About,
    Do(Command),
    Theme,
    Act(Action),
}

struct Word {
    names: &'static [&'static str],
    takes: Takes,
    does: Does,
    help: &'static str,
}

const fn view(names: &'static [&'static str], screen: fn() -> Screen, help: &'static str) -> Word {
    Word { names, takes: Takes::Nothing, does: Does::View(screen), help }
}
const fn act(names: &'static [&'static str], takes: Takes, action: Action) -> Word {
    Word { names, takes, does: Does::Act(action), help: action.help() }
}

const WORDS: &[Word] = &[
    view(&["overview", "fleet", "status"], || Screen::Overview, "problems first"),
    view(&["nodes"], || Screen::Nodes, "all nodes"),
    Word { names: &["node"], takes: Takes::Node, does: Does::About, help: "one node" },
    view(&["pools", "backends"], || Screen::Pools, "all pools"),
    Word { names: &["servers", "pool", "backend"], takes: Takes::Pool, does: Does::About, help: "servers across nodes" },
    Word { names: &["server"], takes: Takes::Server, does: Does::About, help: "one server on every node" },
    Word { names: &["sessions"], takes: Takes::Place, does: Does::About, help: "live sessions of a server or node" },
    view(&["frontends"], || Screen::Frontends, "all frontends"),
    view(&["vips", "vip"], || Screen::Vips, "virtual addresses and who holds them"),
    view(&["tables"], || Screen::Tables, "stick tables"),
    view(&["leases"], || Screen::Leases, "leases, and their return"),
    view(&["operations", "ops"], || Screen::Operations, "operations of this console"),
    view(&["audit"], || Screen::Audit, "what was done, by whom and why"),
    view(&["unfinished"], || Screen::Unfinished, "what was left unfinished"),
    view(&["messages", "log"], || Screen::Messages, "what the console said"),
    act(&["drain"], Takes::Server, Action::Drain),
    act(&["ready", "enable"], Takes::Server, Action::Ready),
    act(&["maint", "disable"], Takes::Server, Action::Maint),
    act(&["weight"], Takes::Server, Action::Weight),
    act(&["address"], Takes::Server, Action::Address),
    act(&["maxconn"], Takes::Server, Action::MaxConn),
    act(&["checks-on"], Takes::Server, Action::ChecksOn),
    act(&["checks-off"], Takes::Server, Action::ChecksOff),
    act(&["kill-sessions", "kill"], Takes::Server, Action::KillSessions),
    act(&["add"], Takes::Pool, Action::AddServer),
    act(&["remove"], Takes::Server, Action::RemoveServer),
    act(&["enable-frontend"], Takes::Frontend, Action::EnableFrontend),
    act(&["disable-frontend"], Takes::Frontend, Action::DisableFrontend),
    act(&["failover"], Takes::Vip, Action::Failover),
    act(&["failback"], Takes::Vip, Action::Failback),
    act(&["drain-node"], Takes::Node, Action::DrainNode),
    act(&["return-node"], Takes::Node, Action::ReturnNode),
    act(&["undo"], Takes::Number, Action::Undo),
    act(&["return"], Takes::Lease, Action::ReturnLease),
    Word { names: &["sweep"], takes: Takes::Nothing, does: Does::Do(Command::Sweep), help: Command::Sweep.help() },
    Word { names: &["refresh"], takes: Takes::Nothing, does: Does::Do(Command::Refresh), help: Command::Refresh.help() },
    Word { names: &["theme"], takes: Takes::Theme, does: Does::Theme, help: "dark, light, high-contrast, mono" },
    Word { names: &["help"], takes: Takes::Nothing, does: Does::Do(Command::Help), help: "keys of this view" },
    Word { names: &["quit", "q"], takes: Takes::Nothing, does: Does::Do(Command::Quit), help: Command::Quit.help() },
];

/// Flags that choose nodes or servers, for every action on servers.
const SELECTING: [&str; 5] = ["node", "zone", "tag", "role", "server-address"];

/// Words and what they do, for the help.
pub fn words() -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    WORDS.iter().map(|w| (w.names, w.help))
}

fn find(name: &str) -> Result<&'static Word, String> {
    if let Some(exact) = WORDS.iter().find(|w| w.names.contains(&name)) {
        return Ok(exact);
    }
    let begins: Vec<&Word> = WORDS.iter().filter(|w| w.names.iter().any(|n| n.starts_with(name))).collect();
    match begins.as_slice() {
        [one] => Ok(one),
        [] => Err(format!("no command is called '{name}'; tab completes, ? helps")),
        several => {
            let names: Vec<&str> = several.iter().filter_map(|w| w.names.first().copied()).collect();
            Err(format!("'{name}' can be {}", names.join(", ")))
        }
    }
}

/// Words of a line: blanks separate, quotes keep them together.
fn split(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, any) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (None, c) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

fn server_ref(text: &str) -> Result<ServerRef, String> {
    match text.split_once('/') {
        Some((pool, server)) if !pool.is_empty() && !server.is_empty() => Ok(ServerRef::new(pool, server)),
        _ => Err(format!("'{text}' is not pool/server")),
    }
}

/// Reads a line. Errors say what is wrong with which word.
pub fn parse(line: &str, names: &dyn Names) -> Result<Option<Said>, String> {
    let words = split(line)?;
    let Some((first, rest)) = words.split_first() else { return Ok(None) };
    let word = find(first)?;
    let said = match word.does {
        Does::Act(action) => return plan(action, word, rest).map(|form| Some(Said::Plan(Box::new(form)))),
        Does::View(screen) => Said::Go(screen()),
        Does::Do(command) => Said::Do(command),
        Does::Theme => {
            let name = rest.first().ok_or("which theme? dark, light, high-contrast or mono")?;
            Said::Theme(ThemeName::parse(name).ok_or_else(|| format!("no theme is called '{name}'"))?)
        }
        Does::About => Said::Go(about(word.takes, rest.first().map(String::as_str), names)?),
    };
    let most = usize::from(word.takes != Takes::Nothing);
    match rest.get(most) {
        Some(extra) => Err(format!("'{extra}' is one word too many")),
        None => Ok(Some(said)),
    }
}

fn about(takes: Takes, argument: Option<&str>, names: &dyn Names) -> Result<Screen, String> {
    let known = |list: Vec<String>, name: &str, what: &str| {
        if list.iter().any(|n| n == name) { Ok(()) } else { Err(format!("no {what} is called '{name}'")) }
    };
    Ok(match (takes, argument) {
        (Takes::Node, None) => Screen::Nodes,
        (Takes::Node, Some(name)) => {
            known(names.nodes(), name, "node")?;
            Screen::Node(name.into())
        }
        (Takes::Pool, Some(name)) => {
            known(names.pools(), name, "pool")?;
            Screen::Servers(Some(PoolName::from(name)))
        }
        (Takes::Server, Some(name)) => {
            known(names.servers(), name, "server")?;
            Screen::Server(server_ref(name)?)
        }
        (Takes::Place, Some(name)) if names.nodes().iter().any(|n| n == name) => {
            Screen::Sessions { node: Some(name.into()), server: None }
        }
        (Takes::Place, Some(name)) => {
            known(names.servers(), name, "server or node")?;
            Screen::Sessions { node: None, server: Some(server_ref(name)?) }
        }
        (Takes::Place, None) => return Err("sessions of which server or node?".into()),
        _ => Screen::Servers(None),
    })
}

/// An action with its arguments and `--flags`, as a dialog that is filled in.
fn plan(action: Action, word: &Word, rest: &[String]) -> Result<Form, String> {
    let mut bare: Vec<&str> = Vec::new();
    let mut flags: Vec<(&str, String)> = Vec::new();
    let mut words = rest.iter();
    while let Some(text) = words.next() {
        let Some(flag) = text.strip_prefix("--") else {
            bare.push(text);
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None if flag == Name::Force.word() || flag == Name::Backup.word() => (flag, "yes".to_owned()),
            None => (flag, words.next().cloned().ok_or_else(|| format!("--{flag} needs a value"))?),
        };
        flags.push((name, value));
    }
    let mut selector = Selector::default();
    for (name, value) in &flags {
        let value = value.clone();
        match *name {
            "node" => selector.nodes.push(value),
            "zone" => selector.zone = Some(value),
            "tag" => selector.tag = Some(value),
            "role" => selector.role = Some(value),
            "server-address" => selector.address = Some(value),
            _ => {}
        }
    }
    let chosen: Vec<String> = bare.iter().map(|b| (*b).to_owned()).collect();
    let need = |what: &str| if chosen.is_empty() { Err(format!("{} what? name {what}", action.label())) } else { Ok(()) };
    let mut value_word = None;
    let subject = match word.takes {
        Takes::Server => {
            let mut servers = chosen.clone();
            // `:weight web/s1 50`, as everybody writes it.
            if matches!(action, Action::Weight | Action::MaxConn | Action::Address) && servers.len() > 1 {
                value_word = servers.pop();
            }
            if servers.is_empty() && selector.address.is_none() {
                need("pool/server")?;
            }
            Subject::Servers(Selector { servers, ..selector })
        }
        Takes::Pool => {
            need("a pool")?;
            Subject::Pool(PoolName::from(chosen.first().cloned().unwrap_or_default()))
        }
        Takes::Frontend => {
            need("a frontend")?;
            Subject::Frontends(chosen.clone())
        }
        Takes::Vip => {
            need("a VIP")?;
            let vips: Result<Vec<std::net::IpAddr>, _> =
                chosen.iter().map(|c| c.parse().map_err(|_| format!("'{c}' is not an address"))).collect();
            Subject::Vips(vips?)
        }
        Takes::Node => {
            need("a node")?;
            Subject::Nodes(chosen.iter().map(|c| c.as_str().into()).collect())
        }
        Takes::Lease => {
            need("a lease")?;
            Subject::Leases(chosen.clone())
        }
        _ => {
            need("the number of an operation")?;
            let numbers: Result<Vec<i64>, _> =
                chosen.iter().map(|c| c.trim_start_matches('#').parse().map_err(|_| format!("'{c}' is not a number"))).collect();
            Subject::Operations(numbers?)
        }
    };
    let mut form = Form::new(action, format!("{} {}", action.label(), chosen.join(" ")), subject);
    if let (Some(value), Some(field)) = (value_word, form.fields.first().map(|f| f.name.word())) {
        form.fill(field, &value);
    }
    for (name, value) in &flags {
        if !SELECTING.contains(name) && !form.fill(name, value) {
            let known: Vec<&str> = form.fields.iter().map(|f| f.name.word()).chain(SELECTING).collect();
            return Err(format!("{} has no --{name}; it has --{}", action.label(), known.join(", --")));
        }
    }
    Ok(form)
}

/// Completions shown at most.
const SHOWN: usize = 50;

#[derive(Debug, Default)]
pub struct CommandLine {
    pub input: Input,
    /// What the word at the end can become, best first.
    pub candidates: Vec<String>,
    pub chosen: Option<usize>,
    /// The line without the word that is being completed.
    stem: String,
    /// How far back in the history; 0 is what is being typed.
    back: usize,
    typed: String,
    pub error: Option<String>,
}

impl CommandLine {
    /// Works out what the last word can become. Called when the text has changed.
    pub fn suggest(&mut self, names: &dyn Names) {
        self.error = None;
        self.chosen = None;
        let line = self.input.value();
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + line[at..].chars().next().map_or(0, char::len_utf8));
        let (stem, last) = line.split_at(start);
        self.stem = stem.to_owned();
        let before = split(stem).unwrap_or_default();
        let pool: Vec<String> = match before.split_first() {
            None => WORDS.iter().filter_map(|w| w.names.first()).map(|n| (*n).to_owned()).collect(),
            Some((first, rest)) => find(first).map(|word| arguments(word, rest, last, names)).unwrap_or_default(),
        };
        let mut matcher = Matcher::new(Config::DEFAULT.match_paths());
        let pattern = Pattern::parse(last, CaseMatching::Smart, Normalization::Smart);
        self.candidates =
            pattern.match_list(pool, &mut matcher).into_iter().take(SHOWN).map(|(candidate, _)| candidate).collect();
    }

    /// Puts the next candidate in place of the last word.
    pub fn complete(&mut self, by: isize) {
        if self.candidates.is_empty() {
            return;
        }
        let n = self.candidates.len();
        let at = match self.chosen {
            None if by < 0 => n - 1,
            None => 0,
            Some(at) => (at + n).wrapping_add_signed(by) % n,
        };
        self.chosen = Some(at);
        if let Some(candidate) = self.candidates.get(at) {
            self.input = Input::new(format!("{}{candidate}", self.stem));
        }
    }

    /// An older (1) or newer (-1) line of the history.
    pub fn recall(&mut self, history: &[String], by: isize) {
        if self.back == 0 {
            self.typed = self.input.value().to_owned();
        }
        self.back = self.back.saturating_add_signed(by).min(history.len());
        let line = match self.back {
            0 => self.typed.clone(),
            back => history.get(history.len() - back).cloned().unwrap_or_default(),
        };
        self.input = Input::new(line);
    }
}

/// What can follow: an argument, the value of a flag, or a flag.
fn arguments(word: &Word, before: &[String], last: &str, names: &dyn Names) -> Vec<String> {
    let values: &[&str] = match before.last().map(String::as_str) {
        Some("--node" | "--to") => return names.nodes(),
        Some("--then") => &["fail", "kill", "maint", "return"],
        Some("--checks") => &["health", "agent"],
        Some("--wait" | "--check" | "--add-track-file") => &["yes", "no"],
        Some("--for" | "--deadline" | "--reason" | "--zone" | "--tag" | "--role" | "--server-address") => return Vec::new(),
        _ => &[],
    };
    if !values.is_empty() {
        return values.iter().map(|v| (*v).to_owned()).collect();
    }
    if last.starts_with('-')
        && let Does::Act(action) = word.does
    {
        let form = Form::new(action, String::new(), Subject::Leases(Vec::new()));
        let own = form.fields.iter().map(|f| f.name.word());
        let selecting = SELECTING.into_iter().filter(|_| word.takes == Takes::Server);
        return own.chain(selecting).map(|name| format!("--{name}")).collect();
    }
    match word.takes {
        Takes::Node => names.nodes(),
        Takes::Pool => names.pools(),
        Takes::Server => names.servers(),
        Takes::Frontend => names.frontends(),
        Takes::Lease => names.leases(),
        Takes::Vip => names.vips(),
        Takes::Place => names.servers().into_iter().chain(names.nodes()).collect(),
        Takes::Theme => ThemeName::ALL.iter().map(|t| t.label().to_owned()).collect(),
        Takes::Nothing | Takes::Number => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;
    impl Names for Known {
        fn nodes(&self) -> Vec<String> {
            vec!["lb1".into(), "lb2".into()]
        }
        fn pools(&self) -> Vec<String> {
            vec!["web".into(), "api".into()]
        }
        fn servers(&self) -> Vec<String> {
            vec!["web/s1".into(), "web/s2".into(), "api/a1".into()]
        }
        fn frontends(&self) -> Vec<String> {
            vec!["fe_web".into()]
        }
        fn leases(&self) -> Vec<String> {
            vec!["0a1b2c3d".into()]
        }
        fn vips(&self) -> Vec<String> {
            vec!["10.0.0.9".into()]
        }
    }

    fn screen(line: &str) -> Screen {
        match parse(line, &Known) {
            Ok(Some(Said::Go(screen))) => screen,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn views_by_name_and_by_beginning() {
        assert_eq!(screen("pools"), Screen::Pools);
        assert_eq!(screen("servers web"), Screen::Servers(Some("web".into())));
        assert_eq!(screen("node lb1"), Screen::Node("lb1".into()));
        assert_eq!(screen("sessions lb2"), Screen::Sessions { node: Some("lb2".into()), server: None });
        assert_eq!(screen("aud"), Screen::Audit);
        assert!(parse("", &Known).is_ok_and(|said| said.is_none()));
        for (line, says) in [
            ("s", "can be"),
            ("bogus", "no command"),
            ("node lb9", "no node"),
            ("server web/s9", "no server"),
            ("pools web", "too many"),
            ("theme pink", "no theme"),
            ("drain", "drain what?"),
            ("drain web/s1 --reason 'x", "quote"),
            ("drain web/s1 --for", "needs a value"),
            ("drain web/s1 --port 3", "has no --port"),
            ("undo x", "not a number"),
        ] {
            let error = parse(line, &Known).map(|_| ()).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn an_action_is_a_dialog_that_is_filled_in() {
        let line = "drain web/s1 --node lb1 --for 2h --reason 'kernel update' --then=kill --force";
        let Ok(Some(Said::Plan(mut form))) = parse(line, &Known) else { panic!("not a plan") };
        let request = form.requests().unwrap().remove(0);
        assert_eq!(request.selector.servers, ["web/s1"]);
        assert_eq!(request.selector.nodes, ["lb1"]);
        assert_eq!(request.reason.as_deref(), Some("kernel update"));
        assert!(request.force);
        let Ok(Some(Said::Plan(mut form))) = parse("weight web/s1 50%", &Known) else { panic!("not a plan") };
        let request = form.requests().unwrap().remove(0);
        assert_eq!(request.selector.servers, ["web/s1"]);
        assert!(format!("{:?}", request.verb).contains("Percent(50)"));
    }

    #[test]
    fn tab_completes_and_goes_round() {
        let mut line = CommandLine { input: Input::new("dr".into()), ..CommandLine::default() };
        line.suggest(&Known);
        assert_eq!(line.candidates.first().map(String::as_str), Some("drain"));
        line.input = Input::new("drain w2".into());
        line.suggest(&Known);
        line.complete(1);
        assert_eq!(line.input.value(), "drain web/s2");
        line.input = Input::new("drain web/s1 --".into());
        line.suggest(&Known);
        assert!(line.candidates.contains(&"--deadline".to_owned()) && line.candidates.contains(&"--zone".to_owned()));
        line.input = Input::new("drain web/s1 --then ".into());
        line.suggest(&Known);
        line.complete(-1);
        assert_eq!(line.input.value(), "drain web/s1 --then return");
        line.complete(1);
        assert_eq!(line.input.value(), "drain web/s1 --then fail");
    }

    #[test]
    fn history_comes_back_and_what_was_typed_too() {
        let history = ["pools".to_owned(), "nodes".to_owned()];
        let mut line = CommandLine { input: Input::new("dra".into()), ..CommandLine::default() };
        line.recall(&history, 1);
        line.recall(&history, 1);
        line.recall(&history, 1);
        assert_eq!(line.input.value(), "pools");
        line.recall(&history, -1);
        assert_eq!(line.input.value(), "nodes");
        line.recall(&history, -1);
        assert_eq!(line.input.value(), "dra");
    }
}
