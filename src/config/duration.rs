//! Durations as people write them (`90s`, `2h`, `1h30m`). A number with no unit is an error: nobody knows what 30 means.

use std::time::Duration;

use jiff::SignedDuration;

/// Longest duration accepted anywhere: ten years. Keeps arithmetic on clocks far from overflow.
const MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err("empty duration; write for instance 30s, 5m or 2h".into());
    }
    if trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("'{trimmed}' has no unit; write for instance {trimmed}s or {trimmed}m"));
    }
    // jiff keeps calendar units (days, weeks) out of absolute durations; operators mean 24 hours by a day.
    let parsed = match trimmed.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) => Duration::from_secs(days.saturating_mul(24 * 3600)),
        _ => {
            let signed: SignedDuration =
                trimmed.parse().map_err(|_| format!("'{trimmed}' is not a duration; write for instance 30s, 5m, 2h or 1d"))?;
            Duration::try_from(signed).map_err(|_| format!("'{trimmed}' is negative"))?
        }
    };
    if parsed > MAX {
        return Err(format!("'{trimmed}' is longer than ten years"));
    }
    Ok(parsed)
}

/// Short form for people: `0s`, `850ms`, `42s`, `3m10s`, `2h05m`, `4d06h`.
pub fn show_duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0 if d.subsec_millis() > 0 => format!("{}ms", d.subsec_millis()),
        0..=59 => format!("{s}s"),
        60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        3600..=86_399 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Exact form that [`parse_duration`] reads back: whole seconds or, below that, milliseconds.
pub fn write_duration(d: Duration) -> String {
    match (d.as_secs(), d.subsec_millis()) {
        (s, 0) if s > 0 && s.is_multiple_of(60) => format!("{}m", s / 60),
        (s, 0) => format!("{s}s"),
        _ => format!("{}ms", d.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_needed() {
        assert!(parse_duration("30").is_err_and(|e| e.contains("no unit")));
        assert!(parse_duration("-5s").is_err());
        assert!(parse_duration("99999999999d").is_err());
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
    }

    #[test]
    fn shown_short() {
        for (s, text) in [(0, "0s"), (42, "42s"), (190, "3m10s"), (7500, "2h05m"), (367_200, "4d06h")] {
            assert_eq!(show_duration(Duration::from_secs(s)), text);
        }
        assert_eq!(show_duration(Duration::from_millis(850)), "850ms");
    }
}
