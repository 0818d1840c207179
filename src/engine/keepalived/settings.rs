//! What a configuration says: instances, tracked files, groups, virtual servers, with variables put in and conditions decided.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::{ManagedRealServer, ManagedService, TrackFile, TrackFileStatus, Vip, VrrpAuth, VrrpInstance, sanitize};

use super::syntax::{self, Statement, SyntaxError};

/// One file of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// What the whole configuration says.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Settings {
    pub instances: Vec<VrrpInstance>,
    pub services: Vec<ManagedService>,
    /// What could not be looked into, in words.
    pub notes: Vec<String>,
    /// `script_user`, `enable_script_security` and the like are not needed; the tracked files are.
    pub track_files: Vec<TrackFile>,
}

/// The `include` patterns of a file, as keepalived resolves them: relative to the folder of the file that includes.
pub fn includes(file: &File, config_id: &str) -> Result<Vec<String>, SyntaxError> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    walk(&syntax::parse(&file.text)?, config_id, &mut |statement| {
        if is_include(statement.keyword())
            && let Some(pattern) = statement.word(1)
        {
            let absolute = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{folder}/{pattern}") };
            found.extend(braces(&absolute));
        }
    });
    Ok(found)
}

/// `include` and its kin (`includer`, `includem`, `includew`, `includeb`, `includea`), which differ in what is an error.
fn is_include(keyword: &str) -> bool {
    keyword.strip_prefix("include").is_some_and(|rest| rest.len() <= 2 && rest.chars().all(|c| c.is_ascii_lowercase()))
}

fn walk<'s>(statements: &'s [Statement], config_id: &str, visit: &mut impl FnMut(&'s Statement)) {
    for statement in statements.iter().filter(|s| applies(s, config_id)) {
        visit(statement);
        if let Some(block) = &statement.block {
            walk(&block.statements, config_id, visit);
        }
    }
}

/// `a{b,c}d` as the glob library of keepalived takes it; only one level, the usual one.
fn braces(pattern: &str) -> Vec<String> {
    let split = pattern.split_once('{').and_then(|(head, rest)| {
        let (inner, tail) = rest.split_once('}')?;
        Some((head, inner, tail))
    });
    match split {
        Some((head, inner, tail)) => inner.split(',').flat_map(|part| braces(&format!("{head}{part}{tail}"))).take(256).collect(),
        None => vec![pattern.to_owned()],
    }
}

/// `@id` holds where the configuration id is this one, `@^id` where it is not.
fn applies(statement: &Statement, config_id: &str) -> bool {
    match statement.condition.as_deref().map(|c| c.trim_start_matches('@')) {
        None => true,
        Some(condition) => match condition.strip_prefix('^') {
            Some(not) => not != config_id,
            None => condition == config_id,
        },
    }
}

struct Reading<'a> {
    config_id: &'a str,
    variables: HashMap<String, String>,
    settings: Settings,
    groups: Vec<(String, Vec<String>)>,
    default_interface: String,
    version: u8,
}

/// Reads the files in the order in which keepalived does.
///
/// # Errors
/// The path of a file that is no configuration, and where it is wrong.
pub fn read(files: &[File], config_id: &str) -> Result<Settings, (String, SyntaxError)> {
    let mut parsed = Vec::with_capacity(files.len());
    for file in files {
        parsed.push(syntax::parse(&file.text).map_err(|e| (file.path.clone(), e))?);
    }
    let mut reading = Reading {
        config_id,
        variables: HashMap::new(),
        settings: Settings::default(),
        groups: Vec::new(),
        default_interface: "eth0".into(),
        version: 2,
    };
    // Definitions, tracked files and groups may stand behind what uses them in another file.
    for statements in &parsed {
        reading.definitions(statements);
    }
    for statements in &parsed {
        reading.top(statements);
    }
    for statements in &parsed {
        reading.instances(statements);
    }
    let Reading { mut settings, groups, .. } = reading;
    for (group, members) in groups {
        for instance in settings.instances.iter_mut().filter(|i| members.contains(&i.name)) {
            instance.sync_group = Some(group.clone());
        }
    }
    Ok(settings)
}

