"""Expiry and ETA: tasks.md section 9, lines 86, 87, 95, 173 (and 23 to 25)."""
import time

import pytest

import messages


@pytest.fixture
def queue(broker):
    broker.declare()
    broker.watch_rejects()
    return broker


def test_an_expired_message_is_revoked_and_acked(queue, worker, results, tmp_path):
    """T-86"""
    out = tmp_path / "out"
    one = worker()
    id = queue.send("append", (str(out), "x"), expires=messages.now(-1))
    record = results.wait(id, "REVOKED")
    assert record["result"] == {"exc_type": "TaskRevokedError", "exc_message": ["expired"],
                                "exc_module": "celery.exceptions"}
    assert record["traceback"] is None and record["date_done"]
    one.wait_log(rf"Discarding revoked task: testtasks.append\[{id}\]")
    queue.wait_empty()
    queue.dead(0)
    assert not out.exists()


def test_a_message_that_is_not_expired_yet_runs(queue, worker, results):
    """T-86"""
    worker()
    assert results.value(queue.send("add", (1, 2), expires=messages.now(60))) == 3


def test_a_naive_expiry_is_utc(queue, worker, results):
    """T-86 T-23"""
    worker(env={"TZ": "Asia/Kolkata"})
    assert results.value(queue.send("add", (1, 2), expires=messages.now(60)[:19])) == 3
    results.wait(queue.send("add", (1, 2), expires=messages.now(-60)[:19]), "REVOKED")


def test_a_message_that_expires_before_its_eta_is_revoked(queue, worker, results, tmp_path):
    """T-87"""
    out = tmp_path / "out"
    worker()
    id = queue.send("append", (str(out), "x"), eta=messages.now(2), expires=messages.now(1))
    record = results.wait(id, "REVOKED")
    assert record["result"]["exc_message"] == ["expired"]
    queue.wait_empty()
    assert not out.exists()


def test_a_message_that_expires_while_it_waits_for_a_slot_is_revoked(queue, worker, results,
                                                                     tmp_path):
    """T-87"""
    out = tmp_path / "out"
    worker(concurrency=1)
    queue.send("sleep", (3,))
    # Celery hands it to its pool at once, so only one that a slot does not take yet counts.
    id = queue.send("append", (str(out), "x"), eta=messages.now(1.2), expires=messages.now(1))
    results.wait(id, "REVOKED")
    assert not out.exists()


def test_tasks_run_at_their_time_in_any_order(queue, worker, results, tmp_path):
    """T-25"""
    out = tmp_path / "out"
    worker(concurrency=1)
    base = time.time()
    ids = [queue.send("append", (str(out), str(n)), eta=messages.now(n / 2))
           for n in (6, 2, 4, 3, 5)]
    results.wait_all(ids)
    assert time.time() - base >= 2.9
    text = out.read_text().split()
    assert [word for word in text if word.isdigit()][::2] == ["2", "3", "4", "5", "6"]


def test_eta_messages_stay_unacked_and_return_on_a_stop(queue, worker):
    """Like rate-limited ones."""
    one = worker()
    for _ in range(12):
        queue.send("noop", eta=messages.now(600))
    queue.wait_counts(0, 12)
    assert one.stop() == 0
    queue.wait_counts(12, 0)


@pytest.mark.parametrize("eta", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
def test_an_eta_beyond_the_calendar_fails_and_is_rejected(queue, worker, results, tmp_path, eta):
    """T-173"""
    out = tmp_path / "out"
    one = worker()
    id = queue.send("append", (str(out), "x"), eta=eta)
    assert results.error(id) == ("OverflowError", ["date value out of range"], "builtins")
    queue.dead([id])
    assert not out.exists()
    assert one.is_alive() and results.value(queue.send("add", (1, 2))) == 3
