//! Runs `look.sh` on a node and takes its answer apart. The script is a constant and goes in by stdin; paths and the mark between the
//! parts go as words of argv, never into its text.

use std::time::Duration;

use crate::engine::{EngineError, Result};
use crate::model::sanitize;
use crate::transport::{Limits, Transport, TransportError};

const SCRIPT: &str = include_str!("look.sh");

/// One part of an answer: its name, the words beside it, what stands below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub name: String,
    pub words: String,
    pub text: String,
}

/// Runs one kind of look.
///
/// # Errors
/// The node cannot be reached, the shell cannot be run, or the answer ends too early.
pub async fn run(
    transport: &dyn Transport,
    sudo: bool,
    what: &str,
    words: &[String],
    deadline: Duration,
    limit: usize,
) -> Result<Vec<Part>> {
    let mark = format!("lbdeck-{:016x}", rand::random::<u64>());
    let mut argv: Vec<&str> = rights(sudo).to_vec();
    argv.extend(["sh", "-s", "--", &mark, what]);
    argv.extend(words.iter().map(String::as_str));
    let ran = transport.run(&argv, SCRIPT.as_bytes(), Limits { deadline, output: limit }).await?;
    let at = transport.describe();
    if ran.truncated {
        return Err(TransportError::TooLarge { at, doing: format!("looking at keepalived's {what}"), limit }.into());
    }
    let text = String::from_utf8_lossy(&ran.stdout);
    let parts = split(&text, &mark);
    if parts.last().is_none_or(|p| p.name != "end") {
        let said = sanitize(String::from_utf8_lossy(&ran.stderr).trim()).into_owned();
        if said.contains("password is required") || said.contains("not in the sudoers") {
            return Err(EngineError::NotAllowed {
                at,
                what: format!("sudo: {said}"),
                hint: "let the ssh user run commands by sudo without a password, or connect as root and leave out sudo: true"
                    .into(),
            });
        }
        let said = if said.is_empty() { "the answer ends too early".to_owned() } else { said };
        return Err(EngineError::Malformed { at, what: format!("looking at keepalived: {said}") });
    }
    Ok(parts)
}

/// What stands in front of argv.
pub fn rights(sudo: bool) -> &'static [&'static str] {
    if sudo { &["sudo", "-n", "--"] } else { &[] }
}

/// Parts begin with a line of the mark; the line feed before it belongs to the script, not to the part.
fn split(text: &str, mark: &str) -> Vec<Part> {
    let opening = format!("\n{mark} ");
    let mut parts = Vec::new();
    for piece in text.split(opening.as_str()).skip(1) {
        let (head, body) = piece.split_once('\n').unwrap_or((piece, ""));
        let (name, words) = head.split_once(' ').unwrap_or((head, ""));
        parts.push(Part { name: name.to_owned(), words: words.to_owned(), text: body.to_owned() });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_text_byte_for_byte() {
        let parts = split("noise\nM file /a b\none\n\ntwo\nM file /c\n\nM end\n", "M");
        let shown: Vec<(&str, &str, &str)> = parts.iter().map(|p| (p.name.as_str(), p.words.as_str(), p.text.as_str())).collect();
        assert_eq!(shown, [("file", "/a b", "one\n\ntwo"), ("file", "/c", ""), ("end", "", "")]);
        assert_eq!(split("nothing", "M"), []);
    }
}
