//! The lines around every view: how true the picture is, where one is, what was said, which keys work.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::config::duration::show_duration;
use crate::tui::command::Command;
use crate::tui::keymap;
use crate::tui::state::cmdline::CommandLine;
use crate::tui::state::screen::{Screen, TABS};
use crate::tui::state::{State, Typing};
use crate::tui::theme::Tone;
use crate::tui::widget::popup::popup;
use crate::tui::widget::text::{fit, put, put_right, width};

use super::{Frame, Hit};

/// The fleet, its nodes by health, the age of what is shown, running operations, the clock.
pub fn status(state: &State, buf: &mut Buffer, area: Rect) {
    let theme = &state.theme;
    let bar = theme.bar;
    let tone = |tone| bar.patch(theme.tone(tone));
    buf.set_style(area, bar);
    // The ages must be readable at every width: what is less important comes after them, and only where it fits.
    let roomy = area.width >= 100;
    let mut x = put(buf, area, area.x + 1, area.y, "lbdeck", bar.patch(theme.key));
    if state.fleet.settings.read_only {
        x = put(buf, area, x + 1, area.y, "READ-ONLY", tone(Tone::Warn));
    }
    let file = state.fleet.path.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
    x = put(buf, area, x + 1, area.y, &fit(&crate::model::sanitize(&file), if roomy { 30 } else { 12 }), bar);
    let sums = &state.sums.whole;
    x = put(buf, area, x + 2, area.y, &format!("{} nodes", sums.nodes), bar);
    let connecting = sums.nodes - sums.fresh - sums.stale - sums.dead;
    let parts = [
        (sums.fresh, "fresh", '●', Tone::Ok),
        (sums.stale, "stale", '◌', Tone::Warn),
        (sums.dead, "dead", '✖', Tone::Bad),
        (connecting, "connecting", '…', Tone::Dim),
    ];
    for (n, word, symbol, kind) in parts.into_iter().filter(|(n, ..)| *n > 0) {
        x = put(buf, area, x + 1, area.y, &format!("{symbol}{n} {word}"), tone(kind));
    }
    let ages = match state.sums.ages(state.clock.now) {
        None => "no data yet".to_owned(),
        Some((newest, oldest)) => format!("data {}–{} old", seconds(newest), seconds(oldest)),
    };
    let old = sums.stale + sums.dead > 0;
    x = put(buf, area, x + 2, area.y, &ages, if old { tone(Tone::Warn) } else { tone(Tone::Dim) });

    let mut right = area.right().saturating_sub(1);
    let mut note = |text: &str, kind: Tone| {
        if x + width(text) + 2 <= right {
            put(buf, area, right - width(text), area.y, text, tone(kind));
            right -= width(text) + 2;
        }
    };
    let running = state.running().count();
    if running > 0 {
        note(&format!("▶{running} running"), Tone::Accent);
    }
    note(&state.clock.wall.strftime("%H:%M:%SZ").to_string(), Tone::Plain);
}

fn seconds(age: std::time::Duration) -> String {
    let tenths = age.as_millis() / 100;
    if tenths < 100 { format!("{}.{}s", tenths / 10, tenths % 10) } else { show_duration(age) }
}

pub fn tabs(state: &State, buf: &mut Buffer, area: Rect, frame: &mut Frame) {
    let theme = &state.theme;
    let on = state.screen().tab();
    let mut x = area.x;
    for (at, (name, screen)) in TABS.iter().enumerate() {
        let label = format!(" {} {name}", at + 1);
        let end = if at == on {
            let end = put(buf, area, x, area.y, &label, theme.tab_on);
            put(buf, area, end, area.y, " ", theme.tab_on)
        } else {
            put(buf, area, x, area.y, &label, theme.tab)
        };
        frame.hits.push((Rect { x, width: end.saturating_sub(x), ..area }, Hit::Screen(screen.clone())));
        x = end;
    }
}

