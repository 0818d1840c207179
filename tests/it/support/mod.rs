//! Real engines and servers for tests: each is started on a port or socket of its own and ended by its pid.

pub mod agent;
pub mod app;
pub mod directors;
pub mod disk;
pub mod fake_socket;
pub mod fleet;
pub mod haproxy;
pub mod meddler;
pub mod netns;
pub mod prober;
pub mod relay;
pub mod sshd;
pub mod terminal;
pub mod wait;

/// Records that a test could not run here; `tests/run` prints all of these, so that nothing is skipped in silence.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write;
    if let Some(path) = std::env::var_os("LBDECK_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}