impl<'a> Reading<'a> {
    fn own<'s>(&self, statements: &'s [Statement]) -> impl Iterator<Item = &'s Statement> + use<'s, 'a> {
        let id = self.config_id;
        statements.iter().filter(move |s| applies(s, id))
    }

    fn definitions(&mut self, statements: &[Statement]) {
        let id = self.config_id;
        let mut found = Vec::new();
        walk(statements, id, &mut |s| found.extend(s.definition.clone()));
        self.variables.extend(found);
    }

    /// The words of a statement with variables put in; one variable may hold several words.
    fn words(&self, statement: &Statement) -> Vec<String> {
        let mut out = Vec::with_capacity(statement.words.len());
        for word in &statement.words {
            match self.expanded(&word.text, 0) {
                Some(text) => out.extend(text.split_whitespace().map(|w| sanitize(w).into_owned())),
                None => out.push(sanitize(&word.text).into_owned()),
            }
        }
        out
    }

    /// None where the word holds no variable that is known.
    fn expanded(&self, word: &str, depth: usize) -> Option<String> {
        let at = word.find('$').filter(|_| depth < 8)?;
        let (head, rest) = (word.get(..at)?, word.get(at + 1..)?);
        let (name, tail) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}')?,
            None => rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        let text = format!("{head}{}{tail}", self.variables.get(name)?);
        Some(self.expanded(&text, depth + 1).unwrap_or(text))
    }

    fn top(&mut self, statements: &[Statement]) {
        for statement in self.own(statements) {
            let words = self.words(statement);
            let word = |n: usize| words.get(n).map_or("", String::as_str);
            let inner = statement.block.as_ref().map_or(&[][..], |b| b.statements.as_slice());
            match word(0) {
                "global_defs" => {
                    for s in self.own(inner) {
                        let words = self.words(s);
                        match (words.first().map(String::as_str), words.get(1)) {
                            (Some("default_interface"), Some(name)) => self.default_interface.clone_from(name),
                            (Some("vrrp_version"), Some(v)) => self.version = v.parse().unwrap_or(2),
                            _ => {}
                        }
                    }
                }
                "vrrp_track_file" | "track_file" => {
                    let file = self.track_file(word(1), inner);
                    self.settings.track_files.push(file);
                }
                "vrrp_sync_group" => {
                    for s in self.own(inner).filter(|s| s.keyword() == "group") {
                        let members = s.block.as_ref().map_or(&[][..], |b| b.statements.as_slice());
                        let members = self.own(members).flat_map(|m| self.words(m)).collect();
                        self.groups.push((word(1).to_owned(), members));
                    }
                }
                "virtual_server" => {
                    let service = self.service(&words, inner);
                    self.settings.services.push(service);
                }
                _ => {}
            }
        }
    }

    fn track_file(&self, name: &str, inner: &[Statement]) -> TrackFile {
        let mut file =
            TrackFile { name: name.to_owned(), path: String::new(), weight: 1, value: None, status: TrackFileStatus::Unknown };
        for s in self.own(inner) {
            let words = self.words(s);
            match (words.first().map(String::as_str), words.get(1)) {
                (Some("file"), Some(path)) => file.path.clone_from(path),
                (Some("weight"), Some(weight)) => file.weight = weight.parse().unwrap_or(1),
                _ => {}
            }
        }
        file
    }

    fn instances(&mut self, statements: &[Statement]) {
        for statement in self.own(statements).filter(|s| s.keyword() == "vrrp_instance") {
            let words = self.words(statement);
            let inner = statement.block.as_ref().map_or(&[][..], |b| b.statements.as_slice());
            let instance = self.instance(words.get(1).map_or("", String::as_str), inner);
            self.settings.instances.push(instance);
        }
    }

    fn instance(&self, name: &str, inner: &[Statement]) -> VrrpInstance {
        let mut i = blank(name);
        i.interface.clone_from(&self.default_interface);
        i.version = self.version;
        for s in self.own(inner) {
            let words = self.words(s);
            let value = words.get(1).map_or("", String::as_str);
            let lines = || {
                let block = s.block.as_ref().map_or(&[][..], |b| b.statements.as_slice());
                self.own(block).map(|s| self.words(s)).collect::<Vec<_>>()
            };
            let names = || lines().into_iter().filter_map(|w| w.into_iter().next()).collect::<Vec<String>>();
            match words.first().map_or("", String::as_str) {
                "interface" => value.clone_into(&mut i.interface),
                "virtual_router_id" => i.vrid = value.parse().unwrap_or(0),
                "priority" => i.base_priority = value.parse().unwrap_or(100),
                "advert_int" => i.advert_interval = seconds(value).unwrap_or(i.advert_interval),
                "version" => i.version = value.parse().unwrap_or(2),
                "nopreempt" => i.nopreempt = true,
                "preempt_delay" => i.preempt_delay = seconds(value).unwrap_or_default(),
                "unicast_peer" => i.unicast_peers = names().iter().filter_map(|n| n.parse().ok()).collect(),
                "authentication" => {
                    let lines = lines();
                    let of =
                        |key: &str| lines.iter().find(|w| w.first().is_some_and(|k| k == key)).and_then(|w| w.get(1).cloned());
                    let pass = of("auth_pass").unwrap_or_default();
                    i.auth = match of("auth_type").unwrap_or_default().to_ascii_uppercase().as_str() {
                        "PASS" => VrrpAuth::Pass(pass),
                        "AH" => VrrpAuth::Ah(pass),
                        _ => VrrpAuth::None,
                    };
                }
                "virtual_ipaddress" => i.vips.extend(lines().iter().filter_map(|w| vip(w, false))),
                "virtual_ipaddress_excluded" => i.vips.extend(lines().iter().filter_map(|w| vip(w, true))),
                "track_interface" => i.track_interfaces = names(),
                "track_script" | "track_process" => i.track_scripts.extend(names()),
                "track_file" => {
                    for words in lines() {
                        let Some(name) = words.first() else { continue };
                        let mut file =
                            self.settings.track_files.iter().find(|f| f.name == *name).cloned().unwrap_or_else(|| TrackFile {
                                name: name.clone(),
                                path: String::new(),
                                weight: 1,
                                value: None,
                                status: TrackFileStatus::Unknown,
                            });
                        let weight = words.iter().position(|w| w == "weight").and_then(|at| words.get(at + 1));
                        if let Some(weight) = weight.and_then(|w| w.parse().ok()) {
                            file.weight = weight;
                        }
                        i.track_files.push(file);
                    }
                }
                _ => {}
            }
        }
        i
    }

    fn service(&self, words: &[String], inner: &[Statement]) -> ManagedService {
        let service = match words {
            [_, kind, name] if kind == "fwmark" || kind == "group" => format!("{kind} {name}"),
            [_, address, port] if address.contains(':') => format!("[{address}]:{port}"),
            [_, address, port] => format!("{address}:{port}"),
            [_, rest @ ..] => rest.join(" "),
            [] => String::new(),
        };
        let mut out = ManagedService {
            service,
            protocol: "TCP".into(),
            scheduler: String::new(),
            method: String::new(),
            real_servers: Vec::new(),
        };
        for s in self.own(inner) {
            let words = self.words(s);
            let value = words.get(1).cloned().unwrap_or_default();
            match words.first().map_or("", String::as_str) {
                "lb_algo" | "lvs_sched" => out.scheduler = value,
                "lb_kind" | "lvs_method" => out.method = value,
                "protocol" => out.protocol = value,
                "real_server" => {
                    let inner = s.block.as_ref().map_or(&[][..], |b| b.statements.as_slice());
                    let mut server = ManagedRealServer {
                        server: match words.get(2) {
                            Some(port) if value.contains(':') => format!("[{value}]:{port}"),
                            Some(port) => format!("{value}:{port}"),
                            None => value,
                        },
                        weight: None,
                        inhibit_on_failure: false,
                        checks: Vec::new(),
                    };
                    for s in self.own(inner) {
                        let words = self.words(s);
                        match words.first().map_or("", String::as_str) {
                            "weight" => server.weight = words.get(1).and_then(|w| w.parse().ok()),
                            "inhibit_on_failure" => server.inhibit_on_failure = true,
                            check if check.ends_with("_CHECK") || check.ends_with("_GET") => server.checks.push(check.to_owned()),
                            _ => {}
                        }
                    }
                    out.real_servers.push(server);
                }
                _ => {}
            }
        }
        out
    }
}

