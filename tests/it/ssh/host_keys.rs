//! Who the server is: unknown, changed, revoked and hashed keys, and keys of another type.

use std::process::{Command, Stdio};
use std::time::Duration;

use lbdeck::transport::{Limits, Transport, TransportError};

use super::{Answers, Home, refusal, says};
use crate::support::sshd::{Sshd, SshdOptions, keygen};

/// Without known_hosts of its own: the home's is used.
fn unknown(sshd: &Sshd) -> String {
    sshd.ssh_config("node").lines().filter(|l| !l.contains("KnownHosts")).map(|l| format!("{l}\n")).collect()
}

fn fingerprint(sshd: &Sshd) -> String {
    let out = Command::new("ssh-keygen").args(["-l", "-f"]).arg(sshd.dir().join("host_ed25519.pub")).output().unwrap();
    String::from_utf8(out.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn an_unknown_key_is_refused_in_a_script_and_asked_about_at_a_terminal() {
    let sshd = Sshd::start();
    let script = Home::new(&unknown(&sshd));
    let error = refusal(&script, "node").await;
    assert!(matches!(error, TransportError::HostKey { .. }), "{error}");
    assert!(error.to_string().contains(&fingerprint(&sshd)), "{error}");
    let known_hosts = script.dir.path().join(".ssh/known_hosts");
    assert!(!known_hosts.exists());
    // The hint is a command that mends it.
    let hint = error.hint().unwrap().split_once("then: ").unwrap().1.to_owned();
    assert!(hint.starts_with("ssh-keyscan -p "), "{hint}");
    assert!(Command::new("sh").arg("-c").arg(&hint).stderr(Stdio::null()).status().unwrap().success());
    says(&script.transport("node"), &["true"]).await;

    let person = Home::with(&unknown(&sshd), Answers { accept_key: true, ..Answers::default() }, None);
    says(&person.transport("node"), &["true"]).await;
    says(&person.transport("node"), &["true"]).await;
    let asked = person.prompt.asked.lock().unwrap().clone();
    assert_eq!(asked, [format!("[127.0.0.1]:{} ssh-ed25519 {}", sshd.port(), fingerprint(&sshd))], "asked once, then known");
    assert_eq!(std::fs::read_to_string(person.dir.path().join(".ssh/known_hosts")).unwrap(), sshd.known_hosts_line());
}

fn write_known_hosts(home: &Home, text: &str) -> std::path::PathBuf {
    let path = home.dir.path().join(".ssh/known_hosts");
    std::fs::write(&path, text).unwrap();
    path
}

fn willing(sshd: &Sshd) -> Home {
    Home::with(&unknown(sshd), Answers { accept_key: true, ..Answers::default() }, None)
}

#[tokio::test]
async fn a_changed_key_is_refused_whatever_the_configuration_says() {
    let mut sshd = Sshd::start();
    let old = sshd.known_hosts_line();
    let old_fingerprint = fingerprint(&sshd);
    sshd.stop();
    sshd.new_host_keys();
    sshd.start_again();
    let home = Home::with(
        &format!("StrictHostKeyChecking no\n{}", unknown(&sshd)),
        Answers { accept_key: true, ..Answers::default() },
        None,
    );
    let known_hosts = write_known_hosts(&home, &format!("# a comment\n{old}"));
    let error = refusal(&home, "node").await;
    let (text, hint) = (error.to_string(), error.hint().unwrap().to_owned());
    assert!(matches!(error, TransportError::HostKey { .. }) && !error.is_transient());
    for words in ["has changed", &fingerprint(&sshd), &old_fingerprint, &format!("{}:2", known_hosts.display())] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(hint.contains(&format!("ssh-keygen -R '[127.0.0.1]:{}' -f {}", sshd.port(), known_hosts.display())), "{hint}");
    assert!(home.prompt.asked.lock().unwrap().is_empty(), "nobody is asked");
    assert_eq!(std::fs::read_to_string(&known_hosts).unwrap(), format!("# a comment\n{old}"), "nothing is written");
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let sshd = Sshd::start();
    let home = willing(&sshd);
    write_known_hosts(&home, &format!("{}@revoked * {}\n", sshd.known_hosts_line(), sshd.host_key()));
    let error = refusal(&home, "node").await;
    assert!(matches!(error, TransportError::HostKey { .. }) && error.to_string().contains("revoked"), "{error}");
}

#[tokio::test]
async fn an_authority_is_no_host_key() {
    let sshd = Sshd::start();
    let home = Home::new(&unknown(&sshd));
    write_known_hosts(&home, &format!("@cert-authority * {}\n", sshd.host_key()));
    assert!(refusal(&home, "node").await.to_string().contains("is not known"));
}

#[tokio::test]
async fn hashed_entries_of_openssh_are_read() {
    let sshd = Sshd::start();
    let home = Home::new(&unknown(&sshd));
    let path = write_known_hosts(&home, &sshd.known_hosts_line());
    assert!(
        Command::new("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("|1|"));
    says(&home.transport("node"), &["true"]).await;
}

/// A node with several keys is recognised by the one that is known, though we like another type better.
#[tokio::test]
async fn the_type_that_is_known_is_asked_for() {
    let sshd = Sshd::with(SshdOptions { host_keys: &["ed25519", "ecdsa", "rsa"], ..SshdOptions::default() });
    for kind in ["ecdsa", "rsa"] {
        let home = Home::new(&unknown(&sshd));
        write_known_hosts(&home, &format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key_of(kind)));
        says(&home.transport("node"), &["true"]).await;
    }
}

#[tokio::test]
async fn a_known_host_with_a_key_of_another_type_is_not_unknown() {
    let sshd = Sshd::start();
    let other = Sshd::with(SshdOptions { host_keys: &["ecdsa"], ..SshdOptions::default() });
    let home = willing(&sshd);
    write_known_hosts(&home, &format!("[127.0.0.1]:{} {}\n", sshd.port(), other.host_key()));
    let error = refusal(&home, "node").await;
    assert!(error.to_string().contains("only other types are known"), "{error}");
    assert!(home.prompt.asked.lock().unwrap().is_empty(), "nobody is asked");
}

#[tokio::test]
async fn strict_host_key_checking() {
    let sshd = Sshd::start();
    let with = |strict: &str| {
        let config = format!("StrictHostKeyChecking {strict}\n{}", unknown(&sshd));
        Home::with(&config, Answers { accept_key: true, ..Answers::default() }, None)
    };
    let strict = with("yes");
    assert!(refusal(&strict, "node").await.to_string().contains("is not known"));
    assert!(strict.prompt.asked.lock().unwrap().is_empty());
    for accepting in ["accept-new", "no", "off"] {
        let home = with(accepting);
        says(&home.transport("node"), &["true"]).await;
        assert!(home.prompt.asked.lock().unwrap().is_empty());
        let written = std::fs::read_to_string(home.dir.path().join(".ssh/known_hosts")).unwrap();
        assert_eq!(written, sshd.known_hosts_line(), "accepted once, then known");
    }
}

/// A no is a no: the console, which tries again and again, does not ask again and again.
#[tokio::test]
async fn a_person_who_declines_is_not_asked_again() {
    let sshd = Sshd::start();
    let home = Home::new(&unknown(&sshd));
    assert!(matches!(refusal(&home, "node").await, TransportError::HostKey { .. }));
    assert!(matches!(refusal(&home, "node").await, TransportError::HostKey { .. }));
    assert_eq!(home.prompt.asked.lock().unwrap().len(), 1);
}

/// The console goes on while a person mends the file: `ssh-keygen -R` must help without a restart.
#[tokio::test]
async fn a_mended_file_is_read_again() {
    let sshd = Sshd::start();
    let home = Home::new(&unknown(&sshd));
    let path = write_known_hosts(&home, "");
    assert!(matches!(refusal(&home, "node").await, TransportError::HostKey { .. }));
    std::fs::write(path, sshd.known_hosts_line()).unwrap();
    says(&home.transport("node"), &["true"]).await;
}

#[tokio::test]
async fn a_person_may_take_longer_than_the_deadline() {
    let sshd = Sshd::start();
    let slow = Answers { accept_key: true, takes: Duration::from_secs(3), ..Answers::default() };
    let home = Home::with(&unknown(&sshd), slow, None);
    let node = home.transport("node");
    assert!(!node.answered().await, "nobody was asked yet");
    let limits = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
    // A caller with a limit of its own gives up, is told that a person has answered meanwhile, and tries again.
    let impatient = tokio::time::timeout(limits.deadline, node.run(&["true"], b"", limits)).await;
    assert!(impatient.is_err());
    assert!(node.answered().await);
    assert_eq!(node.run(&["true"], b"", limits).await.unwrap().status, Some(0));
    assert!(!node.answered().await);
    assert_eq!(home.prompt.asked.lock().unwrap().len(), 1);

    std::fs::remove_file(home.dir.path().join(".ssh/known_hosts")).unwrap();
    let patient = home.transport("node");
    assert_eq!(patient.run(&["true"], b"", limits).await.unwrap().status, Some(0), "a call by itself waits for the person");
}

/// A server whose key an authority has signed for some name, and that authority's key.
fn certified(principal: &str, validity: &str) -> (Sshd, String) {
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("authority");
    keygen("ed25519", &authority, "");
    let mut sshd = Sshd::with(SshdOptions::default());
    let key = sshd.dir().join("host_ed25519.pub");
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-h", "-I", "node key", "-n", principal, "-V", validity, "-s"])
        .arg(&authority)
        .arg(&key)
        .status();
    assert!(signed.unwrap().success());
    sshd.stop();
    sshd.configure(&format!("HostCertificate {}", sshd.dir().join("host_ed25519-cert.pub").display()));
    sshd.start_again();
    (sshd, std::fs::read_to_string(authority.with_extension("pub")).unwrap())
}

#[tokio::test]
async fn certificates_of_an_authority() {
    let known_by = |sshd: &Sshd, text: &str| {
        let home = willing(sshd);
        write_known_hosts(&home, text);
        home
    };
    let (sshd, authority) = certified("127.0.0.1", "-1d:+1d");
    let home = known_by(&sshd, &format!("@cert-authority * {authority}"));
    says(&home.transport("node"), &["true"]).await;
    assert!(home.prompt.asked.lock().unwrap().is_empty(), "vouched for");

    let other = known_by(&sshd, &format!("@cert-authority *.example {authority}"));
    says(&other.transport("node"), &["true"]).await;
    assert_eq!(other.prompt.asked.lock().unwrap().len(), 1, "an authority for other hosts: the key itself is asked about");

    for revoked in [authority.clone(), sshd.host_key()] {
        let home = known_by(&sshd, &format!("@cert-authority * {authority}@revoked * {revoked}\n"));
        assert!(refusal(&home, "node").await.to_string().contains("is revoked"));
    }
    for (principal, validity, words) in
        [("elsewhere", "-1d:+1d", "is for elsewhere, not for 127.0.0.1"), ("127.0.0.1", "-2d:-1d", "has ended")]
    {
        let (sshd, authority) = certified(principal, validity);
        let error = refusal(&known_by(&sshd, &format!("@cert-authority * {authority}")), "node").await;
        assert!(matches!(error, TransportError::HostKey { .. }) && error.to_string().contains(words), "{error}");
    }
}
