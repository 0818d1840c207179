//! Text that came from a node is shown to a terminal and written to logs: control bytes must not get through.

use std::borrow::Cow;

/// Replaces control characters (C0, DEL, C1), line and paragraph separators and bidirectional overrides by a visible
/// escape such as `\x1b`, so that remote text can neither move the cursor nor reorder what is read.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hostile(c) {
            let code = c as u32;
            if code < 0x100 {
                out.push_str(&format!("\\x{code:02x}"));
            } else {
                out.push_str(&format!("\\u{{{code:x}}}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(sanitize("web1 L7OK/200 in 3ms — ok"), Cow::Borrowed(_)));
    }

    #[test]
    fn escapes_become_visible() {
        assert_eq!(sanitize("a\x1b[2Jb\r\n\u{9b}c\u{202e}d"), "a\\x1b[2Jb\\x0d\\x0a\\x9bc\\u{202e}d");
    }
}
