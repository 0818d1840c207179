//! Lines with the fields of HAProxy's `option httplog` and `option tcplog` (configuration manual, 8.2.2 and 8.2.3), byte for byte, so that
//! halog and every parser of such logs read them.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Version;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::record::Record;

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
        let times = &record.times;
        let http = record.request.is_some();
        let tilde = if record.tls { "~" } else { "" };
        let pool = if record.pool.is_empty() { record.listener } else { record.pool };
        let server = if record.server.is_empty() { "<NOSRV>" } else { record.server };
        // Writing to memory cannot fail.
        match record.client {
            Some(client) => drop(write!(out, "{}:{}", client.ip().to_canonical(), client.port())),
            None => out.extend_from_slice(b"unix:0"),
        }
        let _ = write!(out, " [{}.{:03}] {}{tilde} {pool}/{server} ", self.shown, since.subsec_millis(), record.listener,);
        if http {
            millis(out, times.request);
            out.push(b'/');
        }
        millis(out, times.queue);
        out.push(b'/');
        millis(out, times.connect);
        out.push(b'/');
        if http {
            millis(out, times.response);
            out.push(b'/');
        }
        let _ = write!(out, "{} ", times.total.as_millis());
        if http {
            match record.status {
                Some(status) => drop(write!(out, "{status} ")),
                None => out.extend_from_slice(b"-1 "),
            }
        }
        let _ = write!(out, "{} ", record.bytes);
        let state = &record.termination.0;
        if http {
            out.extend_from_slice(b"- - ");
            out.extend_from_slice(state);
        } else {
            out.extend_from_slice(state.get(..2).unwrap_or_default());
        }
        let _ = write!(
            out,
            " {}/{}/{}/{}/{}{} {}/{}",
            load.active,
            load.listener,
            load.pool,
            load.server,
            if load.redispatched { "+" } else { "" },
            load.retries,
            load.server_queue,
            load.pool_queue,
        );
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
        Some(time) => drop(write!(out, "{}", time.as_millis())),
        None => out.extend_from_slice(b"-1"),
    }
}

/// HAProxy's encoding of a URL in logs: quotes, `#` and what cannot be printed become `#XX`.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &b in bytes {
        if (0x20..0x7f).contains(&b) && b != b'"' && b != b'#' {
            out.push(b);
        } else {
            let _ = write!(out, "#{b:02X}");
        }
    }
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
