//! HTTP to one place, by reqwest: basic authentication, a bound on time and size, and no secret sent anywhere else.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode, Url};
use tokio::sync::OnceCell;

use super::secret;
use super::{Result, TransportError};
use crate::config::SecretRef;
use crate::model::sanitize;

/// A page and what is below it, such as HAProxy's statistics page.
#[derive(Debug)]
pub struct HttpClient {
    /// As the fleet file has it; suffixes such as `;csv` are put behind it.
    base: String,
    user: Option<String>,
    password: Option<SecretRef>,
    ca_file: Option<PathBuf>,
    client: OnceCell<Client>,
}

/// An answer below 400.
#[derive(Clone, Debug)]
pub struct HttpReply {
    pub status: u16,
    /// Where a redirect points. It is not followed.
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl HttpClient {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// An address that is not `http(s)://HOST…`, or that holds a password.
    pub fn new(url: &str, user: Option<String>, password: Option<SecretRef>, ca_file: Option<PathBuf>) -> Result<Self> {
        let wrong = |what: String| TransportError::Unsupported { at: "HTTP".into(), what };
        let parsed = Url::parse(url).map_err(|e| wrong(format!("'{}' is not an address: {e}", sanitize(url))))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(wrong(format!("'{}' is not http://HOST… or https://HOST…", sanitize(url))));
        }
        if parsed.password().is_some() || !parsed.username().is_empty() {
            return Err(wrong("user and password do not belong into the address: use the keys user and password".into()));
        }
        Ok(Self { base: url.to_owned(), user, password, ca_file, client: OnceCell::new() })
    }

    /// The address, for people.
    pub fn at(&self) -> &str {
        &self.base
    }

    /// GETs the page with `suffix` put behind its address. A redirect is an error: nothing is sent to another place.
    pub async fn get(&self, suffix: &str, limit: usize, deadline: Duration) -> Result<HttpReply> {
        let reply = self.send(Method::GET, suffix, &[], limit, deadline).await?;
        match &reply.location {
            Some(location) if (300..400).contains(&reply.status) => {
                let what = format!(
                    "redirects to {} (HTTP {}); name that address if it is the right one",
                    sanitize(location),
                    reply.status
                );
                Err(TransportError::Unsupported { at: self.base.clone(), what })
            }
            _ => Ok(reply),
        }
    }

    /// POSTs a form to the page. HAProxy answers with a redirect that says how it went: [`HttpReply::location`].
    pub async fn post_form(&self, fields: &[(String, String)], limit: usize, deadline: Duration) -> Result<HttpReply> {
        self.send(Method::POST, "", fields, limit, deadline).await
    }

