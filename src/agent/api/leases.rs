//! Leases that this agent keeps.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Parts;
use super::answers::{Answer, Refused};
use crate::engine::relay::wire::Lease;

pub async fn list(State(parts): State<Parts>) -> Json<Vec<Lease>> {
    Json(parts.leases.list())
}

/// Gives a lease back now, before its end.
pub async fn give_back(State(parts): State<Parts>, Path(id): Path<String>) -> Answer<Lease> {
    let Some(lease) = parts.leases.list().into_iter().find(|l| l.id == id) else {
        return Err(Refused::not_found(format!("there is no open lease '{id}' on this node")));
    };
    match parts.leases.give_back(&id).await {
        Ok(()) => Ok(Json(lease)),
        Err(why) => Err(Refused::new(StatusCode::CONFLICT, why).retry()),
    }
}
