"""Children that cannot outlive us: a small process holds a pipe to us and cleans up at its end."""
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

_KEEPER = r"""
import os, shutil, signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups, folders, commands = set(), set(), set()
for line in sys.stdin:
    verb, _, value = line.rstrip("\n").partition(" ")
    kind = {"group": groups, "folder": folders, "command": commands}[verb.lstrip("-")]
    kind.discard(value) if verb[0] == "-" else kind.add(value)
for group in groups:
    try:
        os.killpg(int(group), signal.SIGKILL)
    except OSError:
        pass
for command in commands:
    subprocess.run(command, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for folder in folders:
    shutil.rmtree(folder, ignore_errors=True)
"""


class _Keeper:
    """One per process that uses it; a forked copy of us makes its own."""

    def __init__(self):
        self.process = None
        self.pid = None

    def tell(self, line):
        if self.pid != os.getpid():
            self.process = subprocess.Popen(
                [sys.executable, "-c", _KEEPER], stdin=subprocess.PIPE, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            self.pid = os.getpid()
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


_keeper = _Keeper()


def start(command, *, log, env=None, cwd=None):
    """Starts `command` in a process group of its own, output to the file `log`."""
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, env=env, cwd=cwd,
                                   start_new_session=True)
    _keeper.tell(f"group {process.pid}")
    return process


def end(process, number=signal.SIGKILL, timeout=20):
    """Signals the group and waits; kills it when the time is over. Returns the exit code."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        code = None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if code is None:
        code = process.wait(10)
    _keeper.tell(f"-group {process.pid}")
    return code


def at_end(command):
    """A shell command to run when this process is gone."""
    _keeper.tell(f"command {command}")


def keep_folder(path):
    """`path` is removed when this process is gone, at the latest."""
    _keeper.tell(f"folder {path}")


def drop_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    _keeper.tell(f"-folder {path}")


class _Claims:
    """Ports that a process of ours was given: a server may take seconds until it listens on its own.

    One byte of a file stands for each; the kernel forgets our locks when we end."""

    def __init__(self):
        self.given = set()
        self.file = None

    def take(self, port):
        if port in self.given:
            return False
        if self.file is None:
            # Not below TMPDIR: one file for all test processes, also for one with a folder of its own.
            self.file = os.open(f"/tmp/smallage-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT,
                                0o600)
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        self.given.add(port)
        return True


_claims = _Claims()


def free_port():
    """A port nobody listens on, below the kernel's own range so that no client socket takes it."""
    while True:
        port = random.SystemRandom().randrange(20000, 30000)
        if not _claims.take(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_until(question, timeout, what, step=0.02):
    """The first true answer of `question()`; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(step)


def port_answers(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 0.5).close()
    except OSError:
        return False
    return True


def wait_for_port(port, timeout=30):
    wait_until(lambda: port_answers(port), timeout, f"port {port}")
