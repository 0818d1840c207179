//! `POST /v1/upgrade`: asks the main loop to hand over to a new process, and waits for how it went.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use tokio::sync::oneshot;

use super::Parts;
use super::answers::{Answer, Refused};
use crate::engine::relay::wire::{Upgrade, Upgraded};

/// How long the new process may take, unless the request says otherwise, and at most.
const READY_WITHIN: Duration = Duration::from_secs(15);
const READY_AT_MOST: Duration = Duration::from_secs(120);

/// For the main loop, which owns what is handed over.
#[derive(Debug)]
pub struct UpgradeRequest {
    pub binary: Option<std::path::PathBuf>,
    pub ready_within: Duration,
    /// None for a signal, which waits for no answer.
    pub answer: Option<oneshot::Sender<Result<Upgraded, String>>>,
}

impl UpgradeRequest {
    /// The same program again, or what its path holds now.
    pub fn by_signal() -> Self {
        Self { binary: None, ready_within: READY_WITHIN, answer: None }
    }
}

pub async fn upgrade(State(parts): State<Parts>, body: Result<Json<Upgrade>, JsonRejection>) -> Answer<Upgraded> {
    let Json(asked) = body?;
    let binary = asked.binary.map(std::path::PathBuf::from);
    if let Some(binary) = binary.as_ref().filter(|b| !b.is_absolute()) {
        return Err(Refused::new(StatusCode::BAD_REQUEST, format!("'{}' is no absolute path", binary.display())));
    }
    let ready_within = asked.ready_within_s.map_or(READY_WITHIN, Duration::from_secs).min(READY_AT_MOST);
    let (answer, answered) = oneshot::channel();
    let request = UpgradeRequest { binary, ready_within, answer: Some(answer) };
    if parts.upgrades.try_send(request).is_err() {
        return Err(Refused::new(StatusCode::CONFLICT, "another upgrade is under way").retry());
    }
    match answered.await {
        Ok(Ok(done)) => Ok(Json(done)),
        Ok(Err(why)) => {
            let refused = Refused::new(StatusCode::BAD_GATEWAY, why);
            Err(refused.hint("this process goes on serving; the new one's words are in the agent's log"))
        }
        Err(_) => Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is being stopped")),
    }
}
