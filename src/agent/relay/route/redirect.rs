//! Redirects and rewrites: where a request is sent instead, or what the server sees.

use std::borrow::Cow;

use super::path::{is_below, normalize};
use super::pattern::Pattern;
use super::template::{Template, Vars};

/// A redirect: parts that are not given stay as the client asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    pub tls: Option<bool>,
    pub host: Option<Template>,
    /// Port to name; else the scheme's own where scheme or host change.
    pub port: Option<u16>,
    /// Path, with a query if the new place has one; the client's query is appended otherwise.
    pub path: Option<Template>,
    /// Path prefix to replace by `path` (which then has no query); the rest of the path stays.
    pub strip: Option<Box<str>>,
}

/// Statuses that a redirect may have (RFC 9110, 15.4).
pub const REDIRECT_STATUSES: &[u16] = &[301, 302, 303, 307, 308];

impl Redirect {
    /// The value of `Location`. `authority` is what the client asked for, with its port.
    pub fn location(&self, vars: &Vars<'_>, authority: &str) -> String {
        let tls = self.tls.unwrap_or(vars.tls);
        let mut location = String::from(if tls { "https://" } else { "http://" });
        let moves = self.host.is_some() || self.port.is_some() || tls != vars.tls;
        match &self.host {
            Some(host) => host.write(vars, &mut location),
            // The client's port belongs to the client's scheme.
            None if moves => location.push_str(vars.host),
            None => location.push_str(authority),
        }
        if let Some(port) = self.port.filter(|p| *p != if tls { 443 } else { 80 }) {
            location.push(':');
            location.push_str(&port.to_string());
        }
        let start = location.len();
        match (&self.path, &self.strip) {
            (Some(path), Some(prefix)) => {
                let new = path.render(vars);
                location.push_str(&swap_prefix(vars.path, prefix, &new));
            }
            (Some(path), None) => path.write(vars, &mut location),
            (None, _) => location.push_str(vars.path),
        }
        if !location.get(start..).is_some_and(|p| p.starts_with('/')) {
            location.insert(start, '/');
        }
        if let Some(query) = vars.query
            && !location.get(start..).is_some_and(|p| p.contains('?'))
        {
            location.push('?');
            location.push_str(query);
        }
        // What came decoded out of a variable must not end the field.
        location.retain(|c| !c.is_control() && c != ' ');
        location
    }
}

/// A change of the path on its way to the server; the query stays.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewrite {
    /// `/old/x` → `/new/x`.
    Prefix { from: Box<str>, to: Box<str> },
    /// The first match becomes the replacement, with `$1` and `${name}` for groups.
    Regex { pattern: Pattern, replacement: Box<str> },
}

impl Rewrite {
    /// The target for the server; the given one where nothing matches. Expressions see the path's normal form.
    pub fn apply<'t>(&self, target: &'t str) -> Cow<'t, str> {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let new = match self {
            Self::Prefix { from, to } if is_below(&normalize(path), from) => Some(swap_prefix(path, from, to)),
            Self::Prefix { .. } => None,
            Self::Regex { pattern, replacement } => pattern.replace(&normalize(path), replacement),
        };
        let Some(mut new) = new else { return Cow::Borrowed(target) };
        if !new.starts_with('/') {
            new.insert(0, '/');
        }
        if let Some(query) = query {
            new.push(if new.contains('?') { '&' } else { '?' });
            new.push_str(query);
        }
        Cow::Owned(new)
    }
}

/// The path with a prefix replaced. The client's spelling of the rest stays where it spelt the prefix plainly.
fn swap_prefix(path: &str, from: &str, to: &str) -> String {
    let normal = normalize(path);
    // Dot segments later on could climb out of the prefix, so the written form counts only where it is the normal one up to escapes.
    let plain = is_below(path, from) && !path.contains("/.") && !path.contains("//") && !path.to_ascii_lowercase().contains("%2");
    let source = if plain { path } else { &normal };
    let Some(rest) = source.strip_prefix(from.trim_end_matches('/')).filter(|_| is_below(source, from)) else {
        return source.to_owned();
    };
    let mut new = String::with_capacity(to.len() + rest.len());
    new.push_str(to.trim_end_matches('/'));
    new.push_str(rest);
    if new.is_empty() {
        new.push('/');
    }
    new
}

#[cfg(test)]
mod tests {
    use super::super::template::tests::vars;
    use super::*;

    fn location(redirect: &Redirect, tls: bool, authority: &str) -> String {
        redirect.location(&Vars { tls, ..vars() }, authority)
    }

    #[test]
    fn to_https_drops_the_port_of_http() {
        let redirect = Redirect { status: 301, tls: Some(true), ..Redirect::default() };
        assert_eq!(location(&redirect, false, "example.org:8080"), "https://example.org/a?b=c");
        let redirect = Redirect { port: Some(8443), ..redirect };
        assert_eq!(location(&redirect, false, "example.org:8080"), "https://example.org:8443/a?b=c");
        let redirect = Redirect { port: Some(443), ..redirect };
        assert_eq!(location(&redirect, false, "example.org:8080"), "https://example.org/a?b=c");
    }

    #[test]
    fn host_and_path_are_templates() {
        let path = |t: &str| Some(Template::parse(t).unwrap());
        let to_www = Redirect { host: path("www.{host}"), ..Redirect::default() };
        assert_eq!(location(&to_www, true, "example.org:8443"), "https://www.example.org/a?b=c");
        let fixed = Redirect { path: path("/new?x=1"), ..Redirect::default() };
        assert_eq!(location(&fixed, true, "example.org:8443"), "https://example.org:8443/new?x=1");
        let moved = Redirect { path: path("/new"), strip: Some("/a".into()), ..Redirect::default() };
        assert_eq!(moved.location(&Vars { path: "/a/x", ..vars() }, "example.org"), "https://example.org/new/x?b=c");
        let bare = Redirect { path: path("new"), ..Redirect::default() };
        assert_eq!(location(&bare, false, "example.org"), "http://example.org/new?b=c");
    }

    #[test]
    fn a_location_stays_on_its_host() {
        let redirect = Redirect { tls: Some(true), ..Redirect::default() };
        assert_eq!(redirect.location(&Vars { path: "//evil.example/", ..vars() }, "x"), "https://x//evil.example/?b=c");
    }

    #[test]
    fn prefixes_are_swapped_on_segments() {
        let rewrite = Rewrite::Prefix { from: "/api".into(), to: "/v2".into() };
        for (target, new) in [
            ("/api/x?y=/api", "/v2/x?y=/api"),
            ("/api", "/v2"),
            ("/apix", "/apix"),
            ("/%61pi/x", "/v2/x"),
            ("/api/a%20b", "/v2/a%20b"),
            ("/api/../secret", "/api/../secret"),
            ("/x/../api/y", "/v2/y"),
        ] {
            assert_eq!(rewrite.apply(target), new, "{target}");
        }
        let strip = Rewrite::Prefix { from: "/api/".into(), to: "/".into() };
        assert_eq!((&*strip.apply("/api/x"), &*strip.apply("/api")), ("/x", "/"));
    }

    #[test]
    fn expressions_replace_with_groups_and_keep_the_query() {
        let pattern = Pattern::new("^/u/([0-9]+)$").unwrap();
        let rewrite = Rewrite::Regex { pattern, replacement: "/user?id=$1".into() };
        assert_eq!(rewrite.apply("/u/12?x=y"), "/user?id=12&x=y");
        assert_eq!(rewrite.apply("/u/12"), "/user?id=12");
        assert_eq!(rewrite.apply("/u/no?x"), "/u/no?x");
    }
}
