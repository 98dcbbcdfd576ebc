"""Soft and hard time limits: tasks.md section 9, lines 74 to 78."""
import time

import pytest

TIMED = ("billiard.exceptions",)


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def test_the_first_entry_of_timelimit_is_the_hard_one(queue, worker, results):
    """T-74"""
    one = worker()
    id = queue.send("soft", (30,), timelimit=[10, 1])
    started = time.monotonic()
    assert results.value(id) == "caught"
    assert 0.8 < time.monotonic() - started < 3
    one.wait_log(r"Soft time limit \(1(\.0)?s\) exceeded for testtasks.soft")


def test_a_task_may_catch_its_soft_limit(queue, worker, results):
    """T-75"""
    worker("--soft-time-limit", 1)
    assert results.value(queue.send("soft", (30,))) == "caught"


def test_an_uncaught_soft_limit_is_a_failure(queue, worker, results):
    """T-75"""
    worker("--soft-time-limit", 1)
    id = queue.send("sleep", (30,))
    assert results.error(id) == ("SoftTimeLimitExceeded", [], "billiard.exceptions")
    assert results.record(id)["traceback"].startswith("Traceback (most recent call last):")


def test_a_soft_limit_reaches_a_task_that_burns_the_processor(queue, worker, results):
    """T-75"""
    worker("--soft-time-limit", 1)
    assert results.error(queue.send("spin", (20,)))[0] == "SoftTimeLimitExceeded"


def test_a_hard_limit_ends_the_task_and_nothing_else(queue, worker, results):
    """T-76"""
    one = worker(concurrency=2)
    other = queue.send("sleep", (4,))
    id = queue.send("sleep", (30,), timelimit=[2, None])
    before = one.children()
    started = time.monotonic()
    assert results.error(id) == ("TimeLimitExceeded", [2], "billiard.exceptions")
    assert 1.5 < time.monotonic() - started < 5
    assert results.record(id)["traceback"] is None
    assert results.value(other) == 4
    one.wait_log(r"Hard time limit \(2(\.0)?s\) exceeded for testtasks.sleep")
    # The process is replaced: both slots work.
    ids = [queue.send("sleep", (1,)) for _ in range(2)]
    started = time.monotonic()
    results.wait_all(ids, 20)
    assert time.monotonic() - started < 4
    assert set(before) != set(one.children())


def test_a_hard_limit_ends_a_task_that_ignores_everything(queue, worker, results):
    """T-76"""
    worker(concurrency=1)
    assert results.error(queue.send("spin", (60,), timelimit=[1, None]))[0] == "TimeLimitExceeded"
    assert results.value(queue.send("add", (1, 2))) == 3


def test_both_limits_together_soft_first(queue, worker, results):
    """T-74 T-76"""
    one = worker(concurrency=1)
    started = time.monotonic()
    id = queue.send("stubborn", (60,), timelimit=[3, 1])
    assert results.error(id)[0] == "TimeLimitExceeded"
    assert 2.5 < time.monotonic() - started < 6
    assert "Soft time limit" in one.log and "Hard time limit" in one.log


def test_the_message_beats_the_workers_option(queue, worker, results):
    """T-78"""
    worker("--time-limit", 60)
    started = time.monotonic()
    assert results.error(queue.send("sleep", (30,), timelimit=[1, None]))[0] == "TimeLimitExceeded"
    assert results.error(queue.send("sleep", (30,), timelimit=[None, 1]))[0] == \
        "SoftTimeLimitExceeded"
    assert time.monotonic() - started < 8


def test_a_message_without_limits_falls_back_to_the_workers(queue, worker, results):
    """T-78"""
    worker("--time-limit", 1)
    assert results.error(queue.send("sleep", (30,), timelimit=[None, None]))[0] == \
        "TimeLimitExceeded"
    assert results.error(queue.send("sleep", (30,), timelimit=None))[0] == "TimeLimitExceeded"


def test_the_limit_of_the_task_lies_between(queue, worker, results):
    """T-78"""
    worker("--soft-time-limit", 60, concurrency=1)
    started = time.monotonic()
    assert results.error(queue.send("limited", (30,)))[0] == "SoftTimeLimitExceeded"
    assert time.monotonic() - started < 5
    assert results.value(queue.send("limited", (2,), timelimit=[None, 10])) == 2
