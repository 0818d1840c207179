//! What only shows.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answers::{Answer, Refused};
use crate::engine::relay::wire::{Certificate, Event, Hello, NodeReading, Phase, Session, Snapshot};
use crate::model::ServerRef;

/// Sessions that are listed at most.
const MAX_SESSIONS: usize = 10_000;

pub async fn hello(State(parts): State<Parts>) -> Json<Hello> {
    Json(parts.control.hello())
}

/// `GET /v1/status`: whether it serves, in one small answer, for whoever installs and supervises it.
#[derive(Serialize)]
pub struct Status {
    version: &'static str,
    pid: u32,
    ready: bool,
    phase: Phase,
    generation: u64,
    supervisor: String,
    leases: usize,
    notes: Vec<String>,
}

pub async fn status(State(parts): State<Parts>) -> Json<Status> {
    let (hello, snapshot) = (parts.control.hello(), parts.control.snapshot(Some("")));
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: hello.pid,
        ready: matches!(hello.phase, Phase::Serving | Phase::Idle),
        phase: hello.phase,
        generation: hello.generation,
        supervisor: hello.supervisor,
        leases: parts.leases.list().len(),
        notes: snapshot.notes,
    })
}

#[derive(Deserialize)]
pub struct Which {
    pool: Option<String>,
    server: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

type Asked = Result<Query<Which>, QueryRejection>;

pub async fn snapshot(State(parts): State<Parts>, asked: Asked) -> Answer<Snapshot> {
    let asked = asked?;
    Ok(Json(parts.control.snapshot(asked.pool.as_deref())))
}

pub async fn events(State(parts): State<Parts>, asked: Asked) -> Answer<Vec<Event>> {
    Ok(Json(parts.control.events.after(asked?.after.unwrap_or(0))))
}

pub async fn sessions(State(parts): State<Parts>, asked: Asked) -> Answer<Vec<Session>> {
    let Query(asked) = asked?;
    let limit = asked.limit.unwrap_or(MAX_SESSIONS).min(MAX_SESSIONS);
    let of = match (asked.pool, asked.server) {
        (Some(pool), Some(server)) => Some(ServerRef::new(pool, server)),
        (None, None) => None,
        _ => return Err(Refused::new(axum::http::StatusCode::BAD_REQUEST, "name both pool and server, or neither")),
    };
    Ok(Json(match parts.control.plane() {
        Some(plane) => plane.sessions(of.as_ref(), limit).await,
        None => Vec::new(),
    }))
}

pub async fn certificates(State(parts): State<Parts>) -> Json<Vec<Certificate>> {
    Json(parts.control.plane().map(|plane| plane.certificates()).unwrap_or_default())
}

/// Files below /proc are read on a thread of their own: one of them may hang on a broken disk.
pub async fn node(State(parts): State<Parts>) -> Answer<NodeReading> {
    let control = parts.control.clone();
    let read = tokio::task::spawn_blocking(move || control.node.read()).await;
    read.map(Json).map_err(|e| Refused::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("reading the node: {e}")))
}

pub async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let text = parts.control.plane().map(|plane| plane.metrics()).unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
