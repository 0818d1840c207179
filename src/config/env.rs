//! Environment variables, declared once: help, documentation and code name them from here.

use std::ffi::OsString;
use std::path::PathBuf;

/// A variable that lbdeck reads.
#[derive(Clone, Copy, Debug)]
pub struct EnvVar {
    pub name: &'static str,
    /// What it does, as a sentence for help and documentation.
    pub meaning: &'static str,
}

impl EnvVar {
    /// Its value in this process; empty counts as not set.
    pub fn value(self) -> Option<OsString> {
        std::env::var_os(self.name).filter(|v| !v.is_empty())
    }
}

pub const FLEET: EnvVar = EnvVar { name: "LBDECK_FLEET", meaning: "The fleet file, where --fleet names none." };
pub const XDG_CONFIG_HOME: EnvVar = EnvVar {
    name: "XDG_CONFIG_HOME",
    meaning: "Folder of configuration; lbdeck/lbdeck.yaml is looked up there (default ~/.config).",
};
pub const HOME: EnvVar = EnvVar { name: "HOME", meaning: "What ~ means in paths." };

/// All of them, for help and documentation.
pub const ALL: &[EnvVar] = &[FLEET, XDG_CONFIG_HOME, HOME];

/// The home folder of this process.
pub fn home() -> Option<PathBuf> {
    HOME.value().map(PathBuf::from)
}
