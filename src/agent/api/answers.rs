//! Answers that are no success: a status, and JSON that says what, whether to retry, and how to mend it.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::agent::control::ControlError;
use crate::agent::plane::PlaneError;
use crate::agent::state::StateError;
use crate::engine::relay::wire::{API, Failure};

/// A refusal on its way out.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    failure: Failure,
}

pub type Answer<T> = Result<Json<T>, Refused>;

impl Refused {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, failure: Failure { error: error.into(), hint: None, retry: false, details: Vec::new() } }
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }
    pub fn retry(mut self) -> Self {
        self.failure.retry = true;
        self
    }
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }
    pub fn late(path: &str, deadline: Duration) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, format!("{path}: no answer within {deadline:?}")).retry()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self.failure)).into_response()
    }
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        let words = error.to_string();
        match error {
            ControlError::Plane(PlaneError::NotFound(_)) => Self::not_found(words),
            ControlError::Plane(PlaneError::Invalid(_)) => Self::new(StatusCode::BAD_REQUEST, words),
            ControlError::Plane(PlaneError::Conflict(_)) => Self::new(StatusCode::CONFLICT, words),
            ControlError::Plane(PlaneError::System(_)) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, words).retry(),
            ControlError::Plane(PlaneError::Config(details)) => {
                let mut refused = Self::new(StatusCode::UNPROCESSABLE_ENTITY, words).hint("nothing has changed");
                refused.failure.details = details;
                refused
            }
            ControlError::State(StateError::HandedOver) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, words).retry().hint("connect again: the socket is the new process's")
            }
            ControlError::State(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, words).retry().hint(
                "nothing was changed, because it could not be made durable: look at disk space and rights of the state folder",
            ),
            ControlError::Idle => Self::new(StatusCode::CONFLICT, words).hint("apply one: PUT /v1/config"),
            ControlError::Overtaken { .. } => {
                Self::new(StatusCode::CONFLICT, words).hint("read the configuration again and edit that")
            }
        }
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// Another version is not a wrong path: whoever asks for it should hear what is spoken here.
pub async fn no_such_path(uri: Uri) -> Refused {
    let version = uri.path().strip_prefix("/v").and_then(|rest| rest.split('/').next()).and_then(|n| n.parse::<u32>().ok());
    match version {
        Some(version) if version < API.oldest || version > API.newest => Refused::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("this agent (lbdeck {}) speaks {API}, not v{version}", env!("CARGO_PKG_VERSION")),
        )
        .hint(if version > API.newest { "upgrade the agent" } else { "upgrade the console" }),
        _ => Refused::not_found(format!("there is no {}", uri.path())).hint("docs/agent.md lists the paths"),
    }
}

pub async fn no_such_method(uri: Uri) -> Refused {
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
}
