//! Listening sockets: one a thread with SO_REUSEPORT, kept apart from those who accept on them, so that a new process or a new
//! configuration can take them over without a lost connection.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::stream;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;
/// How long an accept loop waits after the system had no more file descriptors or memory: until some connections have ended.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix {
        path: PathBuf,
        /// Permission bits of the socket; `None` leaves what the umask gives.
        mode: Option<u32>,
    },
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Udp(address) => write!(f, "udp {address}"),
            Self::Unix { path, .. } => write!(f, "unix {}", path.display()),
        }
    }
}

/// Why nobody listens at an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: {source}{}", hint(source))]
pub struct ListenError {
    pub address: ListenAddress,
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another process listens there: see `ss -ltnp`)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need root or CAP_NET_BIND_SERVICE; a unix socket needs a folder that may be written)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this node has the address)",
        _ => "",
    }
}

/// The sockets of one address, at least one a thread.
#[derive(Debug)]
pub struct ListenSockets {
    address: ListenAddress,
    sockets: Vec<Socket>,
}

impl ListenSockets {
    /// Listens at an address for so many threads. Sockets of the same name are taken out of `given` first (see
    /// [`ListenSockets::hand_over`]); if there are more of them than threads, all are kept: connections wait in each.
    pub fn open(address: &ListenAddress, threads: usize, given: &mut Vec<(String, OwnedFd)>) -> Result<Self, ListenError> {
        let fail = |source| ListenError { address: address.clone(), source };
        let prefix = format!("{address} #");
        let mut sockets: Vec<Socket> =
            given.extract_if(.., |(name, _)| name.starts_with(&prefix)).map(|(_, fd)| Socket::from(fd)).collect();
        for socket in &sockets {
            socket.set_nonblocking(true).map_err(fail)?;
        }
        while sockets.len() < threads.max(1) {
            let socket = match (address, sockets.first()) {
                (ListenAddress::Tcp(wanted) | ListenAddress::Udp(wanted), first) => {
                    // With port 0 the first socket's port is the others'.
                    let bound = first.map(Socket::local_addr).transpose().map_err(fail)?.and_then(|a| a.as_socket());
                    let kind = if matches!(address, ListenAddress::Udp(_)) { Type::DGRAM } else { Type::STREAM };
                    bind_ip(bound.unwrap_or(*wanted), kind).map_err(fail)?
                }
                // There is no SO_REUSEPORT for unix sockets: the threads share one.
                (ListenAddress::Unix { .. }, Some(first)) => first.try_clone().map_err(fail)?,
                (ListenAddress::Unix { path, mode }, None) => bind_unix(path, *mode).map_err(fail)?,
            };
            sockets.push(socket);
        }
        Ok(Self { address: address.clone(), sockets })
    }

    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The address that was bound: with the port that the system chose for port 0. `None` for a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.sockets.first()?.local_addr().ok()?.as_socket()
    }

    /// Copies of all sockets with their names, for the next process.
    pub fn hand_over(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let copies = self.sockets.iter().enumerate();
        copies.map(|(i, socket)| Ok((format!("{} #{i}", self.address), socket.try_clone()?.into()))).collect()
    }

    /// Copies of the sockets that a thread is to accept on, for [`Acceptor::new`] on that thread.
    pub fn of_thread(&self, index: usize, threads: usize) -> io::Result<Vec<OwnedFd>> {
        let own = self.sockets.iter().enumerate().filter(|(i, _)| i % threads.max(1) == index);
        own.map(|(_, socket)| Ok(socket.try_clone()?.into())).collect()
    }
}

