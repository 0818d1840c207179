//! The whole console in a pty of 200x60 on a thousand nodes of a hundred servers each: what it costs, and how fast keys are
//! answered while nodes hang. Driven by `tests/bench/tui1000`, which captures a real haproxy's reply for the fake nodes.
//!
//! `console REPLY HANGING SECONDS` starts itself in a pty, watches, and prints one JSON object.

#![allow(clippy::print_stdout, reason = "a measurement is data on stdout")]

mod fake_fleet;

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

/// As in `main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COLUMNS: NonZeroU16 = NonZeroU16::new(200).expect("not zero");
const ROWS: NonZeroU16 = NonZeroU16::new(60).expect("not zero");
const NODES: usize = 1000;
/// Characters that are typed to time the answers.
const KEYS: usize = 40;
const LONG: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    // `cargo bench` and `cargo test --benches` call every benchmark with words of their own.
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["console", reply, hanging] => fake_fleet::console(Path::new(reply), NODES, hanging.parse()?),
        [reply, hanging, seconds] => watch(reply, hanging, Duration::from_secs(seconds.parse()?)),
        _ => {
            println!("usage: REPLY HANGING SECONDS (see tests/bench/README.md)");
            Ok(())
        }
    }
}

/// The screen, and a bell for whoever waits for it to change.
type Screen = Arc<(Mutex<vt100::Parser>, Condvar)>;

#[derive(serde::Serialize)]
struct Seen {
    /// Of one core, while nobody types.
    cpu_percent: f64,
    rss_mb: f64,
    peak_mb: f64,
    /// From a key to its echo on the screen.
    key_ms: Vec<f64>,
}

fn watch(reply: &str, hanging: &str, quiet: Duration) -> Result<()> {
    let pty = native_pty_system().openpty(PtySize { rows: ROWS.get(), cols: COLUMNS.get(), pixel_width: 0, pixel_height: 0 })?;
    let mut command = CommandBuilder::new(std::env::current_exe()?);
    command.args(["console", reply, hanging]);
    command.env("TERM", "xterm-256color");
    let mut child = pty.slave.spawn_command(command)?;
    drop(pty.slave);
    let pid = child.process_id().context("the console has no pid")?;
    let screen: Screen = Arc::new((Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)), Condvar::new()));
    let mut output = pty.master.try_clone_reader()?;
    let shown = screen.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 65536];
        while let Ok(n @ 1..) = output.read(&mut bytes) {
            shown.0.lock().unwrap_or_else(|e| e.into_inner()).process(bytes.get(..n).unwrap_or_default());
            shown.1.notify_all();
        }
    });
    let mut keys = pty.master.take_writer()?;
    let result = measure(pid, &screen, &mut keys, quiet);
    child.kill()?;
    child.wait()?;
    println!("{}", serde_json::to_string(&result?)?);
    Ok(())
}

fn measure(pid: u32, screen: &Screen, keys: &mut impl Write, quiet: Duration) -> Result<Seen> {
    await_text(screen, "node0001", LONG)?;
    // Every node has been read once, the allocator and the history have settled.
    std::thread::sleep(quiet);
    let (cpu, began) = (cpu_seconds(pid)?, Instant::now());
    std::thread::sleep(quiet);
    let cpu_percent = (cpu_seconds(pid)? - cpu) / began.elapsed().as_secs_f64() * 100.0;

    let mut typed = String::from(":");
    keys.write_all(b":")?;
    await_text(screen, ":", LONG)?;
    let mut key_ms = Vec::new();
    for i in 0..KEYS {
        let key = char::from(b'a' + u8::try_from(i % 26)?);
        typed.push(key);
        let pressed = Instant::now();
        keys.write_all(key.to_string().as_bytes())?;
        await_text(screen, typed.trim_start_matches(':'), LONG)?;
        key_ms.push(pressed.elapsed().as_secs_f64() * 1e3);
        // At another moment of the console's second each time.
        std::thread::sleep(Duration::from_millis(37 + 13 * u64::try_from(i % 7)?));
    }
    Ok(Seen { cpu_percent, rss_mb: status_mb(pid, "VmRSS")?, peak_mb: status_mb(pid, "VmHWM")?, key_ms })
}

fn await_text(screen: &Screen, text: &str, within: Duration) -> Result<()> {
    let (parser, bell) = &**screen;
    let end = Instant::now() + within;
    let mut parser = parser.lock().unwrap_or_else(|e| e.into_inner());
    while !parser.screen().contents().contains(text) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("'{text}' did not appear within {within:?}; the screen:\n{}", parser.screen().contents());
        }
        parser = bell.wait_timeout(parser, left).unwrap_or_else(|e| e.into_inner()).0;
    }
    Ok(())
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("stat");
    // The kernel reports in hundredths of a second, whatever its own tick is.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn status_mb(pid: u32, name: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with(name)).context("status")?;
    Ok(line.split_whitespace().nth(1).context("status")?.parse::<f64>()? / 1024.0)
}
