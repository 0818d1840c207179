//! The configuration: shown, judged, applied.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;

use super::Parts;
use super::answers::{Answer, Refused};
use crate::engine::relay::wire::{Applied, Config, ConfigText};

pub async fn show(State(parts): State<Parts>) -> Answer<Config> {
    let control = parts.control.clone();
    let config = tokio::task::spawn_blocking(move || control.config()).await;
    config
        .map(Json)
        .map_err(|e| Refused::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("reading the configuration: {e}")))
}

pub async fn validate(State(parts): State<Parts>, body: Result<Json<ConfigText>, JsonRejection>) -> Answer<Applied> {
    Ok(Json(parts.control.validate(&body?.text)?))
}

/// Goes on to its end even if whoever asked hangs up: half a configuration is none.
pub async fn apply(State(parts): State<Parts>, body: Result<Json<ConfigText>, JsonRejection>) -> Answer<Applied> {
    let Json(asked) = body?;
    let control = parts.control.clone();
    let applied = tokio::spawn(async move { control.apply(&asked.text, asked.on_top_of).await }).await;
    match applied {
        Ok(applied) => Ok(Json(applied?)),
        Err(e) => Err(Refused::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("applying was cut short: {e}"))),
    }
}