fn bind_ip(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if address.is_ipv6() {
        // Beside 0.0.0.0 on the same port; whoever wants both writes both.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    if kind == Type::STREAM {
        // A proxy writes whole messages; waiting for more to send only delays them. What is accepted inherits it.
        socket.set_tcp_nodelay(true)?;
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        // Left behind by a process that is gone, or in use: connecting tells.
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        match probe.connect(&address) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Ok(()) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    socket.bind(&address)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Accepts on one socket, within the runtime of a data thread.
#[derive(Debug)]
pub enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection that was accepted; addresses are `None` on a unix socket.
#[derive(Debug)]
pub struct Accepted {
    pub socket: stream::Socket,
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
}

impl Acceptor {
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        if socket2::SockRef::from(&fd.as_fd()).domain()? == Domain::UNIX {
            return Ok(Self::Unix(tokio::net::UnixListener::from_std(fd.into())?));
        }
        Ok(Self::Tcp(tokio::net::TcpListener::from_std(fd.into())?))
    }

    /// The next connection. Waits out what passes: clients that left before they were accepted, and a system without descriptors, which
    /// is logged once until it is over.
    pub async fn accept(&self) -> Accepted {
        let mut exhausted = false;
        loop {
            match self.try_accept().await {
                Ok(accepted) => {
                    if exhausted {
                        tracing::warn!("accepting connections again");
                    }
                    return accepted;
                }
                Err(e) if is_of_one_connection(&e) => {}
                Err(e) => {
                    if !exhausted {
                        tracing::error!(error = %e, "cannot accept connections; new clients wait (raise LimitNOFILE or maxconn's room)");
                    }
                    exhausted = true;
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (tcp, peer) = listener.accept().await?;
                let local = tcp.local_addr().ok();
                Ok(Accepted { socket: stream::Socket::Tcp(tcp), peer: Some(peer), local })
            }
            Self::Unix(listener) => {
                let (unix, _) = listener.accept().await?;
                Ok(Accepted { socket: stream::Socket::Unix(unix), peer: None, local: None })
            }
        }
    }
}

/// Errors that accept(2) hands on from the connection that it would have given.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable,
        PermissionDenied, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | InvalidInput
            | NetworkDown
            | NetworkUnreachable
            | PermissionDenied
            | TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> ListenAddress {
        ListenAddress::Tcp(([127, 0, 0, 1], 0).into())
    }

    #[tokio::test]
    async fn sockets_are_taken_over() {
        let first = ListenSockets::open(&any_port(), 2, &mut Vec::new()).unwrap();
        let port = first.local_address().unwrap();
        assert_eq!(first.of_thread(0, 2).unwrap().len(), 1);
        let mut given = first.hand_over().unwrap();
        given.push(("tcp 192.0.2.1:1 #0".to_owned(), first.of_thread(0, 2).unwrap().remove(0)));
        // A client that came before the old process ended is served by the new one.
        let early = std::net::TcpStream::connect(port).unwrap();
        let second = ListenSockets::open(&any_port(), 1, &mut given).unwrap();
        assert_eq!((given.len(), second.local_address()), (1, Some(port)));
        drop((first, given));
        let acceptors: Vec<_> = second.of_thread(0, 1).unwrap().into_iter().map(|fd| Acceptor::new(fd).unwrap()).collect();
        assert_eq!(acceptors.len(), 2);
        let (accepted, _, _) = futures::future::select_all(acceptors.iter().map(|a| Box::pin(a.accept()))).await;
        assert_eq!(accepted.peer, early.local_addr().ok());
    }

    #[tokio::test]
    async fn unix_sockets_are_shared_and_stale_ones_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let address = ListenAddress::Unix { path: path.clone(), mode: Some(0o600) };
        let sockets = ListenSockets::open(&address, 2, &mut Vec::new()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let taken = ListenSockets::open(&address, 1, &mut Vec::new()).unwrap_err();
        assert!(taken.to_string().contains("another process listens there"), "{taken}");
        drop(sockets);
        let sockets = ListenSockets::open(&address, 1, &mut Vec::new()).unwrap();
        let acceptor = Acceptor::new(sockets.of_thread(0, 1).unwrap().remove(0)).unwrap();
        let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(acceptor.accept().await.peer.is_none());
        drop(client);
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        let address = ListenAddress::Tcp("192.0.2.1:80".parse().unwrap());
        let error = ListenSockets::open(&address, 1, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("tcp 192.0.2.1:80") && error.contains("no interface"), "{error}");
    }
}
