//! Keeps the lab's processes no longer than the lab itself, whatever ends it.
//!
//! One small shell process starts haproxy where there is one, and then reads a pipe that only the lab holds open. When the lab
//! ends (also by SIGKILL, when none of our code runs) the kernel closes the pipe; the shell ends every haproxy, every agent and
//! its supervisor, and removes the folder. A normal end takes the same way. It has a process group of its own, so that the
//! Ctrl-C of a terminal reaches the lab alone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};

use super::layout::Layout;
use super::{LabError, haproxy};

/// `$1` folder, `$2` yes to keep it, `$3` haproxy or nothing, then the nodes' names.
///
/// Agents and supervisors are known by their programs, which lie in the lab's folder: whoever started one, it is found. A
/// supervisor that is told to end ends its agents first; what is left after eight seconds is killed.
const SCRIPT: &str = r#"
dir=$1 keep=$2 haproxy=$3
shift 3
pids=
[ -z "$haproxy" ] || for node do
  "$haproxy" -W -db -S "$dir/$node/master.sock" -f "$dir/$node/haproxy.cfg" </dev/null >"$dir/$node/haproxy.log" 2>&1 &
  pids="$pids $!"
done
while read -r _; do :; done
[ -z "$pids" ] || kill -TERM $pids 2>/dev/null
from_here() { ls -l /proc/[0-9]*/exe 2>/dev/null | grep -F -e "-> $dir/" | sed 's,.*/proc/\([0-9]*\)/exe -> .*,\1,'; }
tries=0
while left=$(from_here); [ -n "$left" ]; do
  tries=$((tries + 1))
  for pid in $left; do
    if [ $tries -gt 80 ]; then
      kill -KILL $pid 2>/dev/null
    elif grep -qs supervise /proc/$pid/cmdline; then
      kill -TERM $pid 2>/dev/null
    fi
  done
  sleep 0.1
done
wait
[ "$keep" = yes ] || rm -rf "$dir"
"#;

/// How long haproxy may take to come up, and all to go.
const START: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(20);

pub(super) struct Keeper {
    child: Child,
    /// Open as long as the fleet shall live.
    pipe: Option<ChildStdin>,
    folder: PathBuf,
    keep: bool,
}

impl Keeper {
    /// Where there is a haproxy, starts it for every node and returns when each answers on its statistics socket.
    pub(super) async fn start(haproxy: Option<&Path>, layout: &Layout, keep: bool) -> Result<Self, LabError> {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(SCRIPT)
            .arg("lbdeck-lab-keeper")
            .arg(&layout.folder)
            .arg(if keep { "yes" } else { "no" })
            .arg(haproxy.unwrap_or(Path::new("")));
        command.args(layout.nodes.iter().map(|n| &n.name));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(LabError::io("starting /bin/sh"))?;
        let pipe = child.stdin.take();
        let keeper = Self { child, pipe, folder: layout.folder.clone(), keep };
        for node in layout.nodes.iter().filter(|_| haproxy.is_some()) {
            if let Err(error) = await_haproxy(&node.name, &haproxy::admin_socket(node), &node.folder.join("haproxy.log")).await {
                keeper.end().await?;
                return Err(error);
            }
        }
        Ok(keeper)
    }

    /// Ends every process, removes the folder, and returns when both is done.
    pub(super) async fn end(mut self) -> Result<(), LabError> {
        drop(self.pipe.take());
        if let Ok(ended) = tokio::time::timeout(END, self.child.wait()).await {
            return ended.map(drop).map_err(LabError::io("waiting for the end of the lab's processes"));
        }
        // A haproxy that ignores SIGTERM: the whole group goes the hard way.
        if let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        self.child.wait().await.map_err(LabError::io("waiting for the end of the lab's processes"))?;
        if self.keep {
            return Ok(());
        }
        let doing = format!("removing {}", self.folder.display());
        tokio::fs::remove_dir_all(&self.folder).await.map_err(LabError::io(doing))
    }
}

/// Waits until haproxy answers on its socket.
async fn await_haproxy(name: &str, socket: &Path, log: &Path) -> Result<(), LabError> {
    let began = Instant::now();
    loop {
        if UnixStream::connect(socket).await.is_ok() {
            return Ok(());
        }
        let said = tokio::fs::read_to_string(log).await.unwrap_or_default();
        if said.contains("[ALERT]") || began.elapsed() > START {
            let said = if said.is_empty() { format!("no answer within {} s", START.as_secs()) } else { said };
            return Err(LabError::Haproxy { node: name.to_owned(), said: said.trim_end().to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
