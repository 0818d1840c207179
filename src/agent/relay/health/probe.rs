//! One check under way: a socket that never blocks, and how far it has come.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};

use crate::agent::relay::config::check::{CheckConfig, CheckKind, HttpCheck};
use crate::agent::relay::pool::ServerId;
use crate::engine::relay::wire::Check;
use crate::model::sanitize;

use super::tls::Clients;

/// Bytes of an answer that are looked at.
const MOST_ANSWER: usize = 64 << 10;
const MOST_HEADERS: usize = 96;

/// What a check found, in HAProxy's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub ok: bool,
    /// `L4OK`, `L4CON`, `L7STS` …
    pub status: &'static str,
    pub code: Option<u16>,
    pub took: Duration,
    /// Why, where it failed; sanitised.
    pub text: Box<str>,
}

impl Verdict {
    pub fn to_wire(&self) -> Check {
        Check {
            status: self.status.to_owned(),
            code: self.code,
            duration_ms: Some(u32::try_from(self.took.as_millis()).unwrap_or(u32::MAX)),
            text: self.text.to_string(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status)?;
        if let Some(code) = self.code {
            write!(f, "/{code}")?;
        }
        write!(f, " in {} ms", self.took.as_millis())?;
        if !self.text.is_empty() {
            write!(f, ", {}", self.text)?;
        }
        Ok(())
    }
}

enum Stage {
    Connecting,
    Handshake,
    /// Sends the request from that byte on.
    Sending(usize),
    Receiving,
}

pub(super) struct Probe {
    pub server: ServerId,
    pub socket: Socket,
    pub deadline: Instant,
    /// The system says that something can be done.
    pub ready: bool,
    /// And that it is perhaps an error: whoever connects need not ask otherwise.
    pub troubled: bool,
    began: Instant,
    config: Arc<CheckConfig>,
    stage: Stage,
    tls: Option<Box<ClientConnection>>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Probe {
    /// Begins to connect; the verdict is there at once where not even that is possible.
    pub fn begin(
        server: ServerId,
        config: &Arc<CheckConfig>,
        address: SocketAddr,
        clients: &mut Clients,
    ) -> Result<Self, Verdict> {
        let began = Instant::now();
        let fail = |text: String| verdict(false, "SOCKERR", None, began, &text);
        let tls = match config.tls {
            false => None,
            true => {
                let name = match &config.sni {
                    Some(name) => ServerName::try_from(name.to_string()).map_err(|e| fail(e.to_string()))?,
                    None => ServerName::from(address.ip()),
                };
                Some(Box::new(clients.connect(name).map_err(|e| fail(e.to_string()))?))
            }
        };
        let request = match &config.kind {
            CheckKind::Tcp => Vec::new(),
            CheckKind::Http(http) => request(http, address),
        };
        let socket = connect(address, request.is_empty() && tls.is_none());
        let socket = socket.map_err(|e| verdict(false, connect_status(&e), None, began, &e.to_string()))?;
        let deadline = began + config.timeout;
        let (config, stage) = (config.clone(), Stage::Connecting);
        Ok(Self {
            server,
            socket,
            deadline,
            ready: false,
            troubled: false,
            began,
            config,
            stage,
            tls,
            request,
            answer: Vec::new(),
        })
    }

    /// What the socket is watched for.
    pub fn interest(&self) -> PollFlags {
        match (&self.stage, &self.tls) {
            (Stage::Connecting | Stage::Sending(_), None) => PollFlags::POLLOUT,
            (Stage::Connecting, Some(_)) => PollFlags::POLLOUT,
            (_, Some(tls)) if tls.wants_write() => PollFlags::POLLIN | PollFlags::POLLOUT,
            _ => PollFlags::POLLIN,
        }
    }

    fn is_http(&self) -> bool {
        matches!(self.config.kind, CheckKind::Http(_))
    }

    fn end(&self, ok: bool, status: &'static str, code: Option<u16>, text: &str) -> Option<Verdict> {
        Some(verdict(ok, status, code, self.began, text))
    }

    pub fn timed_out(&self) -> Verdict {
        let status = match &self.stage {
            Stage::Connecting => "L4TOUT",
            Stage::Handshake => "L6TOUT",
            Stage::Sending(_) | Stage::Receiving => "L7TOUT",
        };
        verdict(false, status, None, self.began, &format!("nothing within {} ms", self.config.timeout.as_millis()))
    }

    /// Does what can be done without waiting; the verdict once there is one.
    pub fn advance(&mut self) -> Option<Verdict> {
        loop {
            match self.stage {
                Stage::Connecting => match if self.troubled { self.socket.take_error() } else { Ok(None) } {
                    Ok(None) if self.tls.is_some() => self.stage = Stage::Handshake,
                    Ok(None) if self.is_http() => self.stage = Stage::Sending(0),
                    Ok(None) => return self.end(true, "L4OK", None, ""),
                    Ok(Some(e)) | Err(e) => return self.end(false, connect_status(&e), None, &e.to_string()),
                },
                Stage::Handshake => {
                    let tls = self.tls.as_mut()?;
                    if !tls.is_handshaking() {
                        if !self.is_http() {
                            return self.end(true, "L6OK", None, "");
                        }
                        self.stage = Stage::Sending(0);
                        continue;
                    }
                    match tls.complete_io(&mut &self.socket) {
                        Ok(_) => {}
                        Err(e) if would_block(&e) => return None,
                        Err(e) => return self.end(false, "L6RSP", None, &e.to_string()),
                    }
                }
                Stage::Sending(from) => {
                    let rest = self.request.get(from..).unwrap_or_default();
                    if rest.is_empty() {
                        self.stage = Stage::Receiving;
                        continue;
                    }
                    let sent = match &mut self.tls {
                        None => (&self.socket).write(rest),
                        Some(tls) => tls.writer().write(rest).and_then(|n| tls.complete_io(&mut &self.socket).map(|_| n)),
                    };
                    match sent {
                        Ok(n) => self.stage = Stage::Sending(from + n),
                        // What rustls has taken is sent when the socket is ready again.
                        Err(e) if would_block(&e) && self.tls.is_some() => self.stage = Stage::Receiving,
                        Err(e) if would_block(&e) => return None,
                        Err(e) => return self.end(false, "L7RSP", None, &e.to_string()),
                    }
                }
                Stage::Receiving => return self.receive(),
            }
        }
    }

    fn receive(&mut self) -> Option<Verdict> {
        let mut piece = [0; 4096];
        loop {
            let read = match &mut self.tls {
                None => (&self.socket).read(&mut piece),
                Some(tls) => read_tls(tls, &self.socket, &mut piece),
            };
            let ended = match read {
                Ok(0) => true,
                Ok(n) => {
                    self.answer.extend_from_slice(piece.get(..n).unwrap_or_default());
                    self.answer.len() >= MOST_ANSWER
                }
                Err(e) if would_block(&e) => return None,
                Err(e) if self.answer.is_empty() => return self.end(false, "L7RSP", None, &e.to_string()),
                // Some servers reset where others close.
                Err(_) => true,
            };
            let CheckKind::Http(http) = &self.config.kind else { return self.end(true, "L4OK", None, "") };
            if let Some((ok, status, code, text)) = judge(http, &self.answer, ended) {
                return self.end(ok, status, code, text);
            }
        }
    }
}

/// Reads what TLS has to give, and feeds it from the socket.
fn read_tls(tls: &mut ClientConnection, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(into) {
            Err(e) if would_block(&e) => {}
            other => return other,
        }
        let (read, _) = tls.complete_io(&mut &*socket)?;
        if read == 0 {
            return Ok(0);
        }
    }
}

/// The verdict on as much of an answer as is there; None where more is needed.
fn judge(http: &HttpCheck, answer: &[u8], ended: bool) -> Option<(bool, &'static str, Option<u16>, &'static str)> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let body = match head.parse(answer) {
        Ok(httparse::Status::Complete(len)) => answer.get(len..).unwrap_or_default(),
        Ok(httparse::Status::Partial) if ended => return Some((false, "L7RSP", None, "the answer ends in its head")),
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some((false, "L7RSP", None, "the answer is no HTTP")),
    };
    let code = head.code?;
    if !http.status.iter().any(|(from, to)| (*from..=*to).contains(&code)) {
        return Some((false, "L7STS", Some(code), "another status was expected"));
    }
    let Some(wanted) = &http.body else { return Some((true, "L7OK", Some(code), "")) };
    if memchr::memmem::find(body, wanted.as_bytes()).is_some() {
        return Some((true, "L7OK", Some(code), ""));
    }
    ended.then_some((false, "L7RSP", Some(code), "the body does not hold what was expected"))
}

