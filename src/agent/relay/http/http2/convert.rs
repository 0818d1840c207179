//! Between the heads of the relay and those of HTTP/2 (RFC 9113, 8.3).

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use ::http::uri::{PathAndQuery, Scheme, Uri};
use ::http::{Method, Request, Response, Version, request, response};

use crate::agent::relay::http::head::{Headers, RequestHead, ResponseHead};
use crate::agent::relay::http::http1::Refusal;
use crate::agent::relay::http::http1::request::is_authority;

/// Names that HTTP/2 does not have (RFC 9113, 8.2.2).
const NEVER: &[&[u8]] = &[b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te", b"host"];

/// Headers as the `http` crate has them; fields that are not allowed in HTTP/2 are left out.
pub fn to_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !NEVER.iter().any(|n| name.eq_ignore_ascii_case(n))) {
        // Names and values were read by stricter rules than these, and policies check theirs.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// Reads the head of a request of HTTP/2. `Host` is made of `:authority`; several `Cookie` fields become one (RFC 9113, 8.2.3).
pub fn read_request(parts: &request::Parts, head: &mut RequestHead) -> Result<(), Refusal> {
    head.clear();
    if parts.method == Method::CONNECT {
        return Err(Refusal::Method);
    }
    head.method = parts.method.clone();
    head.version = Version::HTTP_2;
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if !(target.starts_with('/') || target == "*" && head.method == Method::OPTIONS)
        || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    {
        return Err(Refusal::Malformed("the target"));
    }
    head.target.push_str(target);
    let mut hosts = parts.headers.get_all("host").iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("Host twice"));
    }
    let authority = match (parts.uri.authority(), host) {
        (Some(authority), Some(host)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            return Err(Refusal::Malformed("Host differs from :authority"));
        }
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Err(Refusal::Malformed("no authority")),
    };
    if !is_authority(authority) {
        return Err(Refusal::Malformed("the authority"));
    }
    head.authority.push_str(std::str::from_utf8(authority).unwrap_or_default());
    head.headers.add("host", authority);
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in &parts.headers {
        match name.as_str() {
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value.as_bytes());
            }
            "te" | "expect" => {}
            _ if NEVER.contains(&name.as_str().as_bytes()) => {}
            _ => head.headers.add(name.as_str(), value.as_bytes()),
        }
    }
    if !cookies.is_empty() {
        head.headers.add("cookie", cookies);
    }
    Ok(())
}

/// A request for a server that speaks HTTP/2.
///
/// # Errors
/// [`Refusal`] where target or authority have no form in HTTP/2.
pub fn write_request(head: &RequestHead, tls: bool, te_trailers: bool) -> Result<Request<()>, Refusal> {
    let malformed = |_| Refusal::Malformed("the target");
    let mut uri = Uri::builder().scheme(if tls { Scheme::HTTPS } else { Scheme::HTTP }).path_and_query(head.target.as_str());
    let host = head.headers.get("host").and_then(|h| std::str::from_utf8(h).ok()).unwrap_or(&head.authority);
    if host.is_empty() {
        return Err(Refusal::Malformed("no authority"));
    }
    uri = uri.authority(host);
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.build().map_err(malformed)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = to_map(&head.headers);
    if te_trailers {
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    }
    Ok(request)
}

/// A response for a client that speaks HTTP/2.
pub fn write_response(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = to_map(&head.headers);
    response
}

/// Reads the head of a response of HTTP/2.
pub fn read_response(parts: &response::Parts, head: &mut ResponseHead) {
    head.clear();
    head.status = parts.status;
    for (name, value) in &parts.headers {
        if !NEVER.contains(&name.as_str().as_bytes()) {
            head.headers.add(name.as_str(), value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(request: Request<()>) -> Result<RequestHead, Refusal> {
        let mut head = RequestHead::default();
        read_request(&request.into_parts().0, &mut head).map(|()| head)
    }

    #[test]
    fn requests_there_and_back() {
        let request =
            Request::get("https://h:1/a?b").header("cookie", "a=1").header("cookie", "b=2").header("x", "y").body(()).unwrap();
        let head = read(request).unwrap();
        assert_eq!((head.target.as_str(), head.authority.as_str()), ("/a?b", "h:1"));
        assert_eq!(head.headers.get("cookie"), Some(&b"a=1; b=2"[..]));
        let back = write_request(&head, true, true).unwrap();
        assert_eq!(back.uri(), "https://h:1/a?b");
        assert_eq!((back.headers().get("host"), back.headers()["te"].as_bytes()), (None, &b"trailers"[..]));
    }

    #[test]
    fn ambiguous_authorities_are_refused() {
        for request in [
            Request::get("https://a/").header("host", "b").body(()).unwrap(),
            Request::get("/").body(()).unwrap(),
            Request::get("/").header("host", "a").header("host", "a").body(()).unwrap(),
            Request::get("https://u@a/").body(()).unwrap(),
            Request::builder().method("CONNECT").uri("a:1").body(()).unwrap(),
        ] {
            assert!(read(request).is_err());
        }
        assert_eq!(read(Request::get("/").header("host", "a").body(()).unwrap()).unwrap().authority, "a");
    }

    #[test]
    fn fields_of_connections_do_not_pass() {
        let mut head = ResponseHead::default();
        head.headers.add("Connection", "close");
        head.headers.add("Upgrade", "x");
        head.headers.add("X-A", "1");
        assert_eq!(write_response(&head).headers().len(), 1);
    }
}
