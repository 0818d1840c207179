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

/// Chooses columns and their widths; gives how many found no room.
///
/// Pinned columns (rank 0) come first, then the others by rank; a column of text that is too wide is cut rather than left out.
/// Where the operator scrolls, the others come in their own order instead, from the first that is not scrolled out.
fn place(area: Rect, grid: &dyn Grid, list: &List, in_sight: &[usize], ctx: &Ctx<'_>) -> (Vec<Placed>, usize) {
    let room = area.width - GUTTER;
    let (pinned, mut others): (Vec<usize>, Vec<usize>) = (0..grid.columns()).partition(|c| grid.shape(*c).rank == 0);
    if list.skipped > 0 {
        others.drain(..list.skipped.min(others.len()));
    } else {
        others.sort_by_key(|column| grid.shape(*column).rank);
    }
    let mut left = room + GAP;
    let mut chosen: Vec<(usize, u16)> = Vec::new();
    for column in pinned {
        let need = measure(grid, column, in_sight, ctx);
        left = left.saturating_sub(need + GAP);
        chosen.push((column, need));
    }
    // Names that do not fit even alone are cut, the widest first.
    let total = |chosen: &[(usize, u16)]| chosen.iter().map(|c| c.1 + GAP).sum::<u16>().saturating_sub(GAP);
    while total(&chosen) > room {
        match chosen.iter_mut().max_by_key(|c| c.1) {
            Some(widest) if widest.1 > 4 => widest.1 -= 1,
            _ => break,
        }
    }
    let mut hidden = 0;
    // Columns of one rank stand or fall in order: of many nodes the first ones are shown, not those with short names.
    let mut full_rank = None;
    for column in others {
        let shape = grid.shape(column);
        // Where not even the narrowest column fits, the rest need not be measured.
        if left < GAP + 3 || full_rank == Some(shape.rank) {
            hidden += 1;
            continue;
        }
        let need = measure(grid, column, in_sight, ctx);
        let least = shape.min.max(width(&grid.title(column)) + 1);
        let given = if need + GAP <= left {
            need
        } else if shape.align == Align::Left && least + GAP <= left {
            left - GAP
        } else {
            hidden += 1;
            full_rank = Some(shape.rank);
            continue;
        };
        left -= given + GAP;
        chosen.push((column, given));
    }
    chosen.sort_by_key(|c| c.0);
    let mut x = area.x + GUTTER;
    let mut placed = Vec::with_capacity(chosen.len());
    for (column, width) in chosen {
        if x >= area.right() {
            break;
        }
        placed.push(Placed { column, x, width: width.min(area.right() - x) });
        x = x.saturating_add(width + GAP);
    }
    (placed, hidden)
}

/// The width that a column would like: its title with the mark of the order, and the rows in sight.
fn measure(grid: &dyn Grid, column: usize, in_sight: &[usize], ctx: &Ctx<'_>) -> u16 {
    let shape = grid.shape(column);
    let title = shape.min.max(width(&grid.title(column)) + 1);
    let need = in_sight.iter().map(|row| width(&grid.cell(*row, column, ctx).text)).fold(title, u16::max);
    need.min(shape.max.max(shape.min))
}
