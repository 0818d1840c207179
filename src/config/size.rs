//! Sizes in bytes as people write them (`64MiB`, `1GB`, `4096`).

/// Units by their names in lower case, without the final `b`.
const UNITS: &[(&str, usize)] =
    &[("", 1), ("k", 1000), ("ki", 1 << 10), ("m", 1_000_000), ("mi", 1 << 20), ("g", 1_000_000_000), ("gi", 1 << 30)];

/// Bytes. A bare number is bytes.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (number.parse::<usize>(), factor) {
        (Ok(number), Some(factor)) => number.checked_mul(factor).ok_or_else(|| format!("'{trimmed}' is too large")),
        _ => Err(format!("'{trimmed}' is not a size; write for instance 64MiB")),
    }
}

/// `64MiB`, `1.5KiB`, `12B`: binary units, at most one decimal.
pub fn show_size(bytes: usize) -> String {
    for (unit, factor) in [("GiB", 1usize << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor {
            let tenths = bytes / (factor / 10).max(1);
            return if bytes.is_multiple_of(factor) {
                format!("{}{unit}", bytes / factor)
            } else {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1 gb", 1_000_000_000), ("4096", 4096), ("8k", 8000), ("12B", 12)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "64 parsecs", "99999999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for (bytes, text) in [(64 << 20, "64MiB"), (1536, "1.5KiB"), (12, "12B"), (1 << 30, "1GiB")] {
            assert_eq!(show_size(bytes), text);
        }
    }
}