/// An instance of which nothing is known, with keepalived's own defaults.
pub fn blank(name: &str) -> VrrpInstance {
    VrrpInstance {
        name: name.to_owned(),
        interface: String::new(),
        vrid: 0,
        state: None,
        wanted: None,
        base_priority: 100,
        effective_priority: None,
        master_priority: None,
        advert_interval: Duration::from_secs(1),
        version: 2,
        nopreempt: false,
        preempt_delay: Duration::ZERO,
        auth: VrrpAuth::None,
        vips: Vec::new(),
        last_transition: None,
        counters: None,
        track_files: Vec::new(),
        track_scripts: Vec::new(),
        track_interfaces: Vec::new(),
        unicast_peers: Vec::new(),
        sync_group: None,
        drift: None,
    }
}

/// Seconds with a fraction, as `advert_int` has them.
pub fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A line of `virtual_ipaddress`, in a file or in a dump: `10.0.0.9/24 dev eth0 label eth0:1`.
pub fn vip<S: AsRef<str>>(words: &[S], excluded: bool) -> Option<Vip> {
    let text = words.first()?.as_ref();
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, prefix.parse().ok()),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let device = words.iter().position(|w| w.as_ref() == "dev").and_then(|at| words.get(at + 1));
    Some(Vip { address, prefix, interface: device.map(|d| d.as_ref().to_owned()), excluded })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn instances_with_all_that_failover_needs() {
        let text = r"
$PW=s3cret
global_defs {
  vrrp_version 3
  default_interface bond0
}
vrrp_track_file planned {
  file /run/lbdeck/planned
  weight 1
}
vrrp_sync_group G1 {
  group {
    VI_1
    VI_2
  }
}
vrrp_instance VI_1 {
  state BACKUP
  interface eth0
  virtual_router_id 51
  @lb1 priority 150
  @^lb1 priority 100
  advert_int 0.1
  nopreempt
  authentication {
    auth_type PASS
    auth_pass ${PW}
  }
  unicast_peer {
    10.0.0.2
  }
  virtual_ipaddress {
    10.0.0.9/24 dev eth1 label eth1:v  ! the site
    2001:db8::9
  }
  virtual_ipaddress_excluded { 10.0.0.10 }
  track_file { planned weight 2 }
  track_script { chk_haproxy }
}
vrrp_instance VI_2 { virtual_router_id 52 }
virtual_server 10.0.0.9 80 {
  lb_algo wrr
  lb_kind DR
  real_server 10.0.0.21 80 {
    weight 3
    inhibit_on_failure
    TCP_CHECK { connect_timeout 1 }
  }
}
";
        let s = read(&[file("/etc/keepalived/keepalived.conf", text)], "lb1").unwrap();
        let [one, two] = s.instances.as_slice() else { panic!("{s:?}") };
        assert_eq!((one.base_priority, one.vrid, one.version, one.nopreempt), (150, 51, 3, true));
        assert_eq!(one.advert_interval, Duration::from_millis(100));
        assert_eq!(one.auth, VrrpAuth::Pass("s3cret".into()));
        assert_eq!(format!("{:?}", one.auth), "PASS", "the password is never shown");
        assert!(!serde_json::to_string(one).unwrap().contains("s3cret"));
        let vips: Vec<String> = one.vips.iter().map(|v| format!("{} {:?} {}", v.address, v.interface, v.excluded)).collect();
        assert_eq!(vips, ["10.0.0.9 Some(\"eth1\") false", "2001:db8::9 None false", "10.0.0.10 None true"]);
        assert_eq!((one.track_files[0].path.as_str(), one.track_files[0].weight), ("/run/lbdeck/planned", 2));
        assert_eq!((one.track_scripts.as_slice(), one.sync_group.as_deref()), (&["chk_haproxy".to_owned()][..], Some("G1")));
        assert_eq!((two.interface.as_str(), two.sync_group.as_deref()), ("bond0", Some("G1")));
        let service = &s.services[0];
        assert_eq!((service.service.as_str(), service.scheduler.as_str(), service.method.as_str()), ("10.0.0.9:80", "wrr", "DR"));
        assert_eq!((service.real_servers[0].weight, service.real_servers[0].inhibit_on_failure), (Some(3), true));
        let other = read(&[file("/k", text)], "lb2").unwrap();
        assert_eq!(other.instances[0].base_priority, 100, "the other node's condition");
    }

    #[test]
    fn includes_are_resolved_as_keepalived_does() {
        let f = file(
            "/etc/keepalived/keepalived.conf",
            "include conf.d/{a,b}*.conf\nglobal_defs {\n includer /x\n}\n@lb2 include other\n",
        );
        assert_eq!(includes(&f, "lb1").unwrap(), ["/etc/keepalived/conf.d/a*.conf", "/etc/keepalived/conf.d/b*.conf", "/x"]);
    }
}
