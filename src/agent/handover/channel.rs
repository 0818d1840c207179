//! Messages with descriptors between two processes of one machine: a SOCK_SEQPACKET pair keeps each message whole.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::{BATCH, HandoverError, Message, failed};

/// Names of a batch are far below this.
const LIMIT: usize = 64 << 10;

#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Our end, and the end for the other process.
    pub fn pair() -> rustix::io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Channel(ours), theirs))
    }

    pub fn over(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    pub fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<(), HandoverError> {
        let bytes = serde_json::to_vec(message).map_err(failed("writing a message"))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(HandoverError(format!("{} descriptors are too many for one message", fds.len())));
        }
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
            .map(|_| ())
            .map_err(failed("sending to the other process"))
    }

    /// The next message, if it comes before `ends`.
    pub fn receive(&self, ends: Instant) -> Result<(Message, Vec<OwnedFd>), HandoverError> {
        let left = ends.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        set_socket_timeout(&self.0, Timeout::Recv, Some(left)).map_err(failed("setting a deadline"))?;
        let mut bytes = vec![0; LIMIT];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(HandoverError("it said nothing in time".to_owned())),
                other => break other.map_err(failed("reading from the other process"))?,
            }
        };
        if received.bytes == 0 {
            return Err(HandoverError("it ended".to_owned()));
        }
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                fds.extend(more);
            }
        }
        let text = bytes.get(..received.bytes).unwrap_or_default();
        let message = serde_json::from_slice(text).map_err(failed("the other process said what is no message"))?;
        Ok((message, fds))
    }
}
