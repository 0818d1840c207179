//! `POST /v1/cache/purge`: forgets cached responses.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;

use super::Parts;
use super::answers::{Answer, Refused};
use crate::engine::relay::wire::{Purge, Purged};

pub async fn purge(State(parts): State<Parts>, body: Result<Json<Purge>, JsonRejection>) -> Answer<Purged> {
    let Json(asked) = body?;
    if !asked.path.starts_with('/') {
        let what = format!("'{}' is no path: it begins with /", asked.path.escape_debug());
        return Err(Refused::new(StatusCode::BAD_REQUEST, what).hint("{\"path\":\"/\"} forgets all"));
    }
    Ok(Json(Purged { forgotten: parts.control.purge(asked.host.as_deref(), &asked.path)? }))
}
