//! From an inventory to nodes of a fleet file: what the connection variables of Ansible mean for lbdeck.

use std::path::{Path, PathBuf};

use crate::model::NodeMeta;

use super::super::fleet::{NodeSpec, Reach, SshSpec};
use super::super::nodes::{DEFAULT_LOCK_DIR, name_is_good};
use super::{Inventory, Vars};

/// The hosts of an inventory as nodes without engines, and what of their variables could not be taken over.
pub fn to_nodes(inventory: &Inventory, base: &Path, home: Option<&Path>) -> (Vec<NodeSpec>, Vec<String>) {
    let mut notes = Vec::new();
    let mut nodes = Vec::with_capacity(inventory.hosts().len());
    for host in inventory.hosts() {
        if let Err(why) = name_is_good(host) {
            notes.push(format!("'{host}' {why}; left out"));
            continue;
        }
        nodes.push(to_node(host, &inventory.vars(host), base, home, &mut notes));
    }
    for (group, members) in inventory.groups() {
        let clash = nodes.iter().any(|n| n.meta.name.as_str() == group);
        if let Some(why) = name_is_good(group).err().or(clash.then_some("is the name of a host too")) {
            notes.push(format!("group '{group}' {why}; left out"));
            continue;
        }
        for node in nodes.iter_mut().filter(|n| members.contains(&n.meta.name.as_str())) {
            node.meta.groups.push(group.to_owned());
        }
    }
    (nodes, notes)
}

fn to_node(host: &str, vars: &Vars, base: &Path, home: Option<&Path>, notes: &mut Vec<String>) -> NodeSpec {
    let mut get = |names: &[&str]| {
        let (name, value) = names.iter().find_map(|n| vars.get(*n).map(|v| (*n, v.trim())))?;
        if value.contains("{{") || value.contains("!vault") || value.starts_with("$ANSIBLE_VAULT") {
            notes.push(format!("{host}: {name} is a template or encrypted; not taken over"));
            return None;
        }
        (!value.is_empty()).then(|| value.to_owned())
    };
    let address = get(&["ansible_host", "ansible_ssh_host"]).unwrap_or_else(|| host.to_owned());
    let user = get(&["ansible_user", "ansible_ssh_user"]);
    let port = get(&["ansible_port", "ansible_ssh_port"]).and_then(|p| p.parse().ok()).filter(|p| *p != 22 && *p != 0);
    let key = get(&["ansible_ssh_private_key_file", "ansible_private_key_file"]);
    let local = get(&["ansible_connection"]).as_deref() == Some("local");
    let arguments = [get(&["ansible_ssh_common_args"]), get(&["ansible_ssh_extra_args"])];
    let proxy_jump = arguments.iter().flatten().find_map(|args| jump(args));
    if arguments.iter().flatten().any(|args| args.contains("ProxyCommand")) {
        notes.push(format!("{host}: ProxyCommand is not taken over; ProxyJump is, or put it into ~/.ssh/config"));
    }
    if ["ansible_password", "ansible_ssh_pass"].iter().any(|name| vars.contains_key(*name)) {
        notes.push(format!("{host}: its password is not taken over; name it by password_file or password_command"));
    }
    let identity_files = key.map(|key| expand(&key, base, home)).into_iter().collect();
    let spec = SshSpec { host: address.clone(), user, port, identity_files, proxy_jump, ..SshSpec::default() };
    NodeSpec {
        meta: NodeMeta { name: host.into(), address, zone: None, role: None, tags: Vec::new(), groups: Vec::new() },
        reach: if local { Reach::Local } else { Reach::Ssh(Box::new(spec)) },
        haproxy: None,
        relay: None,
        keepalived: None,
        lock_dir: PathBuf::from(DEFAULT_LOCK_DIR),
    }
}

/// The hops of `-J x`, `-o ProxyJump=x` and `-oProxyJump=x`.
fn jump(arguments: &str) -> Option<String> {
    let mut words = arguments.split_whitespace().map(|w| w.trim_matches(['"', '\'']));
    while let Some(word) = words.next() {
        let option = match word {
            "-J" => return words.next().map(str::to_owned),
            "-o" => words.next()?,
            _ => match word.strip_prefix("-o").or_else(|| word.strip_prefix("-J")) {
                Some(rest) if word.starts_with("-J") => return Some(rest.to_owned()),
                Some(rest) => rest,
                None => continue,
            },
        };
        if let Some((key, value)) = option.split_once('=')
            && key.eq_ignore_ascii_case("ProxyJump")
        {
            return Some(value.trim_matches(['"', '\'']).to_owned());
        }
    }
    None
}

fn expand(path: &str, base: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => base.join(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps() {
        for (args, hops) in [
            ("-o ProxyJump=ops@bastion:2200 -o X=y", Some("ops@bastion:2200")),
            ("-oproxyjump=a,b", Some("a,b")),
            ("-J bastion", Some("bastion")),
            ("-Jbastion", Some("bastion")),
            ("-o 'ProxyJump=b'", Some("b")),
            ("-o ControlMaster=auto", None),
            ("-o", None),
            ("-J", None),
        ] {
            assert_eq!(jump(args).as_deref(), hops, "{args}");
        }
    }

    #[test]
    fn variables_become_nodes() {
        let text = "[edge]\nlb1 ansible_host=10.0.0.1 ansible_port=2222 ansible_user=ops ansible_ssh_private_key_file=~/.ssh/k\n\
                    lb2 ansible_host='{{ ip }}' ansible_password=x\nbox ansible_connection=local\nb@d!\n[box:children]\nedge\n";
        let inventory = super::super::parse(text, Path::new("x.ini")).unwrap();
        let (nodes, notes) = to_nodes(&inventory, Path::new("/inv"), Some(Path::new("/home/ops")));
        let [lb1, lb2, local] = nodes.as_slice() else { panic!("{nodes:?}") };
        let Reach::Ssh(ssh) = &lb1.reach else { panic!("{lb1:?}") };
        assert_eq!((lb1.meta.address.as_str(), ssh.port, ssh.user.as_deref()), ("10.0.0.1", Some(2222), Some("ops")));
        assert_eq!(ssh.identity_files, [PathBuf::from("/home/ops/.ssh/k")]);
        assert_eq!((lb1.meta.groups.as_slice(), lb2.meta.address.as_str()), (&["edge".to_owned()][..], "lb2"));
        assert_eq!(local.reach, Reach::Local);
        insta::assert_snapshot!(notes.join("\n"), @r#"
        lb2: ansible_host is a template or encrypted; not taken over
        lb2: its password is not taken over; name it by password_file or password_command
        'b@d!' holds white space or one of / * ? [ ] { } ! , \ " '; left out
        group 'box' is the name of a host too; left out
        "#);
    }
}
