"""A log whose reader does not read must not stop the worker. (Celery's stops.)"""
import fcntl
import os
import re
import signal
import subprocess
import time

import pytest

from services.keeper import wait_until
from test_status import smallage
from worker import BUILD, JUDGE, SANITIZERS

pytestmark = pytest.mark.skipif(
    JUDGE, reason="smallage_only: Python's logging waits for the reader")

LINE = re.compile(r"Task testtasks\.noop\[([0-9a-f-]+)\] succeeded")
DROPPED = re.compile(r"(\d+) lines of the log were dropped")


@pytest.fixture
def blocked(broker, results, tmp_path):
    """(process, the end of the pipe that nobody reads)"""
    broker.declare()
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)  # full after a few lines
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "SMALLAGE_"))}
    process = subprocess.Popen(
        [BUILD / "bin/smallage", "worker", "-b", broker.url, "--result-backend", results.url, "-l",
         "info", "-c", "2", "--socket", tmp_path / "sock", "-I",
         BUILD / "lib/smallage/test-tasks/testtasks.so"],
        stdin=subprocess.DEVNULL, stdout=write_end, stderr=write_end, start_new_session=True,
        env={**clean, **SANITIZERS, "TMPDIR": str(tmp_path)})
    os.close(write_end)
    os.set_blocking(read_end, False)
    yield process, read_end
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    os.close(read_end)


def read_all(fd):
    text = b""
    try:
        while part := os.read(fd, 1 << 16):
            text += part
    except BlockingIOError:
        pass
    return text.decode(errors="replace")


def test_tasks_run_while_nobody_reads_the_log(broker, results, blocked, tmp_path):
    process, read_end = blocked
    ids = broker.send_many("noop", 2000)
    results.wait_all(ids, 30)
    broker.wait_empty()
    assert smallage("status", "--socket", tmp_path / "sock").returncode == 0
    first = read_all(read_end)
    assert len(LINE.findall(first)) < 100
    # The reader is back: the next lines come, and the number of those that are missing.
    late = broker.send("noop")
    results.wait(late)
    rest = ""

    def has_it():
        nonlocal rest
        rest += read_all(read_end)
        return any(id == late for id in LINE.findall(rest))

    try:
        wait_until(has_it, 10, "the line of a task")
    except AssertionError:
        raise AssertionError(f"{first!r}\n...\n{rest!r}") from None
    assert 3800 < sum(map(int, DROPPED.findall(rest))) <= 4100, rest
    process.terminate()
    assert process.wait(20) == 0


def test_a_stop_ends_while_nobody_reads_the_log(broker, results, blocked):
    process, read_end = blocked
    results.wait_all(broker.send_many("noop", 200), 30)
    broker.wait_empty()
    started = time.monotonic()
    process.terminate()
    assert process.wait(20) == 0
    assert time.monotonic() - started < 10


def connection_names(broker):
    """Of the worker; the test's own is closed."""
    broker.close()
    return {row["name"] for row in broker.rabbit.connections(broker.vhost)}


@pytest.mark.brokers("rabbitmq", why="its connections are asked for")
def test_a_restart_ends_while_nobody_reads_the_log(broker, results, blocked):
    process, read_end = blocked
    results.wait_all(broker.send_many("noop", 200), 30)
    before = connection_names(broker)
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: connection_names(broker) and not connection_names(broker) & before, 30,
               "other connections")
    results.wait_all(broker.send_many("noop", 200), 30)
    process.terminate()
    assert process.wait(20) == 0
