//! Events change the state, and nothing else does: keys by way of the keymap, answers, pictures, the clock.

use crossterm::event::{Event as TermEvent, KeyCode, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use crate::model::Exit;

use super::command::Command;
use super::event::{Answer, Clock, Effect, Event};
use super::keymap::{self, Edit};
use super::state::cmdline::{self, CommandLine, Said};
use super::state::form::Planned;
use super::state::list::Sort;
use super::state::screen::{Screen, TABS};
use super::state::{Loaded, Page, State, Typing};
use super::theme::{Theme, ThemeName, Tone};
use super::view::{self, Hit};

/// Problems are looked for no sooner than so many times what the last look cost: at most a two-hundredth of a core.
const FINDINGS_SHARE: u32 = 200;

/// Takes one event in. The rows are up to date before a key or click looks at them.
pub fn update(state: &mut State, clock: Clock, event: Event) {
    state.clock = clock;
    match event {
        Event::Terminal(TermEvent::Key(key)) if key.kind != KeyEventKind::Release => {
            view::prepare(state);
            // In a dialog or while typing too: what was begun there is there again afterwards.
            match keymap::command(state.screen().kind(), &key) {
                Some(Command::Suspend) => state.suspend_asked = true,
                _ => on_key(state, &key),
            }
        }
        Event::Terminal(TermEvent::Mouse(mouse)) => {
            view::prepare(state);
            on_mouse(state, mouse);
        }
        Event::Terminal(TermEvent::Paste(text)) => on_paste(state, &text),
        Event::Terminal(_) => {}
        Event::TerminalGone => state.ask(Effect::Quit),
        Event::View(view) => {
            state.take_view(view);
            state.refresh_plan();
            state.ask_what_is_due();
        }
        Event::Load(load) => state.load = Some(load),
        Event::Tick => state.ask_what_is_due(),
        Event::Prompt(request) => state.questions.push(request),
        Event::Answer(answer) => on_answer(state, *answer),
        Event::Operation { run, event } => {
            let now = state.clock.now;
            if let Some(known) = state.runs.iter_mut().find(|r| r.id == run) {
                known.take(&event, now);
                state.grid_due |= matches!(state.screen(), Screen::Operations | Screen::Operation(_));
            }
            if let crate::ops::EventKind::Finished { outcome } = &event.kind {
                let tone = if outcome.exit == Exit::Ok { Tone::Ok } else { Tone::Bad };
                state.say(tone, &format!("#{} {}", event.operation, outcome.summary));
                state.audit.asked = None;
                state.leases.asked = None;
                // What it changed is to be seen at once, not at the next interval.
                state.ask(Effect::Poke(outcome.nodes.iter().map(|n| n.node.clone()).collect()));
            }
        }
        Event::OperationOver { run } => {
            let now = state.clock.now;
            if let Some(known) = state.runs.iter_mut().find(|r| r.id == run) {
                known.end(now);
            }
            state.grid_due = true;
            if state.leaving && state.running().next().is_none() {
                state.ask(Effect::Quit);
            }
        }
    }
}

fn on_answer(state: &mut State, answer: Answer) {
    let now = state.clock.now;
    let due = match answer {
        Answer::Sessions { ticket, node, result } => state.sessions.take(ticket, &node, result, now),
        Answer::Tables { ticket, node, result } => state.tables.take(ticket, &node, result, now),
        Answer::Entries { ticket, node, result } => state.entries.take(ticket, &node, result, now),
        Answer::Workers { node, result } => {
            if let Some(details) = state.details.as_mut().filter(|d| d.node == node) {
                details.workers = Some(result);
            }
            false
        }
        Answer::Reading { node, result } => {
            if let Some(details) = state.details.as_mut().filter(|d| d.node == node) {
                // Most nodes have no agent: that is nothing to tell.
                details.reading = result.ok().or_else(|| details.reading.take());
            }
            false
        }
        Answer::Certificates { node, result } => {
            if let Some(details) = state.details.as_mut().filter(|d| d.node == node) {
                details.certificates = Some(result);
            }
            false
        }
        Answer::Leases(leases) => got(&mut state.leases, now, Ok(leases)),
        Answer::Audit(result) => got(&mut state.audit, now, result),
        Answer::Unfinished(result) => {
            let first = state.unfinished.got.is_none();
            let left = result.as_ref().map_or(0, Vec::len);
            if first && left > 0 {
                let what = if left == 1 { "1 operation was".to_owned() } else { format!("{left} operations were") };
                let text = format!(
                    "{what} left unfinished by a process of before: u gives back what it changed, esc leaves it as it is"
                );
                state.say(Tone::Warn, &text);
                // Offered at once, unless the operator is somewhere else already.
                if *state.screen() == Screen::Overview && state.form.is_none() {
                    state.go(Screen::Unfinished);
                }
            }
            got(&mut state.unfinished, now, result)
        }
        Answer::Findings { findings, took } => {
            state.findings = Some(findings);
            state.findings_asked = false;
            state.findings_after = Some(now + took * FINDINGS_SHARE);
            true
        }
        Answer::Swept(report) => {
            let asked = std::mem::take(&mut state.sweep_asked);
            if report.is_empty() && !asked {
                return;
            }
            let text = match (report.returned.len(), report.failed.len()) {
                (0, 0) => "no lease has ended".to_owned(),
                (n, 0) => format!("{n} leases given back"),
                (n, failed) => format!("{n} leases given back, {failed} could not be: see the leases"),
            };
            for (lease, why) in &report.failed {
                state.say(Tone::Bad, &format!("lease {} of {}: {why}", lease.id, lease.target));
            }
            state.say(if report.failed.is_empty() { Tone::Ok } else { Tone::Bad }, &text);
            state.leases.asked = None;
            false
        }
        Answer::Planned { ticket, results } => {
            on_plans(state, ticket, results);
            false
        }
        Answer::Refused { run, refusal } => {
            if let Some(known) = state.runs.iter_mut().find(|r| r.id == run) {
                known.refused = true;
                known.end(now);
            }
            let hint = refusal.hint.map(|h| format!(" ({h})")).unwrap_or_default();
            state.say(Tone::Bad, &format!("refused: {}{hint}", refusal.what));
            true
        }
    };
    state.grid_due |= due;
}

fn got<T>(loaded: &mut Loaded<T>, now: std::time::Instant, result: Result<Vec<T>, String>) -> bool {
    loaded.got = Some((now, result));
    true
}

fn on_plans(state: &mut State, ticket: u64, results: Vec<Result<crate::ops::Plan, crate::ops::PlanError>>) {
    let now = state.clock.now;
    let Some(form) = state.form.as_mut().filter(|f| f.ticket == ticket && !f.is_settled()) else { return };
    let plans: Result<Vec<_>, _> = results.into_iter().collect();
    form.planned = match plans {
        Ok(plans) => {
            form.made = Some(now);
            Planned::Ready(plans)
        }
        Err(error) => Planned::Failed { what: error.to_string(), hint: error.hint() },
    };
}

fn on_paste(state: &mut State, text: &str) {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    let into = |input: &mut Input| {
        for c in clean.chars() {
            input.handle(tui_input::InputRequest::InsertChar(c));
        }
    };
    if state.questions.is_open() {
        into(&mut state.questions.input);
    } else if let Some(form) = &mut state.form {
        if form.paste(&clean) {
            state.plan_form();
        }
    } else {
        match &mut state.typing {
            Typing::Nothing => return,
            Typing::Filter(input) => into(input),
            Typing::CommandLine(line) => into(&mut line.input),
        }
        typed(state);
    }
}

fn on_key(state: &mut State, key: &KeyEvent) {
    if state.questions.is_open() {
        question_key(state, key);
    } else if state.form.is_some() {
        form_key(state, key);
    } else if state.page.is_some() {
        page_key(state, key);
    } else if matches!(state.typing, Typing::Nothing) {
        match keymap::command(state.screen().kind(), key) {
            Some(command) => execute(state, command),
            None => state.leaving = false,
        }
    } else {
        typing_key(state, key);
    }
}

fn question_key(state: &mut State, key: &KeyEvent) {
    match (keymap::edit(key), key.code) {
        (Some(Edit::Cancel), _) => state.questions.refuse(),
        (_, KeyCode::Char('y' | 'Y')) if state.questions.is_yes_or_no() => state.questions.accept(),
        (_, KeyCode::Char('n' | 'N')) if state.questions.is_yes_or_no() => state.questions.refuse(),
        (Some(Edit::Accept), _) if !state.questions.is_yes_or_no() => state.questions.accept(),
        _ if !state.questions.is_yes_or_no() => {
            state.questions.input.handle_event(&TermEvent::Key(*key));
        }
        _ => {}
    }
}

fn form_key(state: &mut State, key: &KeyEvent) {
    let Some(form) = &mut state.form else { return };
    match keymap::edit(key) {
        Some(Edit::Cancel) => {
            state.form = None;
            state.say(Tone::Dim, "nothing was sent");
        }
        Some(Edit::Accept) if form.on_confirmation() => state.apply_form(),
        Some(Edit::Accept | Edit::Next) => form.move_focus(1),
        Some(Edit::Previous) => form.move_focus(-1),
        Some(Edit::Up) => form.move_focus(-1),
        Some(Edit::Down) => form.move_focus(1),
        Some(Edit::PageUp) => form.scroll = form.scroll.saturating_sub(5),
        Some(Edit::PageDown) => form.scroll = form.scroll.saturating_add(5).min(state.frame.page_lines),
        None => {
            if form.type_key(&TermEvent::Key(*key)) {
                state.plan_form();
            }
        }
    }
}

fn page_key(state: &mut State, key: &KeyEvent) {
    let Some(page) = &mut state.page else { return };
    let most = page.lines.len().saturating_sub(1);
    match keymap::command(super::state::screen::Kind::Messages, key) {
        Some(Command::Up) => page.scroll = page.scroll.saturating_sub(1),
        Some(Command::Down) => page.scroll = (page.scroll + 1).min(most),
        Some(Command::PageUp) => page.scroll = page.scroll.saturating_sub(10),
        Some(Command::PageDown | Command::Select) => page.scroll = (page.scroll + 10).min(most),
        Some(Command::First) => page.scroll = 0,
        Some(Command::Last) => page.scroll = most,
        _ => state.page = None,
    }
}

fn typing_key(state: &mut State, key: &KeyEvent) {
    match keymap::edit(key) {
        Some(Edit::Cancel) => {
            if let Typing::Filter(_) = state.typing {
                state.journey.here.list.filter.set("");
                state.order_due = true;
            }
            state.typing = Typing::Nothing;
        }
        Some(Edit::Accept) => accept_typed(state),
        Some(edit) => {
            let history = std::mem::take(&mut state.command_history);
            if let Typing::CommandLine(line) = &mut state.typing {
                match edit {
                    Edit::Next => line.complete(1),
                    Edit::Previous => line.complete(-1),
                    Edit::Up => line.recall(&history, 1),
                    Edit::Down => line.recall(&history, -1),
                    _ => {}
                }
            } else if let Some(command) = keymap::command(state.screen().kind(), key) {
                // While a filter is typed the list can still be walked.
                if matches!(command, Command::Up | Command::Down | Command::PageUp | Command::PageDown) {
                    execute(state, command);
                }
            }
            state.command_history = history;
        }
        None => {
            let event = TermEvent::Key(*key);
            match &mut state.typing {
                Typing::Nothing => {}
                Typing::Filter(input) => {
                    input.handle_event(&event);
                }
                Typing::CommandLine(line) => {
                    line.input.handle_event(&event);
                }
            }
            typed(state);
        }
    }
}

/// What is typed has changed: the filter applies at once, the command line suggests anew.
fn typed(state: &mut State) {
    match std::mem::take(&mut state.typing) {
        Typing::Nothing => {}
        Typing::Filter(input) => {
            state.journey.here.list.filter.set(input.value());
            state.order_due = true;
            state.typing = Typing::Filter(input);
        }
        Typing::CommandLine(mut line) => {
            line.suggest(state);
            state.typing = Typing::CommandLine(line);
        }
    }
}

fn accept_typed(state: &mut State) {
    match std::mem::take(&mut state.typing) {
        Typing::CommandLine(mut line) => {
            let text = line.input.value().trim().to_owned();
            match cmdline::parse(&text, state) {
                Ok(said) => {
                    if !text.is_empty() && state.command_history.last() != Some(&text) {
                        state.command_history.push(text);
                    }
                    if let Some(said) = said {
                        obey(state, said);
                    }
                }
                Err(error) => {
                    line.error = Some(error);
                    state.typing = Typing::CommandLine(line);
                }
            }
        }
        Typing::Filter(_) | Typing::Nothing => {}
    }
}

fn obey(state: &mut State, said: Said) {
    match said {
        Said::Go(screen) => state.go(screen),
        Said::Do(command) => execute(state, command),
        Said::Theme(name) => state.theme = Theme::of(name),
        Said::Plan(form) => {
            if state.fleet.settings.read_only {
                let file = state.fleet.path.display().to_string();
                state.say(Tone::Warn, &format!("{}: read-only: `read_only` is set in {file}", form.title));
            } else {
                state.open_form(*form);
            }
        }
    }
}

pub fn execute(state: &mut State, command: Command) {
    if command != Command::Quit {
        state.leaving = false;
    }
    let page = isize::from(i16::try_from(state.frame.table.rows.height.max(2) - 1).unwrap_or(1));
    let list = &mut state.journey.here.list;
    let grid = state.grid.as_ref();
    match command {
        Command::Up => list.step(-1, grid),
        Command::Down => list.step(1, grid),
        Command::PageUp => list.step(-page, grid),
        Command::PageDown => list.step(page, grid),
        Command::First => list.go(0, grid),
        Command::Last => list.go(usize::MAX, grid),
        Command::ScrollLeft => list.skipped = list.skipped.saturating_sub(1),
        Command::ScrollRight => {
            let movable = (0..grid.columns()).filter(|c| grid.shape(*c).rank > 0).count();
            list.skipped = (list.skipped + 1).min(movable.saturating_sub(1));
        }
        Command::SortLeft | Command::SortRight => {
            let columns = grid.columns().max(1);
            let by = if command == Command::SortLeft { -1 } else { 1 };
            list.sort.column = (list.sort.column + columns).wrapping_add_signed(by) % columns;
            state.order_due = true;
        }
        Command::SortFlip => {
            list.sort.descending = !list.sort.descending;
            state.order_due = true;
        }
        Command::Select => {
            list.toggle();
            list.step(1, grid);
        }
        Command::SelectAll => list.select_all(grid),
        Command::SelectInvert => list.invert(grid),
        Command::Filter => state.typing = Typing::Filter(Input::new(list.filter.text.clone())),
        Command::CommandLine => {
            state.need_index();
            let mut line = CommandLine::default();
            line.suggest(state);
            state.typing = Typing::CommandLine(line);
        }
        Command::Leave => leave(state),
        Command::Open => view::open(state),
        Command::Back => {
            if state.journey.back() {
                state.arrived();
            }
        }
        Command::Forward => {
            if state.journey.forward() {
                state.arrived();
            }
        }
        Command::Tab(n) => {
            if let Some((_, screen)) = TABS.get(usize::from(n).wrapping_sub(1)) {
                state.go(screen.clone());
            }
        }
        Command::NextTab | Command::PreviousTab => {
            let by = if command == Command::NextTab { 1 } else { -1 };
            let at = (state.screen().tab() + TABS.len()).wrapping_add_signed(by) % TABS.len();
            if let Some((_, screen)) = TABS.get(at) {
                state.go(screen.clone());
            }
        }
        Command::Vips => state.go(Screen::Vips),
        Command::Refresh => refresh(state),
        Command::NextTheme => {
            let at = ThemeName::ALL.iter().position(|t| *t == state.theme.name).unwrap_or(0);
            if let Some(next) = ThemeName::ALL.get((at + 1) % ThemeName::ALL.len()) {
                state.theme = Theme::of(*next);
                state.say(Tone::Dim, &format!("theme {}", next.label()));
            }
        }
        Command::Help => state.page = Some(view::help::page(state)),
        Command::Fields => match view::fields::page(state) {
            Some(page) => state.page = Some(page),
            None => state.say(Tone::Dim, "nothing is known of this row"),
        },
        Command::Sessions => match view::sessions_of(state) {
            Some(screen) => state.go(screen),
            None => state.say(Tone::Dim, "no server or node is under the cursor"),
        },
        Command::Tables => state.go(Screen::Tables),
        Command::Unfinished => state.go(Screen::Unfinished),
        Command::SameAddress => same_address(state),
        Command::Sweep => {
            state.sweep_asked = true;
            state.ask(Effect::Sweep { if_due: false });
            state.say(Tone::Dim, "looking for leases that have ended");
        }
        Command::StopOperation => stop(state),
        Command::Act(action) => state.open_action(action),
        Command::Suspend => state.suspend_asked = true,
        Command::Quit => quit(state),
    }
}

fn leave(state: &mut State) {
    let list = &mut state.journey.here.list;
    if state.messages.current(state.clock.now).is_some() {
        state.messages.dismiss();
    }
    if !list.selected.is_empty() {
        list.selected.clear();
    } else if list.filter.is_on() {
        list.filter.set("");
        state.order_due = true;
    } else if let Some(parent) = state.screen().parent() {
        state.go(parent);
    }
}

fn refresh(state: &mut State) {
    let nodes = state.view.nodes.iter().map(|n| n.meta.name.clone()).collect();
    state.ask(Effect::Poke(nodes));
    (state.leases.asked, state.audit.asked, state.unfinished.asked) = (None, None, None);
    state.ask_what_is_due();
    state.say(Tone::Dim, "reading all nodes now");
}

fn same_address(state: &mut State) {
    state.need_index();
    let address = match (state.journey.here.list.cursor.clone(), state.screen().clone()) {
        (Some(super::state::grid::Key::Server(server)), _) | (_, Screen::Server(server)) => {
            state.index.server(&server).and_then(|line| line.address.clone())
        }
        _ => None,
    };
    match address {
        Some(address) => {
            state.go(Screen::Servers(None));
            state.journey.here.list.filter.set(&regex::escape(&address));
        }
        None => state.say(Tone::Dim, "the address is not known here"),
    }
}

fn stop(state: &mut State) {
    let chosen = match (state.screen(), &state.journey.here.list.cursor) {
        (Screen::Operation(run), _) => Some(*run),
        (_, Some(super::state::grid::Key::Run(run))) => Some(*run),
        _ => None,
    };
    let Some(run) = chosen.and_then(|id| state.runs.iter_mut().find(|r| r.id == id && !r.is_over())) else {
        state.say(Tone::Dim, "no running operation is chosen");
        return;
    };
    run.stopping = true;
    let id = run.id;
    state.ask(Effect::Stop { run: id });
    state.say(Tone::Warn, "asked it to stop; what holds by then stays, and is told");
}

/// Leaves at once, unless operations run: then the second time, and they are asked to stop before.
fn quit(state: &mut State) {
    let running: Vec<u64> = state.running().map(|r| r.id).collect();
    if running.is_empty() {
        state.ask(Effect::Quit);
    } else if state.leaving {
        // Asked to stop before: whoever asks a third time does not want to wait for them.
        let impatient = state.running().all(|r| r.stopping);
        for run in &mut state.runs {
            run.stopping |= !run.is_over();
        }
        for run in running {
            state.ask(Effect::Stop { run });
        }
        if impatient {
            state.ask(Effect::Quit);
        }
    } else {
        state.leaving = true;
        let n = running.len();
        state.say(Tone::Warn, &format!("{n} operations are running: again to stop them and leave; what they did stays"));
    }
}

fn on_mouse(state: &mut State, mouse: MouseEvent) {
    let blocked = state.questions.is_open() || state.form.is_some();
    match mouse.kind {
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            let by: isize = if mouse.kind == MouseEventKind::ScrollUp { -3 } else { 3 };
            if let Some(form) = &mut state.form {
                form.scroll = form.scroll.saturating_add_signed(by).min(state.frame.page_lines);
            } else if let Some(page) = &mut state.page {
                page.scroll = page.scroll.saturating_add_signed(by).min(page.lines.len().saturating_sub(1));
            } else if !blocked {
                state.journey.here.list.step(by, state.grid.as_ref());
            }
        }
        MouseEventKind::ScrollLeft if !blocked => execute(state, Command::ScrollLeft),
        MouseEventKind::ScrollRight if !blocked => execute(state, Command::ScrollRight),
        MouseEventKind::Down(MouseButton::Left) => {
            let hit = state.frame.hit(mouse.column, mouse.row);
            if let Some(Hit::Field(field)) = hit {
                if let Some(form) = &mut state.form {
                    form.focus = field;
                }
            } else if state.page.take().is_none() && !blocked {
                click(state, hit);
            }
        }
        _ => {}
    }
}

fn click(state: &mut State, hit: Option<Hit>) {
    match hit {
        Some(Hit::Row(place)) => {
            let list = &mut state.journey.here.list;
            if list.place == place {
                view::open(state);
            } else {
                list.go(place, state.grid.as_ref());
            }
        }
        Some(Hit::Title(column)) => {
            let sort = &mut state.journey.here.list.sort;
            let again = sort.column == column;
            *sort = Sort { column, descending: again && !sort.descending };
            state.order_due = true;
        }
        Some(Hit::Screen(screen)) => state.go(screen),
        Some(Hit::Do(command)) => execute(state, command),
        Some(Hit::Field(_)) | None => {}
    }
}

/// A page of text over the view.
pub fn page(title: impl Into<String>, lines: Vec<(String, String)>) -> Page {
    Page { title: title.into(), lines, scroll: 0 }
}
