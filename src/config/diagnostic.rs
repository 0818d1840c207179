//! Errors of the fleet file as people need them: where, the line itself with a caret, what is wrong, how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::sanitize;

/// Errors shown of one file; the rest is counted.
const SHOWN: usize = 20;
/// Characters of a source line shown around the caret.
const LINE_SHOWN: usize = 100;

/// A place in the file: line and column count from 1, columns and width in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

/// One thing that is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub place: Place,
    pub what: String,
    /// How to mend it.
    pub hint: Option<String>,
}

/// Everything that is wrong with one file, with the lines that are needed to show it.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    path: PathBuf,
    /// In the order of the file, with the source line of each (sanitised, secrets masked).
    found: Vec<(Diagnostic, Option<Snippet>)>,
    more: usize,
}

impl Diagnostics {
    pub fn new(path: &Path, source: &str, mut found: Vec<Diagnostic>) -> Self {
        found.sort_by_key(|d| d.place);
        found.dedup();
        let more = found.len().saturating_sub(SHOWN);
        found.truncate(SHOWN);
        let found = found.into_iter().map(|d| (Snippet::cut(source, d.place), d)).map(|(s, d)| (d, s)).collect();
        Self { path: path.to_owned(), found, more }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter().map(|(d, _)| d)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (d, snippet)) in self.found.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            let path = self.path.display().to_string();
            write!(f, "{}:{}:{}: {}", sanitize(&path), d.place.line, d.place.column, sanitize(&d.what))?;
            let gutter = d.place.line.to_string().len();
            if let Some(snippet) = snippet {
                write!(f, "\n{:gutter$} |\n{} | {}", "", d.place.line, snippet.line)?;
                write!(f, "\n{:gutter$} | {:before$}{}", "", "", "^".repeat(snippet.width), before = snippet.before)?;
            }
            if let Some(hint) = &d.hint {
                write!(f, "\n{:gutter$} = hint: {}", "", sanitize(hint))?;
            }
        }
        if self.more > 0 {
            write!(f, "\n\n{}: and {} more", self.path.display(), self.more)?;
        }
        Ok(())
    }
}

/// The part of a source line around a place, safe to print.
#[derive(Clone, Debug)]
struct Snippet {
    line: String,
    /// Characters before the caret.
    before: usize,
    width: usize,
}

impl Snippet {
    fn cut(source: &str, place: Place) -> Option<Self> {
        let line = source.lines().nth(place.line - 1)?;
        let line = mask_secrets(line);
        let length = line.chars().count();
        // Long lines (a whole fleet in one line of JSON) are cut around the place.
        let column = (place.column - 1).min(length);
        let from = if column > LINE_SHOWN / 2 && length > LINE_SHOWN { column - LINE_SHOWN / 2 } else { 0 };
        let to = length.min(from + LINE_SHOWN);
        let mut shown = String::new();
        let mut before = 0;
        let (left, right) = (if from > 0 { "…" } else { "" }, if to < length { "…" } else { "" });
        shown.push_str(left);
        before += left.chars().count();
        for (i, c) in line.chars().enumerate().skip(from).take(to - from) {
            let piece = if c == '\t' { " ".to_owned() } else { sanitize(c.encode_utf8(&mut [0; 4])).into_owned() };
            if i < column {
                before += unicode_width::UnicodeWidthStr::width(piece.as_str());
            }
            shown.push_str(&piece);
        }
        shown.push_str(right);
        let width = place.width.min(to.saturating_sub(column)).max(1);
        Some(Self { line: shown.trim_end().to_owned(), before, width })
    }
}

/// Hides what follows a key that holds a secret, and passwords in URLs: errors end up in tickets and logs.
fn mask_secrets(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut end = line.len();
    for word in ["password", "passphrase", "secret", "token"] {
        for (at, _) in lower.match_indices(word) {
            let rest = lower.get(at + word.len()..).unwrap_or_default();
            let after_key = rest.trim_start_matches(['"', '\'', ' ', '\t']);
            if let Some(value) = after_key.strip_prefix(':')
                && !value.trim().is_empty()
            {
                end = end.min(line.len() - value.len());
            }
        }
    }
    let mut shown = line.get(..end).unwrap_or_default().to_owned();
    if end < line.len() {
        shown.push_str(" ***");
    }
    while let Some((from, to)) = url_password(&shown) {
        shown.replace_range(from..to, "***");
    }
    shown
}

