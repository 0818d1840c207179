//! The `status` column in its words, and what it says of the administrative state.

use crate::model::{AdminState, ServerStatus, StatusWord};

use super::text::{clean, narrow};

/// `UP`, `UP 1/3`, `DOWN (agent)`, `MAINT (via b/s)`, `MAINT(resolution)`, `no check` …
/// A word that is not known is kept as the cause of `Unknown`.
pub fn parse(field: &[u8]) -> ServerStatus {
    let unknown = || ServerStatus { word: StatusWord::Unknown, progress: None, cause: Some(clean(field).into()) };
    let (word, rest) = match field {
        b"" => return ServerStatus::default(),
        b"UP" => return ServerStatus::of(StatusWord::Up),
        b"no check" => return ServerStatus::of(StatusWord::NoCheck),
        _ => {
            let end = field.iter().position(|b| matches!(b, b' ' | b'(')).unwrap_or(field.len());
            field.split_at(end)
        }
    };
    let word = match word {
        b"UP" => StatusWord::Up,
        b"DOWN" => StatusWord::Down,
        b"NOLB" => StatusWord::Nolb,
        b"DRAIN" => StatusWord::Drain,
        b"MAINT" => StatusWord::Maint,
        b"OPEN" => StatusWord::Open,
        b"STOP" => StatusWord::Stop,
        // A frontend that an operator disabled: it can be enabled again, which a stopped one cannot.
        b"PAUSED" => return ServerStatus { word: StatusWord::Stop, progress: None, cause: Some("paused".into()) },
        _ => return unknown(),
    };
    let rest = rest.trim_ascii();
    if rest.is_empty() {
        return ServerStatus::of(word);
    }
    if let Some(cause) = rest.strip_prefix(b"(") {
        let cause = cause.strip_suffix(b")").unwrap_or(cause);
        return ServerStatus { word, progress: None, cause: Some(clean(cause).into()) };
    }
    let mut parts = rest.splitn(2, |b| *b == b'/');
    match (parts.next().and_then(narrow), parts.next().and_then(narrow)) {
        (Some(done), Some(of)) => ServerStatus { word, progress: Some((done, of)), cause: None },
        _ => unknown(),
    }
}

/// What `status` alone gives away. A DOWN server in drain still reads DOWN, so this can miss a drain.
pub fn admin_of(status: &ServerStatus) -> AdminState {
    let bits = match (status.word, status.cause.as_deref()) {
        (StatusWord::Maint, Some(cause)) if cause.starts_with("via ") => AdminState::IMAINT,
        (StatusWord::Maint, Some(cause)) if cause.starts_with("resolution") => AdminState::RMAINT,
        (StatusWord::Maint, _) => AdminState::FMAINT,
        (StatusWord::Drain, _) => AdminState::FDRAIN,
        _ => 0,
    };
    AdminState(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_word() {
        for (text, shown, admin) in [
            ("UP", "UP", 0),
            ("UP 1/3", "UP 1/3", 0),
            ("DOWN", "DOWN", 0),
            ("DOWN 1/2", "DOWN 1/2", 0),
            ("DOWN (agent)", "DOWN (agent)", 0),
            ("NOLB", "NOLB", 0),
            ("NOLB 1/2", "NOLB 1/2", 0),
            ("DRAIN", "DRAIN", 8),
            ("DRAIN 1/2", "DRAIN 1/2", 8),
            ("DRAIN (agent)", "DRAIN (agent)", 8),
            ("MAINT", "MAINT", 1),
            ("MAINT (via b/s)", "MAINT (via b/s)", 2),
            ("MAINT (resolution)", "MAINT (resolution)", 32),
            ("MAINT(resolution)", "MAINT (resolution)", 32),
            ("no check", "no check", 0),
            ("OPEN", "OPEN", 0),
            ("STOP", "STOP", 0),
            ("PAUSED", "STOP (paused)", 0),
            ("", "?", 0),
            ("FULL", "? (FULL)", 0),
            ("UP x/y", "? (UP x/y)", 0),
            ("UP\x1b[2J", "? (UP\\x1b[2J)", 0),
        ] {
            let status = parse(text.as_bytes());
            assert_eq!(status.to_string(), shown);
            assert_eq!(admin_of(&status), AdminState(admin), "{text}");
        }
    }
}