/// HTTP/1.0 in how the answer is framed (no chunks, closed at its end), with Host for those who need it.
fn request(http: &HttpCheck, address: SocketAddr) -> Vec<u8> {
    let host = http.host.as_deref().map_or_else(|| address.to_string(), str::to_owned);
    let length = if &*http.method == "POST" { "Content-Length: 0\r\n" } else { "" };
    format!(
        "{} {} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: lbdeck-check\r\nAccept: */*\r\n{length}Connection: close\r\n\r\n",
        http.method, http.path
    )
    .into_bytes()
}

/// A socket that connects in the background and whose close is a reset.
fn connect(address: SocketAddr, only: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    if only {
        // The reset may go instead of the last acknowledgement: the server's process is not even woken.
        socket.set_tcp_quickack(false)?;
    } else {
        socket.set_tcp_nodelay(true)?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => Ok(socket),
        Err(e) => Err(e),
    }
}

/// What failed to connect: the server's end, or our own.
fn connect_status(error: &io::Error) -> &'static str {
    use nix::errno::Errno;
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOMEM | Errno::EACCES | Errno::EPERM) => "SOCKERR",
        Some(Errno::ETIMEDOUT) => "L4TOUT",
        _ => "L4CON",
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn verdict(ok: bool, status: &'static str, code: Option<u16>, began: Instant, text: &str) -> Verdict {
    Verdict { ok, status, code, took: began.elapsed(), text: sanitize(text).into() }
}
