//! Takes the chunked coding apart (RFC 9112, 7.1), piece by piece as the bytes come.

use super::framing::is_trailer;
use super::{Refusal, head_end};
use crate::agent::relay::http::head::Headers;

/// Bytes of extensions that one chunk may carry. They mean nothing to anybody and are not passed on.
const MOST_EXTENSION: usize = 256;
/// Bytes of all trailers.
const MOST_TRAILERS: usize = 8 * 1024;
/// Number of trailers.
const TRAILER_FIELDS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Digits of a size; `seen` of them so far.
    Size {
        seen: u8,
    },
    Extension {
        seen: usize,
    },
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    Trailers,
    Ended,
}

/// What [`ChunkDecoder::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The input is used up.
    More,
    /// That many bytes of data stand at the front of what is left of the input; tell [`ChunkDecoder::took`] how many were taken.
    Data(usize),
    /// The body is whole.
    End,
}

/// Where in a chunked body we are.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    /// Bytes of the current chunk that are still to come.
    left: u64,
    /// The section of the trailers as it comes, its last empty line included.
    trailers: Vec<u8>,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { state: State::Size { seen: 0 }, left: 0, trailers: Vec::new() }
    }
}

impl ChunkDecoder {
    /// Goes through `input` up to the next data; returns how many bytes that took.
    ///
    /// # Errors
    /// [`Refusal`] at anything that the grammar does not have; the connection cannot be used any further.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, Step), Refusal> {
        for (at, byte) in input.iter().copied().enumerate() {
            match self.state {
                State::Size { seen } => match (byte, char::from(byte).to_digit(16)) {
                    (_, Some(digit)) if seen < 15 => {
                        self.left = self.left * 16 + u64::from(digit);
                        self.state = State::Size { seen: seen + 1 };
                    }
                    (b'\r', _) if seen > 0 => self.state = State::SizeLineFeed,
                    (b';', _) if seen > 0 => self.state = State::Extension { seen: 0 },
                    _ => return Err(Refusal::Malformed("the size of a chunk")),
                },
                State::Extension { seen } => match byte {
                    b'\r' => self.state = State::SizeLineFeed,
                    b'\t' | b' '..=b'~' if seen < MOST_EXTENSION => self.state = State::Extension { seen: seen + 1 },
                    _ => return Err(Refusal::Malformed("the extension of a chunk")),
                },
                State::SizeLineFeed if byte == b'\n' => {
                    self.state = if self.left == 0 { State::Trailers } else { State::Data };
                }
                State::Data => {
                    let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                    return Ok((at, Step::Data(left.min(input.len() - at))));
                }
                State::DataReturn if byte == b'\r' => self.state = State::DataLineFeed,
                State::DataLineFeed if byte == b'\n' => self.state = State::Size { seen: 0 },
                State::SizeLineFeed | State::DataReturn | State::DataLineFeed => {
                    return Err(Refusal::Malformed("the line end of a chunk"));
                }
                State::Trailers => {
                    self.trailers.push(byte);
                    if byte == b'\n' && self.trailers_end()? {
                        self.state = State::Ended;
                        return Ok((at + 1, Step::End));
                    }
                    if self.trailers.len() > MOST_TRAILERS {
                        return Err(Refusal::HeadTooLarge);
                    }
                }
                State::Ended => return Ok((at, Step::End)),
            }
        }
        let step = if self.state == State::Ended { Step::End } else { Step::More };
        Ok((input.len(), step))
    }

    /// Says that `count` bytes of the data that [`Step::Data`] announced were taken.
    pub fn took(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        if self.left == 0 && self.state == State::Data {
            self.state = State::DataReturn;
        }
    }

    fn trailers_end(&self) -> Result<bool, Refusal> {
        match self.trailers.as_slice() {
            b"\r\n" => Ok(true),
            // Only the last line is new; those before it were looked at when they came.
            lines => head_end(lines, &mut lines.len().saturating_sub(1)).map(|end| end.is_some()),
        }
    }

    /// The trailers, once the body has ended; `None` where there are none.
    ///
    /// # Errors
    /// [`Refusal`] where they are malformed or too many.
    pub fn trailers(&mut self) -> Result<Option<Headers>, Refusal> {
        if self.trailers.len() <= 2 {
            return Ok(None);
        }
        let mut fields = [httparse::EMPTY_HEADER; TRAILER_FIELDS];
        let status = httparse::parse_headers(&self.trailers, &mut fields).map_err(Refusal::from_httparse)?;
        let httparse::Status::Complete((_, fields)) = status else {
            return Err(Refusal::Malformed("the trailers"));
        };
        let mut headers = Headers::new();
        for field in fields.iter().filter(|f| is_trailer(f.name.as_bytes())) {
            headers.add(field.name, field.value);
        }
        Ok(Some(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes with the input cut into pieces of `cut` bytes: data, bytes left over after the end, trailers.
    fn decode(input: &[u8], cut: usize) -> Result<(Vec<u8>, usize, Option<Headers>), Refusal> {
        let (mut decoder, mut data, mut at) = (ChunkDecoder::default(), Vec::new(), 0);
        while at < input.len() {
            let piece = &input[at..input.len().min(at + cut)];
            let (used, step) = decoder.next(piece)?;
            at += used;
            match step {
                Step::Data(count) => {
                    data.extend_from_slice(&input[at..at + count]);
                    decoder.took(count);
                    at += count;
                }
                Step::End => return Ok((data, input.len() - at, decoder.trailers()?)),
                Step::More => {}
            }
        }
        Err(Refusal::Malformed("not whole"))
    }

    #[test]
    fn bodies_in_pieces_of_any_size() {
        let body = b"5\r\nhello\r\n00A;x=\"y z\"\r\n, world :)\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET /";
        for cut in 1..=body.len() {
            let (data, left, trailers) = decode(body, cut).unwrap();
            assert_eq!((data.as_slice(), left), (&b"hello, world :)"[..], 5), "pieces of {cut}");
            let trailers = trailers.unwrap();
            assert_eq!((trailers.len(), trailers.get("x-sum")), (1, Some(&b"1"[..])));
        }
        assert!(decode(b"0\r\n\r\n", 1).unwrap().2.is_none());
    }

    #[test]
    fn malformed_bodies() {
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhell\r\n0\r\n\r\n",
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "ffffffffffffffff\r\n",
            "0\r\nX: a\n\r\n",
            "0\r\n X: a\r\n\r\n",
            "0\r\nX : a\r\n\r\n",
            "5\r\nhello",
        ] {
            assert!(decode(body.as_bytes(), 3).is_err(), "{body:?}");
        }
        assert!(decode(format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(MOST_EXTENSION + 1)).as_bytes(), 1000).is_err());
        assert!(decode(format!("0\r\nx: {}\r\n\r\n", "e".repeat(MOST_TRAILERS)).as_bytes(), 1000).is_err());
    }
}
