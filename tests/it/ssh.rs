//! The SSH transport against real sshd.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::sshd::{Agent, Sshd, keygen, user};

/// The helper itself, seen with OpenSSH's own client: a key, an agent's key, a stop and a start.
#[test]
fn sshd_of_the_tests_works() {
    let mut sshd = Sshd::start();
    let config = sshd.dir().join("config");
    std::fs::write(&config, sshd.ssh_config("node")).unwrap();
    let ssh = || {
        let out =
            Command::new("ssh").args(["-o", "BatchMode=yes", "-F"]).arg(&config).args(["node", "id", "-un"]).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    assert_eq!(ssh(), (Some(0), user()), "{}", sshd.log());
    sshd.stop();
    assert_eq!(ssh().0, Some(255));
    assert!(std::net::TcpStream::connect(("127.0.0.1", sshd.port())).is_err());
    sshd.start_again();

    let mut held = Command::new("ssh");
    held.arg("-F").arg(&config).args(["node", "echo up; cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut held = held.spawn().unwrap();
    held.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    sshd.drop_connections();
    assert_eq!(held.wait().unwrap().code(), Some(255));
    assert_eq!(ssh().0, Some(0), "the server itself goes on");

    let other = sshd.dir().join("other");
    keygen("ed25519", &other, "");
    sshd.authorize(&std::fs::read_to_string(other.with_extension("pub")).unwrap());
    let agent = Agent::start(&[&other]);
    std::fs::remove_file(sshd.client_key()).unwrap();
    std::fs::remove_file(&other).unwrap();
    let text = sshd.ssh_config("node").replace("IdentitiesOnly yes", "IdentitiesOnly no");
    std::fs::write(&config, format!("{text}  IdentityAgent {}\n", agent.socket().display())).unwrap();
    assert_eq!(ssh(), (Some(0), user()), "{}", sshd.log());

    sshd.stop();
    sshd.new_host_keys();
    sshd.start_again();
    assert_eq!(ssh().0, Some(255), "OpenSSH refuses the changed host key");
}
