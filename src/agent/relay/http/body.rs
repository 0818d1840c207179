//! Bodies of HTTP/1.1 on their way through a buffer: how much of what was read is data, and how data is written.

use super::head::Headers;
use super::http1::Refusal;
use super::http1::chunked::{ChunkDecoder, Step};
use super::http1::framing::BodyLength;
use super::http1::write;
use crate::agent::relay::buffer::Input;

/// What a body has to give right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// That many bytes at the front of the input.
    Data(usize),
    /// Nothing before more is read.
    More,
    /// The body is whole.
    End,
}

/// Takes one body out of what is read.
#[derive(Debug, Default)]
pub enum BodyReader {
    /// Nothing (more) belongs to it.
    #[default]
    Ended,
    /// Bytes left.
    Known(u64),
    Chunked(Box<ChunkDecoder>),
    UntilClose,
}

impl BodyReader {
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::None | BodyLength::Known(0) => Self::Ended,
            BodyLength::Known(length) => Self::Known(length),
            BodyLength::Chunked => Self::Chunked(Box::default()),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }

    /// Looks at what was read. Framing is consumed; data is left in front.
    pub fn look(&mut self, input: &mut Input) -> Result<Piece, Refusal> {
        let have = input.data().len();
        let piece = match self {
            Self::Ended => Piece::End,
            Self::Known(_) | Self::UntilClose if have == 0 => Piece::More,
            Self::Known(left) => Piece::Data(usize::try_from(*left).unwrap_or(usize::MAX).min(have)),
            Self::UntilClose => Piece::Data(have),
            Self::Chunked(decoder) => {
                let (used, step) = decoder.next(input.data())?;
                input.consume(used);
                match step {
                    Step::More => Piece::More,
                    Step::Data(count) => Piece::Data(count),
                    Step::End => Piece::End,
                }
            }
        };
        Ok(piece)
    }

    /// Says that `count` bytes of data were used; they are consumed.
    pub fn took(&mut self, input: &mut Input, count: usize) {
        input.consume(count);
        match self {
            Self::Known(left) => {
                *left = left.saturating_sub(count as u64);
                if *left == 0 {
                    *self = Self::Ended;
                }
            }
            Self::Chunked(decoder) => decoder.took(count),
            Self::Ended | Self::UntilClose => {}
        }
    }

    /// Whether the end of the stream is a good end here.
    pub fn may_close(&self) -> bool {
        matches!(self, Self::Ended | Self::UntilClose)
    }

    /// Trailers, after [`Piece::End`].
    pub fn trailers(&mut self) -> Result<Option<Headers>, Refusal> {
        match self {
            Self::Chunked(decoder) => decoder.trailers(),
            Self::Ended | Self::Known(_) | Self::UntilClose => Ok(None),
        }
    }
}

/// Puts one body into what is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyWriter {
    length: BodyLength,
    written: u64,
}

impl BodyWriter {
    pub fn new(length: BodyLength) -> Self {
        Self { length, written: 0 }
    }

    /// Data where there is no body is dropped.
    pub fn put(&mut self, out: &mut Vec<u8>, data: &[u8]) {
        self.written += data.len() as u64;
        match self.length {
            BodyLength::None => {}
            BodyLength::Chunked => write::chunk(out, data),
            BodyLength::Known(_) | BodyLength::UntilClose => out.extend_from_slice(data),
        }
    }

    /// Ends the body. False where it is shorter or longer than was said: the connection must be closed.
    #[must_use]
    pub fn finish(&mut self, out: &mut Vec<u8>, trailers: Option<&Headers>) -> bool {
        match self.length {
            BodyLength::Chunked => write::last_chunk(out, trailers),
            BodyLength::Known(length) => return length == self.written,
            BodyLength::None | BodyLength::UntilClose => {}
        }
        true
    }

    /// Whether a peer sees that the body ended too early when the connection is closed.
    pub fn shows_truncation(&self) -> bool {
        self.length != BodyLength::UntilClose
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Passes a body through reader and writer, read `cut` bytes at a time.
    async fn pass(body: &[u8], from: BodyLength, to: BodyLength, cut: usize) -> Result<(String, usize), Refusal> {
        let (mut input, mut reader, mut writer) = (Input::new(), BodyReader::new(from), BodyWriter::new(to));
        let (mut out, mut rest) = (Vec::new(), body);
        loop {
            match reader.look(&mut input)? {
                Piece::Data(count) => {
                    writer.put(&mut out, &input.data()[..count]);
                    reader.took(&mut input, count);
                }
                Piece::More if rest.is_empty() && reader.may_close() => break,
                Piece::More => {
                    let (mut now, later) = rest.split_at(cut.min(rest.len()));
                    rest = later;
                    let read = poll_fn(|cx| input.poll_read(&mut now, cx, 1 << 20)).await.unwrap();
                    if read == 0 {
                        return Err(Refusal::Malformed("not whole"));
                    }
                }
                Piece::End => break,
            }
        }
        let trailers = reader.trailers()?;
        assert!(writer.finish(&mut out, trailers.as_ref()));
        Ok((String::from_utf8(out).unwrap(), input.data().len() + rest.len()))
    }

    #[tokio::test]
    async fn every_framing_into_every_other() {
        use BodyLength::{Chunked, Known, UntilClose};
        let chunked = b"3\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\nnext";
        for cut in 1..9 {
            assert_eq!(pass(b"abcdenext", Known(5), Known(5), cut).await.unwrap(), ("abcde".to_owned(), 4));
            assert_eq!(pass(chunked, Chunked, Known(5), cut).await.unwrap(), ("abcde".to_owned(), 4));
            assert_eq!(pass(b"abcde", UntilClose, Known(5), cut).await.unwrap(), ("abcde".to_owned(), 0));
            let (text, left) = pass(chunked, Chunked, Chunked, cut).await.unwrap();
            assert!(text.ends_with("\r\n0\r\nT: 1\r\n\r\n") && left == 4, "{text:?}");
        }
        assert_eq!(pass(b"", Known(0), Chunked, 1).await.unwrap().0, "0\r\n\r\n");
        assert!(pass(b"abcd", Known(5), Known(5), 2).await.is_err());
        assert!(pass(b"3\r\nab", Chunked, Chunked, 2).await.is_err());
    }

    #[test]
    fn a_body_of_another_length_than_said_is_noticed() {
        let mut out = Vec::new();
        let mut writer = BodyWriter::new(BodyLength::Known(3));
        writer.put(&mut out, b"ab");
        assert!(!writer.finish(&mut out, None) && writer.shows_truncation());
        assert!(!BodyWriter::new(BodyLength::UntilClose).shows_truncation());
    }
}
