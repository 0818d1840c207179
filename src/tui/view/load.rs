//! The load on the fleet, where whoever opened the console makes one: what clients see of it, second by second. A panel on the
//! overview, one line everywhere else, so that a change shows its price at once.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::model::{LoadLatency, LoadPicture, LoadSecond, sanitize};
use crate::tui::state::State;
use crate::tui::state::curve::Curve;
use crate::tui::state::screen::Screen;
use crate::tui::theme::Tone;
use crate::tui::widget::chart::{ChartText, chart, sparkline};
use crate::tui::widget::text::{fit, put, put_right, short, width};

/// Figures and two curves.
const LINES: u16 = 3;
/// Least and most lines of figures and charts.
const CHARTS: (u16, u16) = (8, 14);

/// Lines at the bottom of the body.
pub fn height(state: &State, body: u16) -> u16 {
    match state.screen() {
        _ if state.load.is_none() => 0,
        Screen::Overview if body / 3 >= CHARTS.0 => (body / 3).min(CHARTS.1),
        Screen::Overview if body / 4 >= LINES => LINES,
        _ => 1,
    }
}

pub fn panel(state: &State, buf: &mut Buffer, area: Rect) {
    let Some(load) = &state.load else { return };
    match area.height {
        0 => {}
        1 => line(state, load, buf, area),
        height if height < CHARTS.0 => lines(state, load, buf, area),
        _ => charts(state, load, buf, area),
    }
}

/// `load 150/s  p50 3.1 p99 12.4 max 30.2 ms  0 errors/s  0 of 12345 failed`, with what it is on the left; the column behind it.
fn figures(state: &State, load: &LoadPicture, buf: &mut Buffer, area: Rect) -> u16 {
    let theme = &state.theme;
    let dim = theme.tone(Tone::Dim);
    let x = put(buf, area, area.x + 1, area.y, "load", theme.key);
    let Some(now) = load.seconds.last() else {
        return put(buf, area, x + 1, area.y, &format!("{}/s asked for; the first second runs", load.asked), dim);
    };
    let x = put(buf, area, x + 1, area.y, &format!("{}/s", short(now.ok + now.failed)), theme.tone(Tone::Plain));
    let latency = match now.latency {
        Some(LoadLatency { p50_us, p99_us, max_us }) => {
            format!("p50 {} p99 {} max {} ms", ms(p50_us), ms(p99_us), ms(max_us))
        }
        None => "no answers".to_owned(),
    };
    let x = put(buf, area, x + 2, area.y, &latency, theme.tone(Tone::Accent));
    let tone = if now.failed == 0 { Tone::Ok } else { Tone::Bad };
    let x = put(buf, area, x + 2, area.y, &format!("{} errors/s", short(now.failed)), theme.tone(tone));
    let tone = if load.failed == 0 { Tone::Dim } else { Tone::Warn };
    put(buf, area, x + 2, area.y, &format!("{} of {} failed", short(load.failed), short(load.ok + load.failed)), theme.tone(tone))
}

fn ms(us: u64) -> String {
    let ms = us as f64 / 1e3;
    if ms < 100.0 { format!("{ms:.1}") } else { short(ms.round() as u64) }
}

fn line(state: &State, load: &LoadPicture, buf: &mut Buffer, area: Rect) {
    let x = figures(state, load, buf, area) + 2;
    let room = area.right().saturating_sub(x + 1).min(60);
    if room >= 8 {
        let errors = load.seconds.iter().rev().take(usize::from(room)).any(|s| s.failed > 0);
        let (curve, tone) = if errors { (curve(load, failed), Tone::Bad) } else { (curve(load, p99_ms), Tone::Warn) };
        put(buf, area, x, area.y, &sparkline(&curve, usize::from(room)), state.theme.tone(tone));
    }
}

/// The words of the newest failure, at the right.
fn complaint(state: &State, load: &LoadPicture, buf: &mut Buffer, area: Rect, from: u16) {
    let room = area.right().saturating_sub(from + 3);
    if let Some(why) = load.last_failure.as_deref().filter(|_| room >= 20) {
        let text = format!("last: {}", sanitize(why));
        put_right(
            buf,
            Rect { width: area.width.saturating_sub(1), ..area },
            area.y,
            &fit(&text, room),
            state.theme.tone(Tone::Dim),
        );
    }
}

fn lines(state: &State, load: &LoadPicture, buf: &mut Buffer, area: Rect) {
    let end = figures(state, load, buf, area);
    complaint(state, load, buf, area, end);
    let series = [("p99 ms", curve(load, p99_ms), Tone::Warn), ("errors", curve(load, failed), Tone::Bad)];
    for (y, (name, values, tone)) in (area.y + 1..area.bottom()).zip(series) {
        let x = put(buf, area, area.x + 1, y, &format!("{name:<8}"), state.theme.tone(Tone::Dim));
        let most = format!(" max {}", short(u64::from(values.iter().flatten().copied().max().unwrap_or(0))));
        let room = area.right().saturating_sub(x + 1 + width(&most));
        let x = put(buf, area, x, y, &sparkline(&values, usize::from(room)), state.theme.tone(tone));
        put(buf, area, x, y, &most, state.theme.tone(Tone::Dim));
    }
}

fn charts(state: &State, load: &LoadPicture, buf: &mut Buffer, area: Rect) {
    let end = figures(state, load, buf, area);
    complaint(state, load, buf, area, end);
    let theme = &state.theme;
    let mut series = vec![
        ("LATENCY p50", "ms", Tone::Accent, curve(load, |s| Some(of_ms(s.latency?.p50_us)))),
        ("LATENCY p99", "ms", Tone::Warn, curve(load, p99_ms)),
        ("LATENCY max", "ms", Tone::Warn, curve(load, |s| Some(of_ms(s.latency?.max_us)))),
        ("REQUESTS", "/s", Tone::Ok, curve(load, |s| Some(saturate(s.ok)))),
        ("ERRORS", "/s", Tone::Bad, curve(load, failed)),
    ];
    if area.width < 160 {
        // p99 and errors tell most.
        series.retain(|(title, ..)| ["LATENCY p50", "LATENCY p99", "ERRORS"].contains(title));
    }
    let columns = u16::try_from(series.len()).unwrap_or(1);
    let wide = area.width / columns;
    for (nth, (title, unit, tone, values)) in (0u16..).zip(series) {
        let place = Rect { x: area.x + 1 + nth * wide, y: area.y + 1, width: wide.saturating_sub(2), height: area.height - 1 };
        chart(buf, place, &ChartText { title, unit }, &values, theme.key, theme.tone(tone), theme.tone(Tone::Dim));
    }
}

fn curve(load: &LoadPicture, of: impl Fn(&LoadSecond) -> Option<u32>) -> Curve {
    load.seconds.iter().map(of).collect()
}

fn p99_ms(second: &LoadSecond) -> Option<u32> {
    Some(of_ms(second.latency?.p99_us))
}

fn failed(second: &LoadSecond) -> Option<u32> {
    Some(saturate(second.failed))
}

fn of_ms(us: u64) -> u32 {
    saturate((us + 500) / 1000)
}

fn saturate(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