/// Byte range of the password in `scheme://user:password@`, unless it is masked already.
fn url_password(line: &str) -> Option<(usize, usize)> {
    for (at, _) in line.match_indices("://") {
        let start = at + 3;
        let authority = line.get(start..)?.split(['/', ' ', '"', '\'', '?', '#']).next().unwrap_or_default();
        if let Some((credentials, _)) = authority.rsplit_once('@')
            && let Some((user, password)) = credentials.split_once(':')
            && !password.is_empty()
            && password != "***"
        {
            return Some((start + user.len() + 1, start + credentials.len()));
        }
    }
    None
}

/// Why there is no fleet to work with. All are invalid input: the exit code is 2.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// No fleet file in any of the places.
    #[error("no fleet file found; looked at\n{}\nhint: `lbdeck fleet init` makes one, `lbdeck lab` shows a fleet without one, --fleet FILE names one", looked.join("\n"))]
    NotFound { looked: Vec<String> },
    /// The file was named (`--fleet`, `$LBDECK_FLEET`) and is not there.
    #[error("{}: no such fleet file (named by {by})\nhint: `lbdeck fleet init --write {}` makes it", path.display(), path.display())]
    Missing { path: PathBuf, by: &'static str },
    #[error("{}: cannot read the fleet file: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{}: larger than {limit}, which no fleet file needs to be", path.display())]
    TooLarge { path: PathBuf, limit: String },
    /// A file that is there and was not to be replaced.
    #[error("{}: there is a file already\nhint: --force replaces it, --write FILE takes another name", path.display())]
    Exists { path: PathBuf },
    #[error("{}: cannot write the fleet file: {why}", path.display())]
    Unwritable { path: PathBuf, why: String },
    /// All that is wrong, in the order of the file.
    #[error("{0}")]
    Invalid(Box<Diagnostics>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(source: &str, place: Place) -> String {
        let diagnostic = Diagnostic { place, what: "wrong".into(), hint: Some("mend it".into()) };
        Diagnostics::new(Path::new("f.yaml"), source, vec![diagnostic]).to_string()
    }

    #[test]
    fn shows_the_line_with_a_caret() {
        insta::assert_snapshot!(show("a: 1\n  b: é tail\n", Place { line: 2, column: 6, width: 1 }), @"
        f.yaml:2:6: wrong
          |
        2 |   b: é tail
          |      ^
          = hint: mend it
        ");
    }

    #[test]
    fn hides_secrets_and_escapes() {
        let shown = show("x: {password: hunter2, url: 'http://a:b@c'}\n", Place { line: 1, column: 5, width: 8 });
        assert!(!shown.contains("hunter2") && shown.contains("password: ***"), "{shown}");
        let shown = show("x: http://ops:hunter2@lb1/ \x1b[2J\n", Place { line: 1, column: 1, width: 1 });
        assert!(!shown.contains("hunter2") && shown.contains("ops:***@lb1") && shown.contains("\\x1b[2J"), "{shown}");
        let shown = show("  password_file: /etc/x\n", Place { line: 1, column: 3, width: 1 });
        assert!(shown.contains("password_file: /etc/x"), "{shown}");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let shown = show(&line, Place { line: 1, column: 5001, width: 4 });
        assert!(shown.lines().all(|l| l.chars().count() < 120), "{shown}");
        let (line, caret) = (shown.lines().nth(2).unwrap(), shown.lines().nth(3).unwrap());
        let column = caret.find('^').unwrap();
        assert_eq!(line.chars().skip(column).take(4).collect::<String>(), "HERE");
    }

    #[test]
    fn places_outside_the_file_are_survived() {
        show("", Place { line: 9, column: 9, width: 9 });
        show("a", Place { line: 1, column: 900, width: usize::MAX });
    }
}
