//! The node itself, read from /proc and statvfs without running anything. What cannot be read is a note, never an error of the
//! whole.

mod parse;
mod sockets;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use crate::model::{AgentUse, CpuUse, DiskUse, NetworkInterface, NodeReading};

/// No file of /proc that is read here is larger, but for tables of sockets.
const LIMIT: u64 = 4 << 20;
/// Tables of sockets on busy nodes: 150 bytes a socket.
const SOCKET_LIMIT: u64 = 64 << 20;

/// Reads the node; remembers counters of the reading before, for rates.
#[derive(Debug, Default)]
pub struct NodeReader {
    before: Mutex<Option<Before>>,
}

#[derive(Debug)]
struct Before {
    at: Instant,
    cpu: Option<parse::CpuTicks>,
    interfaces: Vec<NetworkInterface>,
}

impl NodeReader {
    /// Takes a few milliseconds; blocks.
    pub fn read(&self) -> NodeReading {
        let mut notes = Vec::new();
        let mut file = |path: &str, limit: u64| match read(Path::new(path), limit) {
            Ok(text) => text,
            Err(e) => {
                // Kernels without IPv6 or conntrack have no such file, which says enough.
                if e.kind() != std::io::ErrorKind::NotFound {
                    notes.push(format!("{path}: {e}"));
                }
                String::new()
            }
        };
        let now = Instant::now();
        let cpu = parse::cpu(&file("/proc/stat", LIMIT));
        let mut interfaces = parse::interfaces(&file("/proc/net/dev", LIMIT));
        let tables = sockets::Tables {
            tcp: file("/proc/net/tcp", SOCKET_LIMIT),
            tcp6: file("/proc/net/tcp6", SOCKET_LIMIT),
            udp: file("/proc/net/udp", SOCKET_LIMIT),
            udp6: file("/proc/net/udp6", SOCKET_LIMIT),
        };
        let (tcp, listening) = sockets::read(&tables);
        let number = |text: String| text.trim().parse::<u64>().ok();
        let used = number(file("/proc/sys/net/netfilter/nf_conntrack_count", LIMIT));
        let most = number(file("/proc/sys/net/netfilter/nf_conntrack_max", LIMIT));
        let mut reading = NodeReading {
            at: Some(Timestamp::now()),
            hostname: gethostname::gethostname().to_string_lossy().into_owned(),
            kernel: file("/proc/sys/kernel/osrelease", LIMIT).trim().to_owned(),
            uptime_s: parse::uptime(&file("/proc/uptime", LIMIT)),
            cores: std::thread::available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            load: parse::load(&file("/proc/loadavg", LIMIT)),
            cpu: None,
            memory: parse::memory(&file("/proc/meminfo", LIMIT)),
            disks: disks(&file("/proc/self/mounts", LIMIT)),
            conntrack: used.zip(most),
            files: parse::open_files(&file("/proc/sys/fs/file-nr", LIMIT)),
            tcp,
            listening,
            agent: agent(&file("/proc/self/status", LIMIT), &file("/proc/self/stat", LIMIT)),
            interfaces: Vec::new(),
            notes: Vec::new(),
        };
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*before {
            reading.cpu = before.cpu.zip(cpu).and_then(|(then, now)| now.since(then));
            rates(&mut interfaces, &before.interfaces, now.duration_since(before.at).as_secs_f64());
        }
        *before = Some(Before { at: now, cpu, interfaces: interfaces.clone() });
        reading.interfaces = interfaces;
        reading.notes = notes;
        reading
    }
}

fn read(path: &Path, limit: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn rates(interfaces: &mut [NetworkInterface], before: &[NetworkInterface], seconds: f64) {
    // Two readings at the same moment tell no rate.
    if seconds < 0.01 {
        return;
    }
    let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds) as u64;
    for now in interfaces {
        if let Some(then) = before.iter().find(|b| b.name == now.name) {
            now.rate_in = Some(rate(now.bytes_in, then.bytes_in));
            now.rate_out = Some(rate(now.bytes_out, then.bytes_out));
        }
    }
}

/// File systems that hold files on something: each device once.
fn disks(mounts: &str) -> Vec<DiskUse> {
    let mut found: Vec<DiskUse> = Vec::new();
    for mount in parse::mounts(mounts) {
        if found.iter().any(|d| d.device == mount.device) {
            continue;
        }
        // A mount that this process may not enter, or that has just gone.
        let Ok(stat) = rustix::fs::statvfs(Path::new(&mount.path)) else { continue };
        found.push(DiskUse {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            inodes: stat.f_files,
            inodes_free: stat.f_favail,
            mount: mount.path,
            device: mount.device,
            kind: mount.kind,
        });
    }
    found
}

fn agent(status: &str, stat: &str) -> AgentUse {
    let open_files = fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count() as u64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0);
    AgentUse { open_files, open_files_limit: limit, ..parse::process(status, stat) }
}

/// Percent of all cores.
fn percent(part: u64, of: u64) -> f64 {
    (part as f64 / of as f64 * 1000.0).round() / 10.0
}

impl parse::CpuTicks {
    /// None where no tick has passed.
    fn since(self, then: Self) -> Option<CpuUse> {
        let total = self.total().checked_sub(then.total()).filter(|t| *t > 0)?;
        let part = |now: u64, then: u64| percent(now.saturating_sub(then), total);
        Some(CpuUse {
            user: part(self.user, then.user),
            system: part(self.system, then.system),
            iowait: part(self.iowait, then.iowait),
            steal: part(self.steal, then.steal),
            idle: part(self.idle, then.idle),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine that the test runs on is real enough.
    #[test]
    fn this_machine() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let reader = NodeReader::default();
        let first = reader.read();
        assert!(first.memory.total > first.memory.available && first.memory.available > 0, "{first:?}");
        assert!(first.uptime_s > 0 && first.cores > 0 && !first.kernel.is_empty());
        assert!(first.tcp.listen > 0 && first.listening.iter().any(|l| l.address == address), "{address}: {:?}", first.listening);
        assert!(first.agent.memory > 1 << 20 && first.agent.open_files > 2 && first.agent.threads > 0);
        assert!(first.interfaces.iter().any(|i| i.name == "lo" && i.rate_in.is_none()));
        std::thread::sleep(std::time::Duration::from_millis(30));
        let second = reader.read();
        assert!(second.interfaces.iter().any(|i| i.name == "lo" && i.rate_in.is_some()));
        assert!(second.cpu.is_none_or(|cpu| cpu.idle <= 100.0));
        drop(listener);
        assert!(!reader.read().listening.iter().any(|l| l.address == address));
    }
}
