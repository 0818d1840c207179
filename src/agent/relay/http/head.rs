//! Heads of requests and responses as every part of the relay sees them, whichever version of HTTP they came with.
//!
//! A head owns its bytes: names and values are spans of one buffer that is used again for the next message of the connection. The usual
//! map of headers allocates and hashes for each message, which is measurable at the rates of a proxy; messages have a dozen headers.

use std::fmt;

use http::{Method, StatusCode, Version};

/// A place in the buffer of [`Headers`].
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Span,
    value: Span,
}

/// Header fields in the order in which they came. Names compare without regard to ASCII case (RFC 9110, 5.1) and keep their spelling.
#[derive(Clone, Default)]
pub struct Headers {
    /// Names and values. Only grows until [`Headers::clear`]: what a change replaces stays behind unused, which a short life allows.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Headers {
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// How many fields there are (a name that comes twice counts twice).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of this name, in order.
    pub fn get_all<N: AsRef<[u8]>>(&self, name: N) -> impl Iterator<Item = &[u8]> + use<'_, N> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_ref())).map(|(_, value)| value)
    }

    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.get(name).is_some()
    }

    /// Replaces all fields of this name by one, which stands where the first stood, or at the end.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        match self.entries.iter().position(|e| same_name(&self.bytes, e, name)) {
            Some(at) => {
                let value = self.store(value.as_ref());
                let bytes = &self.bytes;
                let mut index = 0;
                self.entries.retain(|e| {
                    let keep = index <= at || !same_name(bytes, e, name);
                    index += 1;
                    keep
                });
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.value = value;
                }
            }
            None => self.add(name, value),
        }
    }

    /// Adds a field at the end, whether or not there is one of this name.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = self.store(name.as_ref());
        let value = self.store(value.as_ref());
        self.entries.push(Entry { name, value });
    }

    /// Removes all fields of this name; whether there was one.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> bool {
        let before = self.entries.len();
        let (bytes, name) = (&self.bytes, name.as_ref());
        self.entries.retain(|e| !same_name(bytes, e, name));
        self.entries.len() != before
    }

    /// Keeps only the fields for which `keep(name, value)` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.entries.retain(|e| keep(cut(bytes, e.name), cut(bytes, e.value)));
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|e| (cut(&self.bytes, e.name), cut(&self.bytes, e.value)))
    }

    fn store(&mut self, text: &[u8]) -> Span {
        // Heads are limited to far less than 4 GiB; what would not fit is dropped instead of wrapping around.
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(text.len()).ok().filter(|len| start.checked_add(*len).is_some()).unwrap_or(0);
        self.bytes.extend_from_slice(text.get(..len as usize).unwrap_or_default());
        Span { start, len }
    }
}

fn cut(bytes: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    bytes.get(start..start + span.len as usize).unwrap_or_default()
}

fn same_name(bytes: &[u8], entry: &Entry, name: &[u8]) -> bool {
    entry.name.len as usize == name.len() && cut(bytes, entry.name).eq_ignore_ascii_case(name)
}

/// Shows names only: values may be secrets (`Authorization`, `Cookie`).
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    /// Path and query as they came (`/a?b=c`), `*` for `OPTIONS *`, `host:port` for CONNECT. ASCII without controls and spaces.
    pub target: String,
    /// Version that the client spoke.
    pub version: Version,
    /// Host that the request is for, with its port if one was given: `:authority`, the absolute target's, or `Host`. May be empty in HTTP/1.0.
    pub authority: String,
    /// All other fields. `Host` is among them on HTTP/1; fields of the connection (RFC 9110, 7.6.1) are not.
    pub headers: Headers,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Method::GET,
            target: String::new(),
            version: Version::HTTP_11,
            authority: String::new(),
            headers: Headers::new(),
        }
    }
}

impl RequestHead {
    /// Makes it ready for the next request; keeps the memory.
    pub fn clear(&mut self) {
        self.method = Method::GET;
        self.target.clear();
        self.version = Version::HTTP_11;
        self.authority.clear();
        self.headers.clear();
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The authority without its port; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        let authority = self.authority.as_str();
        let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
        match authority.get(after_brackets..).and_then(|rest| rest.find(':')) {
            Some(colon) => authority.get(..after_brackets + colon).unwrap_or(authority),
            None => authority,
        }
    }
}

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    pub status: StatusCode,
    /// Reason phrase of HTTP/1; empty where none was given, then the standard's is written.
    pub reason: String,
    pub headers: Headers,
}

impl ResponseHead {
    pub fn new(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    /// Makes it ready for the next response; keeps the memory.
    pub fn clear(&mut self) {
        self.status = StatusCode::OK;
        self.reason.clear();
        self.headers.clear();
    }

    /// The reason phrase to write: what was given, or the standard's.
    pub fn reason(&self) -> &str {
        if self.reason.is_empty() { self.status.canonical_reason().unwrap_or_default() } else { &self.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(headers: &Headers) -> String {
        let fields: Vec<String> =
            headers.iter().map(|(n, v)| format!("{}={}", String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect();
        fields.join(" ")
    }

    fn sample() -> Headers {
        let mut headers = Headers::new();
        headers.add("Host", "example.org");
        headers.add("Accept", "a");
        headers.add("X-One", "1");
        headers.add("accept", "b");
        headers
    }

    #[test]
    fn names_compare_without_case_and_keep_order() {
        let headers = sample();
        assert_eq!(headers.get("HOST"), Some(&b"example.org"[..]));
        assert_eq!(headers.get_all("Accept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert!(headers.contains("x-one") && !headers.contains("x-on") && !headers.contains(""));
        assert_eq!(shown(&headers), "Host=example.org Accept=a X-One=1 accept=b");
    }

    #[test]
    fn set_replaces_all_in_the_place_of_the_first() {
        let mut headers = sample();
        headers.set("ACCEPT", "c");
        assert_eq!(shown(&headers), "Host=example.org Accept=c X-One=1");
        headers.set("New", "n");
        assert_eq!(shown(&headers), "Host=example.org Accept=c X-One=1 New=n");
    }

    #[test]
    fn remove_retain_and_clear() {
        let mut headers = sample();
        assert!(headers.remove("accept") && !headers.remove("accept"));
        headers.retain(|name, value| name != b"Host" && value == b"1");
        assert_eq!(shown(&headers), "X-One=1");
        headers.clear();
        assert!(headers.is_empty());
        headers.add("A", "");
        assert_eq!(headers.get("a"), Some(&b""[..]));
    }

    #[test]
    fn debug_shows_no_values() {
        let mut head = RequestHead::default();
        head.headers.add("Authorization", "Bearer hunter2");
        let shown = format!("{head:?}");
        assert!(shown.contains("Authorization") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn parts_of_the_target_and_authority() {
        let mut head = RequestHead { target: "/a/b?c=d?e".to_owned(), ..RequestHead::default() };
        assert_eq!((head.path(), head.query()), ("/a/b", Some("c=d?e")));
        for (authority, host) in [
            ("example.org:8080", "example.org"),
            ("example.org", "example.org"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            head.authority = authority.to_owned();
            assert_eq!(head.host(), host);
        }
    }

    #[test]
    fn reason_falls_back_to_the_standard() {
        let mut head = ResponseHead::new(StatusCode::NOT_FOUND);
        assert_eq!(head.reason(), "Not Found");
        head.reason.push_str("Gone Fishing");
        assert_eq!(head.reason(), "Gone Fishing");
        head.clear();
        assert_eq!((head.status, head.reason()), (StatusCode::OK, "OK"));
    }
}
