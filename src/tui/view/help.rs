//! Help, made from the keymap and the words of the command line; and the drawing of every page that is read over a view.

use ratatui::layout::Rect;

use crate::tui::command::Command;
use crate::tui::keymap;
use crate::tui::state::cmdline;
use crate::tui::state::{Page, State};
use crate::tui::theme::Tone;
use crate::tui::update;
use crate::tui::widget::popup::popup;
use crate::tui::widget::text::{put, put_right, width, wrap};

/// Keys of this view first, those that do nothing here with the reason.
pub fn page(state: &State) -> Page {
    let kind = state.screen().kind();
    let mut lines = Vec::new();
    let heading = |text: &str| (String::new(), text.to_owned());
    lines.push(heading(&format!("KEYS OF THIS VIEW ({kind:?})")));
    let mut everywhere = false;
    for binding in keymap::bindings(kind) {
        if binding.on.is_empty() && !std::mem::replace(&mut everywhere, true) {
            lines.push(heading(""));
            lines.push(heading("KEYS OF ALL VIEWS"));
        }
        if let Command::Tab(n) = binding.command {
            if n == 1 {
                lines.push(("1 … 9".into(), binding.command.help().into()));
            }
            continue;
        }
        let mut text = binding.command.help().to_owned();
        if let Command::Act(action) = binding.command
            && let Some(why) = state.why_not(action)
        {
            text = format!("{text}  (not now: {why})");
        }
        lines.push((binding.label(), text));
    }
    lines.push(heading(""));
    lines.push(heading("IN DIALOGS AND LINES OF TEXT"));
    for (keys, _, help) in keymap::EDITS {
        lines.push((keys.iter().map(|k| k.label()).collect::<Vec<_>>().join(" "), (*help).to_owned()));
    }
    lines.push(heading(""));
    lines.push(heading("THE : LINE"));
    for (names, help) in cmdline::words() {
        lines.push((format!(":{}", names.join(" :")), help.to_owned()));
    }
    lines.push(heading(""));
    lines.push(heading("SIGNS"));
    for (sign, meaning) in [
        ("●", "up, fresh"),
        ("◇", "no check: takes traffic, and nothing looks whether it is up"),
        ("○", "idle: ready and healthy, but takes nothing new (weight 0, NOLB)"),
        ("◐ ◑ ■", "drain; drain with failing checks; maintenance"),
        ("✖", "down, dead"),
        ("◌ ~", "stale: what was seen last, with its age; not to be believed"),
        ("≠", "nodes disagree"),
        ("⟲", "run time differs from the file: the next reload loses it"),
        ("·  -", "not known; not there"),
    ] {
        lines.push((sign.to_owned(), meaning.to_owned()));
    }
    update::page("Help", lines)
}

/// The page that is open, whatever it is.
pub fn draw(state: &State, canvas: &mut ratatui::Frame<'_>, area: Rect) {
    let Some(page) = &state.page else { return };
    let theme = &state.theme;
    let label = page.lines.iter().map(|(label, _)| width(label)).max().unwrap_or(0).min(area.width / 3);
    let text = page.lines.iter().map(|(_, text)| width(text)).max().unwrap_or(0);
    let wide = (label + text + 8).clamp(40, area.width.saturating_sub(4).max(40));
    let high = u16::try_from(page.lines.len()).unwrap_or(u16::MAX).saturating_add(3).min(area.height.saturating_sub(2));
    let inner = popup(canvas, area, wide, high, &page.title, theme);
    if inner.height < 2 {
        return;
    }
    let buf = canvas.buffer_mut();
    let body = Rect { height: inner.height - 1, ..inner };
    let mut y = body.y;
    for (name, text) in page.lines.iter().skip(page.scroll) {
        if y >= body.bottom() {
            break;
        }
        put(buf, Rect { width: label, ..body }, body.x, y, name, theme.key);
        let x = if name.is_empty() { body.x } else { body.x + label + 2 };
        let style = if name.is_empty() && label > 0 { theme.tone(Tone::Accent) } else { theme.dialog };
        // Long text goes on in the next lines: nothing of it is out of reach.
        let room = body.right().saturating_sub(x).max(1);
        for part in wrap(text, room) {
            if y >= body.bottom() {
                break;
            }
            put(buf, body, x, y, &part, style);
            y += 1;
        }
    }
    let foot = Rect { y: inner.bottom() - 1, height: 1, ..inner };
    let place = format!("{}/{}", page.scroll + 1, page.lines.len());
    put(buf, foot, foot.x, foot.y, "↑↓ pgup pgdn scroll · any other key closes", theme.tone(Tone::Dim));
    put_right(buf, foot, foot.y, &place, theme.tone(Tone::Dim));
}
