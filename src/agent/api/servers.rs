//! Changes of servers, listeners and sessions.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::Parts;
use super::answers::{Answer, Refused};
use crate::engine::relay::wire::{ListenerChange, NewServer, Server, ServerChange};
use crate::model::{MAX_WEIGHT, ServerRef};

type At = Path<(String, String)>;
type Body<T> = Result<Json<T>, JsonRejection>;

pub async fn change(State(parts): State<Parts>, Path((pool, server)): At, body: Body<ServerChange>) -> Answer<Server> {
    let Json(asked) = body?;
    let at = ServerRef::new(pool, server);
    check_weight(asked.weight)?;
    check_address(asked.address.as_deref(), asked.port)?;
    if asked == ServerChange::default() {
        return Err(bad("nothing is asked for").hint("for instance {\"admin\":\"drain\"}"));
    }
    parts.control.change_server(&at, &asked).await?;
    found(&parts, &at)
}

pub async fn add(State(parts): State<Parts>, Path((pool, server)): At, body: Body<NewServer>) -> Answer<Server> {
    let Json(new) = body?;
    check_weight(new.weight)?;
    check_address(Some(&new.address), Some(new.port))?;
    let at = ServerRef::new(pool, server);
    parts.control.add_server(&at, &new).await?;
    found(&parts, &at)
}

pub async fn remove(State(parts): State<Parts>, Path((pool, server)): At) -> Answer<Ended> {
    parts.control.remove_server(&ServerRef::new(pool, server)).await?;
    Ok(Json(Ended { ended: 1 }))
}

/// How many were ended.
#[derive(Serialize)]
pub struct Ended {
    ended: usize,
}

pub async fn kill_sessions(State(parts): State<Parts>, Path((pool, server)): At) -> Answer<Ended> {
    let ended = parts.control.kill_sessions(&ServerRef::new(pool, server)).await?;
    Ok(Json(Ended { ended }))
}

pub async fn kill_session(State(parts): State<Parts>, Path(id): Path<String>) -> Answer<Ended> {
    match parts.control.kill_session(&id).await? {
        true => Ok(Json(Ended { ended: 1 })),
        false => Err(Refused::not_found(format!("there is no session {id}")).hint("it may just have ended")),
    }
}

pub async fn enable_listener(
    State(parts): State<Parts>,
    Path(name): Path<String>,
    body: Body<ListenerChange>,
) -> Answer<ListenerChange> {
    let Json(asked) = body?;
    parts.control.enable_listener(&name, asked.enabled).await?;
    Ok(Json(asked))
}

/// The server as it is now.
fn found(parts: &Parts, at: &ServerRef) -> Answer<Server> {
    let pools = parts.control.snapshot(Some(at.pool.as_str())).pools;
    let server = pools.into_iter().flat_map(|p| p.servers).find(|s| s.name == at.server.as_str());
    server.map(Json).ok_or_else(|| Refused::not_found(format!("{at} is gone again")))
}

fn bad(words: impl Into<String>) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, words)
}

fn check_weight(weight: Option<u16>) -> Result<(), Refused> {
    match weight {
        Some(w) if w > MAX_WEIGHT => Err(bad(format!("weight {w} is above {MAX_WEIGHT}"))),
        _ => Ok(()),
    }
}

fn check_address(address: Option<&str>, port: Option<u16>) -> Result<(), Refused> {
    if let Some(address) = address.filter(|a| a.parse::<std::net::IpAddr>().is_err()) {
        return Err(bad(format!("'{}' is no IP address", address.escape_debug())));
    }
    if port == Some(0) { Err(bad("port 0")) } else { Ok(()) }
}
