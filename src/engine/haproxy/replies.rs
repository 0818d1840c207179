//! What a command was answered with: most success is silence, and every other word is read.

use crate::model::sanitize;

use super::capability::RAISE_LEVEL;

/// Why a reply is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reply: String,
    pub hint: Option<String>,
    /// The socket's level forbids it.
    pub denied: bool,
    /// Connections are still there: worth another try.
    pub busy: bool,
}

/// Ok with what the engine said (often nothing), or why it did not do it.
pub fn judge(command: &str, reply: &str) -> Result<String, Refusal> {
    let lines: Vec<&str> = reply.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let text = sanitize(&lines.join("; ")).into_owned();
    let starts = |words: &[&str]| lines.iter().any(|line| words.iter().any(|w| line.starts_with(w)));
    let success = if command.starts_with("add server ") {
        starts(&["New server registered."])
    } else if command.starts_with("del server ") {
        starts(&["Server deleted."])
    } else if command.starts_with("wait ") {
        starts(&["Done."])
    } else {
        lines.iter().all(|line| is_news(command, line))
    };
    if success {
        return Ok(text);
    }
    let said = |words: &str| reply.contains(words);
    let hint = if said("Permission denied") {
        Some(RAISE_LEVEL)
    } else if said("No such server") || said("No such backend") || said("Require 'backend/server'") {
        Some("it is not there any more: a reload or another operator may have removed it; read the node again")
    } else if said("No such frontend") || said("No such table") || said("No such session") {
        Some("it is not there any more; read the node again")
    } else if said("static LB algorithm") {
        Some("this pool's algorithm takes only weight 0 or 100%; use drain, or another 'balance'")
    } else if said("dynamic load balancing") {
        Some(
            "only roundrobin, leastconn, first, random and consistent hashes take servers at run time; change the file and reload",
        )
    } else if said("experimental") {
        Some("HAProxy 2.4 and 2.5 need experimental mode for this")
    } else if said("not configured on this server") {
        Some("the configuration has no such check for the server")
    } else if said("Unknown command") {
        Some("this version of HAProxy does not know the command")
    } else {
        None
    };
    Err(Refusal {
        hint: hint.map(str::to_owned),
        denied: said("Permission denied"),
        busy: said("still has connections") || said("Wait delay expired") || said("still has active"),
        reply: if text.is_empty() { "no answer".into() } else { text.chars().take(400).collect() },
    })
}

/// Lines that come with success: what changed, or a state that newer versions announce.
fn is_news(command: &str, line: &str) -> bool {
    let address = command.starts_with("set server ")
        && ["IP changed from", "port changed from", "no need to change", "addr changed"].iter().any(|w| line.starts_with(w));
    let already = command.contains("able frontend") && line.starts_with("All sockets are already");
    let announced = (line.starts_with("Server ")
        && (line.contains(" is going ") || line.contains(" is UP") || line.contains(" is DOWN")))
        || (line.starts_with("backend ") || line.starts_with("Backend ")) && line.contains("has no server available");
    address || already || announced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_news_are_success() {
        for (command, reply) in [
            ("set server web/w1 state drain", "\n"),
            (
                "set server web/w1 addr 10.0.0.9 port 99",
                "IP changed from '127.0.0.1' to '10.0.0.9', port changed from '1' to '99' by 'x'\n\n",
            ),
            ("set server web/w1 addr 10.0.0.9", "no need to change the addr by 'stats socket command'\n\n"),
            ("add server web/x 127.0.0.1:1", "New server registered.\n\n"),
            ("del server web/x", "Server deleted.\n\n"),
            ("disable frontend fe", "All sockets are already disabled.\n\n\n"),
            ("wait 5s srv-removable web/x", "Done.\n"),
            (
                "set server web/w1 state maint",
                "Server web/w1 is going DOWN for maintenance. 1 active and 0 backup servers left.\n\n",
            ),
        ] {
            assert!(judge(command, reply).is_ok(), "{command}: {reply}");
        }
    }

    #[test]
    fn anything_else_is_a_refusal_with_its_words() {
        for (command, reply, hinted) in [
            ("set server web/w9 state drain", "No such server.\n\n", true),
            ("set server nope/w9 state drain", "No such backend.\n", true),
            ("set server web/w1 state drain", "Permission denied\n\n", true),
            (
                "set server web/w1 weight 5",
                "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n\n",
                true,
            ),
            ("add server web/x 127.0.0.1:1", "Already exists a server with the same name in backend.\n\n", false),
            ("add server web/x 127.0.0.1:1", "\n", false),
            ("del server web/x", "Only servers in maintenance mode can be deleted.\n\n", false),
            (
                "wait 5s srv-removable web/x",
                "Wait delay expired. Server still has connections attached to it, cannot remove it.\n",
                false,
            ),
            ("enable health web/w1", "Health check was not configured on this server, cannot enable.\n\n\n", true),
        ] {
            let refusal = judge(command, reply).unwrap_err();
            assert_eq!(refusal.hint.is_some(), hinted, "{command}: {refusal:?}");
        }
        assert!(judge("x", "Permission denied\n").unwrap_err().denied);
        assert!(judge("del server b/s", "Server still has connections attached to it, cannot remove it.\n").unwrap_err().busy);
        assert!(!judge("x", "bad \x1b[31m\n").unwrap_err().reply.contains('\x1b'));
    }
}
