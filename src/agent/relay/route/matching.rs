//! Conditions of a route: host, path, method, header, query, client network, TLS. All kinds that are given must hold; of each kind one.

use http::Method;

use super::Asked;
use super::path::is_below;
use super::pattern::Pattern;
use crate::agent::relay::protect::networks::Networks;

/// A host: exact or with a wildcard for one or more labels in front. Kept in lower case, without a port.
#[derive(Clone, Debug, PartialEq)]
pub enum HostPattern {
    Exact(Box<str>),
    /// `*.example.org`, kept as `.example.org`.
    Below(Box<str>),
}

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let lower = lower.trim_end_matches('.');
        let (rest, wildcard) = match lower.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (lower, false),
        };
        let bracketed = rest.starts_with('[') && rest.ends_with(']');
        if rest.is_empty() || rest.contains(['*', '/', ' ']) || (rest.contains(':') && !bracketed) {
            return Err(format!("'{text}' is no host; write example.org or *.example.org, without a port"));
        }
        Ok(if wildcard { Self::Below(format!(".{rest}").into()) } else { Self::Exact(rest.into()) })
    }

    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(host),
            Self::Below(suffix) => {
                host.len() > suffix.len()
                    && host
                        .as_bytes()
                        .get(host.len() - suffix.len()..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
            }
        }
    }
}

/// A path in its normal form (see [`super::path::normalize`]).
#[derive(Clone, Debug, PartialEq)]
pub enum PathPattern {
    Exact(Box<str>),
    /// At or below, on a segment's boundary.
    Prefix(Box<str>),
    Regex(Pattern),
}

impl PathPattern {
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Prefix(prefix) => is_below(path, prefix),
            Self::Regex(pattern) => pattern.is_match(path),
        }
    }
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum ValuePattern {
    Present,
    Absent,
    Exact(Box<str>),
    Regex(Pattern),
}

impl ValuePattern {
    fn matches<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>) -> bool {
        match self {
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
            Self::Exact(exact) => values.any(|v| v == exact.as_bytes()),
            Self::Regex(pattern) => values.any(|v| pattern.is_match(v)),
        }
    }
}

/// What a request must be for a route; empty lists and `None` do not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    pub hosts: Vec<HostPattern>,
    pub paths: Vec<PathPattern>,
    pub methods: Vec<Method>,
    /// Name and value; all must hold.
    pub headers: Vec<(Box<str>, ValuePattern)>,
    /// Name and value of parameters as written in the query (escapes are not decoded); all must hold.
    pub query: Vec<(Box<str>, ValuePattern)>,
    pub clients: Networks,
    pub tls: Option<bool>,
}

impl Conditions {
    /// Whether every request fits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn match_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|p| p.matches(host))
    }

    /// All but the host.
    pub(super) fn match_rest(&self, asked: &Asked<'_>) -> bool {
        self.tls.is_none_or(|tls| tls == asked.tls)
            && (self.methods.is_empty() || self.methods.contains(&asked.head.method))
            && (self.paths.is_empty() || self.paths.iter().any(|p| p.matches(&asked.path)))
            && (self.clients.is_empty() || self.clients.contains(asked.client))
            && self.headers.iter().all(|(name, value)| value.matches(asked.head.headers.get_all(&**name)))
            && self.query.iter().all(|(name, value)| value.matches(parameters(asked.head.query(), name)))
    }

    pub fn matches(&self, asked: &Asked<'_>) -> bool {
        self.match_host(asked.head.host()) && self.match_rest(asked)
    }
}

/// Values of a parameter of the query; a parameter without `=` has an empty one.
fn parameters<'q>(query: Option<&'q str>, name: &str) -> impl Iterator<Item = &'q [u8]> {
    query.unwrap_or_default().split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name && !pair.is_empty()).then_some(value.as_bytes())
    })
}
