//! Where lines go: a file that may be renamed under us, standard output, or syslog.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Appended to; made with mode 0640; opened again when it was renamed or removed (log rotation needs no signal).
    File(PathBuf),
    Stdout,
    /// Local syslog (`/dev/log`), RFC 3164, facility local0.
    SyslogUnix(PathBuf),
    SyslogUdp(SocketAddr),
}

/// Facility local0, severity informational (RFC 3164, 4.1.1).
const PRIORITY: u8 = 16 << 3 | 6;
/// Longest message sent to syslog, in bytes: what daemons take by default.
const MAX_MESSAGE: usize = 8192;

/// An open target.
#[derive(Debug)]
pub enum Sink {
    File { path: PathBuf, file: File },
    Stdout,
    Unix { socket: UnixDatagram, tag: String },
    Udp { socket: UdpSocket, tag: String },
}

impl Sink {
    /// # Errors
    /// The system's: no such folder, no permission, no such socket.
    pub fn open(target: &Target) -> io::Result<Self> {
        let tag = format!("lbdeck[{}]", std::process::id());
        Ok(match target {
            Target::File(path) => Self::File { path: path.clone(), file: open(path)? },
            Target::Stdout => Self::Stdout,
            Target::SyslogUnix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                Self::Unix { socket, tag }
            }
            Target::SyslogUdp(address) => {
                let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                let host = gethostname::gethostname().to_string_lossy().replace(' ', "_");
                Self::Udp { socket, tag: format!("{host} {tag}") }
            }
        })
    }

    /// Opens a file again that is no longer where it was. Call it now and then.
    pub fn follow(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            let ours = file.metadata()?;
            let there = std::fs::metadata(&*path);
            if there.is_ok_and(|t| (t.dev(), t.ino()) == (ours.dev(), ours.ino())) {
                return Ok(());
            }
            *file = open(path)?;
        }
        Ok(())
    }

    /// Writes lines, each with its end; how many went. What a full disk or socket does not take is lost: nobody waits for a log.
    pub fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let count = || lines.split_inclusive(|b| *b == b'\n').count();
        let whole = |result: io::Result<()>| (if result.is_ok() { count() } else { 0 }, result);
        match self {
            Self::File { file, .. } => whole(file.write_all(lines)),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                whole(out.write_all(lines).and_then(|()| out.flush()))
            }
            Self::Unix { socket, tag } => each(lines, tag, |message| socket.send(message)),
            Self::Udp { socket, tag } => each(lines, tag, |message| socket.send(message)),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Sends each line as a message of its own; how many went, and the last error.
fn each(lines: &[u8], tag: &str, send: impl Fn(&[u8]) -> io::Result<usize>) -> (usize, io::Result<()>) {
    let head =
        format!("<{PRIORITY}>{} {tag}: ", Timestamp::now().to_zoned_datetime(TimeZone::system()).strftime("%b %e %H:%M:%S"));
    let mut message = Vec::with_capacity(512);
    let (mut sent, mut result) = (0, Ok(()));
    for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        message.clear();
        message.extend_from_slice(head.as_bytes());
        message.extend_from_slice(line);
        message.truncate(MAX_MESSAGE);
        match send(&message) {
            Ok(_) => sent += 1,
            Err(e) => result = Err(e),
        }
    }
    (sent, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let mut sink = Sink::open(&Target::File(path.clone())).unwrap();
        assert_eq!(sink.write(b"one\ntwo\n").0, 2);
        std::fs::rename(&path, &old).unwrap();
        assert_eq!(sink.write(b"late\n").0, 1);
        sink.follow().unwrap();
        assert_eq!(sink.write(b"three\n").0, 1);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\ntwo\nlate\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_file(&path).unwrap();
        sink.follow().unwrap();
        sink.follow().unwrap();
        assert_eq!(sink.write(b"four\n").0, 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
        assert!(Sink::open(&Target::File(folder.path().join("no/such"))).is_err());
    }

    #[test]
    fn syslog_gets_a_message_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for target in [Target::SyslogUnix(path.clone()), Target::SyslogUdp(udp.local_addr().unwrap())] {
            let mut sink = Sink::open(&target).unwrap();
            let (sent, result) = sink.write(b"one\ntwo\n");
            assert!(sent == 2 && result.is_ok(), "{result:?}");
            for line in ["one", "two"] {
                let mut message = [0; 1024];
                let n =
                    if target == Target::SyslogUnix(path.clone()) { daemon.recv(&mut message) } else { udp.recv(&mut message) };
                let text = String::from_utf8_lossy(&message[..n.unwrap()]).into_owned();
                assert!(
                    text.starts_with("<134>") && text.ends_with(&format!("lbdeck[{}]: {line}", std::process::id())),
                    "{text}"
                );
            }
        }
        drop(daemon);
        let mut sink = Sink::open(&Target::SyslogUnix(path));
        assert!(sink.as_mut().map(|s| s.write(b"x\n").0).unwrap_or(0) == 0);
    }
}
