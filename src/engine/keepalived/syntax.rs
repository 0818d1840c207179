//! keepalived's configuration as written: statements with the places of their words, nothing lost, nothing judged.
//!
//! Comments (`!`, `#`), quotes, nested blocks, `@id` conditions and `$NAME=` definitions are known; unknown keywords are statements like any
//! other. The text itself is kept by whoever reads it: an edit puts bytes in at a place and leaves the rest byte for byte.

/// A word and where it stands, in bytes of the file. Quotes are taken off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    pub text: String,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    pub statements: Vec<Statement>,
    /// Behind the opening brace.
    pub open: usize,
    /// Before the closing brace.
    pub close: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// `@id` or `@^id` in front of it.
    pub condition: Option<String>,
    /// Empty for a block without a keyword (the inner blocks of some lists).
    pub words: Vec<Word>,
    pub block: Option<Block>,
    /// The text behind the `=` of a `$NAME=` definition.
    pub definition: Option<(String, String)>,
    /// Counted from 1.
    pub line: usize,
}

impl Statement {
    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", |w| w.text.as_str())
    }
    pub fn word(&self, n: usize) -> Option<&str> {
        self.words.get(n).map(|w| w.text.as_str())
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    pub line: usize,
    pub what: String,
}

/// Deeper nesting than any configuration has.
const DEEPEST: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(Word),
    Open(usize),
    Close(usize),
    Line,
}

/// Reads a whole file.
///
/// # Errors
/// Braces that do not match, quotes that are not closed.
pub fn parse(text: &str) -> Result<Vec<Statement>, SyntaxError> {
    let tokens = tokens(text)?;
    let mut at = 0;
    let statements = statements(text, &tokens, &mut at, 0)?.0;
    Ok(statements)
}

/// The statements of a block, and where its closing brace stands (None at the end of the file).
fn statements(
    text: &str,
    tokens: &[(Token, usize)],
    at: &mut usize,
    depth: usize,
) -> Result<(Vec<Statement>, Option<usize>), SyntaxError> {
    let mut all: Vec<Statement> = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    let mut begun = 0;
    while let Some((token, line)) = tokens.get(*at) {
        *at += 1;
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    begun = *line;
                }
                words.push(word.clone());
            }
            Token::Line => all.extend(finished(text, &mut words, None, begun)),
            Token::Open(open) => {
                if depth == DEEPEST {
                    return Err(SyntaxError { line: *line, what: format!("blocks are nested deeper than {DEEPEST}") });
                }
                let (inner, close) = statements(text, tokens, at, depth + 1)?;
                let Some(close) = close else {
                    return Err(SyntaxError { line: *line, what: "this '{' is never closed".into() });
                };
                let block = Block { statements: inner, open: *open, close };
                // The brace may stand on a line of its own below its keyword.
                if words.is_empty() && all.last().is_some_and(|last| last.block.is_none() && last.definition.is_none()) {
                    if let Some(last) = all.last_mut() {
                        last.block = Some(block);
                    }
                } else {
                    let begun = if words.is_empty() { *line } else { begun };
                    all.extend(finished(text, &mut words, Some(block), begun));
                }
            }
            Token::Close(close) => {
                if depth == 0 {
                    return Err(SyntaxError { line: *line, what: "this '}' closes nothing".into() });
                }
                all.extend(finished(text, &mut words, None, begun));
                return Ok((all, Some(*close)));
            }
        }
    }
    all.extend(finished(text, &mut words, None, begun));
    Ok((all, None))
}

fn finished(text: &str, words: &mut Vec<Word>, block: Option<Block>, line: usize) -> Option<Statement> {
    if words.is_empty() && block.is_none() {
        return None;
    }
    let mut words = std::mem::take(words);
    let condition = match words.first() {
        Some(first) if first.text.starts_with('@') && first.text.len() > 1 => Some(words.remove(0).text),
        _ => None,
    };
    let definition = words.first().and_then(|first| {
        let (name, _) = first.text.strip_prefix('$')?.split_once('=')?;
        let from = first.start + first.text.find('=')? + 1;
        let to = words.last()?.end;
        Some((name.to_owned(), text.get(from..to)?.trim().to_owned()))
    });
    Some(Statement { condition, words, block, definition, line })
}

/// Words, braces and line ends with their lines.
fn tokens(text: &str) -> Result<Vec<(Token, usize)>, SyntaxError> {
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    let mut out = Vec::new();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => {
                out.push((Token::Line, line));
                line += 1;
                at += 1;
            }
            b'!' | b'#' => {
                at += bytes.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)).unwrap_or(bytes.len() - at);
            }
            // The byte order mark that some editors leave.
            b if b.is_ascii_whitespace() => at += 1,
            0xef if text.get(at..).is_some_and(|t| t.starts_with('\u{feff}')) => at += 3,
            b'{' => {
                out.push((Token::Open(at + 1), line));
                at += 1;
            }
            b'}' => {
                out.push((Token::Close(at), line));
                at += 1;
            }
            _ => {
                let (word, next, lines) = word(text, at, line)?;
                out.push((Token::Word(word), line));
                at = next;
                line += lines;
            }
        }
    }
    Ok(out)
}

