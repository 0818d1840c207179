//! A list on the screen: fits columns to the room, draws only the rows in sight, and tells where a click would land.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use crate::tui::state::grid::{Align, Cell, Ctx, Grid};
use crate::tui::state::list::List;
use crate::tui::theme::{Theme, Tone};

use super::text::{fit, put, put_right, width};

/// Columns of the gutter: the cursor's and the selection's mark.
const GUTTER: u16 = 2;
const GAP: u16 = 2;

/// What was drawn where, for the mouse and for page keys.
#[derive(Debug, Default)]
pub struct Drawn {
    /// Place in the list of the first row, and the area of the rows.
    pub top: usize,
    pub rows: Rect,
    /// Area of each column title.
    pub titles: Vec<(Rect, usize)>,
}

/// A column that found room.
struct Placed {
    column: usize,
    x: u16,
    width: u16,
}

pub fn draw(buf: &mut Buffer, area: Rect, grid: &dyn Grid, list: &List, ctx: &Ctx<'_>, theme: &Theme) -> Drawn {
    let mut drawn = Drawn::default();
    if area.height == 0 || area.width <= GUTTER {
        return drawn;
    }
    let head = Rect { height: 1, ..area };
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let rows = usize::from(body.height);
    let top = list.top_for(rows);
    let in_sight: Vec<usize> = list.order().iter().skip(top).take(rows).map(|row| *row as usize).collect();
    let (placed, hidden) = place(area, grid, list, &in_sight, ctx);

    buf.set_style(head, theme.head);
    for column in &placed {
        let sorted = column.column == list.sort.column;
        let mut title = grid.title(column.column).into_owned();
        if sorted {
            title = format!("{}{}", fit(&title, column.width.saturating_sub(1)), if list.sort.descending { '▼' } else { '▲' });
        }
        let rect = Rect { x: column.x, y: head.y, width: column.width, height: 1 };
        let style = if sorted { theme.head.patch(theme.tone(Tone::Accent)) } else { theme.head };
        match grid.shape(column.column).align {
            Align::Left => {
                put(buf, rect, rect.x, rect.y, &title, style);
            }
            Align::Right => {
                put_right(buf, rect, rect.y, &title, style);
            }
        }
        drawn.titles.push((rect, column.column));
    }
    if hidden > 0 || list.skipped > 0 {
        let marks = format!("{}{}", if list.skipped > 0 { "◂" } else { "" }, if hidden > 0 { "▸" } else { "" });
        put_right(buf, head, head.y, &marks, theme.head.patch(theme.tone(Tone::Warn)));
    }

    for (line, row) in (0u16..).zip(&in_sight) {
        let rect = Rect { y: body.y + line, height: 1, ..body };
        let at_cursor = top + usize::from(line) == list.place;
        draw_row(buf, rect, grid, list, *row, at_cursor, &placed, ctx, theme);
    }
    drawn.top = top;
    drawn.rows = Rect { height: u16::try_from(in_sight.len()).unwrap_or(body.height).min(body.height), ..body };
    drawn
}

#[expect(clippy::too_many_arguments, reason = "a row needs all that the table needs")]
fn draw_row(
    buf: &mut Buffer,
    rect: Rect,
    grid: &dyn Grid,
    list: &List,
    row: usize,
    at_cursor: bool,
    placed: &[Placed],
    ctx: &Ctx<'_>,
    theme: &Theme,
) {
    let selected = !list.selected.is_empty() && grid.key(row).is_some_and(|key| list.selected.contains(&key));
    let stale = grid.stale(row);
    if selected {
        buf.set_style(rect, theme.selected);
    }
    if at_cursor {
        put(buf, rect, rect.x, rect.y, "▸", theme.tone(Tone::Accent));
    }
    if selected {
        put(buf, rect, rect.x + 1, rect.y, "✓", theme.tone(Tone::Accent));
    } else if grid.marked(row) {
        put(buf, rect, rect.x + 1, rect.y, "≠", theme.tone(Tone::Warn));
    }
    for column in placed {
        let Cell { text, tone } = grid.cell(row, column.column, ctx);
        let mut style = theme.tone(if stale && tone != Tone::Bad { Tone::Dim } else { tone });
        if stale {
            style = style.add_modifier(Modifier::ITALIC);
        }
        let place = Rect { x: column.x, width: column.width, ..rect };
        match grid.shape(column.column).align {
            Align::Left => {
                put(buf, place, place.x, place.y, &text, style);
            }
            Align::Right => {
                put_right(buf, place, place.y, &text, style);
            }
        }
    }
    if at_cursor {
        buf.set_style(rect, theme.cursor);
    }
}

/// Chooses columns and their widths; gives how many found no room on the right.
fn place(area: Rect, grid: &dyn Grid, list: &List, in_sight: &[usize], ctx: &Ctx<'_>) -> (Vec<Placed>, usize) {
    let room = area.width - GUTTER;
    let pinned = |column: usize| grid.shape(column).rank == 0;
    // With many columns (one a node) only as many are measured as could ever fit.
    let mut skip = list.skipped;
    let mut used: u16 = 0;
    let mut chosen: Vec<(usize, u16, u8)> = Vec::new();
    let mut hidden = 0;
    let scrolled = skip > 0;
    for column in 0..grid.columns() {
        if !pinned(column) && skip > 0 {
            skip -= 1;
            continue;
        }
        // Not worth measuring: whatever is dropped later, four columns a piece do not fit.
        if used > room.saturating_mul(3) {
            hidden += grid.columns() - column;
            break;
        }
        let shape = grid.shape(column);
        let mut need = shape.min.max(width(&grid.title(column)) + 1);
        for row in in_sight {
            need = need.max(width(&grid.cell(*row, column, ctx).text));
        }
        let need = need.min(shape.max.max(shape.min));
        used = used.saturating_add(need + GAP);
        chosen.push((column, need, shape.rank));
    }
    // What gives way: by rank, and by place where the operator scrolls.
    let total = |chosen: &[(usize, u16, u8)]| chosen.iter().map(|c| c.1 + GAP).sum::<u16>().saturating_sub(GAP);
    while total(&chosen) > room {
        let Some(last) = chosen
            .iter()
            .enumerate()
            .filter(|(_, c)| c.2 > 0)
            .max_by_key(|(place, c)| if scrolled { (0, *place) } else { (c.2, *place) })
            .map(|(place, _)| place)
        else {
            break;
        };
        chosen.remove(last);
        hidden += 1;
    }
    // Names that still do not fit are cut, the widest first.
    while total(&chosen) > room {
        match chosen.iter_mut().max_by_key(|c| c.1) {
            Some(widest) if widest.1 > 4 => widest.1 -= 1,
            _ => break,
        }
    }
    let mut x = area.x + GUTTER;
    let mut placed = Vec::with_capacity(chosen.len());
    for (column, width, _) in chosen {
        if x >= area.right() {
            break;
        }
        placed.push(Placed { column, x, width: width.min(area.right() - x) });
        x = x.saturating_add(width + GAP);
    }
    (placed, hidden)
}
