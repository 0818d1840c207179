//! One request on one connection, and what its end means.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Class, ProbeKind, ProbeSpec};

/// Bytes of an answer that are read at most; what is longer ends the connection.
const MOST: usize = 64 << 10;

/// How an error of a connection is classed.
pub fn class_of(error: &io::Error) -> Class {
    match error.kind() {
        ErrorKind::ConnectionRefused => Class::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            Class::Reset
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Class::Timeout,
        _ => Class::Other,
    }
}

/// Does one probe within its timeout. `kept` is a connection of an earlier probe; the second value is one for a later probe.
pub async fn once(spec: &ProbeSpec, kept: Option<TcpStream>) -> (Class, Option<TcpStream>) {
    match tokio::time::timeout(spec.timeout, attempt(spec, kept)).await {
        Ok(Ok(done)) => done,
        Ok(Err(e)) => (class_of(&e), None),
        Err(_) => (Class::Timeout, None),
    }
}

async fn attempt(spec: &ProbeSpec, kept: Option<TcpStream>) -> io::Result<(Class, Option<TcpStream>)> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => connect(&spec.to).await?,
    };
    match &spec.kind {
        ProbeKind::Tcp => Ok((Class::Ok, None)),
        ProbeKind::Http { path, host } => {
            let host = host.as_deref().unwrap_or(&spec.to);
            let (class, again) = ask(&mut stream, path, host, !spec.new_conn).await?;
            Ok((class, again.then_some(stream)))
        }
    }
}

pub async fn connect(to: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request and its answer; true where the connection may be used again.
pub async fn ask(stream: &mut TcpStream, path: &str, host: &str, keep: bool) -> io::Result<(Class, bool)> {
    let connection = if keep { "keep-alive" } else { "close" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lbdeck-probe\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(1024);
    let head = loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = Head::parse(&read) {
            break head;
        }
        if read.len() > MOST {
            return Ok((Class::Other, false));
        }
    };
    let class = match head.status {
        100..=399 => Class::Ok,
        500..=599 => Class::ServerError,
        _ => Class::Other,
    };
    let Some(body) = head.body.filter(|b| keep && *b <= MOST) else { return Ok((class, false)) };
    while read.len() < head.length + body {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok((Class::Reset, false));
        }
    }
    Ok((class, !head.close && read.len() == head.length + body))
}

/// What matters of an answer's head.
struct Head {
    status: u16,
    /// Bytes of the head.
    length: usize,
    /// Bytes of the body, where the head says so.
    body: Option<usize>,
    close: bool,
}

impl Head {
    /// None until it is whole; an answer that is no HTTP has status 0.
    fn parse(bytes: &[u8]) -> Option<Head> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return None,
            Err(_) => return Some(Head { status: 0, length: bytes.len(), body: None, close: true }),
        };
        let value = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
        let text = |name: &str| value(name).and_then(|v| std::str::from_utf8(v).ok());
        Some(Head {
            status: response.code.unwrap_or(0),
            length,
            body: text("content-length").and_then(|v| v.trim().parse().ok()),
            close: response.version == Some(0) || text("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")),
        })
    }
}

/// A pause that ends early where the stream ends: the class of its end, None where it lived.
pub async fn watch(stream: &mut TcpStream, pause: Duration) -> Option<Class> {
    let mut sink = [0u8; 4096];
    let watching = async {
        loop {
            match stream.read(&mut sink).await {
                Ok(0) => return Class::Reset,
                Ok(_) => {}
                Err(e) => return class_of(&e),
            }
        }
    };
    tokio::time::timeout(pause, watching).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn spec(to: String) -> ProbeSpec {
        let kind = ProbeKind::Http { path: "/".into(), host: None };
        ProbeSpec { to, kind, hz: 10, timeout: Duration::from_millis(300), new_conn: true }
    }

    /// Answers one connection with these bytes, then closes it.
    async fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sink = [0; 512];
            let _ = stream.read(&mut sink).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        to
    }

    #[tokio::test]
    async fn every_end_has_its_class() {
        for (answer, class) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Class::Ok),
            ("HTTP/1.1 302 Found\r\n\r\n", Class::Ok),
            ("HTTP/1.1 503 Unavailable\r\n\r\n", Class::ServerError),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Class::Other),
            ("SSH-2.0-x\r\n", Class::Other),
            ("HTTP/1.1 2", Class::Reset),
            ("", Class::Reset),
        ] {
            assert_eq!(once(&spec(serve(answer).await), None).await.0, class, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn nobody_and_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().to_string();
        assert_eq!(once(&spec(to.clone()), None).await.0, Class::Timeout, "accepted by the kernel, answered by nobody");
        drop(listener);
        assert_eq!(once(&spec(to), None).await.0, Class::Refused);
        assert_eq!(once(&spec("nonsense".into()), None).await.0, Class::Other);
    }

    #[tokio::test]
    async fn connections_are_kept_where_that_is_asked() {
        let to = serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        let (class, kept) = once(&ProbeSpec { new_conn: false, ..spec(to) }, None).await;
        assert!(class.is_ok() && kept.is_some());
        let to = serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").await;
        let (class, kept) = once(&ProbeSpec { new_conn: false, ..spec(to) }, None).await;
        assert!(class.is_ok() && kept.is_none());
    }
}
