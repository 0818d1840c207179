//! What the relay does with bodies: compression, and a cache for what may be kept.

pub mod cache;
pub mod compress;

pub use cache::CacheConfig;
pub use compress::CompressionConfig;