/// A word that begins at `start`; where the next thing begins, and how many line ends it held.
fn word(text: &str, start: usize, line: usize) -> Result<(Word, usize, usize), SyntaxError> {
    let (mut out, mut at, mut lines) = (String::new(), start, 0);
    let mut quote: Option<char> = None;
    let mut chars = text.get(start..).unwrap_or_default().chars().peekable();
    // `${NAME}` and the alternatives of a glob (`{a,b}*.conf`) are part of a word.
    let mut in_braces = false;
    while let Some(c) = chars.next() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) if c == '\n' => return Err(SyntaxError { line, what: "a quote is not closed".into() }),
            Some('"') if c == '\\' => {
                if let Some(next) = chars.next() {
                    at += next.len_utf8();
                    out.push(next);
                }
            }
            Some(_) => out.push(c),
            None => match c {
                '"' | '\'' => quote = Some(c),
                '\\' if chars.peek() == Some(&'\n') => {
                    // A line that goes on in the next.
                    chars.next();
                    at += 2;
                    lines += 1;
                    break;
                }
                '{' if out.ends_with('$') || (at > start && are_alternatives(text.get(at..).unwrap_or_default())) => {
                    in_braces = true;
                    out.push(c);
                }
                '}' if in_braces => {
                    in_braces = false;
                    out.push(c);
                }
                '{' | '}' | '!' | '#' => break,
                c if c.is_ascii_whitespace() => break,
                c => out.push(c),
            },
        }
        at += c.len_utf8();
    }
    if quote.is_some() {
        return Err(SyntaxError { line, what: "a quote is not closed".into() });
    }
    Ok((Word { text: out, start, end: at.min(text.len()) }, at, lines))
}

/// `{a,b}` without a blank, in the middle of a word.
fn are_alternatives(text: &str) -> bool {
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    word.split_once('}').is_some_and(|(inner, _)| inner.contains(','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(statements: &[Statement]) -> String {
        let one = |s: &Statement| {
            let words: Vec<&str> = s.words.iter().map(|w| w.text.as_str()).collect();
            let block = s.block.as_ref().map(|b| format!("{{{}}}", shape(&b.statements))).unwrap_or_default();
            format!("{}{}{block}", s.condition.as_deref().map(|c| format!("[{c}]")).unwrap_or_default(), words.join(" "))
        };
        statements.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn blocks_comments_quotes_and_conditions() {
        let text = "! head\nglobal_defs {\n  router_id \"a b\" # why\n}\nvrrp_instance VI_1\n{\n  @lb1 priority 150\n  @^lb1 priority 100\n  track_file { planned weight 1 }\n  odd_new_word 1 2\n  notify '/x y' }\n";
        let parsed = parse(text).unwrap();
        assert_eq!(
            shape(&parsed),
            "global_defs{router_id a b}; vrrp_instance VI_1{[@lb1]priority 150; [@^lb1]priority 100; \
             track_file{planned weight 1}; odd_new_word 1 2; notify /x y}"
        );
        let block = parsed[1].block.as_ref().unwrap();
        assert_eq!(&text[block.close..=block.close], "}");
        assert_eq!(&text[block.open - 1..block.open], "{");
    }

    #[test]
    fn definitions_and_variables_are_words() {
        let parsed = parse("$VIPS=10.0.0.1/24 dev eth0\nvirtual_ipaddress {\n ${VIPS}\n}\ninclude conf.d/*.conf\r\n").unwrap();
        assert_eq!(parsed[0].definition, Some(("VIPS".into(), "10.0.0.1/24 dev eth0".into())));
        assert_eq!(parsed[1].block.as_ref().unwrap().statements[0].keyword(), "${VIPS}");
        assert_eq!(parsed[2].word(1), Some("conf.d/*.conf"));
    }

    #[test]
    fn what_does_not_match_is_named_with_its_line() {
        assert_eq!(parse("a {\n b\n").unwrap_err().to_string(), "line 1: this '{' is never closed");
        assert_eq!(parse("a\n}\n").unwrap_err().to_string(), "line 2: this '}' closes nothing");
        assert_eq!(parse("a\nb \"x\n").unwrap_err().to_string(), "line 2: a quote is not closed");
        assert!(parse(&"a {\n".repeat(1000)).unwrap_err().what.contains("deeper"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_words_lie_in_it(text in "[ -~\n{}!#\"'$@\\\\é]{0,200}") {
            fn check(text: &str, statements: &[Statement]) {
                for s in statements {
                    for w in &s.words {
                        assert!(text.get(w.start..w.end).is_some());
                    }
                    if let Some(b) = &s.block {
                        assert!(text.get(b.open..b.close).is_some());
                        check(text, &b.statements);
                    }
                }
            }
            if let Ok(parsed) = parse(&text) {
                check(&text, &parsed);
            }
        }
    }
}
