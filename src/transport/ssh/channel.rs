//! A channel as a byte stream, and commands run to their end.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::SessionChannel;
use crate::model::sanitize;
use crate::transport::{Result, RunOutput, TransportError};

/// How much of a forwarding command's complaint is kept.
const COMPLAINT: usize = 2048;

/// A stream over a channel. Unlike russh's own it tells the end of the stream from the loss of the connection, and a
/// command that carries it from one that failed.
pub(super) struct ChannelIo {
    at: String,
    read: ChannelReadHalf,
    write: Pin<Box<dyn AsyncWrite + Send>>,
    close: CloseOnDrop,
    /// Data that was not read yet, and how much of it was.
    current: Option<(ChannelMsg, usize)>,
    /// Set where a command on the node carries the stream: its failure is the stream's.
    command: bool,
    complaint: Vec<u8>,
    status: Option<u32>,
    eof: bool,
    ended: bool,
}

impl ChannelIo {
    pub(super) fn new(channel: Channel<Msg>, at: &str) -> Self {
        let write: Pin<Box<dyn AsyncWrite + Send>> = Box::pin(channel.make_writer());
        let (read, closing) = channel.split();
        Self {
            at: at.to_owned(),
            read,
            write,
            close: CloseOnDrop { channel: Some(closing), permit: None, end: false },
            current: None,
            command: false,
            complaint: Vec::new(),
            status: None,
            eof: false,
            ended: false,
        }
    }

    /// A channel on which a command such as `socat` was started.
    pub(super) fn of_command(session: SessionChannel, at: &str) -> Self {
        let mut stream = Self { command: true, ..Self::new(session.channel, at) };
        stream.close.permit = Some(session.permit);
        stream
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        if !self.command || self.status == Some(0) || (self.status.is_none() && self.eof) {
            return Ok(());
        }
        Err(complaint_error(&self.at, &self.complaint))
    }
}

/// The error that a forwarding command has printed.
pub(super) fn complaint_error(at: &str, stderr: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(stderr);
    let lower = text.to_ascii_lowercase();
    let kind = if lower.contains("permission denied") {
        io::ErrorKind::PermissionDenied
    } else if lower.contains("no such file") {
        io::ErrorKind::NotFound
    } else if lower.contains("connection refused") {
        io::ErrorKind::ConnectionRefused
    } else {
        io::ErrorKind::Other
    };
    let line = text.lines().next().unwrap_or("the forwarding command failed");
    io::Error::new(kind, format!("{at}: {}", sanitize(line)))
}

impl AsyncRead for ChannelIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some((ChannelMsg::Data { data }, taken)) = &mut this.current {
                let rest = data.get(*taken..).unwrap_or_default();
                let (now, later) = rest.split_at(rest.len().min(out.remaining()));
                out.put_slice(now);
                *taken += now.len();
                if later.is_empty() {
                    this.current = None;
                }
                return Poll::Ready(Ok(()));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            // The future holds nothing but the receiver, so a new one for each poll misses nothing.
            let message = ready!(pin!(this.read.wait()).poll(cx));
            match message {
                Some(ChannelMsg::Data { data }) if data.is_empty() => {}
                Some(data @ ChannelMsg::Data { .. }) => this.current = Some((data, 0)),
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = COMPLAINT.saturating_sub(this.complaint.len()).min(data.len());
                    this.complaint.extend_from_slice(data.get(..room).unwrap_or_default());
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => this.status = Some(exit_status),
                Some(ChannelMsg::Eof) => {
                    this.eof = true;
                    if !this.command {
                        this.ended = true;
                        return Poll::Ready(Ok(()));
                    }
                }
                Some(ChannelMsg::Close) => {
                    this.close.closed();
                    return Poll::Ready(this.end());
                }
                Some(_) => {}
                None => {
                    this.close.closed();
                    this.ended = true;
                    return Poll::Ready(match this.eof {
                        true => Ok(()),
                        false => {
                            let what = format!("{}: the connection was lost", this.at);
                            Err(io::Error::new(io::ErrorKind::ConnectionReset, what))
                        }
                    });
                }
            }
        }
    }
}

