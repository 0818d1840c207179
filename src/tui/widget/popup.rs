//! A box over the view, centred, with a title and a border.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, BorderType, Clear};

use crate::tui::theme::Theme;

/// Draws the box at most `width` x `height` in the middle of `area`; gives the room inside it.
pub fn popup(frame: &mut Frame<'_>, area: Rect, width: u16, height: u16, title: &str, theme: &Theme) -> Rect {
    let width = width.min(area.width);
    let height = height.min(area.height);
    let rect = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, rect);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.border)
        .title(format!(" {title} "))
        .title_style(theme.key)
        .style(theme.dialog);
    let inner = block.inner(rect);
    frame.render_widget(block, rect);
    Rect { x: inner.x.saturating_add(1).min(inner.right()), width: inner.width.saturating_sub(2), ..inner }
}
