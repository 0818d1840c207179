//! HTTP/2 to clients and to servers, on the `h2` crate.

pub mod convert;
pub mod cork;
pub mod server;

/// What a connection of HTTP/2 begins with, as far as the first empty line (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// Bytes that a peer may send on one stream before they were passed on: what one stream can make us hold.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
