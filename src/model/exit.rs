//! The exit codes that every verb shares (DESIGN.md, conventions, 9).

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Done, or nothing to do.
    Ok,
    Failed,
    InvalidInput,
    FailedRolledBack,
    RollbackFailed,
    GuardRefused,
    Recovered,
    Locked,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::InvalidInput => 2,
            Exit::FailedRolledBack => 3,
            Exit::RollbackFailed => 4,
            Exit::GuardRefused => 5,
            Exit::Recovered => 6,
            Exit::Locked => 75,
        }
    }
}
