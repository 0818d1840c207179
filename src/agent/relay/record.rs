//! What becomes of a request that has ended: a line of the access log, and counts.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::http::head::RequestHead;
use super::http::site;
use super::http::story::Told;
use super::log::{Load, Record, RequestLine, Termination, ThreadLog, Times};
use super::metrics::{Ended, NO_ROUTE, Registry, RouteStats};
use super::route::Router;

/// How busy everything is that a request went through, for the log.
pub type LoadOf = Rc<dyn Fn(&Told) -> Load>;

/// Records the requests of one listener on one data thread.
pub struct Records {
    listener: Arc<str>,
    thread: usize,
    router: Arc<Router>,
    /// By the place of a route.
    routes: Vec<Arc<RouteStats>>,
    no_route: Arc<RouteStats>,
    log: Option<(RefCell<ThreadLog>, LoadOf)>,
}

impl Records {
    /// `thread`: the number of the data thread that this is for. `log`: `None` where the listener is not logged.
    pub fn new(
        listener: Arc<str>,
        thread: usize,
        router: Arc<Router>,
        registry: &Registry,
        log: Option<(ThreadLog, LoadOf)>,
    ) -> Self {
        let routes = router.routes().iter().map(|r| registry.route(&listener, &r.name)).collect();
        let no_route = registry.route(&listener, &NO_ROUTE.into());
        Self { listener, thread, router, routes, no_route, log: log.map(|(log, load)| (RefCell::new(log), load)) }
    }
}

impl site::Recorder for Records {
    fn record(&self, request: &RequestHead, told: &Told) {
        let stats = told.route.and_then(|place| self.routes.get(place)).unwrap_or(&self.no_route);
        let (who, when) = (told.ended.0, told.ended.1);
        stats.count(
            self.thread,
            &Ended {
                status: told.status,
                total: told.total,
                bytes_in: told.received,
                bytes_out: told.bytes,
                retries: told.retries,
                request_error: matches!(who, b'C' | b'c'),
                connect_error: matches!(who, b'S' | b's') && when == b'C',
                response_error: (matches!(who, b'S' | b's') && matches!(when, b'H' | b'D')) || (who == b'P' && when == b'H'),
            },
        );
        let Some((log, load)) = &self.log else { return };
        let route = told.route.and_then(|place| self.router.routes().get(place));
        // A head that was not understood is logged as a bad request, whatever parts of it were read.
        let understood = !request.target.is_empty();
        let line = RequestLine {
            method: if understood { request.method.as_str() } else { "" },
            target: told.original_target.as_deref().unwrap_or(&request.target),
            version: request.version,
            host: &request.authority,
            user_agent: request.headers.get("user-agent").unwrap_or_default(),
        };
        let record = Record {
            client: Some(told.client),
            started: told.began.wall,
            listener: &self.listener,
            tls: told.tls,
            pool: told.pool.as_deref().unwrap_or_default(),
            server: told.server.as_deref().unwrap_or_default(),
            route: route.map(|r| &*r.name).unwrap_or_default(),
            request_id: &told.request_id,
            times: Times {
                request: understood.then_some(told.request),
                queue: told.queue,
                connect: told.connect,
                response: told.response,
                total: told.total,
            },
            status: told.status,
            bytes: told.bytes,
            termination: Termination([who, when, b'-', b'-']),
            load: Load { retries: told.retries, redispatched: told.redispatched, ..load(told) },
            request: Some(line),
        };
        log.borrow_mut().log(&record);
    }
}
