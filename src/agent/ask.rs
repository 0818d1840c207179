//! One request to the control socket of this machine's agent, for people and for the console that installs: what
//! `curl --unix-socket` would do on nodes that have none.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Largest answer that is read (bytes).
const LARGEST: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{socket}: {source}")]
    Connect { socket: String, source: std::io::Error },
    #[error("{socket}: {why}")]
    Http { socket: String, why: String },
    #[error("{socket}: no answer within {within:?}")]
    Late { socket: String, within: Duration },
}

/// Status and body of the answer.
pub async fn ask(socket: &Path, method: Method, path: &str, body: String, within: Duration) -> Result<(u16, Bytes), AskError> {
    let name = socket.display().to_string();
    match tokio::time::timeout(within, exchange(socket, method, path, body)).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::Late { socket: name, within }),
    }
}

async fn exchange(socket: &Path, method: Method, path: &str, body: String) -> Result<(u16, Bytes), AskError> {
    let name = socket.display().to_string();
    let wrong = |why: String| AskError::Http { socket: name.clone(), why };
    let stream = UnixStream::connect(socket).await.map_err(|source| AskError::Connect { socket: name.clone(), source })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| wrong(e.to_string()))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "agent")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| wrong(e.to_string()))?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|e| wrong(e.to_string()))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|e| wrong(e.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection's end is told through the request.
        _ = &mut connection => answer.await,
    }
}
