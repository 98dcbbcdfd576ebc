"""Rate limits that a task declares: tasks.md 4.9, lines 94 and 95."""
import datetime

import pytest

import messages


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def ended(record):
    return datetime.datetime.fromisoformat(record["date_done"])


def test_tasks_start_evenly_spaced_and_in_order(queue, worker, results):
    """T-94: two a second, also after an idle time one and not two at once."""
    worker(concurrency=2)
    results.wait(queue.send("paced", ("warm",)))
    records = [results.wait(id, timeout=20) for id in queue.send_many("paced", 5, ("x",))]
    times = [ended(record) for record in records]
    gaps = [(later - earlier).total_seconds() for earlier, later in zip(times, times[1:])]
    assert all(0.35 < gap < 1.0 for gap in gaps), gaps


def test_a_limited_task_does_not_hold_others_up(queue, worker, results):
    """T-94"""
    worker(concurrency=1)
    slow = queue.send_many("hourly", 3, (1,))
    assert results.value(queue.send("add", (1, 2))) == 3
    assert results.value(slow[0]) == 1
    assert results.record(slow[1]) is None and results.record(slow[2]) is None


def test_limited_messages_stay_unacked_and_return_on_a_stop(queue, worker, results):
    """T-95"""
    one = worker()
    ids = queue.send_many("hourly", 5, (1,))
    assert results.value(ids[0]) == 1
    queue.wait_counts(0, 4)
    assert one.stop() == 0
    queue.wait_counts(4, 0)


def test_an_expired_message_is_found_when_its_turn_comes(queue, worker, results):
    """T-87: it waited for the limit, not for an ETA."""
    worker(concurrency=1)
    queue.send_many("paced", 4, (1,))
    late = queue.send("paced", (1,), expires=messages.now(1))
    assert results.wait(late, "REVOKED", 20)["result"]["exc_message"] == ["expired"]
