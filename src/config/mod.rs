//! The fleet file, settings and environment, typed; errors show file, line, column and a hint.

pub mod duration;
pub mod fleet;
pub mod secret;

pub use fleet::{ConfirmLevel, Fleet, HaproxyAccess, HaproxySpec, MinHealthy, NodeSpec, PoolPolicy, Reach, Settings, SshSpec};
pub use secret::SecretRef;
