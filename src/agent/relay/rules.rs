//! The rules of one listener as all data threads share them: routes, protection, caches. What clients have used up and what is cached
//! moves over to the next configuration where that part of it is unchanged.

use std::sync::Arc;
use std::time::Instant;

use super::config::ListenerConfig;
use super::content::cache::Cache;
use super::metrics::prometheus::RouteExtra;
use super::metrics::{NO_ROUTE, Registry};
use super::protect::Protection;
use super::route::{Route, Router, UnknownPool};

/// The rules of a listener, ready for requests.
#[derive(Debug)]
pub struct Rules {
    pub router: Arc<Router>,
    /// Of the listener, before any route.
    pub protection: Option<Arc<Protection>>,
    /// By the place of a route.
    pub route_protection: Vec<Option<Arc<Protection>>>,
    /// By the place of a route.
    pub caches: Vec<Option<Arc<Cache>>>,
}

impl Rules {
    /// `before`: those of the same listener that these replace. `place` says where among the relay's pools the one of a name stands.
    pub fn new(
        config: &ListenerConfig,
        before: Option<&Self>,
        place: impl Fn(&str) -> Option<usize>,
        now: Instant,
    ) -> Result<Self, UnknownPool> {
        let router = config.routes.router(config.pool.as_deref(), &config.content, place)?;
        let protection = config.protect.0.clone().map(|protect| {
            let before = before.and_then(|b| b.protection.as_deref());
            Arc::new(Protection::new(protect, before, now))
        });
        let old = |route: &Route| {
            let before = before?;
            let at = before.router.routes().iter().position(|r| r.name == route.name)?;
            Some((before.route_protection.get(at)?.as_ref(), before.caches.get(at)?.as_ref()))
        };
        let route_protection = router.routes().iter().map(|route| {
            let before = old(route).and_then(|(protection, _)| protection);
            let protect = route.protect.clone()?;
            Some(Arc::new(Protection::new(protect, before.map(|b| &**b), now)))
        });
        let caches = router.routes().iter().map(|route| {
            let config = route.cache.as_ref()?;
            let same = old(route).and_then(|(_, cache)| cache).filter(|c| c.config() == config);
            Some(same.map_or_else(|| Cache::new(config.clone()), Arc::clone))
        });
        let (route_protection, caches) = (route_protection.collect(), caches.collect());
        Ok(Self { protection, route_protection, caches, router: Arc::new(router) })
    }

    /// What Prometheus is told of the routes of this listener.
    pub fn routes(&self, listener: &Arc<str>, registry: &Registry) -> Vec<RouteExtra> {
        let extra = |route: &Arc<str>, place: Option<usize>| RouteExtra {
            listener: listener.to_string(),
            route: route.to_string(),
            latency: registry.route(listener, route).histogram(),
            denied: place.and_then(|at| self.route_protection.get(at)?.as_ref()).map_or_else(Vec::new, |p| p.denied().collect()),
            cache: place.and_then(|at| Some(self.caches.get(at)?.as_ref()?.counts())),
        };
        let configured = self.router.routes().iter().enumerate().map(|(at, route)| extra(&route.name, Some(at)));
        configured.chain([extra(&NO_ROUTE.into(), None)]).collect()
    }

    /// Forgets what is cached of a host (all where `None`) at or below a path, on all routes; how many responses that were.
    pub fn purge(&self, host: Option<&str>, path: &str) -> usize {
        self.caches.iter().flatten().map(|cache| cache.purge(host, path)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::config::{RelayConfig, parse};
    use super::super::http::head::RequestHead;
    use super::super::route::Asked;
    use super::*;

    fn config(rules: &str) -> RelayConfig {
        let pools = "pools: [{name: app, servers: [{name: a, address: 10.0.0.1:80}]}]";
        let text = format!("listeners:\n  - name: web\n    bind: 127.0.0.1:80\n    pool: app\n    {rules}\n{pools}\n");
        parse(&text, Path::new("relay.yaml")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn rules(text: &str, before: Option<&Rules>, now: Instant) -> Rules {
        Rules::new(config(text).listener("web").unwrap(), before, |name| (name == "app").then_some(0), now).unwrap()
    }

    #[test]
    fn what_is_unchanged_goes_on() {
        let now = Instant::now();
        let text = |limit: &str, cache: &str| {
            format!("routes: [{{name: r, pool: app, protect: {{limits: [{{rate: {limit}}}]}}, cache: {cache}}}]")
        };
        let first = rules(&text("1/1m", "{max_size: 1MiB}"), None, now);
        let head = RequestHead { target: "/".into(), ..RequestHead::default() };
        let asked = Asked::new(&head, [192, 0, 2, 1].into(), false);
        let may = |rules: &Rules| rules.route_protection[0].as_ref().unwrap().request(&asked, now).is_ok();
        assert!(may(&first) && !may(&first));
        let same = rules(&text("1/1m", "{max_size: 1MiB}"), Some(&first), now);
        assert!(!may(&same) && Arc::ptr_eq(same.caches[0].as_ref().unwrap(), first.caches[0].as_ref().unwrap()));
        let changed = rules(&text("2/1m", "{max_size: 2MiB}"), Some(&same), now);
        assert!(may(&changed) && !Arc::ptr_eq(changed.caches[0].as_ref().unwrap(), first.caches[0].as_ref().unwrap()));
        assert!(changed.routes(&"web".into(), &Registry::new(1)).iter().map(|r| r.route.as_str()).eq(["r", NO_ROUTE]));
    }
}
