"""The programs under measure: smallage, Celery's worker, the bare client."""
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
TICK = os.sysconf("SC_CLK_TCK")


def tree(pid):
    """pid and everything below it."""
    found, grown = {pid}, True
    rows = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            rows.append((int(entry), int(stat.rsplit(")", 1)[1].split()[1])))
    while grown:
        more = {p for p, parent in rows if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def cpu_s(pid):
    """User and system seconds of the tree, reaped children included."""
    total = 0
    for p in tree(pid):
        try:
            fields = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(fields[i]) for i in (11, 12, 13, 14))
    return total / TICK


def pss_mib(pid):
    total = 0
    for p in tree(pid):
        try:
            text = pathlib.Path(f"/proc/{p}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


class Kind:
    """One way to run a worker. `options` are those of `celery worker`; `bare`: those of the bare
    client (Bench.bare_command)."""

    def __init__(self, name, *options, bare=None, celery=False, env=None):
        self.name, self.options, self.bare, self.celery = name, options, bare, celery
        self.env = env or {}

    def command(self, bench, queue):
        if self.bare:
            return bench.bare_command(queue, *self.bare)
        common = ["-Q", queue, "-l", "ERROR", *self.options]
        if self.celery:
            return [sys.executable, "-m", "celery", "-A", "benchtasks", "-b", bench.broker_url,
                    "--result-backend", bench.results_url, "worker", *common]
        plugins = ",".join(str(BUILD / f"lib/smallage/test-tasks/{name}.so")
                           for name in ("testtasks", "canvastasks"))
        return [BUILD / "bin/smallage", "worker", "-b", bench.broker_url, "--result-backend",
                bench.results_url, "-I", plugins, *common]

    def start(self, bench, queue):
        env = {**os.environ, "C_FORCE_ROOT": "1", **self.env,
               "PYTHONPATH": f"{ROOT / 'tests/bench'}:{ROOT / 'tests'}"}
        return subprocess.Popen([str(part) for part in self.command(bench, queue)],
                                env=env, cwd="/tmp", stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                start_new_session=True)


def stop(process):
    for number, wait in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number) if number == signal.SIGKILL else process.send_signal(number)
            process.wait(wait)
            break
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    time.sleep(0.1)
