//! HTTP/1.1 to the agent over a stream of the transport: a few kept connections for what only looks, a fresh one for each
//! change. Everything has a deadline and a limit, because a node can answer with anything, or with nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use crate::engine::EngineError;
use crate::model::sanitize;
use crate::transport::{Endpoint, Transport, TransportError};

use super::wire::{API, Failure, Hello, Line};

/// Kept connections: the poll, and somebody who looks at sessions meanwhile.
const KEPT: usize = 2;
/// Pause before a change is sent to the process that has taken over.
const MOVED: Duration = Duration::from_millis(100);
/// Words of a refusal that are shown at most.
const WORDS: usize = 600;

#[derive(Debug)]
pub struct Client {
    transport: Arc<dyn Transport>,
    endpoint: Endpoint,
    /// Bytes of an answer at most.
    max_reply: usize,
    kept: Mutex<Vec<Connection>>,
    /// What the agent said of itself when a connection was last made.
    hello: Mutex<Option<Hello>>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

/// An answer that goes on, one JSON object a line.
#[derive(Debug)]
pub struct Lines<'a> {
    client: &'a Client,
    body: Incoming,
    read: Vec<u8>,
    /// Bytes of `read` that hold no line feed.
    searched: usize,
    _connection: Connection,
}

impl Lines<'_> {
    /// The next line. Nothing is lost where the call is given up.
    pub async fn next(&mut self) -> Result<Line, EngineError> {
        loop {
            let unsearched = self.read.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=self.searched + at).collect();
                self.searched = 0;
                return self.client.parse("/v1/stream", &line);
            }
            self.searched = self.read.len();
            let frame = match self.body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(e)) => return Err(self.client.closed(&format!("in the stream: {e}"))),
                None => return Err(self.client.closed("the agent has ended the stream without a word")),
            };
            let Some(data) = frame.data_ref() else { continue };
            if self.read.len() + data.len() > self.client.max_reply {
                let (at, doing) = (self.client.describe(), "/v1/stream".to_owned());
                return Err(TransportError::TooLarge { at, doing, limit: self.client.max_reply }.into());
            }
            self.read.extend_from_slice(data);
        }
    }
}

/// What went wrong, and whether anything of an answer had come.
struct Broken {
    error: EngineError,
    /// The connection was closed before it answered: a kept one may just have been too old.
    unanswered: bool,
    /// HTTP 503: nothing was done, ask again.
    moved: bool,
}

impl Client {
    /// Opens nothing yet.
    pub fn new(transport: Arc<dyn Transport>, endpoint: Endpoint, max_reply: usize) -> Self {
        Self { transport, endpoint, max_reply, kept: Mutex::default(), hello: Mutex::default() }
    }

    /// For people: `ssh ops@lb1 streamlocal /run/lbdeck/agent.sock`.
    pub fn describe(&self) -> String {
        let (via, way) = (self.transport.describe(), self.transport.way(&self.endpoint));
        if way.is_empty() || way == via { format!("{via} {}", self.endpoint) } else { format!("{via} {way} {}", self.endpoint) }
    }

    pub fn hello(&self) -> Option<Hello> {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads one answer of the API.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, deadline: Duration) -> Result<T, EngineError> {
        let bytes = self.timed(path, deadline, self.read(path)).await?;
        self.parse(path, &bytes)
    }

