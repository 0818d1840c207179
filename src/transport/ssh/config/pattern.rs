//! OpenSSH's patterns (`*`, `?`, lists with `!`): of hosts in configuration and in known_hosts.

/// Whether all of `text` matches. Time is at most the product of the lengths, whatever the pattern.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if the last star has to take one more byte.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(x) if x == c => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|b| *b == b'*')
}

/// What a list of patterns says; one negated pattern that matches decides against all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listed {
    Yes,
    No,
    Negated,
}

pub fn in_list<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> Listed {
    let mut found = Listed::No;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated, text) => return Listed::Negated,
            Some(_) => {}
            None if matches(pattern, text) => found = Listed::Yes,
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("lb1", "lb1", true),
            ("lb?", "lb1", true),
            ("lb?", "lb", false),
            ("*", "", true),
            ("*.eu.example", "lb1.eu.example", true),
            ("*.eu.example", "eu.example", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbX", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        // Would take for ever by plain recursion.
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }

    #[test]
    fn negation_wins() {
        assert_eq!(in_list(["*.example", "!bad.example"], "good.example"), Listed::Yes);
        assert_eq!(in_list(["*.example", "!bad.example"], "bad.example"), Listed::Negated);
        assert_eq!(in_list(["!bad.example"], "good.example"), Listed::No);
    }
}
