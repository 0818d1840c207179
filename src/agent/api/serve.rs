//! Doors of the control API: a unix socket that only its owner and root may use, and TCP with certificates of both sides.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::agent::tls::Identity;

/// Connections at once; a console keeps one or two.
const CONNECTIONS: usize = 256;
/// A request's head must be there within this.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// TLS must be agreed on within this.
const TLS_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{at}: {what}")]
    Door { at: String, what: String },
}

/// A listening unix socket with who may use it.
#[derive(Debug)]
pub struct Door {
    pub listener: UnixListener,
    /// The file's group may connect too (mode 0660), and so users other than root and our own.
    pub group: bool,
}

/// A listening TCP socket that asks for a client's certificate.
#[derive(Debug)]
pub struct TcpDoor {
    pub listener: TcpListener,
    pub tls: Identity,
}

/// Makes the socket's file, mode 0600 (0660 with `group`), never wider for a moment: it is made under another name.
///
/// # Errors
/// Another process answers there, or the file cannot be made.
pub fn listen(path: &Path, group: Option<u32>) -> Result<std::os::unix::net::UnixListener, ServeError> {
    let wrong = |what: String| ServeError::Door { at: path.display().to_string(), what };
    let io = |doing: &'static str| move |e: std::io::Error| wrong(format!("{doing}: {e}"));
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(wrong("another agent answers here; stop it first, or let it upgrade itself".to_owned()));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io("making its folder"))?;
    }
    let new = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    // A leftover of a process that had the same number.
    let _ = std::fs::remove_file(&new);
    let listener = std::os::unix::net::UnixListener::bind(&new).map_err(io("listening"))?;
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).map_err(io("setting its mode"))?;
    if group.is_some() {
        std::os::unix::fs::chown(&new, None, group).map_err(io("giving it to the group"))?;
    }
    std::fs::rename(&new, path).map_err(io("putting it in its place"))?;
    listener.set_nonblocking(true).map_err(io("listening"))?;
    Ok(listener)
}

impl Door {
    /// Serves until `stop` says so; connections that are established then finish what they are at.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let (connections, mut refused) = (TaskTracker::new(), false);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        refused = false;
                        stream
                    }
                    Err(e) => {
                        pause_after(&e, &mut refused).await;
                        continue;
                    }
                },
                () = stopped(&mut stop) => break,
            };
            if let Err(who) = may_use(&stream, self.group) {
                tracing::warn!("a process of user {who} was turned away from the control socket");
                continue;
            }
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                connection(stream, router, stop).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

impl TcpDoor {
    pub async fn serve(mut self, router: Router, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let (connections, mut refused) = (TaskTracker::new(), false);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let (stream, peer) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => {
                        refused = false;
                        accepted
                    }
                    Err(e) => {
                        pause_after(&e, &mut refused).await;
                        continue;
                    }
                },
                () = stopped(&mut stop) => break,
            };
            if let Err(e) = stream.set_nodelay(true) {
                tracing::debug!(%peer, error = %e, "answers may wait for each other");
            }
            let (router, stop, acceptor) = (router.clone(), stop.clone(), TlsAcceptor::from(self.tls.current()));
            connections.spawn(async move {
                match tokio::time::timeout(TLS_WITHIN, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, router, stop).await,
                    Ok(Err(e)) => tracing::warn!(%peer, error = %e, "TLS of the control API failed"),
                    Err(_) => tracing::warn!(%peer, "TLS of the control API took too long"),
                }
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

/// Too many open files and the like pass; without a pause this would spin. Said once until a connection is accepted again.
async fn pause_after(error: &std::io::Error, said: &mut bool) {
    if !std::mem::replace(said, true) {
        tracing::error!(%error, "the control API cannot accept connections");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Root, our own user, or whoever the file's group lets in. The error is the user's number.
fn may_use(stream: &UnixStream, group: bool) -> Result<(), String> {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(e) => return Err(format!("unknown ({e})")),
    };
    let own = nix::unistd::geteuid().as_raw();
    if group || uid == 0 || uid == own { Ok(()) } else { Err(uid.to_string()) }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender's end is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection<S>(stream: S, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(&mut stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "a connection of the control API ended early");
    }
}
