//! Servers that say what they got, and curl.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::relay::Relay;

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
