//! Sparklines and filled charts of a series, drawn with eighth blocks. An empty place means no reading, not zero.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::text;

const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The newest `width` values as one line of text, scaled to the greatest; oldest first, padded on the left.
pub fn sparkline(values: &[Option<u32>], width: usize) -> String {
    let shown = values.get(values.len().saturating_sub(width)..).unwrap_or_default();
    let most = shown.iter().flatten().copied().max().unwrap_or(0).max(1);
    let mut out = " ".repeat(width.saturating_sub(shown.len()));
    out.extend(shown.iter().map(|value| value.map_or(' ', |v| EIGHTHS[eighths(v, most, 8).saturating_sub(1)])));
    out
}

/// Height of a value in eighths of `full` (at most `full`; a value that is not zero is never drawn as nothing).
fn eighths(value: u32, most: u32, full: usize) -> usize {
    let scaled = (u64::from(value) * full as u64).div_ceil(u64::from(most.max(1)));
    usize::try_from(scaled).unwrap_or(full).min(full)
}

/// What a chart says besides its curve.
pub struct ChartText<'a> {
    pub title: &'a str,
    pub unit: &'a str,
}

/// A titled chart: the first line names the series, its newest and greatest value; the rest is the curve, newest at the right.
pub fn chart(
    buf: &mut Buffer,
    area: Rect,
    words: &ChartText<'_>,
    values: &[Option<u32>],
    title: Style,
    curve: Style,
    dim: Style,
) {
    if area.height == 0 || area.width < 4 {
        return;
    }
    let most = values.iter().flatten().copied().max().unwrap_or(0);
    let x = text::put(buf, area, area.x, area.y, words.title, title);
    let summary = match values.last().copied().flatten() {
        Some(now) => format!(" {}{}  max {}", text::short(u64::from(now)), words.unit, text::short(u64::from(most))),
        None => " no samples".to_owned(),
    };
    text::put(buf, area, x, area.y, &summary, dim);
    let rows = usize::from(area.height - 1);
    let columns = usize::from(area.width);
    let shown = values.get(values.len().saturating_sub(columns)..).unwrap_or_default();
    let first = area.right() - u16::try_from(shown.len()).unwrap_or(area.width);
    for (x, value) in (first..).zip(shown) {
        let Some(value) = *value else { continue };
        let height = eighths(value, most, rows * 8);
        for row in 0..rows {
            // Counted from the bottom; the baseline shows where there are readings at all.
            let fill = height.saturating_sub(row * 8).min(8);
            let y = area.bottom() - 1 - u16::try_from(row).unwrap_or(0);
            let (symbol, style) = match (fill, row) {
                (0, 0) => ('▁', dim),
                (0, _) => continue,
                (n, _) => (EIGHTHS[n - 1], curve),
            };
            if let Some(cell) = buf.cell_mut((x, y)) {
                cell.set_char(symbol).set_style(style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_scales_and_pads() {
        let all = |values: &[u32]| values.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(sparkline(&all(&[0, 4, 8]), 5), "  ▁▄█");
        assert_eq!(sparkline(&all(&[1, 1000]), 2), "▁█", "small is not nothing");
        assert_eq!(sparkline(&[Some(3), None, Some(3)], 3), "█ █", "no reading is not zero");
        assert_eq!(sparkline(&[], 3), "   ");
        assert_eq!(sparkline(&all(&[1, 2, 3, 4]), 2), "▆█");
    }
}
