"""Runs commands side by side, interleaved, and compares medians: this machine is noisy, ratios are not."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Setting:
    """Processes in a folder of their own: `_start` (the subclass's) starts them, the end of the `with` block ends both."""

    def __init__(self, *how):
        self.dir = Path(tempfile.mkdtemp(prefix="lbdeck-bench-"))
        self.processes = []
        try:
            self._start(*how)
        except BaseException:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        # What was started last may still ask what was started first.
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


@dataclass
class Run:
    wall_s: float
    cpu_s: float  # user + system, of the process and of all that it waited for
    rss_mb: float  # largest resident size of any one of them


def fail(text):
    sys.exit(f"bench: {text}")


def need(command, package):
    found = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    return found or fail(f"{command} is missing; as root: apt-get install {package}")


def lbdeck():
    """The release build, which is what the figures are about."""
    path = Path(os.environ.get("LBDECK", ROOT / "target/release/lbdeck"))
    if not path.exists():
        fail(f"{path} is missing; cargo build --release")
    return str(path)


def bench_binary(name):
    """Builds a program of benches/ (release profile) and returns its path; $LBDECK_BENCH_NAME names one that is built."""
    if path := os.environ.get(f"LBDECK_BENCH_{name.upper()}"):
        return path
    built = subprocess.run(
        ["cargo", "bench", "--bench", name, "--no-run", "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == name and message.get("executable"):
            return message["executable"]
    fail(f"cargo built no {name}")


def run(argv, env=None, stdin=None):
    """Runs argv with its output kept apart from the measurement and returns what it cost."""
    # A process counts the memory of what it was forked from as its own: forked from `time` that is next to nothing.
    with tempfile.NamedTemporaryFile("r") as peak, open(os.devnull, "r+b") as null:
        timed = [need("time", "time"), "-q", "-f", "%M", "-o", peak.name, *argv]
        began = time.monotonic()
        process = subprocess.Popen(timed, stdin=stdin or null, stdout=null, stderr=subprocess.PIPE, env=env, start_new_session=True)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            fail(f"{' '.join(map(str, argv))} ended with {process.returncode}: {said.decode(errors='replace')[-2000:]}")
        return Run(wall, usage.ru_utime + usage.ru_stime, int(peak.read()) / 1024)


def interleave(ways, rounds, before=None, after=None):
    """`ways` maps a name to a function that returns a Run. One round of warming up is thrown away."""
    runs = {name: [] for name in ways}
    for i in range(rounds + 1):
        for name, way in ways.items():
            if before:
                before(name)
            result = way()
            if after:
                after(name)
            if i > 0:
                runs[name].append(result)
    return runs


def median(runs, what):
    return median_of([getattr(r, what) for r in runs])


def median_of(values):
    return statistics.median(values)


def table(runs):
    """Medians of each way, with the range of wall times, as Markdown."""
    print("| way | wall | range | CPU | peak memory of one process |")
    print("|---|---|---|---|---|")
    for name, results in runs.items():
        walls = [r.wall_s for r in results]
        print(
            f"| {name} | {median(results, 'wall_s') * 1e3:.0f} ms | {min(walls) * 1e3:.0f}-{max(walls) * 1e3:.0f} ms "
            f"| {median(results, 'cpu_s') * 1e3:.0f} ms | {max(r.rss_mb for r in results):.1f} MB |"
        )
    print()


class Bars:
    """What must hold; remembers whether all of it did."""

    def __init__(self):
        self.missed = 0

    def at_most(self, what, value, bar, unit=""):
        ok = value <= bar
        self.missed += not ok
        print(f"{'ok    ' if ok else 'MISSED'} {what}: {value:.3g}{unit} (bar {bar:g}{unit})")

    def at_least(self, what, value, bar, unit=""):
        ok = value >= bar
        self.missed += not ok
        print(f"{'ok    ' if ok else 'MISSED'} {what}: {value:.4g}{unit} (bar {bar:g}{unit})")

    def end(self):
        sys.exit(1 if self.missed else 0)
