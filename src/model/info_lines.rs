//! What an engine says of itself, line by line: one text for all of it, because a console reads a thousand nodes a second.

use serde::{Serialize, Serializer};

/// Stand before a name, and between name and value. Sanitised text has no control characters.
const BEGIN: char = '\u{1e}';
const BETWEEN: char = '\u{1f}';

/// `Name: value` lines in the engine's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InfoLines(String);

impl InfoLines {
    pub fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }
    /// Name and value are sanitised already.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push(BEGIN);
        self.0.push_str(name);
        self.0.push(BETWEEN);
        self.0.push_str(value);
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(BEGIN).filter_map(|line| line.split_once(BETWEEN))
    }
    /// The first of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let before = format!("{BEGIN}{name}{BETWEEN}");
        let at = memchr::memmem::find(self.0.as_bytes(), before.as_bytes())?;
        let rest = self.0.get(at + before.len()..)?;
        rest.get(..memchr::memchr(BEGIN as u8, rest.as_bytes()).unwrap_or(rest.len()))
    }
    pub fn len(&self) -> usize {
        self.iter().count()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extend<(N, V)> for InfoLines {
    fn extend<T: IntoIterator<Item = (N, V)>>(&mut self, lines: T) {
        for (name, value) in lines {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for InfoLines {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(lines: T) -> Self {
        let mut all = Self::default();
        all.extend(lines);
        all
    }
}

impl Serialize for InfoLines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_in_order() {
        let mut info: InfoLines = [("Name", "HAProxy"), ("node", ""), ("a: b", "c: d")].into_iter().collect();
        info.push("Name", "again");
        assert_eq!(info.iter().collect::<Vec<_>>(), [("Name", "HAProxy"), ("node", ""), ("a: b", "c: d"), ("Name", "again")]);
        assert_eq!((info.get("Name"), info.get("a: b"), info.get("none"), info.len()), (Some("HAProxy"), Some("c: d"), None, 4));
        assert_eq!(serde_json::to_string(&info).unwrap(), r#"[["Name","HAProxy"],["node",""],["a: b","c: d"],["Name","again"]]"#);
        assert_eq!((info.get("Nam"), info.get("ame"), info.get("")), (None, None, None));
        assert!(InfoLines::default().is_empty() && InfoLines::default().get("").is_none());
    }
}
