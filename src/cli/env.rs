//! Every environment variable that the command line reads, declared once: flags, manual pages and documentation take them from here.

pub const FLEET: &str = "LBDECK_FLEET";
pub const OUTPUT: &str = "LBDECK_OUTPUT";
pub const TIMEOUT: &str = "LBDECK_TIMEOUT";
pub const LOG: &str = "LBDECK_LOG";
pub const NO_COLOR: &str = "NO_COLOR";
pub const COLUMNS: &str = "COLUMNS";
pub const TERM: &str = "TERM";

/// Name and meaning, in the order in which they are documented.
pub const ALL: &[(&str, &str)] = &[
    (FLEET, "The fleet file, where --fleet is not given."),
    (OUTPUT, "Default of --output: table, wide, json, yaml or csv."),
    (TIMEOUT, "Default of --timeout: how long one reading of a node may take (5s, 500ms)."),
    (LOG, "Filter of the log on stderr, as tracing-subscriber reads it (lbdeck=debug,russh=warn). Wins over -v and -q."),
    (NO_COLOR, "Any value but the empty one turns colour off, like --no-color."),
    (COLUMNS, "Width of tables in columns, where it is not the terminal's."),
    (TERM, "`dumb` turns colour off."),
    ("SSH_AUTH_SOCK", "The ssh-agent that holds your keys."),
    (
        "XDG_CONFIG_HOME",
        "Folder of the last place where a fleet file is looked up: lbdeck/lbdeck.yaml in it (default: ~/.config).",
    ),
    ("XDG_STATE_HOME", "Folder of lbdeck's own memory: leases, journal, audit (default: ~/.local/state)."),
];
