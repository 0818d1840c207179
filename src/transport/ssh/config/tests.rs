//! The same questions to us and to `ssh -G`.

use std::collections::HashMap;
use std::process::Command;

use super::*;

/// Configurations, and hosts to ask them about.
const CORPUS: &[(&str, &[&str])] = &[
    ("", &["lb1"]),
    ("Host lb1\n  HostName 10.0.0.1\n  Port 2222\nHost *\n  User ops\n  Port 22\n", &["lb1", "lb2", "LB1"]),
    ("Host *.eu !bad.eu\n  User eu\nHost bad.* good?.us\n  User other\n", &["lb1.eu", "bad.eu", "good1.us", "good.us"]),
    ("HostName=%h.example.com\nuser = 'ops'\nPORT\t\"2022\"\n", &["lb1"]),
    (
        "Host a\nHostName real\nMatch host real\nUser byreal\nMatch originalhost a\nPort 1\nMatch all\nPort 2\n",
        &["a", "real", "b"],
    ),
    ("User ops\nMatch user ops,root host lb*,!lb9\nPort 7\nMatch !host lb1 user ops\nPort 8\n", &["lb1", "lb9", "x"]),
    (
        "IdentityFile ~/.ssh/a\nIdentityFile %d/%r\nHost lb1\nIdentityFile ~/.ssh/b\nIdentitiesOnly yes\nIdentityAgent none\n",
        &["lb1", "c"],
    ),
    ("ProxyJump ops@jump:2200\n", &["lb1"]),
    ("Host jump\nProxyJump none\nHost *\nProxyJump a,b@c,[::1]:9\n", &["lb1", "jump"]),
    (
        "UserKnownHostsFile ~/kh1 \"~/kh 2\"\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking accept-new\nHostKeyAlias k\n",
        &["h"],
    ),
    (
        "StrictHostKeyChecking no\nServerAliveInterval 1m30s\nServerAliveCountMax 7\nConnectTimeout 2m\nHashKnownHosts yes\n",
        &["h"],
    ),
    ("Ciphers aes256-ctr\nForwardAgent yes\nSendEnv LANG LC_*\nControlMaster auto\nLocalForward 1 a:2\nUser u # me\n", &["h"]),
    ("ProxyCommand=nc -q \"a  b\" %h %p # all of it\nProxyJump x\n", &["h"]),
    ("Include extra\nUser late\nHost b\nInclude inner\n", &["a", "b"]),
    ("Host \"c\" 'd'\nUser \"quo ted\"\n", &["c", "d"]),
];

fn openssh(home: &Path, config: &Path, host: &str) -> HashMap<String, Vec<String>> {
    let out = Command::new("ssh").env("HOME", home).arg("-F").arg(config).args(["-G", "--", host]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut said: HashMap<String, Vec<String>> = HashMap::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        said.entry(key.into()).or_default().push(value.into());
    }
    said
}

#[test]
fn as_openssh_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join(".ssh");
    std::fs::create_dir(&ssh).unwrap();
    // OpenSSH takes the home folder from the user database, so Include is written with absolute paths here.
    std::fs::write(ssh.join("extra"), "Host a\nUser from-extra\n").unwrap();
    std::fs::write(ssh.join("inner"), "Port 99\nHost a\nPort 98\n").unwrap();
    let mut compared = 0;
    for (text, hosts) in CORPUS {
        let text = text.replace("Include ", &format!("Include {}/", ssh.display()));
        let path = ssh.join("config");
        std::fs::write(&path, &text).unwrap();
        let files = load_files(Some(&path), Path::new("/nonexistent"), home.path()).unwrap();
        for host in *hosts {
            let theirs = openssh(home.path(), &path, host);
            let local = Local {
                home: std::env::home_dir().unwrap(),
                user: theirs.get("user").unwrap()[0].clone(),
                uid: 0,
                host: "desk".into(),
                agent: None,
            };
            let ours = resolve::resolve(&files, host, &local_user(), Options::default()).unwrap();
            let full = HostConfig::new(&SshSpec { host: (*host).into(), ..SshSpec::default() }, &files, &local).unwrap();
            let one = |key: &str| theirs.get(key).map_or("", |v| v[0].as_str()).to_owned();
            let what = |key: &str| format!("{key} of {host} in:\n{text}");
            assert_eq!(full.host_name.to_lowercase(), one("hostname"), "{}", what("hostname"));
            assert_eq!(full.port.to_string(), one("port"), "{}", what("port"));
            assert_eq!(ours.user.clone().unwrap_or_else(local_user), one("user"), "{}", what("user"));
            if !ours.identity_files.is_empty() {
                assert_eq!(ours.identity_files, theirs["identityfile"], "{}", what("identityfile"));
            }
            assert_eq!(full.identities_only, one("identitiesonly") == "yes", "{}", what("identitiesonly"));
            assert_eq!(ours.identity_agent.clone().unwrap_or_default(), one("identityagent"), "{}", what("identityagent"));
            let jump = ours.proxy_jump.clone().filter(|j| j != "none").unwrap_or_default();
            assert_eq!(jump, one("proxyjump"), "{}", what("proxyjump"));
            let joined = |paths: &[PathBuf]| paths.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>().join(" ");
            assert_eq!(joined(&full.known_hosts), one("userknownhostsfile"), "{}", what("userknownhostsfile"));
            assert_eq!(joined(&full.global_known_hosts), one("globalknownhostsfile"), "{}", what("globalknownhostsfile"));
            let command = ours.proxy_command.clone().filter(|c| c != "none").unwrap_or_default();
            assert_eq!(command, one("proxycommand"), "{}", what("proxycommand"));
            let strict = match one("stricthostkeychecking").as_str() {
                "true" => Strict::Yes,
                "ask" => Strict::Ask,
                _ => Strict::AcceptNew,
            };
            assert_eq!(full.strict, strict, "{}", what("stricthostkeychecking"));
            assert_eq!(full.host_key_alias.clone().unwrap_or_default(), one("hostkeyalias"), "{}", what("hostkeyalias"));
            assert_eq!(full.hash_known_hosts, one("hashknownhosts") == "yes", "{}", what("hashknownhosts"));
            assert_eq!(
                ours.alive_interval.unwrap_or(0).to_string(),
                one("serveraliveinterval"),
                "{}",
                what("serveraliveinterval")
            );
            assert_eq!(
                ours.alive_count_max.unwrap_or(3).to_string(),
                one("serveralivecountmax"),
                "{}",
                what("serveralivecountmax")
            );
            assert_eq!(
                ours.connect_timeout.map_or("none".into(), |s| s.to_string()),
                one("connecttimeout"),
                "{}",
                what("connecttimeout")
            );
            compared += 1;
        }
    }
    assert!(compared > 20);
}

