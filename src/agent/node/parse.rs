//! Files of /proc, as proc(5) describes them. A field that is missing or no number reads as 0: a reading is never refused.

use crate::model::{AgentUse, MemoryUse, NetworkInterface};

/// Clock ticks a second that the kernel shows to processes (`USER_HZ`, 100 on every architecture that Linux runs on today).
const USER_HZ: u64 = 100;

fn numbers(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.split_ascii_whitespace().map(|n| n.parse().unwrap_or(0))
}

/// Ticks of all cores since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTicks {
    pub user: u64,
    pub system: u64,
    pub idle: u64,
    pub iowait: u64,
    pub steal: u64,
}

impl CpuTicks {
    pub fn total(self) -> u64 {
        self.user + self.system + self.idle + self.iowait + self.steal
    }
}

/// /proc/stat.
pub fn cpu(text: &str) -> Option<CpuTicks> {
    let mut n = numbers(text.lines().next()?.strip_prefix("cpu ")?);
    let mut next = || n.next().unwrap_or(0);
    let (user, nice, system, idle, iowait, irq, softirq, steal) =
        (next(), next(), next(), next(), next(), next(), next(), next());
    Some(CpuTicks { user: user + nice, system: system + irq + softirq, idle, iowait, steal })
}

pub fn uptime(text: &str) -> u64 {
    text.split('.').next().and_then(|s| s.trim().parse().ok()).unwrap_or(0)
}

pub fn load(text: &str) -> [f64; 3] {
    let mut n = text.split_ascii_whitespace().map(|n| n.parse().unwrap_or(0.0));
    [(); 3].map(|()| n.next().unwrap_or(0.0))
}

/// /proc/meminfo, which counts in KiB.
pub fn memory(text: &str) -> MemoryUse {
    let of = |key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|rest| numbers(rest).next()).unwrap_or(0).saturating_mul(1024)
    };
    MemoryUse { total: of("MemTotal"), available: of("MemAvailable"), swap_total: of("SwapTotal"), swap_free: of("SwapFree") }
}

/// /proc/net/dev: name, then 8 counters in, 8 out.
pub fn interfaces(text: &str) -> Vec<NetworkInterface> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let n: Vec<u64> = numbers(rest).collect();
        let at = |i: usize| n.get(i).copied().unwrap_or(0);
        let name = name.trim().to_owned();
        let state = std::fs::read_to_string(format!("/sys/class/net/{name}/operstate")).unwrap_or_default();
        Some(NetworkInterface {
            // Loopback and tunnels have no carrier to speak of and say 'unknown' while they work.
            up: matches!(state.trim(), "up" | "unknown"),
            name,
            bytes_in: at(0),
            bytes_out: at(8),
            rate_in: None,
            rate_out: None,
            errors: at(2) + at(10),
            drops: at(3) + at(11),
        })
    };
    text.lines().filter_map(line).collect()
}

/// /proc/sys/fs/file-nr: in use, free (always 0), the most.
pub fn open_files(text: &str) -> Option<(u64, u64)> {
    let n: Vec<u64> = numbers(text).collect();
    Some((*n.first()?, *n.get(2)?))
}

/// One line of /proc/mounts.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    pub device: String,
    pub path: String,
    pub kind: String,
}

/// Mounts with a place to fill up: no pseudo file systems, no images that are read-only by nature.
pub fn mounts(text: &str) -> Vec<Mount> {
    const KINDS: [&str; 14] = [
        "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "vfat", "overlay", "reiserfs", "jfs", "bcachefs", "tmpfs",
        "fuseblk",
    ];
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (device, path, kind) = (words.next()?, words.next()?, words.next()?);
        // Of the many tmpfs only the one that services write to.
        let wanted = KINDS.contains(&kind) && (kind != "tmpfs" || path == "/run");
        wanted.then(|| Mount { device: unescape(device), path: unescape(path), kind: kind.to_owned() })
    };
    text.lines().filter_map(line).collect()
}

/// Blanks, tabs, line feeds and backslashes are written as three octal digits.
fn unescape(word: &str) -> String {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// /proc/self/status and /proc/self/stat.
pub fn process(status: &str, stat: &str) -> AgentUse {
    let of = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|rest| numbers(rest).next()).unwrap_or(0)
    };
    // The name in parentheses may hold anything; what follows the last one are numbers, utime and stime the 12th and 13th.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = numbers(after).skip(12 - 1).take(2).sum();
    AgentUse {
        memory: of("VmRSS").saturating_mul(1024),
        threads: of("Threads"),
        cpu_ms: ticks.saturating_mul(1000 / USER_HZ),
        ..AgentUse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_kernel() {
        let ticks = cpu("cpu  100 5 50 1000 7 1 2 3 0 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(ticks, CpuTicks { user: 105, system: 53, idle: 1000, iowait: 7, steal: 3 });
        assert_eq!(load("0.52 1.10 2.00 3/500 12345\n"), [0.52, 1.1, 2.0]);
        let memory = memory("MemTotal:  16 kB\nMemFree: 1 kB\nMemAvailable:  8 kB\nSwapTotal: 0 kB\n");
        assert_eq!((memory.total, memory.available, memory.swap_free), (16384, 8192, 0));
        let eth = &interfaces("Inter-|\n face |bytes\n  eth0: 10 1 2 3 0 0 0 0 20 1 4 5 0 0 0 0\n")[0];
        assert_eq!((eth.name.as_str(), eth.bytes_in, eth.bytes_out, eth.errors, eth.drops), ("eth0", 10, 20, 6, 8));
        assert_eq!(open_files("1024\t0\t9223372036854775807\n"), Some((1024, 9_223_372_036_854_775_807)));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 3 0 100";
        let process = process("VmRSS:\t  2048 kB\nThreads:\t3\n", stat);
        assert_eq!((process.memory, process.threads, process.cpu_ms), (2 << 20, 3, 420));
    }

    #[test]
    fn mounts_with_odd_names() {
        let text =
            "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/sdb /my\\040disk\\134 xfs rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        let paths: Vec<String> = mounts(text).into_iter().map(|m| m.path).collect();
        assert_eq!(paths, ["/", "/my disk\\"]);
        assert_eq!(unescape("a\\9"), "a\\9");
    }

    /// Whatever stands in these files, nothing panics.
    #[test]
    fn nonsense() {
        for text in ["", "\n\n", "cpu", "cpu ", "cpu x y z", ":", "a:b", "\\", "a \\04 ext4", "é ) ( 99999999999999999999999"] {
            let _ = (cpu(text), load(text), memory(text), interfaces(text), open_files(text), mounts(text), uptime(text));
            let _ = process(text, text);
        }
    }
}
