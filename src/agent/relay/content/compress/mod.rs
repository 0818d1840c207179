//! Compression of responses by what the client accepts, the type and the size.

pub mod encoder;
pub mod negotiate;

pub use encoder::Encoder;
pub use negotiate::{Decision, Encoding, amend, decide};

/// What is compressed.
#[derive(Clone, Debug, PartialEq)]
pub struct CompressionConfig {
    /// In order of preference.
    pub encodings: Vec<Encoding>,
    /// Media types in lower case without parameters; `text/*` stands for all of a kind.
    pub types: Vec<Box<str>>,
    /// Bodies known to be smaller stay as they are, in bytes.
    pub min_size: u64,
}

/// Types that gain from it; those that are compressed already (images, video, archives) are not among them.
pub const DEFAULT_TYPES: &[&str] = &[
    "text/*",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/manifest+json",
    "application/problem+json",
    "application/ld+json",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/wasm",
    "image/svg+xml",
];

/// Below this a packet carries the body anyway, in bytes.
pub const DEFAULT_MIN_SIZE: u64 = 1024;

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            encodings: Encoding::ALL.to_vec(),
            types: DEFAULT_TYPES.iter().map(|t| (*t).into()).collect(),
            min_size: DEFAULT_MIN_SIZE,
        }
    }
}

impl CompressionConfig {
    /// Whether a `Content-Type` is among the types.
    pub fn takes(&self, content_type: &[u8]) -> bool {
        let kind = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        self.types.iter().any(|t| match t.strip_suffix('*') {
            Some(family) => kind.get(..family.len()).is_some_and(|k| k.eq_ignore_ascii_case(family.as_bytes())),
            None => kind.eq_ignore_ascii_case(t.as_bytes()),
        })
    }
}
