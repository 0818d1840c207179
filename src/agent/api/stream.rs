//! `GET /v1/stream`: one JSON object a line, snapshots at the rate asked for and events as they happen.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::Parts;
use super::answers::Refused;
use crate::engine::relay::wire::{Event, Line, Phase};

const USUAL: Duration = Duration::from_secs(1);
const FASTEST: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_secs(60);
/// Changes are shown at once, but not each of a hundred by itself.
const GATHER: Duration = Duration::from_millis(20);

#[derive(Deserialize)]
pub struct Asked {
    /// Milliseconds between two snapshots.
    interval_ms: Option<u64>,
    /// Begin with the events after this one; without it only new ones come.
    after: Option<u64>,
    /// Begin with so many of the latest events.
    recent: Option<usize>,
    pool: Option<String>,
}

pub async fn stream(State(parts): State<Parts>, asked: Result<Query<Asked>, QueryRejection>) -> Result<Response, Refused> {
    let Query(asked) = asked?;
    // One line waits at most: who reads slowly gets fewer snapshots, not older ones.
    let (lines, receive) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        // The end of it is that nobody reads any more.
        let _ = feed(parts, asked, lines).await;
    });
    let body = stream::unfold(receive, |mut receive| async move {
        let line = receive.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), receive))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response())
}

/// Nobody reads any more.
struct Gone;

async fn feed(parts: Parts, asked: Asked, lines: mpsc::Sender<Bytes>) -> Result<(), Gone> {
    let control = &parts.control;
    let interval = asked.interval_ms.map_or(USUAL, Duration::from_millis).clamp(FASTEST, SLOWEST);
    let mut events = control.events.listen();
    let mut last = match asked.after {
        Some(after) => send_all(&lines, control.events.after(after), after).await?,
        None => {
            let mut kept = control.events.after(0);
            let before = kept.len().saturating_sub(asked.recent.unwrap_or(0));
            let last = kept.get(before.wrapping_sub(1)).map_or(0, |e| e.seq);
            send_all(&lines, kept.split_off(before), last).await?
        }
    };
    let mut news = control.news();
    let mut turn = tokio::time::interval(interval);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turn.tick() => {}
            changed = news.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                tokio::time::sleep(GATHER).await;
                news.mark_unchanged();
                turn.reset_at(Instant::now() + interval);
            }
            event = events.recv() => {
                last = match event {
                    Ok(event) if event.seq > last => send_all(&lines, vec![event], last).await?,
                    Ok(_) => last,
                    // Too slow for the channel: the ring has what is missing.
                    Err(broadcast::error::RecvError::Lagged(_)) => send_all(&lines, control.events.after(last), last).await?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                };
                continue;
            }
            () = lines.closed() => return Ok(()),
        }
        send(&lines, &Line::Snapshot(Box::new(control.snapshot(asked.pool.as_deref())))).await?;
        if control.phase() == Phase::Draining {
            return send(&lines, &Line::Bye("this process hands over or stops".into())).await;
        }
    }
}

async fn send_all(lines: &mpsc::Sender<Bytes>, events: Vec<Event>, mut last: u64) -> Result<u64, Gone> {
    for event in events {
        last = event.seq;
        send(lines, &Line::Event(event)).await?;
    }
    Ok(last)
}

async fn send(lines: &mpsc::Sender<Bytes>, line: &Line) -> Result<(), Gone> {
    let mut bytes = serde_json::to_vec(line).map_err(|_| Gone)?;
    bytes.push(b'\n');
    lines.send(bytes.into()).await.map_err(|_| Gone)
}
