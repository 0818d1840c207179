//! Messages of sd_notify(3), as far as a supervisor needs them.

/// What one datagram said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) ready: bool,
    pub(super) alive: bool,
    pub(super) stopping: bool,
    /// Another process is the main one from now on.
    pub(super) main: Option<i32>,
}

/// Lines that are not known are left out, as sd_notify(3) wants it.
pub(super) fn parse(datagram: &[u8]) -> Said {
    let mut said = Said::default();
    for line in datagram.split(|b| *b == b'\n') {
        match line {
            b"READY=1" => said.ready = true,
            b"WATCHDOG=1" => said.alive = true,
            b"STOPPING=1" => said.stopping = true,
            other => {
                if let Some(pid) = other.strip_prefix(b"MAINPID=") {
                    said.main = std::str::from_utf8(pid).ok().and_then(|p| p.trim().parse().ok()).filter(|p| *p > 1);
                }
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_nonsense_is_left_out() {
        let said = parse(b"READY=1\nMAINPID=1234\nSTATUS=serving\n");
        assert_eq!(said, Said { ready: true, main: Some(1234), ..Said::default() });
        assert_eq!(parse(b"WATCHDOG=1"), Said { alive: true, ..Said::default() });
        for nonsense in [&b"MAINPID=1"[..], b"MAINPID=-5", b"MAINPID=x", b"READY=0", b"\xff\n\n="] {
            assert_eq!(parse(nonsense), Said::default());
        }
    }
}
