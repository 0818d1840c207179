//! The text of an ssh configuration file as directives. Pure: what they mean for a host is `resolve`'s business.
//!
//! Follows OpenSSH 9: `key value`, `key=value`, quotes and backslashes in arguments, comments at the start of an argument.

/// One line that says something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directive {
    /// From 1.
    pub line: usize,
    /// In lower case.
    pub keyword: String,
    /// Never empty.
    pub args: Vec<String>,
    /// What follows the keyword, as written: for values that are commands.
    pub rest: String,
}

/// A line that OpenSSH would refuse to start with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    pub what: String,
}

/// The directives of a file in order, and its first malformed line.
pub fn parse(text: &str) -> (Vec<Directive>, Option<Malformed>) {
    let mut directives = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let trimmed = raw.trim_end_matches([' ', '\t', '\r', '\x0c']).trim_start_matches([' ', '\t']);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (keyword, rest) = split_keyword(trimmed);
        if keyword.is_empty() {
            return (directives, Some(Malformed { line, what: format!("no keyword in '{trimmed}'") }));
        }
        match split_args(rest) {
            Ok(args) if !args.is_empty() => {
                let (keyword, rest) = (keyword.to_ascii_lowercase(), rest.to_owned());
                directives.push(Directive { line, keyword, args, rest });
            }
            Ok(_) => return (directives, Some(Malformed { line, what: format!("no argument after '{keyword}'") })),
            Err(what) => return (directives, Some(Malformed { line, what })),
        }
    }
    (directives, None)
}

/// The keyword, and what follows it and at most one `=`.
fn split_keyword(line: &str) -> (&str, &str) {
    if let Some(quoted) = line.strip_prefix('"') {
        return quoted.split_once('"').map_or((quoted, ""), |(keyword, rest)| (keyword, after_equals(rest)));
    }
    let end = line.find([' ', '\t', '=', '"']).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    (keyword, after_equals(rest))
}

fn after_equals(rest: &str) -> &str {
    let rest = rest.trim_start_matches([' ', '\t']);
    rest.strip_prefix('=').unwrap_or(rest).trim_start_matches([' ', '\t'])
}

/// Words, with `"…"` and `'…'` taken off and `\"`, `\'`, `\\` and (outside quotes) `\ ` unescaped.
fn split_args(text: &str) -> Result<Vec<String>, String> {
    let mut args = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        match chars.peek() {
            None | Some('#') => return Ok(args),
            Some(_) => {}
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', _) => match chars.peek().copied() {
                    Some(next @ ('"' | '\'' | '\\')) => {
                        word.push(next);
                        chars.next();
                    }
                    Some(' ') if quote.is_none() => {
                        word.push(' ');
                        chars.next();
                    }
                    _ => word.push('\\'),
                },
                (' ' | '\t', None) => break,
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                _ => word.push(c),
            }
        }
        if quote.is_some() {
            return Err("a quote is not closed".into());
        }
        args.push(word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn args(line: &str) -> Vec<String> {
        let (directives, bad) = parse(line);
        assert_eq!(bad, None, "{line}");
        directives.into_iter().next().map(|d| d.args).unwrap_or_default()
    }

    #[test]
    fn forms_of_a_line() {
        for line in
            ["HostName lb1", "hostname=lb1", "HOSTNAME = lb1", "  hostName\tlb1 \r", "hostname \"lb1\"", "hostname lb1 # here"]
        {
            let (directives, bad) = parse(line);
            assert_eq!((directives[0].keyword.as_str(), bad), ("hostname", None), "{line}");
            assert_eq!(directives[0].args, ["lb1"], "{line}");
        }
        assert_eq!(args(r#"IdentityFile "~/my keys/id""#), ["~/my keys/id"]);
        assert_eq!(args(r"IdentityFile ~/my\ keys/id"), ["~/my keys/id"]);
        assert_eq!(args(r#"Host a 'b c' "d'e" f\"g"#), ["a", "b c", "d'e", "f\"g"]);
        assert_eq!(args("Host a#b"), ["a#b"]);
    }

    #[test]
    fn malformed_lines_are_named() {
        let bad = |text| parse(text).1.map(|m| (m.line, m.what));
        assert_eq!(bad("Host a\n\nUser \"x"), Some((3, "a quote is not closed".into())));
        assert_eq!(bad("User"), Some((1, "no argument after 'User'".into())));
        assert_eq!(bad("User # nobody"), Some((1, "no argument after 'User'".into())));
        assert_eq!(bad("= x"), Some((1, "no keyword in '= x'".into())));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_parsed(text in "[ -~\\t\\n\"'\\\\=#é\\x00]{0,200}") {
            let (directives, _) = parse(&text);
            for d in directives {
                prop_assert!(!d.keyword.is_empty() && !d.args.is_empty());
                prop_assert!(d.line <= text.lines().count());
            }
        }
    }
}
