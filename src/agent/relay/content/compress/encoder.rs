//! Streaming encoders: pieces of a body go in, what is ready comes out.

use std::io::{self, Write as _};

use super::negotiate::Encoding;

/// Window of brotli and zstd as a power of two, in bytes: memory of one encoder is a small multiple of it. Text of the web gains
/// little beyond this.
const WINDOW_LOG: u32 = 18;
/// Levels that keep up with a fast network: about what HAProxy and nginx do by default.
const GZIP_LEVEL: u32 = 4;
const BROTLI_QUALITY: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// Bytes that brotli gathers before it compresses.
const BROTLI_BUFFER: usize = 4096;

/// One body on its way. Errors mean that the encoder is broken and the response must be cut off; they do not depend on the input.
pub struct Encoder(Kind);

enum Kind {
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    pub fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(Self(match encoding {
            Encoding::Gzip => {
                Kind::Gzip(Box::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))))
            }
            Encoding::Brotli => {
                Kind::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI_QUALITY, WINDOW_LOG)))
            }
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW_LOG)?;
                Kind::Zstd(Box::new(encoder))
            }
        }))
    }

    /// Takes a piece and appends what is ready to `out`, which may be nothing.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            Kind::Gzip(e) => e.write_all(piece)?,
            Kind::Brotli(e) => e.write_all(piece)?,
            Kind::Zstd(e) => e.write_all(piece)?,
        }
        self.take(out);
        Ok(())
    }

    /// Makes everything so far readable for the client: for bodies that pause (events, long polls). Costs some compression.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            Kind::Gzip(e) => e.flush()?,
            Kind::Brotli(e) => e.flush()?,
            Kind::Zstd(e) => e.flush()?,
        }
        self.take(out);
        Ok(())
    }

    /// Ends the body.
    pub fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        let rest = match self.0 {
            Kind::Gzip(e) => e.finish()?,
            // Finishes the stream; its writer is memory, which does not fail.
            Kind::Brotli(e) => e.into_inner(),
            Kind::Zstd(e) => e.finish()?,
        };
        out.extend_from_slice(&rest);
        Ok(())
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.append(match &mut self.0 {
            Kind::Gzip(e) => e.get_mut(),
            Kind::Brotli(e) => e.get_mut(),
            Kind::Zstd(e) => e.get_mut(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decoded(encoding: Encoding, bytes: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let mut plain = Vec::new();
        let read = match encoding {
            Encoding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
            Encoding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain),
            Encoding::Zstd => zstd::stream::read::Decoder::new(bytes).and_then(|mut d| d.read_to_end(&mut plain)),
        };
        (plain, read.map(drop))
    }

    #[test]
    fn pieces_come_out_whole_and_smaller() {
        let text = "all work and no play makes a dull relay\n".repeat(5000).into_bytes();
        for encoding in Encoding::ALL {
            let mut out = Vec::new();
            let mut encoder = Encoder::new(encoding).unwrap();
            for piece in text.chunks(1313) {
                encoder.write(piece, &mut out).unwrap();
            }
            encoder.finish(&mut out).unwrap();
            assert!(out.len() * 20 < text.len(), "{encoding:?}: {}", out.len());
            let (plain, read) = decoded(encoding, &out);
            assert!(read.is_ok() && plain == text, "{encoding:?}");
        }
    }

    #[test]
    fn a_flush_makes_what_came_readable() {
        for encoding in Encoding::ALL {
            let mut out = Vec::new();
            let mut encoder = Encoder::new(encoding).unwrap();
            encoder.write(b"data: first\n\n", &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            // The stream has no end yet, but its start can be read.
            assert_eq!(decoded(encoding, &out).0, b"data: first\n\n", "{encoding:?}");
            encoder.write(b"data: second\n\n", &mut out).unwrap();
            encoder.finish(&mut out).unwrap();
            assert_eq!(decoded(encoding, &out).0, b"data: first\n\ndata: second\n\n");
        }
    }

    #[test]
    fn empty_bodies_are_valid() {
        for encoding in Encoding::ALL {
            let mut out = Vec::new();
            Encoder::new(encoding).unwrap().finish(&mut out).unwrap();
            let (plain, read) = decoded(encoding, &out);
            assert!(plain.is_empty() && read.is_ok(), "{encoding:?}");
        }
    }
}
