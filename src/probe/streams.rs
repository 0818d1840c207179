//! Held connections: what a failover does to clients that are connected already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exchange;
use super::{Class, Item, StreamEvent};

/// A connection that broke is made anew after this.
const AGAIN: Duration = Duration::from_millis(200);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamSpec {
    /// `address:port`.
    pub to: String,
    /// Connections that are held.
    pub connections: u16,
    /// How often each asks, which also is how soon a silent death is seen.
    pub keepalive: Duration,
    /// What is asked over HTTP; None only holds the connection and sees it cut.
    pub path: Option<String>,
    /// For a connection, and for each answer.
    pub timeout: Duration,
}

/// Holds all of them until `stop`.
pub fn hold(
    spec: &Arc<StreamSpec>,
    began: Instant,
    items: &mpsc::UnboundedSender<Item>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    for stream in 0..spec.connections {
        let (spec, items, stop) = (spec.clone(), items.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = one(&spec, stream, began, &items) => {}
            }
        });
    }
}

async fn one(spec: &StreamSpec, stream: u16, began: Instant, items: &mpsc::UnboundedSender<Item>) {
    // Spread, so that they do not all ask at one moment.
    tokio::time::sleep(spec.keepalive.mul_f64(f64::from(stream) / f64::from(spec.connections.max(1)))).await;
    loop {
        let tell = |class, held| {
            let event = StreamEvent { stream, at: began.elapsed(), class, held };
            let _ = items.send(Item::Stream(event));
        };
        match tokio::time::timeout(spec.timeout, exchange::connect(&spec.to)).await {
            Ok(Ok(mut connection)) => {
                tell(Class::Ok, false);
                let class = until_broken(spec, &mut connection).await;
                tell(class, true);
            }
            Ok(Err(e)) => tell(exchange::class_of(&e), false),
            Err(_) => tell(Class::Timeout, false),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// How it ended.
async fn until_broken(spec: &StreamSpec, connection: &mut tokio::net::TcpStream) -> Class {
    loop {
        if let Some(end) = exchange::watch(connection, spec.keepalive).await {
            return end;
        }
        let Some(path) = &spec.path else { continue };
        let asked = tokio::time::timeout(spec.timeout, exchange::ask(connection, path, &spec.to, true)).await;
        match asked {
            Ok(Ok((class, true))) if class.is_ok() => {}
            // The far side wants no kept connections, or answers with an error: for this client the stream is over.
            Ok(Ok((class, _))) => return if class.is_ok() { Class::Reset } else { class },
            Ok(Err(e)) => return exchange::class_of(&e),
            Err(_) => return Class::Timeout,
        }
    }
}
