"""The loop is never busy with one large message for long."""
import os
import signal
import subprocess
import sys

import pytest

from services.keeper import wait_until
from worker import JUDGE

MIB = 1 << 20
SLACK = 5 if "address" in os.environ.get("SMALLAGE_BUILD", "") else 1

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    JUDGE, reason="smallage_only: Celery has no local socket")]

# Asks the local socket every 5 ms and writes down how many milliseconds the answer took. A process
# of its own: the test's is busy with the payloads itself.
POLLER = r"""
import socket, sys, time
with open(sys.argv[2], "w", buffering=1) as out:
    while True:
        begun = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            link.connect(sys.argv[1])
            while link.recv(65536):
                pass
        out.write(f"{(time.perf_counter() - begun) * 1000:.3f}\n")
        time.sleep(0.005)
"""


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def times_while(passing, socket, out):
    """Sorted, of the answers that were given while `passing()` ran."""
    out.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-c", POLLER, str(socket), str(out)])
    try:
        passing()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM, "the worker did not answer in 30 s"
    finally:
        process.kill()
        process.wait(10)
    return sorted(float(line) for line in out.read_text().splitlines()[:-1])


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_the_worker_answers_while_large_payloads_pass(queue, worker, results, tmp_path, level):
    """A large result is copied four times on its way to Redis, all in one turn of the loop, which
    takes a tenth of a second of an idle processor for 32 MiB, and may take many times that when
    others want it too. So a few answers are late; the bound of the worst is there to find a loop
    that parses, or waits. The others come at once. On a machine that is busy with other things all
    are late now and then, so the best of three rounds counts: a slow loop is slow in each."""
    size = 32 * MIB
    text = "a" * size
    one = worker("--socket", tmp_path / "s", concurrency=2, level=level, ready=False)
    results.wait(queue.send("noop"))

    def passing():
        ids = [queue.send("echo", (text,)) for _ in range(3)]
        ids += [queue.send("big", (size,)) for _ in range(3)]
        wait_until(lambda: all(results.client.strlen(results.key(id)) > size for id in ids), 120,
                   "the results", 0.1)
        results.client.flushdb()

    for _ in range(3):
        took = times_while(passing, tmp_path / "s", tmp_path / "times")
        median, p95, worst = took[len(took) // 2], took[int(len(took) * 0.95)], took[-1]
        print(f"{len(took)} answers: median {median:.1f} ms, p95 {p95:.1f} ms, max {worst:.1f} ms")
        if len(took) > 50 and p95 < 50 * SLACK and worst < 5000 * SLACK:
            break
    else:
        raise AssertionError(f"late in every round: {took[-20:]}")
    assert one.is_alive()


def test_the_log_line_of_a_result_with_many_parts_is_made_at_once(queue, worker, results):
    """Five million numbers: reading them all would take the master a second and 170 MiB more."""
    one = worker(concurrency=1)
    before = one.rss()
    id = queue.send("echo", ([1] * 5_000_000,))
    results.wait(id, timeout=60)
    one.wait_log("succeeded in")
    assert "[1, 1, 1, 1, " in one.log and ", ...]" in one.log
    peak = next(int(line.split()[1]) for line in open(f"/proc/{one.pid}/status")
                if line.startswith("VmHWM"))
    print(f"before {before} KiB, the master's peak {peak} KiB")
    # The text itself has 15 MB and is copied on its way.
    assert SLACK > 1 or peak - before < 150_000
