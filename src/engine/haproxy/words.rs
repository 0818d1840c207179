//! What may stand in a command. The runtime API reads one line, cut at spaces, with `;` between commands, `\` as escape
//! and `<<` before a payload: a name that holds any of these could smuggle a second command, so it is refused.

/// A name as HAProxy allows it for proxies and servers: letters, digits, `-`, `_`, `.` and `:`.
pub fn name(text: &str) -> Result<&str, String> {
    if text.is_empty() {
        return Err("an empty name".into());
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.' | ':')) {
        None => Ok(text),
        Some(odd) => Err(format!("'{}' has {odd:?}, which no name of HAProxy may have", text.escape_debug())),
    }
}

/// One word of a command: printable ASCII without what the runtime API gives a meaning to.
pub fn word(text: &str) -> Result<&str, String> {
    if text.is_empty() {
        return Err("an empty word".into());
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, ';' | '\\' | '"' | '\'' | '<' | '#')) {
        None => Ok(text),
        Some(odd) => Err(format!("'{}' has {odd:?}, which cannot be sent in a command", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_smuggles_a_second_command() {
        assert_eq!(name("web-1.example_2:x"), Ok("web-1.example_2:x"));
        for bad in ["", "a b", "a;show sess", "a\nb", "a\\ b", "a/b", "a\u{e9}", "a\x1b[2J", "a<<"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(word("2001:db8::1/64,x=%[src]"), Ok("2001:db8::1/64,x=%[src]"));
        for bad in ["", "a b", "a;b", "a\rb", "a\\b", "<<", "a\"", "'", "#x", "\u{a0}", "a\0"] {
            assert!(word(bad).is_err(), "{bad:?}");
        }
    }
}
