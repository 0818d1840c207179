//! Sample applications behind a load balancer: a tiny HTTP server whose health can be switched, and responses that
//! stream until they are let go, so that sessions are held for as long as a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// `GET /` answers `200` with the server's name, `/hold` streams a chunk every 20 ms until `release` or until the client
/// is gone, paths with `/cached` may be cached, `/health` answers 200 or 503 as told. One thread a connection; ends with the value.
pub struct App {
    pub name: String,
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    stop: AtomicBool,
    healthy: AtomicBool,
    release: AtomicUsize,
    served: AtomicUsize,
    holding: AtomicUsize,
}

impl App {
    pub fn start(name: &str) -> App {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            stop: AtomicBool::new(false),
            healthy: AtomicBool::new(true),
            release: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            holding: AtomicUsize::new(0),
        });
        let inner = shared.clone();
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if inner.stop.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(stream) = stream {
                    let shared = inner.clone();
                    std::thread::spawn(move || serve(&stream, &shared));
                }
            }
        });
        App { name: name.to_owned(), addr, shared, acceptor: Some(acceptor) }
    }

    /// What `/health` says from now on.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }
    /// Lets all responses that are held now come to their end.
    pub fn release(&self) {
        self.shared.release.fetch_add(1, Ordering::SeqCst);
    }
    /// Requests answered so far, without health checks.
    pub fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }
    /// Responses that are being held now.
    pub fn holding(&self) -> usize {
        self.shared.holding.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr); // wakes accept()
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !shared.stop.load(Ordering::SeqCst) {
        line.clear();
        if !matches!(reader.read_line(&mut line), Ok(n) if n > 0) {
            return;
        }
        let path = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(n) if n > 0 && line.trim().is_empty() => break,
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
        if !answer(stream, &path, shared) {
            return;
        }
    }
}

/// False where the connection is over.
fn answer(mut stream: &TcpStream, path: &str, shared: &Shared) -> bool {
    if path.starts_with("/health") {
        let word = if shared.healthy.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
        let _ = write!(stream, "HTTP/1.1 {word}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return false;
    }
    if path.starts_with("/hold") {
        shared.holding.fetch_add(1, Ordering::SeqCst);
        let ended = hold(stream, shared);
        shared.holding.fetch_sub(1, Ordering::SeqCst);
        shared.served.fetch_add(1, Ordering::SeqCst);
        return ended.is_ok();
    }
    let body = format!("{}\n", shared.name);
    let kept = if path.contains("/cached") { "Cache-Control: max-age=600\r\n" } else { "" };
    shared.served.fetch_add(1, Ordering::SeqCst);
    write!(stream, "HTTP/1.1 200 OK\r\n{kept}Content-Length: {}\r\n\r\n{body}", body.len()).is_ok()
}

fn hold(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let before = shared.release.load(Ordering::SeqCst);
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    while shared.release.load(Ordering::SeqCst) == before && !shared.stop.load(Ordering::SeqCst) {
        stream.write_all(b"2\r\n.\n\r\n")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.write_all(b"0\r\n\r\n")
}

/// A client whose request is under way until it is dropped.
pub struct HeldRequest(TcpStream);

impl HeldRequest {
    /// Opens `GET /hold` through a frontend and returns when the first bytes of the answer are there.
    pub fn open(frontend: SocketAddr) -> HeldRequest {
        let mut stream = TcpStream::connect(frontend).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET /hold HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut first = String::new();
        BufReader::new(&stream).read_line(&mut first).unwrap();
        assert!(first.contains("200"), "held request was answered by {first:?}");
        HeldRequest(stream)
    }

    /// True where the far side has ended the connection (killed session). Reads what has come so far.
    pub fn is_over(&mut self) -> bool {
        use std::io::Read;
        self.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut sink = [0u8; 65536];
        let end = std::time::Instant::now() + Duration::from_millis(200);
        while std::time::Instant::now() < end {
            match self.0.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
            }
        }
        false // it still streams
    }
}

/// One request on a connection of its own; the whole answer as text, empty where it failed.
pub fn get(addr: SocketAddr, path: &str) -> String {
    use std::io::Read;
    let Ok(mut stream) = TcpStream::connect(addr) else { return String::new() };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}
