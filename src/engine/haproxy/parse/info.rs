//! `show info`: `Name: value` lines.

use std::time::Duration;

use super::ParseError;
use super::text::clean;
use crate::model::InfoLines;

const REPLY: &str = "show info";
/// Far more lines than any version prints.
const MAX_LINES: usize = 2000;

/// Every `Name: value`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info(pub InfoLines);

impl Info {
    /// Reads up to the first blank line or the end.
    pub fn parse(text: &[u8]) -> Result<Info, ParseError> {
        let mut lines = InfoLines::with_capacity(2048);
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii_end();
            if line.is_empty() {
                break;
            }
            if i >= MAX_LINES {
                return Err(ParseError::new(REPLY, i + 1, "more lines than any version prints"));
            }
            let line = clean(line);
            let colon = memchr::memchr(b':', line.as_bytes());
            let Some((name, value)) = colon.and_then(|at| Some((line.get(..at)?, line.get(at + 1..)?))) else {
                let start: String = line.chars().take(80).collect();
                return Err(ParseError::new(REPLY, i + 1, format!("no 'Name: value': '{start}'")));
            };
            lines.push(name, value.trim_ascii());
        }
        let info = Info(lines);
        if info.get("Name").is_none() && info.get("Version").is_none() {
            return Err(ParseError::new(REPLY, 1, "neither Name nor Version: not an answer to show info"));
        }
        Ok(info)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
    pub fn version(&self) -> &str {
        self.get("Version").unwrap_or_default()
    }
    pub fn pid(&self) -> Option<u32> {
        self.get("Pid")?.parse().ok()
    }
    pub fn uptime(&self) -> Option<Duration> {
        self.number("Uptime_sec").map(Duration::from_secs)
    }
    /// Start of the process in seconds since the epoch on the node's clock (2.5 and later).
    pub fn started_at(&self) -> Option<i64> {
        self.get("Start_time_sec")?.parse().ok()
    }
}

/// (major, minor) of a version such as `2.6.12-1+deb12u4`, `3.0-dev5` or `HAProxy version 2.9.1, released …`.
pub fn release(version: &str) -> Option<(u16, u16)> {
    let start = version.find(|c: char| c.is_ascii_digit())?;
    let mut parts = version.get(start..)?.splitn(3, '.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor.get(..digits)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_reply() {
        let info = Info::parse(include_bytes!("../fixtures/2.6-show-info.txt")).unwrap();
        assert_eq!(info.version(), "2.6.12-1+deb12u4");
        assert_eq!(info.get("Name"), Some("HAProxy"));
        assert!(info.pid().is_some() && info.uptime().is_some() && info.started_at().is_some());
        assert_eq!(info.get("Unstoppable Jobs"), Some("1"));
    }

    #[test]
    fn releases() {
        assert_eq!(release("2.6.12-1+deb12u4"), Some((2, 6)));
        assert_eq!(release("3.0-dev5-abc"), Some((3, 0)));
        assert_eq!(release("HAProxy version 2.9.1, released"), Some((2, 9)));
        assert_eq!(release("unknown"), None);
        assert_eq!(release("99999999.1"), None);
    }

    #[test]
    fn what_is_not_info_is_an_error() {
        assert!(Info::parse(b"Permission denied\n").is_err());
        assert!(Info::parse(b"").is_err());
        let e = Info::parse(b"Name: HAProxy\nbroken\n").unwrap_err();
        assert_eq!(e.line, 2);
        assert!(Info::parse("x: y\n".repeat(5000).as_bytes()).is_err());
    }
}
