//! A relay with rules on one data thread, servers that say what they got, and curl.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lbdeck::agent::relay::content::cache::Cache;
use lbdeck::agent::relay::http::backend::{Ask, Backend, Lease, NoServer, ServerOutcome};
use lbdeck::agent::relay::http::exchange::Patience;
use lbdeck::agent::relay::http::forward::Connection;
use lbdeck::agent::relay::http::serve::serve_connection;
use lbdeck::agent::relay::http::site::Site;
use lbdeck::agent::relay::http::upstream::{ServerAddress, Target};
use lbdeck::agent::relay::listener::{Acceptor, ListenAddress, ListenSockets};
use lbdeck::agent::relay::log::{AccessLog, Load};
use lbdeck::agent::relay::metrics::Registry;
use lbdeck::agent::relay::protect::{ProtectConfig, Protection};
use lbdeck::agent::relay::record::Records;
use lbdeck::agent::relay::route::forwarded::Forwarding;
use lbdeck::agent::relay::route::{Route, Router};
use lbdeck::agent::relay::runtime::Threads;
use lbdeck::agent::relay::session::Sessions;
use lbdeck::agent::relay::stream::Stream;

static NEXT: AtomicU64 = AtomicU64::new(1_000_000);

/// A pool of one server.
struct One {
    name: Arc<str>,
    target: Target,
}

struct Taken {
    target: Target,
    name: Arc<str>,
}

impl Backend for One {
    type Lease = Taken;
    fn name(&self) -> &Arc<str> {
        &self.name
    }
    async fn pick(&self, _ask: Ask<'_>, _failed: Option<&Taken>) -> Result<Taken, NoServer> {
        Ok(Taken { target: self.target.clone(), name: "s1".into() })
    }
    fn may_retry(&self, _attempt: u32) -> bool {
        false
    }
    fn patience(&self, client: Duration) -> Patience {
        Patience { client, server: Duration::from_secs(10) }
    }
}

impl Lease for Taken {
    fn target(&self) -> &Target {
        &self.target
    }
    fn server(&self) -> &Arc<str> {
        &self.name
    }
    fn preamble(&self, _peer: Option<SocketAddr>, _local: Option<SocketAddr>) -> Vec<u8> {
        Vec::new()
    }
    fn set_cookie(&self) -> Option<String> {
        None
    }
    fn note(&mut self, _outcome: ServerOutcome) {}
    fn passed(&mut self, _sent: u64, _received: u64) {}
}

