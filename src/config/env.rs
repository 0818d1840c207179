//! Every environment variable that lbdeck reads, declared once: code, flags, manual pages and documentation name them from here.

use std::path::PathBuf;

pub const FLEET: &str = "LBDECK_FLEET";
pub const OUTPUT: &str = "LBDECK_OUTPUT";
pub const STATE: &str = "LBDECK_STATE";
pub const TIMEOUT: &str = "LBDECK_TIMEOUT";
pub const LOG: &str = "LBDECK_LOG";
pub const NO_COLOR: &str = "NO_COLOR";
pub const COLUMNS: &str = "COLUMNS";
pub const TERM: &str = "TERM";
pub const LC_ALL: &str = "LC_ALL";
pub const LC_CTYPE: &str = "LC_CTYPE";
pub const LANG: &str = "LANG";
pub const HOME: &str = "HOME";
pub const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";

/// Name and meaning, in the order in which they are documented.
pub const ALL: &[(&str, &str)] = &[
    (FLEET, "The fleet file, where --fleet is not given."),
    (OUTPUT, "Default of --output: table, wide, json, yaml or csv."),
    (STATE, "Folder of lbdeck's own memory, where --state is not given."),
    (TIMEOUT, "Default of --timeout: how long one reading of a node may take (5s, 500ms)."),
    (LOG, "Filter of the log on stderr, as tracing-subscriber reads it (lbdeck=debug,russh=warn). Wins over -v and -q."),
    (NO_COLOR, "Any value but the empty one turns colour off, like --no-color."),
    (COLUMNS, "Width of tables in columns, where it is not the terminal's."),
    (TERM, "`dumb` turns colour off; on `linux`, `ansi` and `vt…` the console draws in ASCII, like --ascii."),
    (LC_ALL, "A locale other than UTF-8 makes the console draw in ASCII, like --ascii."),
    (LC_CTYPE, "The same, where LC_ALL is not set."),
    (LANG, "The same, where neither is set."),
    (HOME, "What ~ means in the fleet file."),
    (SSH_AUTH_SOCK, "The ssh-agent that holds your keys."),
    (XDG_CONFIG_HOME, "Folder of the last place where a fleet file is looked up: lbdeck/lbdeck.yaml in it (default: ~/.config)."),
    (XDG_STATE_HOME, "Folder of lbdeck's own memory: leases, journal, audit (default: ~/.local/state)."),
];

/// The home folder of this process.
pub fn home() -> Option<PathBuf> {
    std::env::var_os(HOME).filter(|v| !v.is_empty()).map(PathBuf::from)
}
