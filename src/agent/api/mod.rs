//! The control API over HTTP/1.1: routes, and what is the same for all of them. docs/agent.md is the reference.

mod answers;
mod cache;
mod config;
mod leases;
mod serve;
mod servers;
mod stream;
mod upgrade;
mod views;

pub use serve::{Door, ServeError, TcpDoor, listen};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use tokio::sync::mpsc;

use super::control::Control;
use super::leases::Leases;
use answers::Refused;
use upgrade::UpgradeRequest;

/// Configurations are the largest requests.
const MAX_BODY: usize = 4 << 20;
/// Answers are begun within this; upgrades have their own.
const DEADLINE: Duration = Duration::from_secs(30);
/// An upgrade waits until the new process is ready.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(150);

pub use upgrade::UpgradeRequest as Upgrading;

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub control: Arc<Control>,
    pub leases: Arc<Leases>,
    pub upgrades: mpsc::Sender<UpgradeRequest>,
}

pub fn router(parts: Parts) -> Router {
    let quick = Router::new()
        .route("/hello", get(views::hello))
        .route("/metrics", get(views::metrics))
        .route("/v1/hello", get(views::hello))
        .route("/v1/status", get(views::status))
        .route("/v1/snapshot", get(views::snapshot))
        .route("/v1/events", get(views::events))
        .route("/v1/stream", get(stream::stream))
        .route("/v1/node", get(views::node))
        .route("/v1/certificates", get(views::certificates))
        .route("/v1/sessions", get(views::sessions))
        .route("/v1/sessions/{id}", delete(servers::kill_session))
        .route("/v1/servers/{pool}/{server}", patch(servers::change).post(servers::add).delete(servers::remove))
        .route("/v1/servers/{pool}/{server}/sessions", delete(servers::kill_sessions))
        .route("/v1/listeners/{name}", patch(servers::enable_listener))
        .route("/v1/config", get(config::show).put(config::apply))
        .route("/v1/config/validate", post(config::validate))
        .route("/v1/cache/purge", post(cache::purge))
        .route("/v1/leases", get(leases::list))
        .route("/v1/leases/{id}/return", post(leases::give_back))
        .layer(middleware::from_fn(|request: Request, next: Next| within(DEADLINE, request, next)));
    let slow = Router::new()
        .route("/v1/upgrade", post(upgrade::upgrade))
        .layer(middleware::from_fn(|request: Request, next: Next| within(UPGRADE_DEADLINE, request, next)));
    quick
        .merge(slow)
        .fallback(answers::no_such_path)
        .method_not_allowed_fallback(answers::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(parts)
}

async fn within(deadline: Duration, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused::late(&path, deadline).into_response(),
    }
}
