//! Which pool takes a request, and what is changed or answered on the way.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::agent::relay::protect::networks::Networks;
use crate::agent::relay::route::edit::{Edit, Edits, check_name};
use crate::agent::relay::route::forwarded::{Forwarding, Style};
use crate::agent::relay::route::matching::{Conditions, HostPattern, PathPattern, ValuePattern};
use crate::agent::relay::route::pattern::Pattern;
use crate::agent::relay::route::redirect::{REDIRECT_STATUSES, Redirect, Rewrite};
use crate::agent::relay::route::respond::{self, Body, ErrorPages, Respond};
use crate::agent::relay::route::split::{Mirror, Split, Sticky};
use crate::agent::relay::route::template::Template;
use crate::agent::relay::route::{Action, PoolRef, Route, Router, UnknownPool};
use crate::config::diagnostic::Place;
use crate::config::reader::{Reader, Section, show};
use crate::config::yaml::{Node, Value};

use super::content::{self, Content};
use super::listener::Mode;
use super::protect::{methods, patterns, read_protect};
use super::{PoolNames, value};

/// What a listener says about it. Without any, all requests go to the listener's pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    pub routes: Vec<Route>,
    pub forwarding: Forwarding,
    pub error_pages: ErrorPages,
}

/// Keys of a listener that are read here.
pub const KEYS: &[&str] = &["routes", "trusted_proxies", "forwarded", "error_pages"];

/// Name of the route that takes what no other takes to the listener's pool.
pub const DEFAULT_ROUTE: &str = "default";

/// Reads the keys of a listener; `pools` is asked for every pool that a rule names.
pub fn read(reader: &mut Reader<'_>, listener: Section<'_>, pools: &PoolNames) -> Routes {
    const STYLES: [(&str, Style); 4] =
        [("x-forwarded", Style::XForwarded), ("forwarded", Style::Forwarded), ("both", Style::Both), ("off", Style::Off)];
    let trusted = listener.get("trusted_proxies").map_or_else(Vec::new, |n| value::networks(reader, n, "trusted_proxies"));
    let style = listener.get("forwarded").and_then(|n| reader.word(n, "forwarded", &STYLES)).unwrap_or_default();
    let error_pages = listener.get("error_pages").map_or_else(ErrorPages::default, |n| read_error_pages(reader, n));
    // Errors in the listener's own content are reported where it is read for the listener.
    let content = content::read(&mut Reader::new(reader.base, reader.home), listener);
    let routes = listener.get("routes").map_or_else(Vec::new, |n| read_routes(reader, n, pools, &content));
    Routes { routes, forwarding: Forwarding { style, trusted: Networks::new(trusted) }, error_pages }
}

impl Routes {
    /// True where the rules alone say where every request goes, so that the listener needs no pool.
    pub fn is_complete(&self) -> bool {
        self.routes.iter().any(|r| r.conditions.is_empty())
    }

    /// The routes ready to be searched: with the listener's pool for what is left over, and its error pages where a route has none.
    /// `place` says where among the relay's pools the one of a name stands.
    pub fn router(
        &self,
        pool: Option<&str>,
        content: &Content,
        place: impl Fn(&str) -> Option<usize>,
    ) -> Result<Router, UnknownPool> {
        let mut routes = self.routes.clone();
        if let Some(pool) = pool.filter(|_| !self.is_complete()) {
            let rest = Route::to_pool(DEFAULT_ROUTE, pool);
            routes.push(Route { compression: content.compression.clone(), cache: content.cache.clone(), ..rest });
        }
        for route in &mut routes {
            if route.error_pages.is_empty() {
                route.error_pages = self.error_pages.clone();
            }
        }
        Router::new(routes, place)
    }
}

const ROUTE_KEYS: &[&str] = &[
    "name",
    "match",
    "pool",
    "split",
    "redirect",
    "respond",
    "rewrite",
    "request_headers",
    "response_headers",
    "mirror",
    "protect",
    "error_pages",
];