/// The way down to here; filter, order and number of rows at the right.
pub fn trail(state: &State, buf: &mut Buffer, area: Rect, frame: &mut Frame) {
    let theme = &state.theme;
    let list = &state.journey.here.list;
    let total = state.grid.len();
    let mut right = if list.len() == total {
        match total {
            1 => "1 row".to_owned(),
            n => format!("{n} rows"),
        }
    } else {
        format!("{} of {total} rows", list.len())
    };
    if !list.selected.is_empty() {
        right = format!("{} selected · {right}", list.selected.len());
    }
    let order = state.grid.title(list.sort.column);
    if !order.is_empty() {
        right = format!("{right} · by {order} {}", if list.sort.descending { '▼' } else { '▲' });
    }
    if let Some(filter) = list.filter.applied() {
        right = format!("/{filter}/ · {right}");
    }
    let room = Rect { width: area.width.saturating_sub(1), ..area };
    let start = put_right(buf, room, area.y, &fit(&right, area.width / 2 + 10), theme.tone(Tone::Dim));
    let left = Rect { width: start.saturating_sub(area.x + 1), ..area };
    let mut x = left.x + 1;
    for (at, (mut name, screen)) in state.screen().trail().into_iter().enumerate() {
        if let Screen::Operation(run) = screen
            && let Some(run) = super::operations::find(&state.runs, run)
        {
            name = run.operation.map_or_else(|| run.summary.clone(), |number| format!("#{number}"));
        }
        if at > 0 {
            x = put(buf, left, x, left.y, " › ", theme.tone(Tone::Dim));
        }
        let end = put(buf, left, x, left.y, &name, theme.key);
        frame.hits.push((Rect { x, width: end.saturating_sub(x), ..left }, Hit::Screen(screen)));
        x = end;
    }
}

/// What is typed, or what was said last, or how the running operation stands.
pub fn talk(state: &State, buf: &mut Buffer, area: Rect) {
    let theme = &state.theme;
    let input = |buf: &mut Buffer, sign: &str, input: &tui_input::Input, error: Option<&str>| {
        buf.set_style(area, theme.field);
        let x = put(buf, area, area.x, area.y, sign, theme.field.patch(theme.key));
        let room = usize::from(area.width.saturating_sub(x + 1)).max(1);
        let scroll = input.visual_scroll(room);
        let shown: String = input.value().chars().skip(scroll).collect();
        let end = put(buf, area, x, area.y, &shown, theme.field);
        let cursor = x + u16::try_from(input.visual_cursor().saturating_sub(scroll)).unwrap_or(0);
        if let Some(cell) = buf.cell_mut((cursor.min(area.right().saturating_sub(1)), area.y)) {
            cell.set_style(theme.field_on);
        }
        if let Some(error) = error {
            put(buf, area, end + 3, area.y, error, theme.field.patch(theme.tone(Tone::Bad)));
        }
    };
    match &state.typing {
        Typing::Filter(line) => {
            let error = state.journey.here.list.filter.error.as_ref().map(|e| format!("not applied: {e}"));
            input(buf, "/", line, error.as_deref());
        }
        Typing::CommandLine(line) => input(buf, ":", &line.input, line.error.as_deref()),
        Typing::Nothing => {
            if let Some(message) = state.messages.current(state.clock.now) {
                put(buf, area, area.x + 1, area.y, &message.text, theme.tone(message.tone));
            } else if let Some(run) = state.running().last() {
                let (text, tone) = run.state();
                let x = put(buf, area, area.x + 1, area.y, &format!("▶ {}  ", run.summary), theme.tone(Tone::Accent));
                put(buf, area, x, area.y, &text, theme.tone(tone));
            }
        }
    }
}

