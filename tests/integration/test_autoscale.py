"""--autoscale: control.md C-27 and tasks.md section 6 (grow with the work, shrink when idle)."""
import os
import random
import signal
import time

import pytest

from services import keeper
from worker import JUDGE


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def processes(one):
    """Executing ones: for us without the spawner."""
    return len(one.children()) - (not one.judge)


def wait_processes(one, count, timeout=20):
    keeper.wait_until(lambda: processes(one) == count, timeout, f"{count} processes", 0.1)


def test_processes_come_with_the_work_and_go_without_it(queue, worker, results):
    one = worker("--autoscale", "4,1", concurrency=None, env={"AUTOSCALE_KEEPALIVE": "3"})
    wait_processes(one, 1)
    ids = queue.send_many("sleep", 8, (1,))
    wait_processes(one, 4)
    started = time.monotonic()
    assert len(results.wait_all(ids, 30)) == 8
    assert time.monotonic() - started < 7
    one.wait_log("Scaling up")
    wait_processes(one, 1)
    one.wait_log("Scaling down")
    assert results.value(queue.send("add", (1, 2))) == 3
    assert one.stop() == 0


def test_an_empty_pool_grows_for_the_first_task(queue, worker, results):
    one = worker("--autoscale", "3", concurrency=None, env={"AUTOSCALE_KEEPALIVE": "1"})
    assert processes(one) == 0
    assert results.value(queue.send("add", (1, 2)), 20) == 3
    if not one.judge:  # Celery's timer looks only every keepalive, and its prefetch has an offset
        wait_processes(one, 0)
        assert results.value(queue.send("add", (3, 4)), 20) == 7
    assert one.stop() == 0


@pytest.mark.skipif(JUDGE, reason="smallage_only: what smallage does while it scales")
def test_no_task_is_lost_while_processes_come_and_go(queue, worker, results, tmp_path):
    out = tmp_path / "out"
    one = worker("--autoscale", "6,0", concurrency=None, env={"AUTOSCALE_KEEPALIVE": "0.05"})
    ids = []
    for n in range(15):
        ids += queue.send_many("append", 10, lambda i, n=n: (str(out), str(n * 10 + i)))
        time.sleep(0.3 if n % 3 else 1.5)
    assert len(results.wait_all(ids, 60)) == 150
    assert sorted(out.read_text().splitlines()) == sorted(
        f"{mark} {n}" for mark in "SE" for n in range(150))
    one.wait_log("Scaling down", count=2)
    queue.wait_empty()
    assert one.stop() == 0


@pytest.mark.skipif(JUDGE, reason="smallage_only: what smallage does while it scales")
def test_kills_while_it_scales_cost_only_what_ran(queue, worker, results):
    """Every task has a result; at most one per kill is lost."""
    one = worker("--autoscale", "5,1", concurrency=None, env={"AUTOSCALE_KEEPALIVE": "0.05"})
    chance = random.Random(1)
    ids, kills = [], 0
    for n in range(12):
        ids += queue.send_many("sleep", 12, (0.1,))
        time.sleep(0.2 if n % 3 else 1.3)
        for pid in one.children():
            if chance.random() < 0.3 and title(pid).startswith("PoolWorker"):
                os.kill(pid, signal.SIGKILL)
                kills += 1
    records = results.wait_all(ids, 60).values()
    assert len(records) == 144
    lost = [r for r in records if r["status"] != "SUCCESS"]
    assert {r["result"]["exc_type"] for r in lost} <= {"WorkerLostError"}
    assert 0 < kills and len(lost) <= kills
    queue.wait_empty()
    wait_processes(one, 1)
    assert one.stop() == 0


def title(pid):
    try:
        return open(f"/proc/{pid}/comm").read()
    except OSError:
        return ""


@pytest.mark.skipif(JUDGE, reason="smallage_only: RabbitMQ's view of our prefetch count")
def test_the_prefetch_count_is_that_of_the_largest_size(queue, worker, results):
    one = worker("--autoscale", "3,1", "--prefetch-multiplier", 2, concurrency=None)
    queue.send_many("sleep", 12, (4,))
    one.wait_log("received", count=9)  # three run and are acked
    time.sleep(0.5)
    assert one.log.count(" received") == 9
    one.kill()
