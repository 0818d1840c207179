//! Servers behind the relay: real nginx, and scripted ones that do what no good server does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lbdeck::agent::relay::http::upstream::{ServerAddress, Target};

use crate::support::relay::target;
use crate::support::wait;

/// nginx on a unix socket; ended with the value.
pub struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// `listen`: parameters of the `listen` directive (`http2`, `ssl`), `inside`: directives of the server.
    pub fn start(listen: &str, inside: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let big: Vec<u8> = (0..10_000_000u32).map(|i| (i / 7) as u8).collect();
        std::fs::create_dir(root.join("www")).unwrap();
        std::fs::write(root.join("www/big"), big).unwrap();
        std::fs::write(root.join("www/small"), "x".repeat(1024)).unwrap();
        let conf = format!(
            "worker_processes 1; daemon off; pid {0}/pid; error_log {0}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log {0}/access.log; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};\n\
             uwsgi_temp_path {0}; scgi_temp_path {0}; client_max_body_size 0; keepalive_requests 100000;\n\
             server {{ listen unix:{0}/sock {listen}; root {0}/www; {inside}\n\
             location = /none {{ return 204; }} location = /echo {{ return 200 $request_method:$http_x_forwarded_for:$http_x; }}\n\
             location = /host {{ return 200 $http_host; }} }} }}\n",
            root.display()
        );
        std::fs::write(root.join("conf"), conf).unwrap();
        // Started by root it would serve as nobody, who may not look into the folder.
        let child = Command::new("/usr/sbin/nginx")
            .args(["-p"])
            .arg(root)
            .args(["-c"])
            .arg(root.join("conf"))
            .args(["-g", "user root;"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { child, folder };
        wait::until("nginx listens", Duration::from_secs(10), || std::os::unix::net::UnixStream::connect(nginx.socket()).ok());
        nginx
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }
    pub fn read(&self, file: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join(file)).unwrap_or_default()).into_owned()
    }
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("www").join(name)
    }
    pub fn target(&self) -> Target {
        target(ServerAddress::Unix(self.socket()))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM lets the master end its workers.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// A server of which each connection runs a function; what came in is kept.
pub struct Scripted {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    /// `script` gets each connection and a place for what it read. Threads end with their connections; the listener with the test.
    pub fn start(script: impl Fn(&mut TcpStream, &Mutex<Vec<u8>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, shown) = (Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), script, seen) = (stream, Arc::clone(&script), Arc::clone(&shown)) else { return };
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                std::thread::spawn(move || script(&mut stream, &seen));
            }
        });
        Self { address, seen }
    }

    /// Answers every request with the same bytes and then closes or goes on.
    pub fn answering(answer: impl Into<Vec<u8>>, close: bool) -> Self {
        let answer = answer.into();
        Self::start(move |stream, seen| {
            while read_head(stream, seen) {
                stream.write_all(&answer).unwrap();
                if close {
                    return;
                }
            }
        })
    }

    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }
    pub fn target(&self) -> Target {
        target(ServerAddress::Tcp(self.address))
    }
}

/// Reads up to the end of a head; false at the end of the stream.
pub fn read_head(stream: &mut TcpStream, seen: &Mutex<Vec<u8>>) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
        seen.lock().unwrap().push(byte[0]);
    }
    true
}
