//! Keeps the lab's haproxy processes no longer than the lab itself, whatever ends it.
//!
//! One small shell process starts them and then reads a pipe that only the lab holds open. When the lab ends (also by
//! SIGKILL, when none of our code runs) the kernel closes the pipe; the shell ends every haproxy and removes the folder. A
//! normal end takes the same way. It has a process group of its own, so that the Ctrl-C of a terminal reaches the lab alone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};

use super::LabError;
use super::layout::Layout;

/// `$1` folder, `$2` yes to keep it, `$3` haproxy, then the nodes' names.
const SCRIPT: &str = r#"
dir=$1 keep=$2 haproxy=$3
shift 3
pids=
for node do
  "$haproxy" -W -db -S "$dir/$node/master.sock" -f "$dir/$node/haproxy.cfg" </dev/null >"$dir/$node/haproxy.log" 2>&1 &
  pids="$pids $!"
done
while read -r _; do :; done
kill -TERM $pids 2>/dev/null
wait
[ "$keep" = yes ] || rm -rf "$dir"
"#;

/// How long haproxy may take to come up, and to go.
const START: Duration = Duration::from_secs(15);
const END: Duration = Duration::from_secs(10);

pub(super) struct Keeper {
    child: Child,
    /// Open as long as the fleet shall live.
    pipe: Option<ChildStdin>,
    folder: PathBuf,
    keep: bool,
}

impl Keeper {
    /// Starts haproxy for every node and returns when each answers on its statistics socket.
    pub(super) async fn start(haproxy: &Path, layout: &Layout, keep: bool) -> Result<Self, LabError> {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(SCRIPT)
            .arg("lbdeck-lab-keeper")
            .arg(&layout.folder)
            .arg(if keep { "yes" } else { "no" })
            .arg(haproxy);
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
        for node in &layout.nodes {
            if let Err(error) = await_node(&node.name, &node.admin_socket(), &node.folder.join("haproxy.log")).await {
                keeper.end().await?;
                return Err(error);
            }
        }
        Ok(keeper)
    }

    /// Ends every haproxy, removes the folder, and returns when both is done.
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
async fn await_node(name: &str, socket: &Path, log: &Path) -> Result<(), LabError> {
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
