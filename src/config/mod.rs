//! The fleet file, settings and environment, typed; errors show file, line, column and a hint.
//!
//! A file passes through `yaml` (text to a tree with places), `reader` (typed values, all errors collected) and `load` with
//! one small file a section; what comes out is [`Fleet`], with defaults merged in and every reference checked.

pub mod agent_paths;
pub mod ansible;
pub mod diagnostic;
pub mod duration;
pub mod effective;
pub mod env;
pub mod fleet;
pub mod load;
pub mod locate;
pub mod secret;
pub mod size;
pub mod write;
pub mod yaml;

mod groups;
mod haproxy_section;
mod keepalived_section;
mod nodes;
pub mod reader;
mod relay_section;
mod ssh_section;
#[cfg(test)]
mod tests;

pub use agent_paths::{AGENT_UNIT, AGENT_USER, AgentPaths};
pub use diagnostic::{ConfigError, Diagnostic, Diagnostics};
pub use fleet::{
    ConfirmLevel, Fleet, HaproxyAccess, HaproxySpec, KeepalivedSpec, MinHealthy, NodeSpec, PoolPolicy, Reach, RelaySpec,
    RelayTcp, Settings, SshSpec,
};
pub use haproxy_section::{DEFAULT_CONFIG, DEFAULT_SOCKET};
pub use load::{load, parse};
pub use locate::locate;
pub use nodes::{DEFAULT_LOCK_DIR, name_is_good};
pub use reader::nearest;
pub use secret::SecretRef;
