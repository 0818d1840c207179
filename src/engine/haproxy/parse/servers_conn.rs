//! `show servers conn` (2.2 and later): connections to servers in use and idle. What `del server` waits for.

use super::ParseError;
use super::text::{Lines, clean, number};

const REPLY: &str = "show servers conn";

/// Connections of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConns {
    pub backend: String,
    pub server: String,
    pub used: u64,
    pub idle: u64,
}

pub fn parse(text: &[u8]) -> Result<Vec<ServerConns>, ParseError> {
    let mut lines = Lines::of(text.trim_ascii_start());
    let header = lines.next().unwrap_or_default();
    let Some(names) = header.strip_prefix(b"# ") else {
        let start = clean(header.get(..60).unwrap_or(header));
        return Err(ParseError::new(REPLY, 1, format!("not its header: '{start}'")));
    };
    let names: Vec<&[u8]> = names.split(|b| *b == b' ').collect();
    let find = |name: &'static str| {
        names.iter().position(|n| *n == name.as_bytes()).ok_or_else(|| ParseError::new(REPLY, 1, format!("no column {name}")))
    };
    let (used, idle) = (find("used_cur")?, find("idle_cur")?);
    let mut all = Vec::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            return Ok(all);
        }
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let wrong = |what: &str| ParseError::new(REPLY, lines.number(), what);
        let name = words.first().copied().unwrap_or_default();
        let slash = memchr::memchr(b'/', name).ok_or_else(|| wrong("no backend/server"))?;
        let (backend, server) = name.split_at(slash);
        let count = |at: usize| words.get(at).copied().and_then(number).ok_or_else(|| wrong("a count is missing or no number"));
        all.push(ServerConns {
            backend: clean(backend).into_owned(),
            server: clean(server.get(1..).unwrap_or_default()).into_owned(),
            used: count(used)?,
            idle: count(idle)?,
        });
    }
    Err(ParseError::new(REPLY, all.len() + 1, "the reply is cut: no blank line at its end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_reply() {
        let all = parse(include_bytes!("../fixtures/2.6-show-servers-conn.txt")).unwrap();
        let web1 = all.iter().find(|s| s.server == "web1").unwrap();
        assert_eq!((web1.backend.as_str(), web1.used, web1.idle), ("web", 3, 0));
    }

    #[test]
    fn refusals_and_cuts_are_errors() {
        assert!(parse(b"Can't find backend.\n\n").is_err());
        assert!(parse(b"# bkname/svname used_cur idle_cur\na/b 1 2\n").is_err());
        assert!(parse(b"# bkname/svname used_cur idle_cur\na/b 1 x\n\n").is_err());
    }
}
