//! What a key, a click or a word can ask for. Commands know their description and where they make sense; `keymap` gives them
//! keys, `state` carries them out.

/// A change that is begun from a list; each opens the plan dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Action {
    Drain,
    Ready,
    Maint,
    Weight,
    Address,
    MaxConn,
    ChecksOn,
    ChecksOff,
    KillSessions,
    AddServer,
    RemoveServer,
    EnableFrontend,
    DisableFrontend,
    ClearTable,
    Undo,
    ReturnLease,
    Failover,
    Failback,
    DrainNode,
    ReturnNode,
}

impl Action {
    pub const fn label(self) -> &'static str {
        match self {
            Action::Drain => "drain",
            Action::Ready => "ready",
            Action::Maint => "maint",
            Action::Weight => "weight",
            Action::Address => "address",
            Action::MaxConn => "maxconn",
            Action::ChecksOn => "checks on",
            Action::ChecksOff => "checks off",
            Action::KillSessions => "kill sessions",
            Action::AddServer => "add server",
            Action::RemoveServer => "remove server",
            Action::EnableFrontend => "enable",
            Action::DisableFrontend => "disable",
            Action::ClearTable => "clear",
            Action::Undo => "undo",
            Action::ReturnLease => "return",
            Action::Failover => "fail over",
            Action::Failback => "fail back",
            Action::DrainNode => "drain node",
            Action::ReturnNode => "return node",
        }
    }

    pub const fn help(self) -> &'static str {
        match self {
            Action::Drain => "drain: no new sessions, wait for the last one",
            Action::Ready => "ready: back into traffic",
            Action::Maint => "maintenance: out of traffic at once",
            Action::Weight => "set the weight",
            Action::Address => "set address and port",
            Action::MaxConn => "set maxconn",
            Action::ChecksOn => "health or agent checks on",
            Action::ChecksOff => "health or agent checks off",
            Action::KillSessions => "kill sessions",
            Action::AddServer => "add a server at run time",
            Action::RemoveServer => "remove a server at run time",
            Action::EnableFrontend => "enable the frontend",
            Action::DisableFrontend => "disable the frontend (refuses connections)",
            Action::ClearTable => "clear the table, or the selected keys",
            Action::Undo => "undo the operation",
            Action::ReturnLease => "give the lease back now",
            Action::Failover => "move the VIP to another node",
            Action::Failback => "move the VIP home",
            Action::DrainNode => "take the node out of service: VIPs over, connections down to zero",
            Action::ReturnNode => "let the node hold VIPs again",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    Quit,
    /// Stop until the shell's `fg`.
    Suspend,
    Help,
    CommandLine,
    Filter,
    /// Clears what is narrowed (selection, filter), else goes one level up.
    Leave,
    /// Goes into the row under the cursor.
    Open,
    Back,
    Forward,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    ScrollLeft,
    ScrollRight,
    SortLeft,
    SortRight,
    SortFlip,
    Select,
    SelectAll,
    SelectInvert,
    Tab(u8),
    NextTab,
    PreviousTab,
    Refresh,
    NextTheme,
    /// Live sessions of what is under the cursor.
    Sessions,
    Tables,
    /// Virtual addresses and who holds them.
    Vips,
    /// Every field of the row as the engine names them.
    Fields,
    /// Ask a running operation to stop.
    StopOperation,
    /// What the last run left behind.
    Unfinished,
    /// Give back leases that have ended.
    Sweep,
    /// The address under the cursor in every pool.
    SameAddress,
    Act(Action),
}

impl Command {
    pub const fn help(self) -> &'static str {
        match self {
            Command::Quit => "quit",
            Command::Suspend => "suspend (the shell's fg goes on)",
            Command::Help => "help",
            Command::CommandLine => "command line",
            Command::Filter => "filter by a regular expression",
            Command::Leave => "clear selection or filter, else one level up",
            Command::Open => "open",
            Command::Back => "back to the view before",
            Command::Forward => "forward again",
            Command::Up => "up",
            Command::Down => "down",
            Command::PageUp => "page up",
            Command::PageDown => "page down",
            Command::First => "first row",
            Command::Last => "last row",
            Command::ScrollLeft => "columns to the left",
            Command::ScrollRight => "columns to the right",
            Command::SortLeft => "sort by the column before",
            Command::SortRight => "sort by the next column",
            Command::SortFlip => "turn the order round",
            Command::Select => "select the row",
            Command::SelectAll => "select all rows shown",
            Command::SelectInvert => "invert the selection",
            Command::Tab(_) => "open the view of this number",
            Command::NextTab => "next view",
            Command::PreviousTab => "view before",
            Command::Refresh => "read now",
            Command::NextTheme => "next theme",
            Command::Sessions => "live sessions",
            Command::Vips => "virtual addresses",
            Command::Tables => "stick tables",
            Command::Fields => "all fields of the engine",
            Command::StopOperation => "stop the operation (what holds is told)",
            Command::Unfinished => "what was left unfinished",
            Command::Sweep => "give back leases that have ended",
            Command::SameAddress => "this address in every pool",
            Command::Act(action) => action.help(),
        }
    }
}
