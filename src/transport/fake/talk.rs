//! The far side of one connection to a node made of memory. It has no task and no pipe of its own: a benchmark of the
//! console is to measure the console.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::{FakeTransport, Reply};

pub(super) struct Talk {
    node: FakeTransport,
    /// What was written and does not end with a line feed yet.
    line: Vec<u8>,
    asked: VecDeque<Asked>,
    /// The answer to the command in front comes then.
    pause: Option<Pin<Box<Sleep>>>,
    answer: VecDeque<Piece>,
    interactive: bool,
    end: End,
    reader: Option<Waker>,
}

enum Asked {
    Command(String),
    EndOfLine,
}

struct Piece {
    text: Arc<str>,
    taken: usize,
}

#[derive(PartialEq)]
enum End {
    Open,
    /// Nothing comes any more, and the connection stays.
    Silent,
    Closed,
}

impl Talk {
    pub(super) fn with(node: FakeTransport) -> Self {
        Self {
            node,
            line: Vec::new(),
            asked: VecDeque::new(),
            pause: None,
            answer: VecDeque::new(),
            interactive: false,
            end: End::Open,
            reader: None,
        }
    }

    fn say(&mut self, text: impl Into<Arc<str>>) {
        self.answer.push_back(Piece { text: text.into(), taken: 0 });
    }

    /// Answers what was asked next; Pending where nothing was, or before its time.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.asked.front() {
            Some(Asked::Command(_)) if !self.node.latency.is_zero() => {
                let latency = self.node.latency;
                let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(latency)));
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            Some(_) => {}
            None => {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        match self.asked.pop_front() {
            Some(Asked::Command(command)) if command == "prompt" => self.interactive = true,
            Some(Asked::Command(command)) => match (self.node.script)(&command) {
                Reply::Text(text) => {
                    self.say(text);
                    self.say("\n");
                }
                Reply::Half(text) => {
                    self.say(text);
                    self.end = End::Closed;
                }
                Reply::Hang => self.end = End::Silent,
            },
            Some(Asked::EndOfLine) if self.interactive => self.say("\n> "),
            Some(Asked::EndOfLine) => self.end = End::Closed,
            None => {}
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Talk {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            if let Some(piece) = this.answer.front_mut() {
                let rest = piece.text.as_bytes().get(piece.taken..).unwrap_or_default();
                let now = rest.get(..buf.remaining()).unwrap_or(rest);
                buf.put_slice(now);
                piece.taken += now.len();
                if now.len() == rest.len() {
                    this.answer.pop_front();
                }
            } else if this.end != End::Open || this.poll_answer(cx).is_pending() {
                break;
            }
        }
        let came = buf.filled().len() > before;
        if came || this.end == End::Closed || buf.remaining() == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Talk {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            this.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&this.line);
                this.asked.extend(line.trim_end().split(';').map(|command| Asked::Command(command.trim().to_owned())));
                this.asked.push_back(Asked::EndOfLine);
                this.line.clear();
            }
        }
        if let Some(reader) = this.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
