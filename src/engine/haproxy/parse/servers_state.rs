//! `show servers state`: the exact administrative state of each server, a *decimal* bit mask.

use super::ParseError;
use super::text::{Cuts, LONGEST, Lines, clean, narrow};

const REPLY: &str = "show servers state";

/// One line, borrowed from the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ServerState<'a> {
    pub backend: &'a [u8],
    pub server: &'a [u8],
    /// Address without port; `-` where there is none.
    pub address: &'a [u8],
    pub port: Option<u16>,
    pub admin: u8,
    /// Weight that an operator or the configuration asked for.
    pub user_weight: Option<u32>,
    pub initial_weight: Option<u32>,
    /// Health and agent checks are switched on, also while maintenance pauses them; None where none are configured.
    pub health_checks: Option<bool>,
    pub agent_checks: Option<bool>,
    /// Host name that the address was resolved from.
    pub fqdn: Option<&'a [u8]>,
}

/// Bits of `srv_check_state` and `srv_agent_state` (`CHK_ST_CONFIGURED`, `CHK_ST_ENABLED`).
const CHECK_CONFIGURED: u32 = 0x02;
const CHECK_ENABLED: u32 = 0x04;

fn checks(state: &[u8]) -> Option<bool> {
    let bits: u32 = narrow(state)?;
    (bits & CHECK_CONFIGURED != 0).then_some(bits & CHECK_ENABLED != 0)
}

/// Columns by name; None means that this version does not print it.
struct Layout {
    /// Words up to the last that is looked at.
    wanted: usize,
    backend: usize,
    server: usize,
    address: Option<usize>,
    port: Option<usize>,
    admin: usize,
    user_weight: Option<usize>,
    initial_weight: Option<usize>,
    check_state: Option<usize>,
    agent_state: Option<usize>,
    fqdn: Option<usize>,
}

impl Layout {
    fn parse(header: &[u8]) -> Result<Layout, ParseError> {
        let names: Vec<&[u8]> = header.split(|b| *b == b' ').filter(|w| !w.is_empty() && *w != b"#").collect();
        let find = |name: &str| names.iter().position(|n| *n == name.as_bytes());
        let must = |name: &'static str| find(name).ok_or_else(|| ParseError::new(REPLY, 2, format!("no column {name}")));
        let mut layout = Layout {
            wanted: 0,
            backend: must("be_name")?,
            server: must("srv_name")?,
            admin: must("srv_admin_state")?,
            address: find("srv_addr"),
            port: find("srv_port"),
            user_weight: find("srv_uweight"),
            initial_weight: find("srv_iweight"),
            check_state: find("srv_check_state"),
            agent_state: find("srv_agent_state"),
            fqdn: find("srv_fqdn"),
        };
        let optional = [
            layout.address,
            layout.port,
            layout.user_weight,
            layout.initial_weight,
            layout.check_state,
            layout.agent_state,
            layout.fqdn,
        ];
        let last = optional.into_iter().flatten().chain([layout.backend, layout.server, layout.admin]).max();
        layout.wanted = last.map_or(0, |last| last + 1);
        Ok(layout)
    }
}

/// All servers, in the engine's order, and what follows the reply. It starts with the format's version (only 1 is known)
/// and ends with a blank line, without which it was cut.
pub fn parse(text: &[u8]) -> Result<(Vec<ServerState<'_>>, &[u8]), ParseError> {
    let mut lines = Lines::of(text.trim_ascii_start());
    match next(&mut lines)?.trim_ascii() {
        b"1" => {}
        other => {
            let start = clean(other.get(..60).unwrap_or(other));
            return Err(ParseError::new(REPLY, 1, format!("expected format version 1, not '{start}'")));
        }
    }
    let layout = Layout::parse(next(&mut lines)?)?;
    let mut states = Vec::with_capacity(lines.rest().len() / 80);
    let mut words = Cuts::default();
    loop {
        let line = next(&mut lines)?;
        if line.is_empty() {
            return Ok((states, lines.rest()));
        }
        if line.len() > LONGEST {
            let what = format!("the line has {} bytes; no engine prints that many", line.len());
            return Err(ParseError::new(REPLY, lines.number(), what));
        }
        words.cut::<b' '>(line, layout.wanted);
        if words.count() < layout.wanted {
            let what = format!("the line has {} words, the header promises {} or more", words.count(), layout.wanted);
            return Err(ParseError::new(REPLY, lines.number(), what));
        }
        states.push(state(line, &words, &layout, lines.number())?);
    }
}

fn next<'a>(lines: &mut Lines<'a>) -> Result<&'a [u8], ParseError> {
    lines.next().ok_or_else(|| ParseError::new(REPLY, lines.number() + 1, "the reply is cut"))
}

fn state<'a>(row: &'a [u8], words: &Cuts, layout: &Layout, line: usize) -> Result<ServerState<'a>, ParseError> {
    let word = |at: usize| words.part(row, at);
    let optional = |at: Option<usize>| at.map(word).unwrap_or_default();
    let admin = word(layout.admin);
    let admin = narrow(admin).ok_or_else(|| {
        ParseError::new(
            REPLY,
            line,
            format!("srv_admin_state '{}' is not a decimal mask", clean(admin.get(..20).unwrap_or(admin))),
        )
    })?;
    Ok(ServerState {
        backend: word(layout.backend),
        server: word(layout.server),
        address: optional(layout.address),
        port: narrow(optional(layout.port)),
        admin,
        user_weight: narrow(optional(layout.user_weight)),
        initial_weight: narrow(optional(layout.initial_weight)),
        health_checks: checks(optional(layout.check_state)),
        agent_checks: checks(optional(layout.agent_state)),
        fqdn: Some(optional(layout.fqdn)).filter(|f| !f.is_empty() && *f != b"-"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_reply() {
        let (states, rest) = parse(include_bytes!("../fixtures/2.6-show-servers-state.txt")).unwrap();
        assert!(rest.is_empty());
        let web2 = states.iter().find(|s| s.server == b"web2").unwrap();
        assert_eq!((web2.backend, web2.admin, web2.port), (&b"web"[..], 5, Some(1002)));
        let drained = states.iter().find(|s| s.server == b"web1").unwrap();
        assert_eq!((drained.health_checks, web2.health_checks, drained.agent_checks), (Some(true), None, None));
        assert_eq!((drained.admin, drained.user_weight, drained.initial_weight), (8, Some(10), Some(10)));
    }

    #[test]
    fn decimal_not_hexadecimal_and_never_cut() {
        let text = "1\n# be_id be_name srv_id srv_name srv_addr srv_admin_state new\n3 web 1 w1 - 24 x\n\n";
        let (states, _) = parse(text.as_bytes()).unwrap();
        assert_eq!(states.first().map(|s| s.admin), Some(24), "24 is IDRAIN and FDRAIN, not 0x24");
        for cut in 0..text.len() - 1 {
            assert!(parse(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        assert!(parse(b"2\n# whatever\n\n").unwrap_err().what.contains("version 1"));
        assert!(parse(b"Permission denied\n\n").is_err());
        assert!(parse(b"1\n# be_name srv_name srv_admin_state\nb s 0x08\n\n").unwrap_err().what.contains("decimal"));
    }
}
