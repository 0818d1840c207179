//! What happens to a request: which route it takes, and what the route does with it.
//!
//! Routes are tried in the order in which they are written; the first whose conditions hold is taken. A request that fits none has no
//! route, and the relay answers 404. Nothing here does I/O or knows about connections: time and chance are arguments.

pub mod edit;
pub mod forwarded;
pub mod matching;
pub mod path;
pub mod pattern;
pub mod redirect;
pub mod respond;
pub mod split;
pub mod template;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use self::edit::Edits;
use self::matching::{Conditions, HostPattern};
use self::redirect::{Redirect, Rewrite};
use self::respond::{ErrorPages, Respond};
use self::split::{Mirror, Split};
use super::content::{CacheConfig, CompressionConfig};
use super::http::head::RequestHead;
use super::protect::ProtectConfig;

/// A pool by name, with its place in the configuration's list of pools, so that a request looks nothing up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRef {
    pub name: Arc<str>,
    /// Place among the pools of the relay; [`Router::new`] fills it in.
    pub index: usize,
}

impl PoolRef {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), index: 0 }
    }
}

/// A route names a pool that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no pool '{0}'")]
pub struct UnknownPool(pub Arc<str>);

/// A request as rules see it. Made once a request and used by routes and by protection.
#[derive(Debug)]
pub struct Asked<'a> {
    pub head: &'a RequestHead,
    /// Normal form of the path.
    pub path: Cow<'a, str>,
    /// The client behind trusted proxies (see [`forwarded::Forwarding::client`]); IPv4 in IPv6 is IPv4.
    pub client: IpAddr,
    pub tls: bool,
}

impl<'a> Asked<'a> {
    pub fn new(head: &'a RequestHead, client: IpAddr, tls: bool) -> Self {
        Self { head, path: path::normalize(head.path()), client: client.to_canonical(), tls }
    }
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Pool(PoolRef),
    Split(Split),
    Redirect(Redirect),
    Respond(Respond),
}

/// One route. What is not configured is `None` or empty and costs one branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub name: Arc<str>,
    pub conditions: Conditions,
    pub action: Action,
    pub rewrite: Option<Rewrite>,
    /// Applied after the forwarding fields, so that they may be overridden.
    pub request_headers: Edits,
    /// Applied to every response, the relay's own included.
    pub response_headers: Edits,
    pub mirror: Option<Mirror>,
    /// Limits of this route, on top of the listener's.
    pub protect: Option<ProtectConfig>,
    pub compression: Option<CompressionConfig>,
    pub cache: Option<CacheConfig>,
    pub error_pages: ErrorPages,
}

impl Route {
    /// A route that sends everything to one pool.
    pub fn to_pool(name: &str, pool: &str) -> Self {
        Self {
            name: name.into(),
            conditions: Conditions::default(),
            action: Action::Pool(PoolRef::new(pool)),
            rewrite: None,
            request_headers: Edits::default(),
            response_headers: Edits::default(),
            mirror: None,
            protect: None,
            compression: None,
            cache: None,
            error_pages: ErrorPages::default(),
        }
    }

    /// Pools that requests may go to; the mirror's is not among them.
    pub fn pools(&self) -> impl Iterator<Item = &PoolRef> {
        let (one, split) = match &self.action {
            Action::Pool(pool) => (Some(pool), None),
            Action::Split(split) => (None, Some(split.pools())),
            Action::Redirect(_) | Action::Respond(_) => (None, None),
        };
        one.into_iter().chain(split.into_iter().flatten())
    }

    fn pools_mut(&mut self) -> impl Iterator<Item = &mut PoolRef> {
        let (one, split) = match &mut self.action {
            Action::Pool(pool) => (Some(pool), None),
            Action::Split(split) => (None, Some(split.pools_mut())),
            Action::Redirect(_) | Action::Respond(_) => (None, None),
        };
        one.into_iter().chain(split.into_iter().flatten()).chain(self.mirror.as_mut().map(|m| &mut m.pool))
    }
}

/// The routes of one listener, ready to be searched.
#[derive(Debug)]
pub struct Router {
    routes: Box<[Route]>,
    /// Routes that a host which some route names exactly can take, in order.
    by_host: HashMap<Box<str>, Box<[usize]>>,
    /// Routes that other hosts can take: those without hosts or with a wildcard.
    other_hosts: Box<[usize]>,
}

impl Router {
    /// `place` says where among the relay's pools the one of a name stands.
    pub fn new(mut routes: Vec<Route>, place: impl Fn(&str) -> Option<usize>) -> Result<Self, UnknownPool> {
        for pool in routes.iter_mut().flat_map(Route::pools_mut) {
            pool.index = place(&pool.name).ok_or_else(|| UnknownPool(Arc::clone(&pool.name)))?;
        }
        let exact = routes.iter().flat_map(|r| &r.conditions.hosts).filter_map(|h| match h {
            HostPattern::Exact(host) => Some(host),
            HostPattern::Below(_) => None,
        });
        let able =
            |host: &str| routes.iter().enumerate().filter(|(_, r)| r.conditions.match_host(host)).map(|(i, _)| i).collect();
        let by_host = exact.map(|host| (host.clone(), able(host))).collect();
        let general = |h: &HostPattern| matches!(h, HostPattern::Below(_));
        let other_hosts =
            routes.iter().enumerate().filter(|(_, r)| r.conditions.hosts.is_empty() || r.conditions.hosts.iter().any(general));
        let other_hosts = other_hosts.map(|(i, _)| i).collect();
        Ok(Self { other_hosts, by_host, routes: routes.into() })
    }

    /// All routes, in order. A route's place is stable for the life of the router.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The first route whose conditions hold, with its place.
    pub fn find(&self, asked: &Asked<'_>) -> Option<(usize, &Route)> {
        if let [only] = &*self.routes
            && only.conditions.is_empty()
        {
            return Some((0, only));
        }
        let host = asked.head.host();
        let host = host.strip_suffix('.').unwrap_or(host);
        let known = if self.by_host.is_empty() {
            None
        } else if host.bytes().any(|b| b.is_ascii_uppercase()) {
            self.by_host.get(host.to_ascii_lowercase().as_str())
        } else {
            self.by_host.get(host)
        };
        let candidates = known.unwrap_or(&self.other_hosts);
        candidates.iter().filter_map(|i| self.routes.get(*i).map(|r| (*i, r))).find(|(_, r)| {
            // Routes of a host that is known match it by construction.
            (known.is_some() || r.conditions.match_host(host)) && r.conditions.match_rest(asked)
        })
    }
}

#[cfg(test)]
mod tests;