    async fn send(
        &self,
        method: Method,
        suffix: &str,
        fields: &[(String, String)],
        limit: usize,
        deadline: Duration,
    ) -> Result<HttpReply> {
        let doing = format!("{method} {suffix}");
        let work = async {
            let client = self.client.get_or_try_init(|| self.build()).await?;
            let mut request = client.request(method.clone(), format!("{}{suffix}", self.base));
            if method == Method::POST {
                request = request.form(fields);
            }
            self.exchange(self.authorize(request).await?, limit, &doing).await
        };
        match tokio::time::timeout(deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout { at: self.base.clone(), doing, after: deadline }),
        }
    }

    /// The secret is read each time, so that a rotated one holds at once, and is kept nowhere.
    async fn authorize(&self, request: RequestBuilder) -> Result<RequestBuilder> {
        let Some(user) = &self.user else { return Ok(request) };
        let password = match &self.password {
            Some(reference) => Some(secret::resolve(reference).await?),
            None => None,
        };
        Ok(request.basic_auth(user, password.as_ref().map(|p| p.expose())))
    }

    async fn exchange(&self, request: RequestBuilder, limit: usize, doing: &str) -> Result<HttpReply> {
        let mut response = request.send().await.map_err(|e| self.failed(&e))?;
        let status = response.status();
        self.check(status)?;
        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
        let too_large = || TransportError::TooLarge { at: self.base.clone(), doing: doing.to_owned(), limit };
        if response.content_length().is_some_and(|n| n > limit as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(&e))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpReply { status: status.as_u16(), location, body })
    }

    fn check(&self, status: StatusCode) -> Result<()> {
        let at = self.base.clone();
        match status.as_u16() {
            401 => Err(TransportError::Auth {
                at,
                what: match &self.user {
                    Some(user) => format!("user {user} and the password were not accepted (HTTP 401)"),
                    None => "a user and a password are needed (HTTP 401)".into(),
                },
                hint: "see 'stats auth' in haproxy.cfg, and user and password in the fleet file".into(),
            }),
            403 => Err(TransportError::Denied {
                at,
                what: "the page is forbidden (HTTP 403)".into(),
                hint: "look for http-request deny and ACLs on this page in haproxy.cfg".into(),
            }),
            404 => Err(TransportError::NotFound { at, what: "page (HTTP 404); see 'stats uri' in haproxy.cfg".into() }),
            400..=499 => Err(TransportError::Unsupported { at, what: format!("refused (HTTP {status})") }),
            500..=599 => Err(TransportError::Unreachable { at, what: format!("out of order (HTTP {status})") }),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> TransportError {
        // The innermost words say what happened; reqwest's own repeat the address.
        let (mut words, mut source) = (String::new(), error.source());
        while let Some(inner) = source {
            words = inner.to_string();
            source = inner.source();
        }
        let at = self.base.clone();
        if words.contains("certificate") {
            return TransportError::HostKey {
                at,
                what: format!("the certificate is not trusted: {words}"),
                hint: "name the authority's certificate as ca_file in the fleet file".into(),
            };
        }
        TransportError::Unreachable { at, what: if words.is_empty() { error.to_string() } else { words } }
    }

    async fn build(&self) -> Result<Client> {
        install_ring();
        // Nodes are reached as they are named: a proxy from the environment is for other traffic.
        let mut builder = Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(1);
        if let Some(path) = &self.ca_file {
            let unusable = |what: String| TransportError::Unsupported { at: path.display().to_string(), what };
            let pem = tokio::fs::read(path).await.map_err(|e| unusable(format!("ca_file cannot be read: {e}")))?;
            let roots = Certificate::from_pem_bundle(&pem).map_err(|e| unusable(format!("ca_file is not PEM: {e}")))?;
            if roots.is_empty() {
                return Err(unusable("ca_file holds no certificate".into()));
            }
            builder = builder.tls_certs_only(roots);
        } else if self.base.starts_with("http://") {
            // Reading the system's authorities takes longer than the whole request.
            builder = builder.tls_certs_only([]);
        }
        builder.build().map_err(|e| TransportError::Other { at: self.base.clone(), what: format!("HTTP client: {e}") })
    }
}

/// rustls has no cryptography of its own choice; ring is what ssh uses as well.
fn install_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    const SECOND: Duration = Duration::from_secs(10);

    /// Answers every request with the same bytes, and keeps what it was sent.
    struct Server {
        url: String,
        seen: Arc<Mutex<String>>,
        _task: AbortOnDropHandle<()>,
    }

    async fn serve(reply: Vec<u8>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/stats", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(String::new()));
        let keep = Arc::clone(&seen);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 8192];
                let n = stream.read(&mut bytes).await.unwrap_or(0);
                keep.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
                let _ = stream.write_all(&reply).await;
                if reply.is_empty() {
                    // Takes the request and says nothing.
                    std::future::pending::<()>().await;
                }
            }
        }));
        Server { url, seen, _task: task }
    }

    fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
    }

    fn client(url: &str) -> HttpClient {
        let password = SecretRef::Command(vec!["echo".into(), "hunter2".into()]);
        HttpClient::new(url, Some("admin".into()), Some(password), None).unwrap()
    }

    #[tokio::test]
    async fn gets_and_posts_with_a_password_that_nobody_sees() {
        let server = serve(reply("200 OK", "", "# pxname,svname\n")).await;
        let client = client(&server.url);
        assert_eq!(client.get(";csv", 100, SECOND).await.unwrap().body, b"# pxname,svname\n");
        let seen = server.seen.lock().unwrap().clone();
        assert!(seen.starts_with("GET /stats;csv HTTP/1.1\r\n") && seen.contains("Basic YWRtaW46aHVudGVyMg=="), "{seen}");
        assert!(!format!("{client:?}").contains("hunter2"));

        let server = serve(reply("303 See Other", "Location: /stats;st=DONE\r\n", "")).await;
        let fields = [("s".to_owned(), "web 1".to_owned()), ("action".to_owned(), "drain".to_owned())];
        let reply = self::client(&server.url).post_form(&fields, 100, SECOND).await.unwrap();
        assert_eq!((reply.status, reply.location.as_deref()), (303, Some("/stats;st=DONE")));
        assert!(server.seen.lock().unwrap().ends_with("s=web+1&action=drain"));
    }

    #[tokio::test]
    async fn refusals_have_words() {
        for (status, headers, words) in [
            ("401 Unauthorized", "", "user admin and the password were not accepted"),
            ("403 Forbidden", "", "permission denied"),
            ("404 Not Found", "", "stats uri"),
            ("503 Service Unavailable", "", "HTTP 503"),
            ("302 Found", "Location: http://elsewhere.example/\r\n", "redirects to http://elsewhere.example/"),
        ] {
            let server = serve(reply(status, headers, "")).await;
            let error = client(&server.url).get("", 100, SECOND).await.unwrap_err();
            assert!(error.to_string().contains(words), "{status}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn size_and_time_are_bounded() {
        let server = serve(reply("200 OK", "", &"x".repeat(1000))).await;
        assert!(matches!(client(&server.url).get("", 999, SECOND).await, Err(TransportError::TooLarge { limit: 999, .. })));
        let endless = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &vec![b'x'; 1 << 20]].concat();
        let server = serve(endless).await;
        assert!(matches!(client(&server.url).get("", 4096, SECOND).await, Err(TransportError::TooLarge { .. })));
        let silent = serve(Vec::new()).await;
        let late = client(&silent.url).get("", 100, Duration::from_millis(100)).await;
        assert!(matches!(late, Err(TransportError::Timeout { .. })), "{late:?}");
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = client(&format!("http://{gone}/")).get("", 100, SECOND).await.unwrap_err();
        assert!(matches!(refused, TransportError::Unreachable { .. }) && refused.to_string().contains("refused"), "{refused}");
    }

    #[test]
    fn addresses() {
        for (url, words) in [
            ("lb1:80", "not http"),
            ("ftp://lb1/", "not http"),
            ("http://a:b@lb1/", "do not belong"),
            ("http://", "not an address"),
        ] {
            let error = HttpClient::new(url, None, None, None).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("a:b"), "{error}");
        }
    }
}
