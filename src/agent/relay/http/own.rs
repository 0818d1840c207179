//! Responses that the relay makes itself: redirects, fixed ones, from memory, pages of errors; and what all responses get on their way.

use std::sync::Arc;

use ::http::StatusCode;

use super::backend::Backend;
use super::cached::Kept;
use super::client::ToClient;
use super::forward::{After, Connection, Request};
use super::head::{RequestHead, ResponseHead};
use super::site::Site;
use super::story::{Ended, Told};
use crate::agent::relay::route::Route;
use crate::agent::relay::route::respond::Body;
use crate::agent::relay::route::template::Vars;

/// A response of the relay's own.
pub(super) struct Own {
    pub head: ResponseHead,
    pub body: Arc<[u8]>,
    pub ended: Ended,
}

pub(super) fn vars<'v, B: Backend>(
    site: &'v Site<B>,
    route: &'v Route,
    connection: &Connection,
    head: &'v RequestHead,
    told: &'v Told,
) -> Vars<'v> {
    let target = told.original_target.as_deref().unwrap_or(&head.target);
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    Vars {
        client: told.client,
        listener: &site.listener,
        route: &route.name,
        pool: told.pool.as_deref().unwrap_or_default(),
        server: told.server.as_deref().unwrap_or_default(),
        tls: connection.tls,
        method: head.method.as_str(),
        host: head.host(),
        path,
        query,
        request_id: &told.request_id,
    }
}

/// What every response of a route gets on its way out: the id of the request and the route's edits.
pub(super) fn edit_response<B: Backend>(
    site: &Site<B>,
    connection: &Connection,
    route: Option<&Route>,
    request: &RequestHead,
    told: &Told,
    response: &mut ResponseHead,
) {
    if let Some(name) = &site.request_id {
        response.headers.set(&**name, &told.request_id);
    }
    if let Some(route) = route.filter(|r| !r.response_headers.is_empty()) {
        route.response_headers.apply(&mut response.headers, &vars(site, route, connection, request, told));
    }
}

/// The page of an error: the route's, the listener's, or a plain one.
pub(super) fn page<B: Backend>(site: &Site<B>, route: Option<&Route>, status: StatusCode, ended: Ended) -> Own {
    let custom = route.and_then(|r| r.error_pages.get(status.as_u16())).or_else(|| site.error_pages.get(status.as_u16()));
    match custom.map(|respond| &respond.body) {
        Some(Body::Fixed(bytes)) => {
            let mut head = ResponseHead::new(status);
            if let Some(respond) = custom {
                head.headers.set("Content-Type", &*respond.content_type);
            }
            head.headers.set("Cache-Control", "no-cache");
            Own { head, body: Arc::clone(bytes), ended }
        }
        _ => {
            let mut head = ResponseHead::new(status);
            head.headers.set("Content-Type", "text/plain; charset=utf-8");
            head.headers.set("Cache-Control", "no-cache");
            Own { head, body: Site::<B>::plain_page(status).into_bytes().into(), ended }
        }
    }
}

/// Answers by itself.
pub(super) async fn own<B: Backend>(
    site: &Site<B>,
    connection: &Connection,
    request: &mut Request<'_>,
    route: Option<&Route>,
    mut own: Own,
) -> After {
    edit_response(site, connection, route, request.head, request.told, &mut own.head);
    request.told.status = Some(own.head.status.as_u16());
    request.told.ended = own.ended;
    // What is left of the request's body would be taken for the next request.
    let keep_alive = request.framing.keep_alive && request.client.side.is_read() && !connection.session.is_closing();
    let to = ToClient { version: request.head.version, keep_alive };
    let sent = request.client.answer(&request.head.method, &own.head, &own.body, to, site.timeouts.client).await;
    match sent {
        Ok(bytes) => {
            request.told.bytes += bytes;
            if keep_alive { After::Keep } else { After::Close }
        }
        Err(_) => {
            request.told.ended = Ended::CLIENT_DATA;
            After::Abort
        }
    }
}

/// Answers from the cache.
pub(super) async fn from_memory<B: Backend>(
    site: &Site<B>,
    connection: &Connection,
    request: &mut Request<'_>,
    route: &Route,
    kept: Kept,
) -> After {
    own(site, connection, request, Some(route), Own { head: kept.head, body: kept.body, ended: Ended::LOCAL }).await
}
