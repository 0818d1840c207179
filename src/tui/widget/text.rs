//! Text of a known width: cut with an ellipsis, aligned, numbers made short.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that the text takes on a terminal.
pub fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// Cuts text to `room` columns; what was cut shows as `…`.
pub fn fit(text: &str, room: u16) -> std::borrow::Cow<'_, str> {
    if width(text) <= room {
        return text.into();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > usize::from(room) {
            break;
        }
        used += w;
        out.push(c);
    }
    if room > 0 {
        out.push('…');
    }
    out.into()
}

/// Writes text at (x, y) within `area`, cut at its right edge; gives the column after it.
pub fn put(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let area = area.intersection(*buf.area());
    if y < area.y || y >= area.bottom() || x < area.x || x >= area.right() {
        return x;
    }
    let room = area.right() - x;
    let (end, _) = buf.set_stringn(x, y, fit(text, room), usize::from(room), style);
    end
}

/// Writes text so that it ends at the right edge of `area`; gives its first column.
pub fn put_right(buf: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) -> u16 {
    let x = area.right().saturating_sub(width(text)).max(area.x);
    put(buf, area, x, y, text, style);
    x
}

/// `950`, `12.3k`, `4.5M`, `1.2G`: four or five columns however large the number is.
pub fn short(n: u64) -> String {
    const STEPS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if n < 10_000 {
        return n.to_string();
    }
    for (unit, name) in STEPS {
        if n >= unit {
            let value = n as f64 / unit as f64;
            return if value < 100.0 { format!("{value:.1}{name}") } else { format!("{value:.0}{name}") };
        }
    }
    n.to_string()
}

/// Cuts text into lines of `room` columns.
pub fn wrap(text: &str, room: u16) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        let wide = u16::try_from(c.width().unwrap_or(0)).unwrap_or(1);
        if used + wide > room {
            lines.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_not_bytes() {
        assert_eq!(fit("backend", 7), "backend");
        assert_eq!(fit("backend", 5), "back…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("abc", 0), "");
    }

    #[test]
    fn numbers_stay_short() {
        for (n, text) in
            [(0, "0"), (9_999, "9999"), (12_345, "12.3k"), (999_999, "1000k"), (4_500_000, "4.5M"), (u64::MAX, "18446744T")]
        {
            assert_eq!(short(n), text);
        }
    }
}
