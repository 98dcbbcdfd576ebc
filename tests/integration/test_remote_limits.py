"""Rate limits and time limits by remote control: tasks.md 4.9, control.md 2.6."""
import datetime
import time

import pytest


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def ended(record):
    return datetime.datetime.fromisoformat(record["date_done"])


def gaps(records):
    times = sorted(ended(record) for record in records)
    return [(later - earlier).total_seconds() for earlier, later in zip(times, times[1:])]


ADD = "testtasks.add"


@pytest.mark.parametrize("rate, reply", [
    ("12/m", {"ok": "new rate limit set successfully"}),
    ("200", {"ok": "new rate limit set successfully"}),
    ("1.5/h", {"ok": "new rate limit set successfully"}),
    (7, {"ok": "new rate limit set successfully"}),
    ("0", {"ok": "new rate limit set successfully"}),
    (0, {"ok": "rate limit disabled successfully"}),
    (None, {"ok": "rate limit disabled successfully"}),
    ("", {"ok": "rate limit disabled successfully"}),
    ("10/x", {"error": "KeyError('x')"}),
    ("often", {"error": "Invalid rate limit string: "
                        "ValueError(\"could not convert string to float: 'often'\")"}),
])
def test_rate_limit_answers_as_celery(queue, worker, control, rate, reply):
    """C-24"""
    worker()
    assert control("rate_limit", task_name=ADD, rate_limit=rate) == reply


def test_an_unknown_task_has_no_limits(queue, worker, control):
    """C-24 C-25"""
    one = worker()
    assert control("rate_limit", task_name="no.such", rate_limit="1/s") == {"error": "unknown task"}
    assert control("time_limit", task_name="no.such", soft=1, hard=2) == {"error": "unknown task"}
    assert control("time_limit") == {"error": "unknown task"}
    one.wait_log("Rate limit attempt for unknown task no.such")
    one.wait_log("Change time limit attempt for unknown task no.such")


def test_new_limits_are_shown(queue, worker, control):
    """C-17 C-24 C-25"""
    worker()
    control("rate_limit", task_name=ADD, rate_limit="12/m")
    control("time_limit", task_name=ADD, soft=1, hard=2)
    control("rate_limit", task_name="testtasks.paced", rate_limit=None)
    shown = control("registered", taskinfoitems=["rate_limit", "time_limit", "soft_time_limit"])
    assert f"{ADD} [rate_limit=12/m time_limit=2 soft_time_limit=1]" in shown
    assert "testtasks.paced" in shown and "testtasks.hourly [rate_limit=1/h]" in shown


def test_a_new_rate_limit_paces_what_comes(queue, worker, results, control):
    """T-94 C-24"""
    one = worker(concurrency=2)
    control("rate_limit", task_name=ADD, rate_limit="60/m")
    one.wait_log(rf"New rate limit for tasks of type {ADD}: 60/m.")
    records = results.wait_all(queue.send_many("add", 4, (1, 2))).values()
    assert all(0.85 < gap < 1.6 for gap in gaps(records)), gaps(records)
    control("rate_limit", task_name=ADD, rate_limit=0)
    one.wait_log(rf"Rate limits disabled for tasks of type {ADD}")
    records = results.wait_all(queue.send_many("add", 6, (1, 2))).values()
    assert all(gap < 0.5 for gap in gaps(records)), gaps(records)


@pytest.mark.deviates("Celery's waiting tasks keep the rate they met")
def test_a_new_rate_limit_counts_for_what_waits(queue, worker, results, control):
    """T-94"""
    worker(concurrency=2)
    ids = queue.send_many("hourly", 5, (1,))
    assert results.value(ids[0]) == 1
    queue.wait_counts(0, 4)
    control("rate_limit", task_name="testtasks.hourly", rate_limit="2/s")
    records = results.wait_all(ids[1:4]).values()
    assert all(0.3 < gap < 1.2 for gap in gaps(records)), gaps(records)
    ids += queue.send_many("hourly", 20, (1,))
    control("rate_limit", task_name="testtasks.hourly", rate_limit=None)
    results.wait_all(ids, timeout=5)


@pytest.mark.prefork
@pytest.mark.deviates("in Celery it has no effect on a worker that runs")
def test_a_new_time_limit_counts_for_the_next_task(queue, worker, results, control):
    """C-25"""
    one = worker(concurrency=1)
    before = queue.send("sleep", (3,))
    time.sleep(0.5)
    assert control("time_limit", task_name="testtasks.sleep", hard=1.0, soft=None) == {
        "ok": "time limits set successfully"}
    one.wait_log("New time limits for tasks of type testtasks.sleep: soft=None hard=1.0")
    after = queue.send("sleep", (5,))
    assert results.value(before) == 3
    assert results.error(after) == ("TimeLimitExceeded", [1], "billiard.exceptions")
    control("time_limit", task_name="testtasks.soft", soft=1)
    assert results.value(queue.send("soft", (5,))) == "caught"
    control("time_limit", task_name="testtasks.sleep", soft=None, hard=None)
    assert results.value(queue.send("sleep", (1.5,))) == 1.5


@pytest.mark.prefork
@pytest.mark.deviates("in Celery it has no effect on a worker that runs")
def test_a_new_time_limit_counts_for_what_waits_for_a_slot(queue, worker, results, control):
    """C-25"""
    worker(concurrency=1)
    queue.send("sleep", (2,))
    waiting = queue.send("soft", (6,))
    queue.wait_counts(0, 1)
    control("time_limit", task_name="testtasks.soft", soft=1, hard=30)
    assert results.value(waiting) == "caught"
