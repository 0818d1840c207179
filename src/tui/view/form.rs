//! The plan dialog: what is wanted, what exactly would be sent, what the guards say, and the confirmation.

use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::config::ConfirmLevel;
use crate::config::duration::show_duration;
use crate::ops::{Judgement, Plan};
use crate::tui::state::State;
use crate::tui::state::form::{Field, Form, Planned};
use crate::tui::theme::{Theme, Tone};
use crate::tui::widget::popup::popup;
use crate::tui::widget::text::{put, put_right, width, wrap};

use super::{Frame, Hit};

/// Columns of the names of fields.
const LABEL: u16 = 10;

pub fn draw(state: &State, canvas: &mut ratatui::Frame<'_>, area: Rect, frame: &mut Frame) {
    let Some(form) = &state.form else { return };
    let theme = &state.theme;
    let wide = area.width.saturating_sub(4).min(130);
    let plan_lines = wrapped(form, wide.saturating_sub(4));
    // Border, fields, hint, title of the plan, the plan, note, confirmation; never so low that it jumps about while one types.
    let need = form.fields.len() + plan_lines.len() + 6;
    let high = u16::try_from(need).unwrap_or(u16::MAX).clamp(18, area.height.saturating_sub(2).max(18));
    let inner = popup(canvas, area, wide, high, &form.title, theme);
    if inner.height < 4 {
        return;
    }
    let buf = canvas.buffer_mut();
    let mut y = inner.y;
    for (at, field) in form.fields.iter().enumerate() {
        if y + 4 >= inner.bottom() {
            break;
        }
        let line = Rect { y, height: 1, ..inner };
        draw_field(buf, line, field, at == form.focus, theme);
        frame.hits.push((line, Hit::Field(at)));
        y += 1;
    }
    let hint = Rect { y, height: 1, ..inner };
    if let Some(field) = form.fields.get(form.focus) {
        let (text, tone) = field.error.as_ref().map_or((field.hint(), Tone::Dim), |error| (error.as_str(), Tone::Bad));
        put(buf, hint, hint.x + 2, hint.y, text, theme.tone(tone));
    }
    y += 1;
    let confirm = Rect { y: inner.bottom() - 1, height: 1, ..inner };
    let note = Rect { y: inner.bottom() - 2, height: 1, ..inner };
    let plan = Rect { y, height: note.y.saturating_sub(y), ..inner };
    draw_plan(buf, plan, form, &plan_lines, state.clock.now, theme, frame);
    draw_confirmation(buf, confirm, note, form, theme);
    frame.hits.push((confirm, Hit::Field(form.fields.len())));
}

fn draw_field(buf: &mut Buffer, area: Rect, field: &Field, on: bool, theme: &Theme) {
    let mark = if on { "▸" } else { " " };
    put(buf, area, area.x, area.y, mark, theme.key);
    put(buf, area, area.x + 2, area.y, field.name.word(), if on { theme.key } else { theme.dialog });
    let x = area.x + 2 + LABEL;
    let mut end = x;
    if field.choices().is_empty() {
        let wide = (area.width / 2).clamp(8, 40);
        let room = Rect { x, width: wide.min(area.right().saturating_sub(x)), ..area };
        buf.set_style(room, if on { theme.field_on } else { theme.field });
        let scroll = field.input.visual_scroll(usize::from(room.width.saturating_sub(1)).max(1));
        let text: String = field.input.value().chars().skip(scroll).collect();
        put(buf, room, x, area.y, &text, if on { theme.field_on } else { theme.field });
        if on {
            let cursor = x + u16::try_from(field.input.visual_cursor().saturating_sub(scroll)).unwrap_or(0);
            if let Some(cell) = buf.cell_mut((cursor.min(room.right().saturating_sub(1)), area.y)) {
                cell.modifier.insert(ratatui::style::Modifier::REVERSED | ratatui::style::Modifier::UNDERLINED);
            }
        }
        end = room.right();
    } else {
        for choice in field.choices() {
            let chosen = *choice == field.input.value();
            let text = if chosen { format!("[{choice}]") } else { format!(" {choice} ") };
            let style = match (chosen, on) {
                (true, true) => theme.field_on,
                (true, false) => theme.field,
                _ => theme.tone(Tone::Dim),
            };
            end = put(buf, area, end, area.y, &text, style);
        }
    }
    if field.error.is_some() {
        put(buf, area, end + 1, area.y, "✖", theme.tone(Tone::Bad));
    }
}

/// Verdicts first, gravest first, then each node with exactly what it would be sent.
fn lines(form: &Form) -> Vec<(Tone, String)> {
    match &form.planned {
        Planned::Pending { before } if before.is_empty() => vec![(Tone::Dim, "working the plan out…".into())],
        Planned::Pending { before } => before.iter().flat_map(plan_lines).map(|(_, text)| (Tone::Dim, text)).collect(),
        Planned::Failed { what, hint } => {
            let mut lines = vec![(Tone::Bad, format!("✖ no plan: {what}"))];
            lines.extend(hint.iter().map(|h| (Tone::Warn, format!("  {h}"))));
            lines
        }
        Planned::Ready(plans) => plans.iter().flat_map(plan_lines).collect(),
    }
}