fn read_routes(reader: &mut Reader<'_>, node: &Node, pools: &PoolNames, content: &Content) -> Vec<Route> {
    let Value::List(items) = &node.value else {
        reader.error(node.place, format!("'routes' is a list, not {}", node.kind()), "write each as `- name: api`".to_owned());
        return Vec::new();
    };
    let mut lines: HashMap<Arc<str>, usize> = HashMap::new();
    let mut routes: Vec<Route> = Vec::new();
    for item in items {
        let Some(section) = reader.keys(item, "a route", &[ROUTE_KEYS, content::KEYS]) else { continue };
        if let Some(all) = routes.iter().find(|r| r.conditions.is_empty()) {
            let hint = "the first route that fits is taken: put the one for the rest last".to_owned();
            reader.error(section.place(), format!("nothing reaches this route: '{}' above takes everything", all.name), hint);
        }
        let Some(route) = read_route(reader, section, pools, content) else { continue };
        if let Some(line) = lines.insert(Arc::clone(&route.name), section.place().line) {
            reader.error(section.place(), format!("route '{}' stands here twice, first in line {line}", route.name), None);
        }
        routes.push(route);
    }
    routes
}

fn read_route(reader: &mut Reader<'_>, s: Section<'_>, pools: &PoolNames, content: &Content) -> Option<Route> {
    let name = value::name(reader, s, "a route");
    let conditions = s.get("match").map(|n| read_conditions(reader, n));
    let action = read_action(reader, s, pools);
    let rewrite = s.get("rewrite").map(|n| read_rewrite(reader, n));
    let mut edits = |key: &str| s.get(key).map_or_else(Edits::default, |n| read_edits(reader, n, key));
    let (request_headers, response_headers) = (edits("request_headers"), edits("response_headers"));
    let mirror = s.get("mirror").and_then(|n| read_mirror(reader, n, pools));
    let content = content::read_over(reader, s, content);
    let route = Route {
        name: name?.into(),
        conditions: conditions.unwrap_or_else(|| Some(Conditions::default()))?,
        action: action?,
        rewrite: rewrite.flatten(),
        request_headers,
        response_headers,
        mirror,
        protect: s.get("protect").and_then(|n| read_protect(reader, n)),
        compression: content.compression,
        cache: content.cache,
        error_pages: s.get("error_pages").map_or_else(ErrorPages::default, |n| read_error_pages(reader, n)),
    };
    if matches!(route.action, Action::Redirect(_) | Action::Respond(_)) {
        for key in ["rewrite", "mirror", "request_headers"].iter().filter(|k| s.get(k).is_some()) {
            reader.error(s.key_place(key), format!("'{key}' needs a pool: this route answers by itself"), None);
        }
    }
    Some(route)
}

fn read_conditions(reader: &mut Reader<'_>, node: &Node) -> Option<Conditions> {
    const KEYS: &[&str] = &["host", "path", "path_prefix", "path_regex", "method", "headers", "query", "clients", "tls"];
    let s = reader.keys(node, "match", &[KEYS])?;
    let mut found = Conditions::default();
    for (text, place) in s.get("host").map_or_else(Vec::new, |n| reader.texts(n, "host")) {
        match HostPattern::parse(&text) {
            Ok(host) => found.hosts.push(host),
            Err(why) => reader.error(place, format!("'host': {why}"), None),
        }
    }
    for (key, make) in [
        ("path", (|p| PathPattern::Exact(p)) as fn(Box<str>) -> PathPattern),
        ("path_prefix", (|p| PathPattern::Prefix(p)) as fn(Box<str>) -> PathPattern),
    ] {
        for (text, place) in s.get(key).map_or_else(Vec::new, |n| reader.texts(n, key)) {
            if let Some(path) = normal_path(reader, key, &text, place) {
                found.paths.push(make(path));
            }
        }
    }
    let expressions = s.get("path_regex").map_or_else(Vec::new, |n| patterns(reader, n, "path_regex"));
    found.paths.extend(expressions.into_iter().map(PathPattern::Regex));
    found.methods = s.get("method").map_or_else(Vec::<Method>::new, |n| methods(reader, n, "method"));
    found.headers = s.get("headers").map_or_else(Vec::new, |n| read_values(reader, n, "headers"));
    found.query = s.get("query").map_or_else(Vec::new, |n| read_values(reader, n, "query"));
    found.clients = Networks::new(s.get("clients").map_or_else(Vec::new, |n| value::networks(reader, n, "clients")));
    found.tls = s.get("tls").and_then(|n| reader.boolean(n, "tls"));
    Some(found)
}

/// A path in its normal form: what is written otherwise would never match.
fn normal_path(reader: &mut Reader<'_>, key: &str, text: &str, place: Place) -> Option<Box<str>> {
    if !text.starts_with('/') || text.contains(['?', '#', ' ']) {
        reader.error(place, format!("'{key}': '{text}' is no path"), "write for instance /api, without a query".to_owned());
        return None;
    }
    Some(crate::agent::relay::route::path::normalize(text).into())
}