/// What a test sets.
#[derive(Clone)]
pub struct Setting {
    pub pools: Vec<(&'static str, SocketAddr)>,
    pub routes: Vec<Route>,
    pub protect: Option<ProtectConfig>,
    pub forwarding: Forwarding,
    pub request_id: Option<Box<str>>,
    pub log: Option<Arc<AccessLog>>,
    pub registry: Arc<Registry>,
}

impl Setting {
    pub fn new(pools: &[(&'static str, SocketAddr)], routes: Vec<Route>) -> Self {
        Self {
            pools: pools.to_vec(),
            routes,
            protect: None,
            forwarding: Forwarding::default(),
            request_id: None,
            log: None,
            registry: Arc::new(Registry::new(1)),
        }
    }

    pub fn start(self) -> Relay {
        let any = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let sockets = ListenSockets::open(&any, 1, &mut Vec::new()).unwrap();
        let threads = Threads::start(1).unwrap();
        for fd in sockets.of_thread(0, 1).unwrap() {
            let setting = self.clone();
            threads.run_on(0, move || {
                let acceptor = Acceptor::new(fd).unwrap();
                tokio::task::spawn_local(accept(acceptor, Rc::new(setting.site())));
            });
        }
        Relay { address: sockets.local_address().unwrap(), threads: Some(threads) }
    }

    fn site(&self) -> Site<One> {
        let place = |name: &str| self.pools.iter().position(|(n, _)| *n == name);
        let router = Arc::new(Router::new(self.routes.clone(), place).unwrap());
        let protection = |config: &ProtectConfig| Arc::new(Protection::new(config.clone(), None, Instant::now()));
        let log = self.log.as_ref().map(|log| (log.thread(0), Rc::new(|_: &_| Load::default()) as _));
        let pools = self.pools.iter().map(|(name, address)| {
            let target = Target {
                id: NEXT.fetch_add(1, Ordering::Relaxed),
                address: ServerAddress::Tcp(*address),
                tls: None,
                http2: false,
                connect_timeout: Duration::from_secs(5),
                idle_timeout: Duration::from_secs(30),
            };
            Rc::new(One { name: (*name).into(), target })
        });
        Site {
            listener: "main".into(),
            heads: Default::default(),
            body_limit: u64::MAX,
            timeouts: Default::default(),
            http2: Default::default(),
            route_protection: router.routes().iter().map(|r| r.protect.as_ref().map(protection)).collect(),
            caches: router.routes().iter().map(|r| r.cache.clone().map(Cache::new)).collect(),
            protection: self.protect.as_ref().map(protection),
            forwarding: self.forwarding.clone(),
            request_id: self.request_id.clone(),
            error_pages: Default::default(),
            pools: pools.collect(),
            recorder: Some(Rc::new(Records::new("main".into(), 0, Arc::clone(&router), &self.registry, log))),
            router,
        }
    }
}

async fn accept(acceptor: Acceptor, site: Rc<Site<One>>) {
    let closing = Rc::new(Cell::new(false));
    loop {
        let accepted = acceptor.accept().await;
        let (site, closing) = (Rc::clone(&site), Rc::clone(&closing));
        tokio::task::spawn_local(async move {
            let (peer, local) = (accepted.peer, accepted.local);
            let serve = |session| async move {
                let connection = Connection { session, peer, local, tls: false };
                serve_connection(|| Rc::clone(&site), Stream::Plain(accepted.socket), connection).await;
            };
            Sessions::here().run("main".into(), peer, closing, serve).await;
        });
    }
}

/// Ends with the value.
pub struct Relay {
    pub address: SocketAddr,
    threads: Option<Threads>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.end();
        }
    }
}

/// What curl got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    /// Names in small letters.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Relay {
    /// Runs curl on a path as it is written.
    pub fn curl(&self, path: &str, args: &[&str]) -> Got {
        let mut command = Command::new("curl");
        command.args(["-s", "-i", "--max-time", "20", "--path-as-is", "--http1.1"]).args(args);
        let output = command.arg(format!("http://{}{path}", self.address)).output().expect("curl is installed");
        let text = output.stdout;
        let end = text
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no head: {output:?}", output = output.status));
        let head = String::from_utf8_lossy(&text[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
        Got { status, headers, body: text[end + 4..].to_vec() }
    }
}

/// A server that answers every request with its own name and the head that it got, unless the path has an answer of its own.
pub struct Echo {
    pub address: SocketAddr,
    pub hits: Arc<AtomicUsize>,
    pub heads: Arc<Mutex<Vec<String>>>,
    end: Arc<AtomicBool>,
}

/// What is sent for a head: status line to the end of the body.
pub type Answer = fn(&str) -> Option<Vec<u8>>;

pub fn response(status: &str, fields: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut all = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend_from_slice(body);
    Some(all)
}

impl Echo {
    pub fn start(name: &'static str, answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let echo =
            Self { address: listener.local_addr().unwrap(), hits: Arc::default(), heads: Arc::default(), end: Arc::default() };
        let (hits, heads, end) = (Arc::clone(&echo.hits), Arc::clone(&echo.heads), Arc::clone(&echo.end));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let (hits, heads) = (Arc::clone(&hits), Arc::clone(&heads));
                std::thread::spawn(move || serve(stream.unwrap(), name, answer, &hits, &heads));
            }
        });
        echo
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, name: &str, answer: Answer, hits: &AtomicUsize, heads: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end);
        hits.fetch_add(1, Ordering::SeqCst);
        heads.lock().unwrap().push(head.clone());
        let plain = || response("200 OK", "Content-Type: text/plain\r\n", format!("{name}\n{head}").as_bytes());
        if stream.write_all(&answer(&head).or_else(plain).unwrap()).is_err() {
            return;
        }
    }
}
