"""Large arguments and results: 64 MiB pass, more is refused clearly, memory stays bounded."""
import json
import os
import time

import pytest

from worker import JUDGE

MIB = 1 << 20
SANITIZED = "address" in os.environ.get("SMALLAGE_BUILD", "")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    JUDGE, reason="smallage_only: Celery has no bound")]


@pytest.fixture
def queue(broker):
    broker.declare()
    broker.watch_rejects()
    return broker


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_arguments_and_results_of_63_mib_pass(queue, worker, results, pool):
    worker(concurrency=1, pool=pool)
    text = "a" * (63 * MIB)
    id = queue.send("echo", (text,))
    assert results.wait(id, timeout=90)["result"] == text
    id = queue.send("big", (63 * MIB,))
    assert len(results.wait(id, timeout=90)["result"]) == 63 * MIB


def test_a_result_above_the_limit_is_a_clear_failure(queue, worker, results):
    one = worker(concurrency=1)
    kind, message, module = results.error(queue.send("big", (65 * MIB,)), 60)
    assert module in ("builtins", "kombu.exceptions", "celery.exceptions",
                      "celery.backends.base", "celery")
    assert "bytes" in message[0] or "large" in message[0], message
    assert results.value(queue.send("add", (1, 2))) == 3
    assert one.is_alive()


def test_arguments_above_the_limit_are_rejected_clearly(queue, worker, results):
    one = worker(concurrency=1)
    id = queue.send("echo", ("a" * (65 * MIB),))
    started = time.monotonic()
    while results.record(id) is None and not queue.refused():
        assert time.monotonic() - started < 60
        time.sleep(0.2)
    assert results.value(queue.send("add", (1, 2)), 30) == 3
    queue.wait_empty()
    assert one.is_alive()
    assert ("larger than allowed" if queue.kind == "redis" else "above the limit") in one.log


def test_the_limit_is_a_setting(queue, worker, results):
    worker(concurrency=1, env={"SMALLAGE_WORKER_MAX_MESSAGE_BYTES": "100000"})
    assert len(results.value(queue.send("big", (90000,)))) == 90000
    results.error(queue.send("big", (110000,)))
    queue.send("echo", ("a" * 110000,))
    assert results.value(queue.send("add", (1, 2))) == 3


@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory")
def test_memory_does_not_grow_with_what_passed(queue, worker, results):
    one = worker(concurrency=2, level="WARNING", ready=False)
    text = "a" * (4 * MIB)

    def round_trip(count):
        for _ in range(count):
            id = queue.send("echo", (text,))
            results.wait(id, timeout=30)
            results.client.delete(results.key(id))

    round_trip(10)
    before = one.rss()
    round_trip(40)
    assert one.rss() - before < 16 * 1024, (before, one.rss())


@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory")
def test_memory_does_not_grow_with_the_queue(queue, worker, results):
    ids = queue.send_many("noop", 30000)
    one = worker(concurrency=2, level="WARNING", ready=False)
    highest = 0
    while queue.counts()[0]:
        highest = max(highest, one.rss())
        time.sleep(0.1)
    assert len(results.wait_all(ids, 60)) == 30000
    assert highest < 60 * 1024
    assert json.loads(results.raw(ids[0]))["status"] == "SUCCESS"