/// Conditions on headers or parameters: `NAME: value`, `NAME: {regex: …}` or `NAME: {present: true}`.
fn read_values(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<(Box<str>, ValuePattern)> {
    let Value::Map(entries) = &node.value else {
        reader.error(node.place, format!("'{key}' is a mapping of names, not {}", node.kind()), None);
        return Vec::new();
    };
    reader.duplicates(node);
    let mut found = Vec::new();
    for entry in entries {
        let pattern = match &entry.value.value {
            Value::Map(_) => {
                let Some(s) = reader.keys(&entry.value, key, &[&["regex", "present"]]) else { continue };
                match (s.get("regex"), s.get("present")) {
                    (Some(n), None) => patterns(reader, n, "regex").pop().map(ValuePattern::Regex),
                    (None, Some(n)) => {
                        let present = reader.boolean(n, "present");
                        present.map(|p| if p { ValuePattern::Present } else { ValuePattern::Absent })
                    }
                    _ => {
                        reader.error(s.place(), "write either 'regex' or 'present'", None);
                        None
                    }
                }
            }
            _ => reader.text(&entry.value, &entry.key).map(|t| ValuePattern::Exact(t.into())),
        };
        found.extend(pattern.map(|p| (entry.key.as_str().into(), p)));
    }
    found
}

fn read_action(reader: &mut Reader<'_>, s: Section<'_>, pools: &PoolNames) -> Option<Action> {
    const ACTIONS: [&str; 4] = ["pool", "split", "redirect", "respond"];
    let given: Vec<&str> = ACTIONS.into_iter().filter(|k| s.get(k).is_some()).collect();
    let [key] = given.as_slice() else {
        let what = if given.is_empty() {
            "a route does nothing".to_owned()
        } else {
            format!("a route cannot do all of {}", given.join(", "))
        };
        reader.error(s.place(), what, format!("write one of {}", ACTIONS.join(", ")));
        return None;
    };
    let node = s.get(key)?;
    match *key {
        "pool" => pools.read(reader, node, "pool", Mode::Http).map(|name| Action::Pool(PoolRef { name, index: 0 })),
        "split" => read_split(reader, node, pools).map(Action::Split),
        "redirect" => read_redirect(reader, node).map(Action::Redirect),
        _ => read_respond(reader, node).map(Action::Respond),
    }
}

fn read_split(reader: &mut Reader<'_>, node: &Node, pools: &PoolNames) -> Option<Split> {
    let s = reader.keys(node, "split", &[&["pools", "sticky"]])?;
    let sticky = s.get("sticky").map_or(Some(Sticky::None), |n| read_sticky(reader, n));
    let Some(Node { value: Value::Map(entries), .. }) = s.get("pools") else {
        reader.error(s.place(), "'split' needs 'pools'", "write pools: {blue: 90, green: 10}".to_owned());
        return None;
    };
    let mut arms = Vec::new();
    for entry in entries {
        // The name of the pool is the key here.
        let named = Node { value: Value::Text(entry.key.clone()), place: entry.place };
        let name = pools.read(reader, &named, "pools", Mode::Http);
        let weight = reader.number(&entry.value, &entry.key, 0..=1_000_000).and_then(|w| u32::try_from(w).ok());
        arms.extend(name.zip(weight).map(|(name, weight)| (PoolRef { name, index: 0 }, weight)));
    }
    let split = Split::new(arms, sticky?);
    if split.is_none() {
        reader.error(s.place(), "no pool of the split has a weight above 0", None);
    }
    split
}

/// `client`, `{header: NAME}` or `{cookie: NAME}`.
fn read_sticky(reader: &mut Reader<'_>, node: &Node) -> Option<Sticky> {
    if let Value::Map(_) = node.value {
        let s = reader.keys(node, "sticky", &[&["header", "cookie"]])?;
        let (key, node) = ["header", "cookie"].iter().find_map(|k| Some((*k, s.get(k)?)))?;
        let name = reader.text(node, key)?;
        if let Err(why) = check_name(&name) {
            reader.error(node.place, format!("'{key}': {why}"), None);
            return None;
        }
        return Some(if key == "header" { Sticky::Header(name.into()) } else { Sticky::Cookie(name.into()) });
    }
    reader.word(node, "sticky", &[("client", ()), ("none", ())]).map(|()| match node.scalar() {
        Some("client") => Sticky::Client,
        _ => Sticky::None,
    })
}

fn read_mirror(reader: &mut Reader<'_>, node: &Node, pools: &PoolNames) -> Option<Mirror> {
    let s = reader.keys(node, "mirror", &[&["pool", "share"]])?;
    let Some(pool) = s.get("pool") else {
        reader.error(s.place(), "'mirror' needs 'pool'", None);
        return None;
    };
    let pool = pools.read(reader, pool, "pool", Mode::Http);
    let share = s.get("share").map_or(Some(1.0), |node| value::percent(reader, node, "share"));
    Some(Mirror { pool: PoolRef { name: pool?, index: 0 }, per_10_000: (share? * 10_000.0).round() as u16 })
}

fn read_redirect(reader: &mut Reader<'_>, node: &Node) -> Option<Redirect> {
    const SCHEMES: [(&str, bool); 2] = [("https", true), ("http", false)];
    let s = reader.keys(node, "redirect", &[&["scheme", "host", "port", "path", "strip_prefix", "status"]])?;
    let mut redirect = Redirect { status: 302, ..Redirect::default() };
    redirect.tls = s.get("scheme").and_then(|n| reader.word(n, "scheme", &SCHEMES));
    redirect.host = s.get("host").and_then(|n| template(reader, n, "host"));
    redirect.port = s.get("port").and_then(|n| reader.port(n, "port"));
    redirect.path = s.get("path").and_then(|n| template(reader, n, "path"));
    redirect.strip = s.get("strip_prefix").and_then(|n| {
        let text = reader.text(n, "strip_prefix")?;
        normal_path(reader, "strip_prefix", &text, n.place)
    });
    if redirect.strip.is_some() && redirect.path.is_none() {
        reader.error(s.key_place("strip_prefix"), "'strip_prefix' needs 'path', the prefix to put in its place", None);
    }
    if let Some(node) = s.get("status") {
        redirect.status = read_status(reader, node, |s| REDIRECT_STATUSES.contains(&s), "301, 302, 303, 307 or 308")?;
    }
    if redirect == (Redirect { status: redirect.status, ..Redirect::default() }) {
        reader.error(s.place(), "this redirect leads to where it came from", "write scheme, host, port or path".to_owned());
    }
    Some(redirect)
}

fn read_respond(reader: &mut Reader<'_>, node: &Node) -> Option<Respond> {
    let s = reader.keys(node, "respond", &[&["status", "body", "file", "content_type"]])?;
    let status =
        s.get("status").map_or(Some(200), |n| read_status(reader, n, |s| (200..=599).contains(&s), "a status from 200 to 599"));
    let content_type = s.get("content_type").and_then(|n| reader.text(n, "content_type"));
    let (body, guessed) = match (s.get("body"), s.get("file")) {
        (Some(node), None) => (read_text_body(reader, node), "text/plain; charset=utf-8"),
        (None, Some(node)) => read_file_body(reader, node, "file"),
        (None, None) => (Some(Body::Empty), ""),
        (Some(_), Some(_)) => {
            reader.error(s.key_place("file"), "write 'body' or 'file', not both", None);
            return None;
        }
    };
    let status = status?;
    if matches!(status, 204 | 205 | 304) && body.as_ref().is_some_and(|b| *b != Body::Empty) {
        reader.error(s.place(), format!("a response of status {status} has no body"), None);
    }
    Some(Respond { status, content_type: content_type.as_deref().unwrap_or(guessed).into(), body: body? })
}

/// Text with variables; it may have several lines.
fn read_text_body(reader: &mut Reader<'_>, node: &Node) -> Option<Body> {
    let Some(text) = node.scalar() else {
        reader.error(node.place, format!("'body' is text, not {}", node.kind()), None);
        return None;
    };
    match Template::parse(text) {
        Ok(template) => Some(match template.as_literal() {
            Some(plain) => Body::Fixed(plain.as_bytes().into()),
            None => Body::Text(template),
        }),
        Err(why) => {
            reader.error(node.place, format!("'body': {why}"), None);
            None
        }
    }
}

fn read_file_body(reader: &mut Reader<'_>, node: &Node, key: &str) -> (Option<Body>, &'static str) {
    let Some(path) = reader.local_path(node, key) else { return (None, "") };
    match respond::read_body(&path) {
        Ok(bytes) => (Some(Body::Fixed(bytes)), respond::content_type_of(&path)),
        Err(why) => {
            reader.error(node.place, format!("'{key}': {}: {why}", path.display()), None);
            (None, "")
        }
    }
}

/// `STATUS: FILE` for the relay's own errors.
fn read_error_pages(reader: &mut Reader<'_>, node: &Node) -> ErrorPages {
    let Value::Map(entries) = &node.value else {
        let hint = "write for instance 503: /etc/lbdeck/503.html".to_owned();
        reader.error(node.place, format!("'error_pages' is a mapping, not {}", node.kind()), hint);
        return ErrorPages::default();
    };
    reader.duplicates(node);
    let mut pages = Vec::new();
    for entry in entries {
        let Some(status) = entry.key.parse::<u16>().ok().filter(|s| (400..=599).contains(s)) else {
            reader.error(entry.place, format!("'{}' is no status of an error, from 400 to 599", entry.key), None);
            continue;
        };
        let (body, content_type) = read_file_body(reader, &entry.value, &entry.key);
        pages.extend(body.map(|body| Respond { status, content_type: content_type.into(), body }));
    }
    ErrorPages::new(pages)
}

fn read_rewrite(reader: &mut Reader<'_>, node: &Node) -> Option<Rewrite> {
    let s = reader.keys(node, "rewrite", &[&["prefix", "to", "regex", "replace"]])?;
    match (s.get("prefix"), s.get("to"), s.get("regex"), s.get("replace")) {
        (Some(prefix), Some(to), None, None) => {
            let mut path = |node: &Node, key: &str| {
                let text = reader.text(node, key)?;
                normal_path(reader, key, &text, node.place)
            };
            let (from, to) = (path(prefix, "prefix"), path(to, "to"));
            Some(Rewrite::Prefix { from: from?, to: to? })
        }
        (None, None, Some(regex), Some(replace)) => {
            let pattern: Option<Pattern> = patterns(reader, regex, "regex").pop();
            let replacement = reader.text(replace, "replace");
            Some(Rewrite::Regex { pattern: pattern?, replacement: replacement?.into() })
        }
        _ => {
            let hint = "write prefix and to, or regex and replace".to_owned();
            reader.error(s.place(), "'rewrite' needs two keys that belong together", hint);
            None
        }
    }
}

fn read_edits(reader: &mut Reader<'_>, node: &Node, key: &str) -> Edits {
    let mut edits = Edits::default();
    let Some(s) = reader.keys(node, key, &[&["remove", "set", "add"]]) else { return edits };
    for (name, place) in s.get("remove").map_or_else(Vec::new, |n| reader.texts(n, "remove")) {
        if good_name(reader, &name, place) {
            edits.0.push(Edit::Remove(name.into()));
        }
    }
    for (key, make) in
        [("set", Edit::Set as fn(Box<str>, Template) -> Edit), ("add", Edit::Add as fn(Box<str>, Template) -> Edit)]
    {
        let Some(node) = s.get(key) else { continue };
        let Value::Map(entries) = &node.value else {
            reader.error(node.place, format!("'{key}' is a mapping of headers, not {}", node.kind()), None);
            continue;
        };
        reader.duplicates(node);
        for entry in entries {
            let value = template(reader, &entry.value, &entry.key);
            if good_name(reader, &entry.key, entry.place)
                && let Some(value) = value
            {
                edits.0.push(make(entry.key.as_str().into(), value));
            }
        }
    }
    edits
}

fn good_name(reader: &mut Reader<'_>, name: &str, place: Place) -> bool {
    check_name(name).map_err(|why| reader.error(place, why, None)).is_ok()
}

fn template(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<Template> {
    let text = reader.text(node, key)?;
    match Template::parse(&text) {
        Ok(template) => Some(template),
        Err(why) => {
            let (what, hint) = match why.split_once("; ") {
                Some((what, hint)) => (what.to_owned(), Some(hint.to_owned())),
                None => (why, None),
            };
            reader.error(node.place, format!("'{key}': {what}"), hint);
            None
        }
    }
}

fn read_status(reader: &mut Reader<'_>, node: &Node, good: impl Fn(u16) -> bool, kinds: &str) -> Option<u16> {
    let status = node.scalar().and_then(|t| t.parse().ok()).filter(|s| good(*s));
    if status.is_none() {
        reader.error(node.place, format!("'status' is {kinds}, not {}", show(node)), None);
    }
    status
}
