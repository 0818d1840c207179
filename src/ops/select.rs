//! What a [`Selector`] matches, with its globs read once. Pure.

use std::net::IpAddr;

use globset::{Glob, GlobMatcher};

use crate::model::{NodeMeta, ServerObs};

use super::Selector;

/// A selector that makes sense.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Pool (any where None) and server.
    servers: Vec<(Option<GlobMatcher>, GlobMatcher)>,
    /// A glob over names, and the same text as the name of a group.
    nodes: Vec<(GlobMatcher, String)>,
    zone: Option<String>,
    tag: Option<String>,
    role: Option<String>,
    address: Option<(String, Option<u16>)>,
}

impl Selector {
    /// Reads the globs and the address; the error says which word makes no sense and why.
    pub fn matcher(&self) -> Result<Matcher, String> {
        Ok(Matcher {
            servers: self.servers.iter().map(|text| server_globs(text)).collect::<Result<_, _>>()?,
            nodes: self.nodes.iter().map(|text| Ok((glob(text, text)?, text.clone()))).collect::<Result<_, String>>()?,
            zone: self.zone.clone(),
            tag: self.tag.clone(),
            role: self.role.clone(),
            address: self.address.as_deref().map(split_address).transpose()?,
        })
    }

    /// True where no server was named, in one way or another: a change must not mean all of them by silence.
    pub fn names_no_server(&self) -> bool {
        self.servers.is_empty() && self.address.is_none()
    }
}

impl Matcher {
    pub fn node(&self, meta: &NodeMeta) -> bool {
        let any = |wanted: &Option<String>, have: &Option<String>| wanted.is_none() || wanted == have;
        let named = self.nodes.is_empty()
            || self.nodes.iter().any(|(name, group)| name.is_match(meta.name.as_str()) || meta.groups.contains(group));
        named
            && any(&self.zone, &meta.zone)
            && any(&self.role, &meta.role)
            && self.tag.as_ref().is_none_or(|tag| meta.tags.contains(tag))
    }

    /// By name only: what an address selects is known where the server was seen.
    pub fn name(&self, pool: &str, server: &str) -> bool {
        self.servers.is_empty()
            || self.servers.iter().any(|(p, s)| p.as_ref().is_none_or(|p| p.is_match(pool)) && s.is_match(server))
    }

    pub fn server(&self, pool: &str, server: &ServerObs) -> bool {
        self.name(pool, server.name.as_str())
            && self.address.as_ref().is_none_or(|(address, port)| {
                server.address.as_deref().is_some_and(|have| same_address(have, address))
                    && port.is_none_or(|port| server.port == Some(port))
            })
    }
}

fn glob(text: &str, whole: &str) -> Result<GlobMatcher, String> {
    if text.is_empty() {
        return Err(format!("'{whole}': an empty name matches nothing"));
    }
    Glob::new(text).map(|g| g.compile_matcher()).map_err(|e| format!("'{whole}': {}", e.kind()))
}

fn server_globs(text: &str) -> Result<(Option<GlobMatcher>, GlobMatcher), String> {
    match text.split_once('/') {
        Some((_, server)) if server.contains('/') => Err(format!("'{text}': write pool/server, with one slash")),
        Some((pool, server)) => Ok((Some(glob(pool, text)?), glob(server, text)?)),
        None => Ok((None, glob(text, text)?)),
    }
}

/// `10.0.0.5`, `10.0.0.5:80`, `::1`, `[::1]:80`, `app.internal:80`.
fn split_address(text: &str) -> Result<(String, Option<u16>), String> {
    let bad_port = |port: &str| format!("'{text}': '{port}' is not a port");
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(|| bad_port(rest))?)),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(format!("'{text}': write an address such as 10.0.0.5 or 10.0.0.5:80"));
    }
    let port = port.map(|p| p.parse().map_err(|_| bad_port(p))).transpose()?;
    Ok((host.to_owned(), port))
}

fn same_address(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a.eq_ignore_ascii_case(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(servers: &[&str]) -> Matcher {
        Selector { servers: servers.iter().map(ToString::to_string).collect(), ..Selector::default() }.matcher().unwrap()
    }

    #[test]
    fn names_and_globs() {
        assert!(matcher(&[]).name("web", "web1"));
        assert!(matcher(&["web1"]).name("any", "web1"));
        assert!(!matcher(&["web1"]).name("any", "web10"));
        assert!(matcher(&["w*/web[12]"]).name("web", "web2"));
        assert!(!matcher(&["w*/web[12]"]).name("api", "web2"));
        assert!(matcher(&["a/x", "b/*"]).name("b", "y"));
    }

    #[test]
    fn nodes_by_name_group_zone_and_tag() {
        let meta = NodeMeta {
            name: "lb1".into(),
            address: "10.0.0.1".into(),
            zone: Some("a".into()),
            role: None,
            tags: vec!["canary".into()],
            groups: vec!["edge".into()],
        };
        let selected = |s: Selector| s.matcher().unwrap().node(&meta);
        assert!(selected(Selector::default()));
        assert!(selected(Selector { nodes: vec!["lb*".into()], ..Selector::default() }));
        assert!(selected(Selector { nodes: vec!["edge".into()], zone: Some("a".into()), ..Selector::default() }));
        assert!(!selected(Selector { zone: Some("b".into()), ..Selector::default() }));
        assert!(!selected(Selector { role: Some("x".into()), ..Selector::default() }));
        assert!(selected(Selector { tag: Some("canary".into()), ..Selector::default() }));
    }

    #[test]
    fn addresses() {
        assert_eq!(split_address("10.0.0.5"), Ok(("10.0.0.5".into(), None)));
        assert_eq!(split_address("10.0.0.5:80"), Ok(("10.0.0.5".into(), Some(80))));
        assert_eq!(split_address("fe80::1"), Ok(("fe80::1".into(), None)));
        assert_eq!(split_address("[::1]:80"), Ok(("::1".into(), Some(80))));
        assert!(split_address("10.0.0.5:99999").is_err());
        assert!(split_address("[::1]80").is_err());
        assert!(split_address(":80").is_err());
        assert!(same_address("0:0:0:0:0:0:0:1", "::1"));
    }

    #[test]
    fn nonsense_is_named() {
        let bad = |s: &str| Selector { servers: vec![s.into()], ..Selector::default() }.matcher().err();
        assert!(bad("a/b/c").unwrap().contains("one slash"));
        assert!(bad("a/").unwrap().contains("empty name"));
        assert!(bad("web[").unwrap().contains("web["));
    }
}
