//! The dialog for what a connection asks.

use ratatui::layout::Rect;

use crate::tui::state::State;
use crate::tui::widget::popup::popup;
use crate::tui::widget::text::{put, width};

pub fn draw(state: &State, canvas: &mut ratatui::Frame<'_>, area: Rect) {
    let Some(shown) = state.questions.shown() else { return };
    let theme = &state.theme;
    let wide = shown.lines.iter().map(|l| width(l)).max().unwrap_or(0).max(40) + 6;
    let high = u16::try_from(shown.lines.len()).unwrap_or(0) + 3 + u16::from(shown.answer.is_some());
    let waiting = state.questions.len();
    let title = if waiting > 1 { format!("{} (1 of {waiting})", shown.title) } else { shown.title.to_owned() };
    let inner = popup(canvas, area, wide, high, &title, theme);
    let buf = canvas.buffer_mut();
    let mut y = inner.y;
    for line in &shown.lines {
        put(buf, inner, inner.x, y, line, theme.dialog);
        y += 1;
    }
    if let Some(answer) = shown.answer {
        let field = Rect { y, height: 1, ..inner };
        if y < inner.bottom() {
            buf.set_style(field, theme.field_on);
            put(buf, inner, inner.x, y, &answer, theme.field_on);
        }
    }
}