    /// Sends a change over a connection of its own; the answer, sanitised.
    pub async fn send(&self, method: &str, path: &str, body: &str, deadline: Duration) -> Result<String, EngineError> {
        let doing = format!("{method} {path}");
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| self.malformed(format!("{method} is no method")))?;
        let work = async {
            loop {
                let mut connection = self.connect().await?;
                match self.exchange(&mut connection, method.clone(), path, body).await {
                    Ok(bytes) => return Ok(bytes),
                    // Not done, because a new process has just taken over: that one does it.
                    Err(broken) if broken.moved => tokio::time::sleep(MOVED).await,
                    Err(broken) => return Err(broken.error),
                }
            }
        };
        let bytes = self.timed(&doing, deadline, work).await?;
        Ok(sanitize(&String::from_utf8_lossy(&bytes)).into_owned())
    }

    async fn read(&self, path: &str) -> Result<Bytes, EngineError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let was_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.greeted().await?,
        };
        match self.exchange(&mut connection, Method::GET, path, "").await {
            Ok(bytes) => {
                self.keep(connection);
                Ok(bytes)
            }
            Err(broken) if was_kept && broken.unanswered => {
                // The agent may have been restarted since: once more, and this time it is its answer that counts.
                let mut connection = self.greeted().await?;
                let bytes = self.exchange(&mut connection, Method::GET, path, "").await.map_err(|broken| broken.error)?;
                self.keep(connection);
                Ok(bytes)
            }
            Err(broken) => Err(broken.error),
        }
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT && !connection.sender.is_closed() {
            kept.push(connection);
        }
    }

    /// A new connection whose far side speaks a version of the API that we speak too.
    async fn greeted(&self) -> Result<Connection, EngineError> {
        let mut connection = self.connect().await?;
        let bytes = self.exchange(&mut connection, Method::GET, "/hello", "").await.map_err(|broken| broken.error)?;
        let hello: Hello = self.parse("/hello", &bytes)?;
        if API.common(hello.api).is_none() {
            let older = hello.api.newest < API.oldest;
            return Err(EngineError::NotAllowed {
                at: self.describe(),
                what: format!(
                    "the agent (lbdeck {}) speaks {} of the control API, this console (lbdeck {}) {API}",
                    sanitize(&hello.agent),
                    hello.api,
                    env!("CARGO_PKG_VERSION")
                ),
                hint: if older { "upgrade the agent: lbdeck agent upgrade" } else { "upgrade this console" }.to_owned(),
            });
        }
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = Some(hello);
        Ok(connection)
    }

    async fn connect(&self) -> Result<Connection, EngineError> {
        // The caller's deadline is what ends this; the transport wants one of its own.
        let stream = self.transport.open(&self.endpoint, Duration::from_secs(60)).await?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(256 << 10)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|e| self.closed(&e.to_string()))?;
        let driver = tokio::spawn(async move {
            // How a connection ends is told to whoever waits for an answer on it.
            let _ = driver.await;
        });
        Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    /// Opens an answer that goes on line by line, over a connection of its own.
    pub async fn lines(&self, path: &str, deadline: Duration) -> Result<Lines<'_>, EngineError> {
        let begin = async {
            let mut connection = self.greeted().await?;
            let response = self.ask(&mut connection, Method::GET, path, "").await.map_err(|broken| broken.error)?;
            Ok(Lines { client: self, body: response.into_body(), read: Vec::new(), searched: 0, _connection: connection })
        };
        self.timed(path, deadline, begin).await
    }

    async fn exchange(&self, connection: &mut Connection, method: Method, path: &str, body: &str) -> Result<Bytes, Broken> {
        let response = self.ask(connection, method, path, body).await?;
        self.body(path, response).await.map_err(|error| Broken { error, unanswered: false, moved: false })
    }

    /// Sends a request; the answer if it is a success.
    async fn ask(
        &self,
        connection: &mut Connection,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<Response<Incoming>, Broken> {
        let answered = |error: EngineError| Broken { error, unanswered: false, moved: false };
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header("host", "lbdeck-agent")
            .header("user-agent", concat!("lbdeck/", env!("CARGO_PKG_VERSION")))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|e| answered(self.malformed(format!("'{path}': {e}"))))?;
        let unanswered = |e: hyper::Error| Broken {
            moved: false,
            unanswered: e.is_canceled() || e.is_closed() || e.is_incomplete_message(),
            error: if e.is_parse() { self.malformed(format!("no HTTP: {e}")) } else { self.closed(&e.to_string()) },
        };
        connection.sender.ready().await.map_err(unanswered)?;
        let response = connection.sender.send_request(request).await.map_err(unanswered)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = self.body(path, response).await.map_err(answered)?;
        let moved = status == StatusCode::SERVICE_UNAVAILABLE;
        Err(Broken { moved, ..answered(self.refused(&method, path, status, &bytes)) })
    }

    async fn body(&self, path: &str, response: Response<Incoming>) -> Result<Bytes, EngineError> {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| self.closed(&format!("in the answer to {path}: {e}")))?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > self.max_reply {
                return Err(
                    TransportError::TooLarge { at: self.describe(), doing: path.to_owned(), limit: self.max_reply }.into()
                );
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes.into())
    }

    fn refused(&self, method: &Method, path: &str, status: StatusCode, body: &[u8]) -> EngineError {
        let short = |text: &str| sanitize(text).chars().take(WORDS).collect::<String>();
        let Ok(failure) = serde_json::from_slice::<Failure>(body) else {
            let text = short(&String::from_utf8_lossy(body));
            return self.malformed(format!("{method} {path}: HTTP {status}, and no reason that can be read: {text}"));
        };
        let mut reply = short(&failure.error);
        for detail in failure.details.iter().take(5) {
            reply.push_str("; ");
            reply.push_str(&short(detail));
        }
        if failure.retry {
            return TransportError::Unreachable { at: self.describe(), what: format!("{method} {path}: {reply}") }.into();
        }
        let hint = failure.hint.as_deref().map(short);
        EngineError::Refused { at: self.describe(), command: format!("{method} {path}"), reply, hint }
    }

    fn parse<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, EngineError> {
        serde_json::from_slice(bytes).map_err(|e| {
            self.malformed(format!("the answer to {path} is not what the agent should say: {}", sanitize(&e.to_string())))
        })
    }

    fn malformed(&self, what: String) -> EngineError {
        EngineError::Malformed { at: self.describe(), what }
    }

    fn closed(&self, what: &str) -> EngineError {
        TransportError::Unreachable { at: self.describe(), what: sanitize(what).into_owned() }.into()
    }

    async fn timed<T>(
        &self,
        doing: &str,
        deadline: Duration,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(deadline, work).await {
            Ok(done) => done,
            Err(_) => Err(TransportError::Timeout { at: self.describe(), doing: doing.to_owned(), after: deadline }.into()),
        }
    }
}
