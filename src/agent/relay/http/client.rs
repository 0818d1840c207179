//! How responses reach a client, over HTTP/1.1 or HTTP/2: those of servers and those that the relay makes itself.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use ::http::{Method, Version};
use bytes::Bytes;

use super::body::BodyWriter;
use super::head::ResponseHead;
use super::http1::framing::BodyLength;
use super::http1::write::{self, WriteFraming};
use super::http2::convert;
use super::side::{Side, SideError};

/// Where the response to one request goes.
#[derive(Debug)]
pub struct ClientStream {
    pub side: Side,
    /// The stream of HTTP/2 that waits for the head of a response.
    pub respond: Option<h2::server::SendResponse<Bytes>>,
}

/// What a client must be told of its connection.
#[derive(Clone, Copy, Debug)]
pub struct ToClient {
    pub version: Version,
    pub keep_alive: bool,
}

/// Puts the head of a final response into the client's output. Returns the bytes of the head (0 where they are not known).
///
/// # Errors
/// The stream's, where the client has reset it.
pub fn start_response(
    side: &mut Side,
    respond: Option<&mut h2::server::SendResponse<Bytes>>,
    head: &ResponseHead,
    body: BodyLength,
    to: ToClient,
    upgrade: Option<&str>,
) -> Result<u64, SideError> {
    match side {
        Side::H1(side) => {
            let framing = WriteFraming { body, keep_alive: to.keep_alive, version: to.version, upgrade, expect_continue: false };
            let out = side.output.bytes();
            let before = out.len();
            write::response(out, head, &framing);
            side.writer = BodyWriter::new(body);
            Ok((out.len() - before) as u64)
        }
        Side::H2(side) => {
            let respond = respond.ok_or(SideError::Truncated)?;
            let ends = body == BodyLength::None;
            let send = respond.send_response(convert::write_response(head), ends)?;
            side.send = (!ends).then_some(send);
            Ok(0)
        }
    }
}

/// Passes an informational response on, where the client's version has them.
pub fn inform(
    side: &mut Side,
    respond: Option<&mut h2::server::SendResponse<Bytes>>,
    head: &ResponseHead,
    version: Version,
) -> Result<(), SideError> {
    match side {
        Side::H1(side) if version != Version::HTTP_10 => {
            let framing =
                WriteFraming { body: BodyLength::None, keep_alive: true, version, upgrade: None, expect_continue: false };
            write::response(side.output.bytes(), head, &framing);
        }
        Side::H1(_) => {}
        Side::H2(_) => {
            if let Some(respond) = respond {
                respond.send_informational(convert::write_response(head))?;
            }
        }
    }
    Ok(())
}

impl ClientStream {
    /// Ready when the client has gone away. What it sends meanwhile (its next request) is kept, and then nothing more is seen.
    pub async fn gone(&mut self) {
        poll_fn(|cx| match (&mut self.side, &mut self.respond) {
            (Side::H1(side), _) => side.poll_gone(cx),
            (Side::H2(_), Some(respond)) => respond.poll_reset(cx).map(|_| ()),
            (Side::H2(_), None) => Poll::Pending,
        })
        .await;
    }

    /// Sends a response of the relay's own, whole.
    ///
    /// # Errors
    /// The connection's, and a timeout where the client does not take it within `patience`.
    pub async fn answer(
        &mut self,
        method: &Method,
        head: &ResponseHead,
        body: &[u8],
        to: ToClient,
        patience: Duration,
    ) -> Result<u64, SideError> {
        let without = super::http1::response::is_without_body(head.status, method);
        let mut head = head.clone();
        use ::http::StatusCode;
        // A 304 would have to say the length of what it stands for (RFC 9110, 8.6).
        let may_say_length =
            !head.status.is_informational() && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if may_say_length {
            head.headers.set("Content-Length", body.len().to_string());
        }
        let length = match body.len() as u64 {
            _ if without => BodyLength::None,
            0 => BodyLength::None,
            length => BodyLength::Known(length),
        };
        let head_bytes = start_response(&mut self.side, self.respond.as_mut(), &head, length, to, None)?;
        if length != BodyLength::None {
            self.side.put(body);
            self.side.finish(None)?;
        }
        tokio::time::timeout(patience, self.side.flush())
            .await
            .map_err(|_| SideError::Io(std::io::ErrorKind::TimedOut.into()))??;
        Ok(head_bytes + if without { 0 } else { body.len() as u64 })
    }
}
