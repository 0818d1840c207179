//! A regular expression with the text that it was made from, so that configurations can be compared and shown.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Memory that one compiled expression may take, in bytes. The engine runs in linear time, so size is the only thing to bound.
const MAX_COMPILED: usize = 1 << 20;

/// A regular expression over bytes; it matches anywhere unless it is anchored with `^` and `$`.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Errors in words, on one line, as the engine of expressions gives them.
    pub fn new(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        built.map(Self).map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
            // The engine draws the expression with a caret over several lines; the last one says what is wrong.
            other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn is_match(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.is_match(bytes.as_ref())
    }

    /// Whether the expression has a group of that number (0 is the whole match).
    pub fn has_group(&self, number: usize) -> bool {
        number < self.0.captures_len()
    }

    /// The text with the first match replaced, `$1` and `${name}` standing for groups; `None` where nothing matches.
    pub fn replace(&self, text: &str, with: &str) -> Option<String> {
        let found = self.0.captures(text.as_bytes())?;
        let whole = found.get(0)?;
        let mut replaced = text.as_bytes().get(..whole.start())?.to_vec();
        found.expand(with.as_bytes(), &mut replaced);
        replaced.extend_from_slice(text.as_bytes().get(whole.end()..)?);
        String::from_utf8(replaced).ok()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_and_replaces_with_groups() {
        let pattern = Pattern::new("^/old/([a-z]+)").unwrap();
        assert!(pattern.is_match("/old/x") && !pattern.is_match("/new/old/x"));
        assert_eq!(pattern.replace("/old/shop/1", "/new/${1}-x").as_deref(), Some("/new/shop-x/1"));
        assert_eq!(pattern.replace("/other", "/new"), None);
        assert!(pattern.has_group(1) && !pattern.has_group(2));
    }

    #[test]
    fn errors_are_one_line_and_size_is_bounded() {
        let error = Pattern::new("a(b").unwrap_err();
        assert!(error.contains("unclosed group") && !error.contains('\n'), "{error}");
        assert!(Pattern::new("(a{1000}){1000}").unwrap_err().contains("too large"));
    }

    #[test]
    fn equal_by_text() {
        assert_eq!(Pattern::new("a+").unwrap(), Pattern::new("a+").unwrap());
        assert_ne!(Pattern::new("a+").unwrap(), Pattern::new("a*").unwrap());
    }
}
