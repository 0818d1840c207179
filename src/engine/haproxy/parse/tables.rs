//! `show table` and `show table NAME`: stick tables and their entries.

use crate::model::{StickTable, StickTableEntry};

use super::ParseError;
use super::text::clean;

const REPLY: &str = "show table";

/// `# table: web, type: ip, size:1024, used:2` for each table.
pub fn parse(text: &[u8]) -> Result<Vec<StickTable>, ParseError> {
    text.split(|b| *b == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(i, line)| {
            let line = clean(line.trim_ascii());
            table(&line).ok_or_else(|| {
                let start: String = line.chars().take(80).collect();
                ParseError::new(REPLY, i + 1, format!("not a table: '{start}'"))
            })
        })
        .collect()
}

fn table(line: &str) -> Option<StickTable> {
    let rest = line.strip_prefix("# table:")?;
    let mut words = rest.split(',').map(str::trim);
    let mut table = StickTable { name: words.next()?.to_owned(), kind: String::new(), size: 0, used: 0 };
    for word in words {
        let (name, value) = word.split_once(':')?;
        let value = value.trim();
        match name.trim() {
            "type" => table.kind = value.to_owned(),
            "size" => table.size = value.parse().ok()?,
            "used" => table.used = value.parse().ok()?,
            _ => {} // newer versions say more
        }
    }
    Some(table)
}

/// Entries of one table, at most `limit`. The reply starts with the table's own line.
pub fn entries(text: &[u8], limit: usize) -> Result<Vec<StickTableEntry>, ParseError> {
    let mut lines = text.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    match lines.next() {
        Some((_, line)) if line.starts_with(b"# table:") => {}
        Some((i, line)) => {
            let start = clean(line.get(..80).unwrap_or(line)).into_owned();
            return Err(ParseError::new(REPLY, i + 1, start));
        }
        None => return Err(ParseError::new(REPLY, 1, "empty reply")),
    }
    Ok(lines.filter_map(|(_, line)| entry(&clean(line))).take(limit).collect())
}

/// `0x55…: key=10.9.8.7 use=0 exp=596980 gpc0=5 http_req_rate(10000)=0`; a key may hold spaces.
fn entry(line: &str) -> Option<StickTableEntry> {
    let (_, rest) = line.split_once(": ")?;
    let rest = rest.trim_end().strip_prefix("key=")?;
    let (key, rest) = match rest.find(" use=") {
        Some(at) => rest.split_at(at),
        None => rest.split_once(' ').unwrap_or((rest, "")),
    };
    let fields = rest
        .split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Some(StickTableEntry { key: key.to_owned(), fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_replies() {
        let tables = parse(include_bytes!("../fixtures/2.6-show-table.txt")).unwrap();
        let web = tables.first().unwrap();
        assert_eq!((web.name.as_str(), web.kind.as_str(), web.size, web.used), ("web", "ip", 1024, 2));
        let all = entries(include_bytes!("../fixtures/2.6-show-table-web.txt"), 10).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].key, "10.9.8.7");
        assert!(all[0].fields.contains(&("http_req_rate(10000)".into(), "0".into())));
        assert!(all[0].fields.contains(&("gpc0".into(), "5".into())));
        assert_eq!(entries(include_bytes!("../fixtures/2.6-show-table-web.txt"), 1).unwrap().len(), 1);
    }

    #[test]
    fn newer_words_odd_keys_and_refusals() {
        let tables = parse(b"# table: t, type: string, size:10, used:1, new:thing\n\n").unwrap();
        assert_eq!(tables.len(), 1);
        let all = entries(b"# table: t, type: string, size:1, used:1\n0x1: key=a b use=0 exp=1 shard=3\n", 9).unwrap();
        assert_eq!(all[0].key, "a b");
        assert!(parse(b"Permission denied\n").is_err());
        assert!(entries(b"No such table\n", 9).unwrap_err().what.contains("No such table"));
    }
}