fn local_user() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name
}

fn local() -> Local {
    Local { home: "/home/ana".into(), user: "ana".into(), uid: 1000, host: "desk".into(), agent: Some("/run/agent".into()) }
}

fn of(text: &str, spec: SshSpec) -> Result<HostConfig> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, text).unwrap();
    HostConfig::new(&spec, &load_files(Some(&path), Path::new("/nonexistent"), folder.path())?, &local())
}

#[test]
fn the_fleet_file_comes_first() {
    let spec = SshSpec {
        host: "lb1".into(),
        user: Some("deploy".into()),
        identity_files: vec!["~/k".into()],
        known_hosts: Some("~/kh".into()),
        ..SshSpec::default()
    };
    let config = of("Host lb1\nUser ops\nHostName 10.0.0.1\nIdentityFile ~/other\nUserKnownHostsFile /x\n", spec).unwrap();
    assert_eq!(config.target(), "deploy@10.0.0.1:22");
    assert_eq!(config.identities, [PathBuf::from("/home/ana/k"), "/home/ana/other".into()]);
    assert_eq!(config.known_hosts, [PathBuf::from("/home/ana/kh")]);
    assert_eq!(config.agent, Some("/run/agent".into()));
}

#[test]
fn jumps() {
    let hop = |user: Option<&str>, host: &str, port| Hop { user: user.map(Into::into), host: host.into(), port };
    assert_eq!(
        parse_jumps("a, ops@b:22,[::1]:9,ssh://x@c:1/,2001:db8::1").unwrap(),
        [
            hop(None, "a", None),
            hop(Some("ops"), "b", Some(22)),
            hop(None, "::1", Some(9)),
            hop(Some("x"), "c", Some(1)),
            hop(None, "2001:db8::1", None)
        ]
    );
    for bad in ["", "a,", "@b", "a:x", "a:0", "[::1", "-oProxyCommand=x"] {
        assert!(parse_jumps(bad).is_err(), "{bad}");
    }
}

#[test]
fn proxy_command_or_jump_whichever_comes_first() {
    let proxies = |text: &str| {
        let config = of(text, SshSpec { host: "lb1".into(), ..SshSpec::default() }).unwrap();
        (config.proxy_command, config.jumps.len())
    };
    let command = "ProxyCommand = sh -c \"nc '%h' $PORT ${X}\" # no comment\n";
    let expanded = Some("sh -c \"nc '10.0.0.1' $PORT ${X}\" # no comment".to_owned());
    assert_eq!(proxies(&format!("HostName 10.0.0.1\n{command}ProxyJump a\n")), (expanded, 0));
    assert_eq!(proxies(&format!("ProxyJump a\n{command}")), (None, 1));
    assert_eq!(proxies("ProxyCommand none\nProxyJump a\n"), (None, 0));
}

#[test]
fn wrong_values_name_file_and_line() {
    let spec = || SshSpec { host: "lb1".into(), ..SshSpec::default() };
    let error = |text| of(text, spec()).unwrap_err().to_string();
    assert!(error("Host lb1\nPort none\n").contains("config:2: ssh configuration: port 'none' is not a port"));
    assert!(error("StrictHostKeyChecking maybe\n").contains("accept-new"));
    assert!(error("IdentityFile ~/%z\n").contains("unknown % token"));
    assert!(error("ProxyCommand nc %h %z\n").contains("unknown % token"));
    let noted = of("Match exec \"true\"\nUser x\nMatch all\nPort 3\n", spec()).unwrap();
    assert_eq!((noted.user.as_str(), noted.port), ("ana", 3));
    assert!(noted.notes[0].contains("config:1: 'Match exec' is not supported"));
}

#[test]
fn aliases_without_wildcards() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    std::fs::write(home.path().join(".ssh/more"), "Host lb3\n").unwrap();
    std::fs::write(home.path().join(".ssh/config"), "Host lb1 lb2 *.eu !x\nInclude more\nHost lb1 *\n").unwrap();
    assert_eq!(host_aliases(None, home.path()).unwrap(), ["lb1", "lb2", "lb3"]);
}
