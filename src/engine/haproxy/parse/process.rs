//! `show proc` of the master CLI: the master, its workers, and old workers that still hold connections after a reload.

use crate::model::Worker;

use super::ParseError;
use super::text::clean;

const REPLY: &str = "show proc";

pub fn parse(text: &[u8]) -> Result<Vec<Worker>, ParseError> {
    let mut old = false;
    let mut seen_header = false;
    let mut all = Vec::new();
    for (i, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = clean(line.trim_ascii());
        if line.is_empty() {
            continue;
        }
        if line.starts_with('#') {
            seen_header |= line.contains("<PID>");
            old = line.trim_start_matches(['#', ' ']).starts_with("old");
            continue;
        }
        let worker = seen_header.then(|| worker(&line, old)).flatten();
        all.push(worker.ok_or_else(|| {
            let start: String = line.chars().take(80).collect();
            ParseError::new(REPLY, i + 1, format!("not a process: '{start}'"))
        })?);
    }
    if !seen_header {
        return Err(ParseError::new(REPLY, 1, "no header"));
    }
    Ok(all)
}

/// `24805  worker  1  0d00h00m21s  2.6.12`, and for the master `2 [failed: 0]` in place of the count.
fn worker(line: &str, old: bool) -> Option<Worker> {
    let plain = match (line.find('['), line.find(']')) {
        (Some(from), Some(to)) if from < to => format!("{}{}", line.get(..from)?, line.get(to + 1..)?),
        _ => line.to_owned(),
    };
    let mut words = plain.split_whitespace();
    Some(Worker {
        pid: words.next()?.parse().ok()?,
        kind: words.next()?.to_owned(),
        reloads: words.next()?.parse().ok()?,
        uptime: words.next().unwrap_or_default().to_owned(),
        old,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_reply() {
        let all = parse(include_bytes!("../fixtures/2.6-show-proc.txt")).unwrap();
        let kinds: Vec<(&str, bool)> = all.iter().map(|w| (w.kind.as_str(), w.old)).collect();
        assert_eq!(kinds, [("master", false), ("worker", false), ("worker", true)]);
        assert_eq!((all[0].reloads, all[2].reloads, all[2].pid), (2, 1, 24805));
        assert_eq!(all[2].uptime, "0d00h00m21s");
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(parse(b"Unknown command\n").is_err());
        assert!(parse(b"").is_err());
        assert!(parse(b"#<PID> <type>\n] x [\n").is_err());
    }
}
