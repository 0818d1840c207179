//! Lines with the fields of HAProxy's `option httplog` and `option tcplog` (configuration manual, 8.2.2 and 8.2.3), byte for byte, so that
//! halog and every parser of such logs read them.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Version;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::record::Record;
use crate::agent::relay::digits;

/// Writes lines; keeps the text of the second that is current.
#[derive(Debug)]
pub struct HttpLog {
    zone: TimeZone,
    second: i64,
    shown: String,
}

impl HttpLog {
    /// Dates are in this zone; HAProxy takes the local one.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, second: i64::MIN, shown: String::new() }
    }

    /// Appends one line without its end.
    pub fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let since = record.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.second_is(since.as_secs());
        let load = &record.load;
        let http = record.request.is_some();
        let tilde: &[u8] = if record.tls { b"~" } else { b"" };
        let pool = if record.pool.is_empty() { record.listener } else { record.pool };
        let server = if record.server.is_empty() { "<NOSRV>" } else { record.server };
        let put = |out: &mut Vec<u8>, parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        match record.client {
            Some(client) => {
                address(out, client.ip().to_canonical());
                out.push(b':');
                digits::put(out, client.port());
            }
            None => out.extend_from_slice(b"unix:0"),
        }
        // Three digits, zeros in front.
        let mut room = [0; 20];
        let fraction = digits::digits(1000 + u64::from(since.subsec_millis()), &mut room).get(1..).unwrap_or_default();
        put(out, &[b" [", self.shown.as_bytes(), b".", fraction, b"] ", record.listener.as_bytes(), tilde]);
        put(out, &[b" ", pool.as_bytes(), b"/", server.as_bytes(), b" "]);
        let t = &record.times;
        let times = [(http, t.request), (true, t.queue), (true, t.connect), (http, t.response)];
        for (_, time) in times.iter().filter(|(shown, _)| *shown) {
            millis(out, *time);
            out.push(b'/');
        }
        millis(out, Some(record.times.total));
        out.push(b' ');
        if http {
            match record.status {
                Some(status) => digits::put(out, status),
                None => out.extend_from_slice(b"-1"),
            }
            out.push(b' ');
        }
        digits::put(out, record.bytes);
        let state = &record.termination.0;
        if http {
            put(out, &[b" - - ", state]);
        } else {
            put(out, &[b" ", state.get(..2).unwrap_or_default()]);
        }
        let counts = [load.active, load.listener, load.pool, load.server];
        for (count, before) in counts.into_iter().zip(b" ///") {
            out.push(*before);
            digits::put(out, count);
        }
        out.extend_from_slice(if load.redispatched { b"/+" } else { b"/" });
        for (count, after) in [(load.retries, &b" "[..]), (load.server_queue, b"/"), (load.pool_queue, b"")] {
            digits::put(out, count);
            out.extend_from_slice(after);
        }
        let Some(request) = &record.request else { return };
        out.extend_from_slice(b" \"");
        if request.method.is_empty() {
            // What came was no request.
            out.extend_from_slice(b"<BADREQ>");
        } else {
            escape(request.method.as_bytes(), out);
            out.push(b' ');
            escape(request.target.as_bytes(), out);
            out.push(b' ');
            out.extend_from_slice(version_word(request.version).as_bytes());
        }
        out.push(b'"');
    }

    fn second_is(&mut self, second: u64) {
        let second = i64::try_from(second).unwrap_or_default();
        if second != self.second {
            let stamp = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
            self.shown = stamp.to_zoned_datetime(self.zone.clone()).strftime("%d/%b/%Y:%H:%M:%S").to_string();
            self.second = second;
        }
    }
}

pub(super) fn version_word(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn millis(out: &mut Vec<u8>, time: Option<Duration>) {
    match time {
        Some(time) => digits::put(out, u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        None => out.extend_from_slice(b"-1"),
    }
}

fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            for (octet, before) in v4.octets().into_iter().zip([&b""[..], b".", b".", b"."]) {
                out.extend_from_slice(before);
                digits::put(out, octet);
            }
        }
        // Writing to memory cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// HAProxy's encoding of a URL in logs: quotes, `#` and what cannot be printed become `#XX`.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let plain = |b: &u8| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'#';
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| !plain(b)) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        let Some((b, after)) = from.split_first() else { return };
        let _ = write!(out, "#{b:02X}");
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// RFC 3339 with milliseconds, in UTC.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let millis = time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or_default());
    let stamp = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{stamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::super::record::{RequestLine, Termination};
    use super::super::tests::record;
    use super::*;

    fn line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        HttpLog::new(TimeZone::UTC).write(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_example_of_the_manual() {
        assert_eq!(
            line(&record()),
            r#"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /index.html HTTP/1.1""#
        );
    }

    #[test]
    fn what_did_not_happen_is_minus_one() {
        let mut r = record();
        (r.pool, r.server, r.tls, r.status) = ("", "", true, None);
        r.times = super::super::record::Times { total: Duration::from_secs(5), ..Default::default() };
        r.termination = Termination::CLIENT_TIMEOUT;
        r.load.retries = 2;
        r.load.redispatched = true;
        r.request = r.request.map(|q| RequestLine { method: "", ..q });
        assert_eq!(
            line(&r),
            r#"10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in~ http-in/<NOSRV> -1/-1/-1/-1/5000 -1 2750 - - cR-- 1/1/1/1/+2 0/0 "<BADREQ>""#
        );
    }

    #[test]
    fn connections_have_the_fields_of_tcplog() {
        let mut r = record();
        r.request = None;
        r.client = "[2001:db8::1]:99".parse().ok();
        assert_eq!(line(&r), "2001:db8::1:99 [06/Feb/2009:12:14:14.655] http-in static/srv1 0/30/109 2750 -- 1/1/1/1/0 0/0");
        r.client = None;
        assert!(line(&r).starts_with("unix:0 ["));
    }

    #[test]
    fn hostile_bytes_are_escaped() {
        let mut r = record();
        r.request = r.request.map(|q| RequestLine { target: "/\"x\"#\u{1b}[2J\né", ..q });
        assert!(line(&r).ends_with(r##""GET /#22x#22#23#1B[2J#0A#C3#A9 HTTP/1.1""##), "{}", line(&r));
    }
}
