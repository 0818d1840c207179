//! `show sess`: one line a stream. The management guide warns that the format may change between versions, so fields are
//! found by name, and the line is kept whole.

use std::time::Duration;

use crate::model::Session;

use super::text::clean;

/// Streams of the reply, without those of the runtime API itself (`fe=GLOBAL`). At most `limit`, those that `keep` wants.
pub fn parse(text: &[u8], limit: usize, keep: impl Fn(&Session) -> bool) -> Vec<Session> {
    text.split(|b| *b == b'\n')
        .filter(|line| line.starts_with(b"0x"))
        .filter_map(session)
        .filter(|s| s.frontend != "GLOBAL" && keep(s))
        .take(limit)
        .collect()
}

fn session(line: &[u8]) -> Option<Session> {
    let line = clean(line.trim_ascii_end());
    let (id, rest) = line.split_once(':')?;
    let field = |name: &str| {
        rest.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).filter(|v| !v.is_empty()).unwrap_or_default()
    };
    // Names that stand for none come in angle brackets, in capitals or not by version.
    let named = |name: &str| match field(name) {
        none if none.eq_ignore_ascii_case("<none>") => String::new(),
        value => value.to_owned(),
    };
    Some(Session {
        id: id.to_owned(),
        protocol: field("proto").to_owned(),
        source: field("src").to_owned(),
        frontend: named("fe"),
        backend: named("be"),
        server: named("srv"),
        age: age(field("age")),
        expires: age(field("exp")),
        raw: line.into_owned(),
    })
}

/// HAProxy's short times: `0s`, `1m12s`, `3h2m`, `2d5h`; empty where there is none.
fn age(text: &str) -> Option<Duration> {
    let mut seconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, tail) = rest.split_at(digits);
        let unit = tail.chars().next()?;
        let scale = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(count.parse::<u64>().ok()?.checked_mul(scale)?)?;
        rest = tail.get(unit.len_utf8()..)?;
    }
    (!text.is_empty()).then_some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_reply() {
        let all = parse(include_bytes!("../fixtures/2.6-show-sess.txt"), 100, |_| true);
        assert_eq!(all.len(), 3, "the console's own stream is left out");
        let one = all.first().unwrap();
        assert_eq!((one.frontend.as_str(), one.backend.as_str(), one.server.as_str()), ("fe", "web", "web1"));
        assert_eq!((one.protocol.as_str(), one.age), ("tcpv4", Some(Duration::from_secs(1))));
        assert!(one.id.starts_with("0x") && one.raw.contains("scf=[") && one.source.starts_with("127.0.0.1:"));
        assert_eq!(parse(include_bytes!("../fixtures/2.6-show-sess.txt"), 2, |_| true).len(), 2);
        assert!(parse(include_bytes!("../fixtures/2.6-show-sess.txt"), 9, |s| s.server == "web2").is_empty());
    }

    #[test]
    fn other_versions_and_nonsense() {
        let text =
            b"0x1: proto=tcpv6 src=[::1]:9 fe=f flags=0x10 be=b srv=<NONE> new=1 age=1d2h exp=\n0xbroken\n0x2: \xff\x1b[2J\n";
        let all = parse(text, 10, |_| true);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].age, Some(Duration::from_secs(93_600)));
        assert_eq!((all[0].server.as_str(), all[0].expires), ("", None));
        assert!(!all[1].raw.contains('\x1b'));
        assert_eq!(age("99999999999999999999d"), None);
        assert_eq!(age("5"), None);
    }
}