/// The keys of this view. Those that do nothing here are struck out; pressing one says why.
pub fn hints(state: &State, buf: &mut Buffer, area: Rect, frame: &mut Frame) {
    let theme = &state.theme;
    buf.set_style(area, theme.bar);
    // What helps on is always in sight, at the right.
    let whole = area;
    let mut area = area;
    for binding in keymap::BINDINGS.iter().filter(|b| matches!(b.command, Command::Help | Command::Quit)).rev() {
        let (Some(hint), Some(key)) = (binding.hint, binding.keys.first()) else { continue };
        let need = width(&key.label()) + width(hint) + 3;
        area.width = area.width.saturating_sub(need);
        let x = put(buf, whole, area.right() + 1, area.y, &key.label(), theme.bar.patch(theme.key));
        put(buf, whole, x + 1, area.y, hint, theme.bar);
        frame.hits.push((Rect { x: area.right(), width: need, ..area }, Hit::Do(binding.command)));
    }
    let mut x = area.x + 1;
    let mut refused: Vec<(&str, String, String)> = Vec::new();
    for binding in keymap::bindings(state.screen().kind()) {
        let (Some(hint), Some(key)) = (binding.hint, binding.keys.first()) else { continue };
        if matches!(binding.command, Command::Help | Command::Quit) {
            continue;
        }
        if let Command::Act(action) = binding.command
            && let Some(why) = state.why_not(action)
        {
            refused.push((hint, key.label(), why));
            continue;
        }
        let start = x;
        if x + width(&key.label()) + width(hint) + 3 > area.right() {
            break;
        }
        x = put(buf, area, x, area.y, &key.label(), theme.bar.patch(theme.key));
        x = put(buf, area, x + 1, area.y, hint, theme.bar);
        frame.hits.push((Rect { x: start, width: x.saturating_sub(start), ..area }, Hit::Do(binding.command)));
        x += 2;
    }
    // Struck out; where strike-out is not seen, the brackets are.
    let off = theme.bar.patch(theme.key_off);
    for (hint, key, _) in &refused {
        let text = format!("({key}) {hint}");
        if x + width(&text) + 2 > area.right() {
            return;
        }
        x = put(buf, area, x, area.y, &text, off) + 2;
    }
    if let Some((.., why)) = refused.first() {
        put(buf, area, x, area.y, why, theme.bar.patch(theme.tone(Tone::Dim)));
    }
}

/// Completions above the command line, best at the bottom, nearest to what is typed.
pub fn completions(state: &State, line: &CommandLine, canvas: &mut ratatui::Frame<'_>, area: Rect) {
    let shown = line.candidates.len().min(8).min(usize::from(area.height.saturating_sub(4)));
    if shown == 0 {
        return;
    }
    let first = line.chosen.map_or(0, |chosen| (chosen + 1).saturating_sub(shown));
    let candidates: Vec<&String> = line.candidates.iter().skip(first).take(shown).collect();
    let most = candidates.iter().map(|c| width(c)).max().unwrap_or(0);
    let height = u16::try_from(shown).unwrap_or(0) + 2;
    let place = Rect { x: area.x, y: area.bottom() - height, width: (most + 4).min(area.width), height };
    let title = format!("tab {}/{}", line.chosen.map_or(0, |c| c + 1), line.candidates.len());
    let inner = popup(canvas, place, place.width, place.height, &title, &state.theme);
    let buf = canvas.buffer_mut();
    for (y, (at, candidate)) in (inner.y..).zip((first..).zip(candidates)) {
        let style = if line.chosen == Some(at) { state.theme.cursor } else { state.theme.dialog };
        let mark = if line.chosen == Some(at) { "▸" } else { " " };
        put(buf, Rect { x: inner.x - 1, width: inner.width + 1, ..inner }, inner.x - 1, y, mark, style);
        put(buf, inner, inner.x, y, candidate, style);
    }
}

/// All that fits where nothing fits: how the fleet is, and what is needed to see more.
pub fn compact(state: &State, canvas: &mut ratatui::Frame<'_>, area: Rect) {
    let buf = canvas.buffer_mut();
    let sums = &state.sums.whole;
    let problems = state.findings.as_ref().map_or("? problems".to_owned(), |f| format!("{} problems", f.len()));
    let running = state.running().count();
    let mut lines = vec![
        (format!("{}/{} fresh", sums.fresh, sums.nodes), if sums.fresh == sums.nodes { Tone::Ok } else { Tone::Bad }),
        (problems, Tone::Plain),
        ("q quits".into(), Tone::Dim),
        (format!("{}x{} is too small", area.width, area.height), Tone::Warn),
        (format!("needs {}x{}, better 80x24", super::LEAST.0, super::LEAST.1), Tone::Dim),
    ];
    if running > 0 {
        lines.insert(1, (format!("▶ {running} running"), Tone::Accent));
    }
    for (y, (text, tone)) in (area.y..area.bottom()).zip(lines) {
        put(buf, area, area.x, y, &text, state.theme.tone(tone));
    }
}