fn plan_lines(plan: &Plan) -> Vec<(Tone, String)> {
    let mut lines = vec![(Tone::Accent, plan.summary.clone())];
    let mut verdicts: Vec<_> = plan.verdicts.iter().collect();
    verdicts.sort_by_key(|v| std::cmp::Reverse(v.judgement));
    for verdict in verdicts {
        let (sign, tone) = match verdict.judgement {
            Judgement::Ok => ("✓", Tone::Ok),
            Judgement::Warn => ("▲", Tone::Warn),
            Judgement::Refuse => ("✖ refused (force overrides)", Tone::Bad),
            Judgement::Never => ("✖ refused", Tone::Bad),
        };
        lines.push((tone, format!("  {sign} {}: {}", verdict.guard, verdict.text)));
    }
    // The reach guard names them with the reason.
    let told = plan.verdicts.iter().any(|v| v.guard == "reach" && v.judgement != Judgement::Ok);
    for (node, why) in plan.unreachable.iter().filter(|_| !told) {
        lines.push((Tone::Bad, format!("  ✖ {node} will not be touched: {why}")));
    }
    if let Some(exec) = &plan.exec {
        let nodes: Vec<&str> = exec.nodes.iter().map(|n| n.as_str()).collect();
        lines.push((Tone::Plain, format!("  {} on {}", exec.argv.join(" "), nodes.join(" "))));
    }
    for m in plan.vip.iter().flat_map(|v| &v.moves) {
        lines.push((Tone::Plain, format!("  {} → {}: {}", m.from, m.to, m.way.words())));
        lines.extend(m.actions.iter().map(|a| (Tone::Held, format!("      {} ⇒ {a}", a.node))));
        lines.extend(m.diff.iter().map(|line| (Tone::Ok, format!("      {line}"))));
    }
    for step in &plan.steps {
        let reload = if step.lost_on_reload { "  ⟲ lost on reload" } else { "" };
        if step.already {
            lines.push((Tone::Dim, format!("  {} {}: holds already ({})", step.node, step.target, step.now)));
            continue;
        }
        lines.push((Tone::Plain, format!("  {} {}: {}  (now {}){reload}", step.node, step.target, step.change, step.now)));
        for command in &step.commands {
            lines.push((Tone::Held, format!("      ⇒ {command}")));
        }
        let undo = match step.inverse.as_slice() {
            [] => "cannot be undone".to_owned(),
            inverse => format!("undo: {}", inverse.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        lines.push((Tone::Dim, format!("      {undo}")));
    }
    lines
}

/// The lines of the plan at this width: nothing of a verdict or a command is out of reach, long lines go on further in.
fn wrapped(form: &Form, wide: u16) -> Vec<(Tone, String)> {
    const INSET: u16 = 8;
    lines(form)
        .into_iter()
        .flat_map(|(tone, text)| {
            let parts = if width(&text) <= wide { vec![text] } else { wrap(&text, wide.saturating_sub(INSET).max(10)) };
            parts.into_iter().enumerate().map(move |(nth, part)| {
                (tone, if nth == 0 { part } else { format!("{:inset$}{part}", "", inset = usize::from(INSET)) })
            })
        })
        .collect()
}

fn draw_plan(
    buf: &mut Buffer,
    area: Rect,
    form: &Form,
    lines: &[(Tone, String)],
    now: Instant,
    theme: &Theme,
    frame: &mut Frame,
) {
    if area.height < 2 {
        return;
    }
    let head = Rect { height: 1, ..area };
    buf.set_style(head, theme.head);
    let made = match form.made {
        Some(made) => format!(
            "PLAN made {} ago; checked again when it is sent",
            show_duration(Duration::from_secs(now.saturating_duration_since(made).as_secs()))
        ),
        None => "PLAN".to_owned(),
    };
    put(buf, head, head.x, head.y, &made, theme.head);
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let room = usize::from(body.height);
    frame.page_lines = lines.len().saturating_sub(room);
    let top = form.scroll.min(frame.page_lines);
    if lines.len() > room {
        let place = format!("{}-{} of {} lines, pgup pgdn", top + 1, (top + room).min(lines.len()), lines.len());
        put_right(buf, head, head.y, &place, theme.head);
    }
    for (y, (tone, text)) in (body.y..body.bottom()).zip(lines.iter().skip(top)) {
        put(buf, body, body.x, y, text, theme.tone(*tone));
    }
}

fn draw_confirmation(buf: &mut Buffer, area: Rect, note: Rect, form: &Form, theme: &Theme) {
    let obstacle = form.obstacle();
    // A plan that failed says so itself.
    let told = matches!(form.planned, Planned::Failed { .. } | Planned::Pending { .. });
    if let Some(text) = form.note.as_ref().or(obstacle.as_ref().filter(|_| !told)) {
        let tone = if form.note.is_some() { Tone::Bad } else { Tone::Warn };
        put(buf, note, note.x, note.y, text, theme.tone(tone));
    }
    let on = form.on_confirmation();
    let mark = if on { "▸ " } else { "  " };
    let mut x = put(buf, area, area.x, area.y, mark, theme.key);
    let (level, word) = form.confirmation();
    if obstacle.is_some() {
        put(buf, area, x, area.y, "[cannot be sent]", theme.tone(Tone::Dim));
    } else if level == ConfirmLevel::Typed {
        x = put(buf, area, x, area.y, "type ", theme.tone(Tone::Warn));
        x = put(buf, area, x, area.y, &word, theme.key);
        x = put(buf, area, x, area.y, " to confirm: ", theme.tone(Tone::Warn));
        let field = Rect { x, width: (width(&word) + 2).min(area.right().saturating_sub(x)), ..area };
        buf.set_style(field, if on { theme.field_on } else { theme.field });
        put(buf, field, x, area.y, form.confirm.value(), if on { theme.field_on } else { theme.field });
    } else {
        let style = if on { theme.field_on } else { theme.field };
        put(buf, area, x, area.y, if on { "[ enter: send it ]" } else { "[ send it ]" }, style);
    }
    put_right(buf, area, area.y, "esc cancels, nothing is sent", theme.tone(Tone::Dim));
}
