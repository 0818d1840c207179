//! Entries as one JSON object a line. Names are stable; `v` counts changes that break readers.

use std::time::Duration;

use serde::Serialize;

use super::httplog::{rfc3339, version_word};
use super::record::Record;

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    time: String,
    /// Null on a unix socket.
    client: Option<String>,
    client_port: Option<u16>,
    listener: &'a str,
    tls: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    route: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pool: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    server: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request<'a>>,
    status: Option<u16>,
    bytes: u64,
    /// As HAProxy writes it.
    termination: &'a str,
    /// Milliseconds; null where the step was not reached.
    times_ms: Times,
    connections: Connections,
    retries: u32,
    redispatched: bool,
    server_queue: u32,
    pool_queue: u32,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    host: &'a str,
    target: &'a str,
    version: &'a str,
    user_agent: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
struct Times {
    request: Option<f64>,
    queue: Option<f64>,
    connect: Option<f64>,
    response: Option<f64>,
    total: f64,
}

#[derive(Serialize)]
struct Connections {
    relay: u32,
    listener: u32,
    pool: u32,
    server: u32,
}

/// Appends one object without the end of the line.
pub fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    let times = &record.times;
    let line = Line {
        v: 1,
        time: rfc3339(record.started),
        client: record.client.map(|c| c.ip().to_canonical().to_string()),
        client_port: record.client.map(|c| c.port()),
        listener: record.listener,
        tls: record.tls,
        route: record.route,
        pool: record.pool,
        server: record.server,
        request_id: record.request_id,
        request: record.request.as_ref().map(|r| Request {
            method: r.method,
            host: r.host,
            target: r.target,
            version: version_word(r.version),
            user_agent: String::from_utf8_lossy(r.user_agent),
        }),
        status: record.status,
        bytes: record.bytes,
        termination: std::str::from_utf8(&record.termination.0).unwrap_or_default(),
        times_ms: Times {
            request: times.request.map(millis),
            queue: times.queue.map(millis),
            connect: times.connect.map(millis),
            response: times.response.map(millis),
            total: millis(times.total),
        },
        connections: Connections {
            relay: record.load.active,
            listener: record.load.listener,
            pool: record.load.pool,
            server: record.load.server,
        },
        retries: record.load.retries,
        redispatched: record.load.redispatched,
        server_queue: record.load.server_queue,
        pool_queue: record.load.pool_queue,
    };
    // Only text and numbers, into memory: this cannot fail.
    let _ = serde_json::to_writer(out, &line);
}

/// Milliseconds with three decimals.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::record::RequestLine;
    use super::super::tests::record;
    use super::*;

    fn line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_object_a_line() {
        assert_eq!(
            line(&record()),
            concat!(
                r#"{"v":1,"time":"2009-02-06T12:14:14.655Z","client":"10.0.1.2","client_port":33317,"listener":"http-in","tls":false,"#,
                r#""pool":"static","server":"srv1","request":{"method":"GET","host":"example.org","target":"/index.html","#,
                r#""version":"HTTP/1.1","user_agent":"curl/8"},"status":200,"bytes":2750,"termination":"----","#,
                r#""times_ms":{"request":10.0,"queue":0.0,"connect":30.0,"response":69.0,"total":109.0},"#,
                r#""connections":{"relay":1,"listener":1,"pool":1,"server":1},"retries":0,"redispatched":false,"#,
                r#""server_queue":0,"pool_queue":0}"#
            )
        );
    }

    #[test]
    fn hostile_bytes_are_escaped() {
        let mut r = record();
        r.request = r.request.map(|q| RequestLine { target: "/\"\u{1b}\n", user_agent: b"\xff\r\n\"}", ..q });
        let text = line(&r);
        assert!(!text.bytes().any(|b| b.is_ascii_control()), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["request"]["target"], "/\"\u{1b}\n");
        assert_eq!(read["request"]["user_agent"], "\u{fffd}\r\n\"}");
    }
}
