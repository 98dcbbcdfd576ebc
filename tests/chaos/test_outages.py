"""One outage each, with tasks in every state: prefetched, waiting for their time, running."""
import collections
import os
import signal
import time

import pytest

import messages
import services
from load import Journal
from results import Results
from services.keeper import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(300)]

# The sanitizer keeps what was freed for a while.
QUARANTINE_KIB = 100_000 if "address" in os.environ.get("SMALLAGE_BUILD", "") else 0


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal")


def send(queue, journal, task, pause=0.0, **headers):
    id = messages.new_id()
    return queue.send(task, (str(journal.path), id, pause), id=id, **headers)


def marks(journal):
    return {id: "".join(mark for mark, _ in trace) for id, trace in journal.read().items()}


def wait_marks(journal, ids, text, timeout=60):
    wait_until(lambda: all(marks(journal).get(id) == text for id in ids), timeout,
               f"{text} of {len(ids)} tasks")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_killed_worker_gives_back_all_that_had_not_begun(queue, worker, results, journal, pool):
    """T-55 T-56"""
    one = worker(concurrency=2, pool=pool, settings={"worker_prefetch_multiplier": 4})
    early, late = send(queue, journal, "append_early", 8), send(queue, journal, "append", 8)
    wait_marks(journal, [early, late], "S")
    rest = [send(queue, journal, task) for task in ("append_early", "append") * 3]
    rest += [send(queue, journal, task, eta=messages.now(10))
             for task in ("append_early", "append") * 3]
    # All but the early one, which was acked when it began.
    queue.wait_counts(0, len(rest) + 1)
    below = one.children()
    os.kill(one.pid, signal.SIGKILL)
    queue.wait_counts(len(rest) + 1, 0)
    one.kill()
    assert marks(journal) == {early: "S", late: "S"}
    assert below
    worker(concurrency=2, pool=pool)
    results.wait_all([late, *rest])
    queue.wait_empty()
    assert marks(journal) == {early: "S", late: "SSE", **dict.fromkeys(rest, "SE")}


@pytest.mark.deviates("Celery was seen to hang")
def test_a_warm_stop_under_load_returns_all_that_had_not_begun(queue, worker, results, journal):
    """T-63"""
    ids = [send(queue, journal, task, 0.01) for task in ("append_early", "append") * 100]
    for _ in range(4):
        ids += [send(queue, journal, task, eta=messages.now(6))
                for task in ("append_early", "append") * 5]
        one = worker(concurrency=2)
        journal.wait_ends(15)
        one.signal(signal.SIGTERM)
        assert one.wait_end(60) == 0
        found = marks(journal)
        assert set(found.values()) == {"SE"}, collections.Counter(found.values())
        assert all(results.record(id)["status"] == "SUCCESS" for id in found)
        queue.wait_counts(len(ids) - len(found), 0)
    worker(concurrency=2)
    results.wait_all(ids)
    queue.wait_empty()
    assert marks(journal) == dict.fromkeys(ids, "SE")


@pytest.mark.deviates("Celery drops results after a few attempts")
@pytest.mark.parametrize("way", ["killed", "hanging"])
@pytest.mark.parametrize("task, count", [("big", 1500), ("append", 3000)])
def test_memory_stays_bounded_while_results_wait_for_redis(queue, worker, journal, way, task,
                                                           count):
    """T-71: at the bound no more tasks are taken; each result is stored in the end."""
    bound = 1 << 20 if task == "big" else 100_000
    with services.Redis("--appendfsync", "always") as redis:
        store = Results(redis.port, 0)
        one = worker(concurrency=2, backend_url=store.url, level="WARNING", ready=False,
                     env={"SMALLAGE_WORKER_MAX_WAITING_BYTES": str(bound)})
        # The children have met the large results before memory is measured.
        store.wait_all([queue.send("big", (20000,)) for _ in range(20)])
        before = one.rss()
        (redis.kill if way == "killed" else redis.pause)()
        if task == "big":
            ids = queue.send_many("big", count, (20000,))
        else:
            ids = queue.send_many("append", count, lambda i: (str(journal.path), str(i)))
        seen = wait_steady(queue)
        assert seen > count // 2, "the worker goes on although nothing can be stored"
        assert one.rss() - before < 8 * bound / 1024 + 2000 + QUARANTINE_KIB
        (redis.start if way == "killed" else redis.resume)()
        assert all(r["status"] == "SUCCESS" for r in store.wait_all(ids, 120).values())
        queue.wait_empty()
        if task == "append":
            assert set(marks(journal).values()) == {"SE"} and len(marks(journal)) == count
        store.close()


def wait_steady(queue, seconds=3):
    """How many messages wait, once that has not changed for so long."""
    counts, since = None, 0

    def is_steady():
        nonlocal counts, since
        now = queue.counts()
        if now != counts:
            counts, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    wait_until(is_steady, 60, "a steady queue", 0.1)
    return counts[0]


@pytest.mark.smallage_only("Celery has no such bound")
def test_retries_that_cannot_be_published_are_not_lost(queue, worker, results):
    """C-62: memory alarm and a broken connection; the bound holds new tasks back."""
    ids = queue.send_many("retry", 600, (2, 0))
    queue.rabbit.raise_alarm()
    try:
        with services.Relay(queue.rabbit.port) as relay:
            one = worker(concurrency=2, broker_url=queue.rabbit.url(queue.vhost, port=relay.port),
                         env={"SMALLAGE_WORKER_MAX_WAITING_BYTES": "65536"})
            assert wait_steady(queue) > 300, "the worker goes on although nothing can be published"
            relay.cut()
            one.wait_log("Connected to", 30, 2)
            assert wait_steady(queue) > 300
            assert one.is_alive()
            queue.rabbit.clear_alarm()
            found = results.wait_all(ids, 90)
            assert {r["result"] for r in found.values()} == {2}
            queue.wait_empty(timeout=60)
    finally:
        queue.rabbit.clear_alarm()