impl AsyncWrite for ChannelIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.write.as_mut().poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.as_mut().poll_shutdown(cx)
    }
}

/// Closes the channel when nobody holds it any more, so that nothing stays open on the node.
struct CloseOnDrop {
    channel: Option<ChannelWriteHalf<Msg>>,
    /// Given back only after the channel was closed, so that the server has room for the next.
    permit: Option<OwnedSemaphorePermit>,
    /// A command is to end with it.
    end: bool,
}

impl CloseOnDrop {
    /// The far side has closed it.
    fn closed(&mut self) {
        self.channel = None;
        self.permit = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let (Some(channel), Ok(runtime)) = (self.channel.take(), tokio::runtime::Handle::try_current()) {
            let (permit, end) = (self.permit.take(), self.end);
            runtime.spawn(async move {
                if end {
                    let _ = channel.signal(Sig::TERM).await;
                }
                let _ = channel.close().await;
                drop(permit);
            });
        }
    }
}

/// Runs a command on a fresh session channel and gathers its output, at most `limit` bytes.
///
/// Dropping the future ends the command: by `TERM`, which OpenSSH passes on except where root has logged on, and by closing
/// the channel, which ends whatever reads or writes.
pub(super) async fn run(session: SessionChannel, at: &str, command: String, stdin: &[u8], limit: usize) -> Result<RunOutput> {
    let lost = || TransportError::Unreachable { at: at.into(), what: "the connection was lost while a command ran".into() };
    session.channel.exec(true, command).await.map_err(|_| lost())?;
    let (mut read, write) = session.channel.split();
    let mut guard = CloseOnDrop { channel: Some(write), permit: Some(session.permit), end: true };
    let mut output = RunOutput::default();
    let mut closed = false;
    {
        let Some(write) = &guard.channel else { return Err(lost()) };
        let feed = async {
            if !stdin.is_empty() {
                let _ = write.data(stdin).await;
            }
            let _ = write.eof().await;
            // The command may well end without having read all.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = feed => {}
            result = gather(&mut read, &mut output, limit) => match result {
                Gathered::Closed => closed = true,
                Gathered::Cut => {}
                Gathered::Lost => return Err(lost()),
                Gathered::Refused => {
                    return Err(TransportError::Denied {
                        at: at.into(),
                        what: "the server does not run commands".into(),
                        hint: "look for ForceCommand in sshd_config, or a command= in authorized_keys".into(),
                    });
                }
            },
        }
    }
    if closed {
        guard.closed();
    }
    Ok(output)
}

enum Gathered {
    Closed,
    /// Over the limit: the rest is not waited for.
    Cut,
    Lost,
    Refused,
}

async fn gather(read: &mut ChannelReadHalf, output: &mut RunOutput, limit: usize) -> Gathered {
    let mut ended = false;
    while let Some(message) = read.wait().await {
        let (data, error) = match message {
            ChannelMsg::Data { data } => (data, false),
            ChannelMsg::ExtendedData { data, .. } => (data, true),
            ChannelMsg::ExitStatus { exit_status } => {
                output.status = Some(exit_status);
                ended = true;
                continue;
            }
            ChannelMsg::ExitSignal { .. } => {
                ended = true;
                continue;
            }
            ChannelMsg::Failure => return Gathered::Refused,
            ChannelMsg::Close => return Gathered::Closed,
            _ => continue,
        };
        let room = limit.saturating_sub(output.stdout.len() + output.stderr.len());
        let into = if error { &mut output.stderr } else { &mut output.stdout };
        into.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        if data.len() > room {
            output.truncated = true;
            return Gathered::Cut;
        }
    }
    if ended { Gathered::Closed } else { Gathered::Lost }
}
