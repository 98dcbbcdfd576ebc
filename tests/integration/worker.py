"""A worker under test: build/bin/smallage, or Celery's own (SMALLAGE_WORKER=celery), the judge."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from services import keeper

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SMALLAGE_BUILD", "build")
JUDGE = os.environ.get("SMALLAGE_WORKER") == "celery"
# Master, spawner and children are each checked for leaks when they end by themselves
# (SMALLAGE_LEAKS=0 switches it off).
# intercept_tls_get_addr=0: the sanitizer of GCC 12 finds the thread-local blocks of loaded plug-ins
# by a guess about glibc's memory, which is wrong for a block 16 bytes behind a page's start; its
# leak check then reads address 0x208 ("Tracer caught signal 11"), or not, depending on such things
# as the length of the environment.
SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:intercept_tls_get_addr=0:detect_leaks="
                    + os.environ.get("SMALLAGE_LEAKS", "1"),
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99"}
FAULTS = ("AddressSanitizer", "runtime error:", "LeakSanitizer", "stack smashing")


def _as_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


class Worker:
    """options: more arguments of the command line. settings: Celery's lower-case names.

    broker: whose settings (BrokerBase.settings) count besides.
    judge: run Celery's worker (default: what SMALLAGE_WORKER says), in the interpreter `python`.
    plugins: test tasks, those of the judge and ours by the same names.
    alone: Celery's worker does not look for others (the second that takes is long in a test)."""

    count = 0

    def __init__(self, folder, broker_url, backend_url, *options, concurrency=2, queues=None,
                 pool=None, settings=None, env=None, name=None, level="INFO", ready=True,
                 judge=JUDGE, binary=None, prefix=(), alone=True, python=sys.executable,
                 broker=None, plugins=("testtasks",)):
        Worker.count += 1
        self.node = name or f"w{Worker.count}-{os.getpid()}@test"
        self.dir = pathlib.Path(folder)
        self.log_path = self.dir / f"worker-{Worker.count}.log"
        self.judge = judge
        self.code = None
        self.may_fault = False
        settings = dict((broker.settings(settings) if broker else settings) or {})
        pool = pool or os.environ.get("SMALLAGE_POOL")
        shared = ["-n", self.node, "-l", level]
        if concurrency:
            shared += ["-c", str(concurrency)]
        if queues:
            shared += ["-Q", queues]
        if pool:
            shared += ["-P", pool]
        # The developer's own settings must not leak in.
        clean = {k: v for k, v in os.environ.items()
                 if not re.match(r"(CELERY|EMAIL|REDIS|SMS|TWILIO|SMALLAGE|RABBITMQ)_", k)}
        clean.update(PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(self.dir))
        if judge:
            here = pathlib.Path(__file__).parent
            clean.update(PYTHONPATH=f"{here / 'pyworker'}:{here}",
                         C_FORCE_ROOT="1", SMALLAGE_TEST_SETTINGS=json.dumps(settings))
            command = [python, "-m", "celery", "-A", "testtasks", "-b", broker_url]
            if backend_url:
                command += ["--result-backend", backend_url]
            command += ["worker", *shared]
            if len(plugins) > 1:
                command += ["-I", ",".join(plugins[1:])]
            if alone:
                command += ["--without-mingle", "--without-gossip"]
        else:
            # By file where the environment has no form for it (null, objects).
            by_file = any(value is None or isinstance(value, dict) or
                          isinstance(value, list) and any(isinstance(v, dict) for v in value)
                          for value in settings.values())
            for key, value in () if by_file else settings.items():
                clean[f"CELERY_{key.upper()}"] = _as_text(value)
            clean.update(SANITIZERS)
            command = [str(binary or BUILD / "bin/smallage"), "worker"]
            if broker_url:
                command += ["-b", broker_url]
            if backend_url:
                command += ["--result-backend", backend_url]
            if by_file:
                file = self.dir / f"settings-{Worker.count}.yaml"
                file.write_text(json.dumps(settings))
                command += ["--config", str(file)]
            files = [str(BUILD / f"lib/smallage/test-tasks/{plugin}.so") for plugin in plugins]
            command += [*shared, "-I", ",".join(files)]
        clean.update(env or {})
        self.command = [*prefix, *command, *map(str, options)]
        self.started = time.monotonic()
        self.process = keeper.start(self.command, log=self.log_path, env=clean, cwd=self.dir)
        if ready:
            self.wait_ready()

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_ready(self, timeout=30):
        def is_ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the worker ended with {self.process.returncode}:\n"
                                     + self.log[-4000:])
            return f"{self.node} ready" in self.log
        keeper.wait_until(is_ready, timeout, "ready worker", 0.005)
        return self

    def wait_log(self, text, timeout=10, count=1):
        """Until the log holds `text` (a regular expression) so often."""
        try:
            keeper.wait_until(lambda: len(re.findall(text, self.log)) >= count, timeout, "log")
        except AssertionError:
            raise AssertionError(f"no {text!r} in the log after {timeout} s:\n"
                                 + self.log[-4000:]) from None

    def is_alive(self):
        return self.process.poll() is None

    def children(self):
        """Process ids below the worker, all generations."""
        rows = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.split()
        parents = dict(zip(map(int, rows[0::2]), map(int, rows[1::2])))
        below, grown = {self.pid}, True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in below} - below
            below |= more
            grown = bool(more)
        return sorted(below - {self.pid})

    def signal(self, number):
        self.process.send_signal(number)

    def wait_end(self, timeout=30):
        """Exit code, once it ended by itself."""
        try:
            self.code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker still runs after {timeout} s:\n"
                                 + self.log[-4000:]) from None
        keeper.end(self.process)
        return self.code

    def stop(self, timeout=30):
        """Warm. Returns the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait_end(timeout)

    def kill(self):
        """All of it, at once."""
        self.may_fault = True
        self.code = keeper.end(self.process, signal.SIGKILL)
        return self.code

    def end(self):
        """For the fixture: whatever state it is in."""
        if self.code is None:
            if self.process.poll() is None:
                self.signal(signal.SIGCONT)
                self.signal(signal.SIGTERM)
                try:
                    self.code = self.process.wait(10)
                except subprocess.TimeoutExpired:
                    self.may_fault = True  # a test left it busy
            code = keeper.end(self.process)
            self.code = code if self.code is None else self.code

    def faults(self):
        """Lines of a sanitizer, or of the C library."""
        return [line for line in self.log.splitlines() if any(word in line for word in FAULTS)]

    def rss(self):
        """KiB of the whole tree, shared pages counted once per process."""
        total = 0
        for pid in [self.pid, *self.children()]:
            try:
                text = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmRSS:\s+(\d+)", text)
            total += int(found[1]) if found else 0
        return total
