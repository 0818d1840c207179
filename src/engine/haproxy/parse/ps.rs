//! Which haproxy processes run on a host, and what their command lines say. Pure.

use std::path::PathBuf;

/// One master or standalone process, from a line of `ps -eo pid=,args=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// Files and folders of `-f`, in order.
    pub configs: Vec<PathBuf>,
    /// The socket of `-S`, without the options behind it.
    pub master_socket: Option<PathBuf>,
}

/// All haproxy processes, masters and workers alike: workers repeat what their master was started with.
pub fn parse(ps: &str) -> Vec<Process> {
    ps.lines().filter_map(haproxy).collect()
}

fn haproxy(line: &str) -> Option<Process> {
    let mut words = line.split_whitespace();
    let pid = words.next()?.parse().ok()?;
    let program = words.next()?;
    if program.rsplit('/').next() != Some("haproxy") {
        return None;
    }
    let mut process = Process { pid, ..Process::default() };
    let mut rest_are_configs = false;
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match word {
            "--" => rest_are_configs = true,
            _ if rest_are_configs => process.configs.push(word.into()),
            // `-f` takes every word up to the next option.
            "-f" => {
                while let Some(file) = words.next_if(|w| !w.starts_with('-')) {
                    process.configs.push(file.into());
                }
            }
            "-S" => process.master_socket = words.next_if(|w| !w.starts_with('-')).and_then(socket_path),
            _ => {}
        }
    }
    Some(process)
}

/// `/run/x.sock,mode,600` and `unix@/run/x.sock`; None for TCP.
fn socket_path(bind: &str) -> Option<PathBuf> {
    let address = bind.split(',').next().unwrap_or(bind);
    let path = address.strip_prefix("unix@").unwrap_or(address);
    path.starts_with('/').then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let ps = " 1 /usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d -p /run/haproxy.pid -S /run/haproxy-master.sock,mode,600\n\
                  23 haproxy -db -f a.cfg b.cfg -S 127.0.0.1:99\n\
                  4 vim /etc/haproxy/haproxy.cfg\n5 /usr/bin/haproxy-wi -f x\n6 haproxy -- c.cfg\n";
        let found = parse(ps);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].configs, [PathBuf::from("/etc/haproxy/haproxy.cfg"), PathBuf::from("/etc/haproxy/conf.d")]);
        assert_eq!(found[0].master_socket, Some("/run/haproxy-master.sock".into()));
        assert_eq!(found[1], Process { pid: 23, configs: vec!["a.cfg".into(), "b.cfg".into()], master_socket: None });
        assert_eq!(found[2].configs, [PathBuf::from("c.cfg")]);
    }

    #[test]
    fn nonsense_is_no_process() {
        assert_eq!(parse("\n  \n-f haproxy\n\u{1b}[2J"), []);
        assert_eq!(parse("haproxy -f\n7 haproxy -f").len(), 1);
    }
}
