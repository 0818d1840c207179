//! A short run of the fuzz targets with a fixed seed: real replies and files, mutated a few thousand times.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use targets::TARGETS;

const SEEDS: &[(&str, &[&[u8]])] = &[
    (
        "stats_csv",
        &[
            include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-stat.txt"),
            include_bytes!("../../src/engine/haproxy/fixtures/3.2-show-stat.txt"),
            b"# pxname,svname,status,type,last_chk,\nweb,w1,UP,2,\"a, \"\"b\"\"\",\nweb,BACKEND,UP,1,,\n",
        ],
    ),
    ("info", &[include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-info.txt")]),
    ("servers_state", &[include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-servers-state.txt")]),
    (
        "replies",
        &[
            include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-sess.txt"),
            include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-servers-conn.txt"),
            include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-proc.txt"),
            include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-table-web.txt"),
            include_bytes!("../../src/engine/haproxy/fixtures/2.6-show-ssl-cert-details.txt"),
            include_bytes!("../../src/engine/haproxy/fixtures/2.6-stats-page.html"),
        ],
    ),
    ("metrics", &[b"# TYPE a gauge\na{x=\"1,2\",y=\"b=c\"} 1\nhaproxy_server_weight{proxy=\"web\",server=\"w\"} NaN\n"]),
    (
        "haproxy_cfg",
        &[b"defaults d\n  default-server weight 3\nbackend b from d\n  server \"a b\" [::1]:80 check \\\n    weight ${W} disabled\n  server-template t 1-3 h:1\n.if x\n.endif\n"],
    ),
    (
        "fleet_file",
        &[b"nodes:\n  - name: lb1\n    address: 10.0.0.1\n    zone: a\n    tags: [edge, 'x']\n    ssh:\n      user: ops\n    haproxy:\n      socket: /run/haproxy/admin.sock\npolicies:\n  - pool: 'web*'\n    min_healthy: 50%\n"],
    ),
    (
        "relay_rules",
        &[
            b"/a/../%2e%2e//b/%2f./c%zz?d=/../",
            b"for=192.0.2.1;proto=https, For=\"[2001:db8::1]:80\";host=\"a\\\"b,c\", for=_x",
            b"192.0.2.1, [2001:db8::1]:443 ,unknown",
            b"gzip;q=0.5, br ; q=1.000, *;q=0, zstd;q=1.1",
        ],
    ),
    (
        "relay_snapshot",
        &[
            br#"{"at":"2026-11-23T18:00:00Z","agent":"0.1.0","pid":7,"uptime_ms":5000,"phase":"serving","notes":["a"],"listeners":[{"name":"front","mode":"http"}],"routes":[{"listener":"front","name":"all","pools":["web"],"latency":{"count":9,"p99_us":2500}}],"pools":[{"name":"web","mode":"http","servers":[{"name":"w1","admin":"ready","health":"up","weight":10,"in_use":3,"traffic":{"answers":[0,1,2,3,4]},"check":{"status":"L7OK","code":200}}]}]}"#,
            br#"{"hostname":"lb1","load":[0.1,0.2,0.3],"memory":{"total":100,"available":50},"disks":[{"mount":"/","total":10,"available":1}],"interfaces":[{"name":"eth0","bytes_in":5,"rate_in":2}],"conntrack":[1,2],"listening":[{"protocol":"tcp","address":"[::]:80","waiting":3}],"notes":["x"]}"#,
        ],
    ),
    ("elf", &[ELF_64, ELF_32]),
    ("ssh_config", &[b"Host lb* !lb9\n  HostName %h.example\n  User=ops\n  IdentityFile \"~/.ssh/a b\"\n  ProxyJump ops@jump:2222,other\nMatch host x\n"]),
    (
        "relay_http",
        &[
            b"POST /a?b=c HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\nX: 1\r\n\r\n5;e=\"f\"\r\nhello\r\n0\r\nT: 1\r\n\r\n",
            b"PUT http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            b"a\r\n0123456789\r\n0\r\n\r\n",
        ],
    ),
    (
        "proxy_protocol",
        &[
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x04\xd2\x01\xbbrest",
        ],
    ),
    (
        "relay_config",
        &[b"listeners:\n  - name: web\n    bind: [127.0.0.1:80, unix:/x]\n    pool: app\n    timeouts: {client: 5s}\npools:\n  - name: app\n    balance: uri\n    check: {path: /h, inter: 1s, status: [200-299]}\n    persistence: {cookie: {name: s}}\n    servers:\n      - {name: a, address: 10.0.0.1:80, weight: 3}\n"],
    ),
];

/// A header of 64 bits, little-endian, and two program headers, the second of which names the loader of shared libraries.
const ELF_64: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0\0\0\0\0\0\0\0\0\
\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\x38\0\x02\0\0\0\0\0\0\0\
\x01\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
\x03\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// The same for 32 bits and big-endian, without program headers.
const ELF_32: &[u8] =
    b"\x7fELF\x01\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x08\0\0\0\x01\0\0\0\0\0\0\0\x34\0\0\0\0\0\0\0\0\0\x34\0\x20\0\0\0\0\0\0\0\0";

/// Pieces that readers treat in a way of their own.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\n\n",
    b"\r\n",
    b",",
    b",,,,,,,,",
    b"\"",
    b"\"\"",
    b"\\",
    b"#",
    b"# ",
    b" ",
    b"\t",
    b":",
    b"=",
    b"{",
    b"}",
    b"/",
    b"-",
    b"0",
    b"18446744073709551616",
    b"-1",
    b"\x00",
    b"\x1b[2J",
    b"\xff\xfe",
    "\u{202e}".as_bytes(),
    "\u{85}".as_bytes(),
    b"1\n# ",
    b"'",
    b"[",
    b"]",
    b"|",
    b"&a",
    b"*a",
    b"<<",
    b"? ",
    b"0x",
    b"*",
];

/// Small, repeatable and good enough to choose mutations (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }
}

fn mutate(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + dice.roll(4) {
        let at = dice.roll(bytes.len() + 1);
        let end = (at + dice.roll(40)).min(bytes.len());
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, PIECES[dice.roll(PIECES.len())].iter().copied())),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = dice.roll(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            4 => {
                if let Some(b) = bytes.get_mut(at) {
                    *b = dice.roll(256) as u8;
                }
            }
            _ => drop(bytes.splice(at..end, PIECES[dice.roll(PIECES.len())].iter().copied())),
        }
    }
    bytes
}

#[test]
fn targets_survive_mutated_input() {
    for (name, run) in TARGETS {
        let seeds = SEEDS.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no seeds for {name}")).1;
        let mut dice = Dice(0x1bde_c0de + name.len() as u64);
        for round in 0..800 * seeds.len().min(3) {
            let input =
                if round < seeds.len() { seeds[round].to_vec() } else { mutate(seeds[dice.roll(seeds.len())], &mut dice) };
            let outcome = std::panic::catch_unwind(|| run(&input));
            assert!(outcome.is_ok(), "{name}, round {round}: {:?}", String::from_utf8_lossy(&input));
        }
    }
}

/// Every target has its program under libFuzzer, and the other way round.
#[test]
fn each_target_can_be_fuzzed_for_longer() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    let mut programs: Vec<String> = std::fs::read_dir(dir.join("fuzz_targets"))
        .unwrap()
        .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    programs.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|(n, _)| *n).collect();
    names.sort_unstable();
    assert_eq!(programs, names);
    assert!(names.iter().all(|n| manifest.contains(&format!("name = \"{n}\""))));
}
