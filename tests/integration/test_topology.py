"""Queues, exchanges, prefetch: tasks.md section 9, lines 43 to 51; control.md C-63."""
import re
import time

import pytest

import messages
from services.keeper import wait_until

pytestmark = pytest.mark.brokers("rabbitmq", why="its subject is RabbitMQ")


def entities(broker):
    # RabbitMQ 4 shows the type that it chose by itself.
    chosen = ("x-queue-type", "classic")
    queues = {name: (row["durable"], row["auto_delete"],
                     dict(item for item in row["arguments"].items() if item != chosen))
              for name, row in broker.rabbit.queues(broker.vhost).items()
              if not row["exclusive"] and "pidbox" not in name}
    exchanges = {row["name"]: (row["type"], row["durable"], row["auto_delete"])
                 for row in broker.rabbit.api("GET", f"/exchanges/{broker.vhost}")
                 if row["name"] and not row["name"].startswith("amq.")
                 and "pidbox" not in row["name"] and "celeryev" not in row["name"]}
    bindings = {(row["source"], row["routing_key"], row["destination"])
                for row in broker.rabbit.api("GET", f"/bindings/{broker.vhost}")
                if row["source"] and "pidbox" not in row["source"]
                and "celeryev" not in row["source"]}
    return queues, exchanges, bindings


def test_a_default_start_declares_the_queue_celery(broker, worker, app, results):
    """T-43"""
    worker()
    assert entities(broker) == ({"celery": (True, False, {})},
                                {"celery": ("direct", True, False)},
                                {("celery", "celery", "celery")})
    # A producer declares the same afterwards.
    broker.declare()
    assert app.send_task("testtasks.add", (1, 2)).get(timeout=10) == 3


def test_chosen_queues_are_declared_with_an_exchange_each(broker, worker, results):
    """T-44"""
    broker.declare("celery")
    worker(queues="q1,q2")
    queues, exchanges, bindings = entities(broker)
    assert queues["q1"] == queues["q2"] == (True, False, {})
    assert exchanges["q1"] == exchanges["q2"] == ("direct", True, False)
    assert {("q1", "q1", "q1"), ("q2", "q2", "q2")} <= bindings
    broker.send("add", (1, 2), queue="celery")
    assert results.value(broker.send("add", (1, 2), queue="q1")) == 3
    assert results.value(broker.send("add", (1, 3), queue="q2")) == 4
    assert broker.counts("celery") == (1, 0)


def test_a_queue_with_priorities_is_declared_as_python_does(broker, worker, app, results):
    """T-45"""
    worker(settings={"task_queue_max_priority": 10})
    assert entities(broker)[0]["celery"][2] == {"x-max-priority": 10}
    broker.declare(arguments={"x-max-priority": 10})
    assert results.value(broker.send("add", (1, 2), properties={"priority": 9})) == 3


def test_a_quorum_queue_is_declared_as_python_does(broker, worker, results):
    """T-45 T-51 C-63"""
    worker(settings={"task_default_queue_type": "quorum"})
    assert entities(broker)[0]["celery"][2] == {"x-queue-type": "quorum"}
    broker.declare(arguments={"x-queue-type": "quorum"})
    assert results.value(broker.send("add", (1, 2))) == 3


def test_quorum_queues_never_share_a_count(broker, worker, results):
    """T-51: neither with another queue nor when an ETA changes the count; RabbitMQ refuses the
    consumer of a quorum queue under a shared one."""
    one = worker(queues="q1,q2", settings={"task_create_missing_queue_type": "quorum"})
    assert {entities(broker)[0][name][2].get("x-queue-type") for name in ("q1", "q2")} == {"quorum"}
    later = broker.send("add", (1, 1), queue="q1", eta=messages.now(1.5))
    for queue in ("q1", "q2"):
        assert results.value(broker.send("add", (1, 2), queue=queue)) == 3
    assert results.value(later) == 2
    assert results.value(broker.send("add", (1, 3), queue="q1")) == 4
    assert "NOT_IMPLEMENTED" not in one.log


@pytest.mark.deviates("its worker stands still: a consumer's own count cannot be raised")
def test_eta_tasks_do_not_hold_up_a_quorum_queue(broker, worker, results):
    """T-49 T-51 C-63"""
    broker.declare(arguments={"x-queue-type": "quorum"})
    broker.send_many("noop", 60, eta=messages.now(3600))
    one = worker(concurrency=1, settings={"task_default_queue_type": "quorum"})
    for i in range(3):
        assert results.value(broker.send("add", (i, 2)), timeout=5) == i + 2
    broker.send_many("late", 20, (20,))
    # Not much more than 4 beside what waits.
    one.wait_log("testtasks.late.* received", count=4)
    time.sleep(0.5)
    assert len(re.findall("testtasks.late.* received", one.log)) <= 8
    one.kill()


def test_without_detection_the_count_is_shared_as_asked(broker, worker, results):
    """T-51: which RabbitMQ refuses for quorum queues."""
    if worker.is_judge:
        pytest.skip("Celery's worker ends")
    if not broker.rabbit.version.startswith("3."):
        pytest.skip("RabbitMQ 4 knows no shared count at all")
    settings = {"worker_detect_quorum_queues": False, "task_default_queue_type": "quorum",
                "task_default_queue": "a"}
    one = worker(queues="a,b", settings=settings, ready=False)
    one.wait_log("540|NOT_IMPLEMENTED", timeout=20)
    one.kill()


def test_a_multiplier_of_zero_takes_all_there_is(broker, worker, results):
    """T-48"""
    broker.declare()
    broker.send_many("late", 300, (20,))
    one = worker("--prefetch-multiplier", 0, concurrency=1)
    broker.wait_counts(0, 300)
    one.kill()


def test_a_higher_priority_overtakes(broker, worker, results, tmp_path):
    """T-54"""
    out = tmp_path / "out"
    broker.declare(arguments={"x-max-priority": 10})
    worker("--prefetch-multiplier", 1, concurrency=1, settings={"task_queue_max_priority": 10})
    ids = [broker.send("append", (str(out), "first", 1), properties={"priority": 0})]
    wait_until(lambda: out.exists(), 10, "the first")
    for text, priority in (("low", 0), ("mid", 5), ("none", None), ("high", 9)):
        ids.append(broker.send("append", (str(out), text, 0), properties={"priority": priority}))
    results.wait_all(ids)
    begun = [line[2:] for line in out.read_text().splitlines() if line[0] == "S"]
    assert begun == ["first", "high", "mid", "low", "none"]


def test_an_unknown_queue_is_refused_when_creating_is_off(worker):
    """T-46"""
    one = worker(queues="nowhere", settings={"task_create_missing_queues": False}, ready=False)
    one.may_fault = True
    assert one.wait_end(20) != 0
    assert re.search(r"Trying to select queue subset of \['nowhere'\], but queue 'nowhere' isn't",
                     one.log), one.log[-2000:]


def test_purge_throws_away_what_waits_and_nothing_later(broker, worker, results):
    broker.declare()
    old = broker.send_many("add", 5, (1, 2))
    worker("--purge")
    assert results.value(broker.send("add", (1, 2))) == 3
    broker.wait_empty()
    assert not any(results.record(id) for id in old)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_default_prefetch_is_four_times_the_concurrency(broker, worker, results, concurrency):
    """T-47 C-63"""
    broker.declare()
    broker.send_many("late", 40, (20,))
    one = worker(concurrency=concurrency)
    broker.wait_counts(40 - 4 * concurrency, 4 * concurrency)
    broker.unacked_never_above(4 * concurrency, 1)
    one.kill()


def test_a_prefetch_multiplier_of_one_takes_no_more_than_there_are_slots(broker, worker):
    """T-48"""
    broker.declare()
    broker.send_many("late", 20, (20,))
    one = worker("--prefetch-multiplier", 1)
    broker.wait_counts(18, 2)
    one.kill()


def test_each_waiting_eta_task_raises_the_prefetch_by_one(broker, worker, results):
    """T-49 C-63"""
    broker.declare()
    worker(concurrency=1)
    ids = [broker.send("noop", eta=messages.now(5)) for _ in range(10)]
    broker.wait_counts(0, 10)
    late = broker.send_many("late", 10, (30,))
    # 10 waiting for their time, and 4 of the others.
    broker.wait_counts(6, 14)
    broker.unacked_never_above(14, 0.5)
    del late, ids


def test_the_prefetch_falls_back_to_its_base_after_eta_tasks(broker, worker, results):
    """T-49"""
    broker.declare()
    one = worker(concurrency=1)
    results.wait_all([broker.send("noop", eta=messages.now(1)) for _ in range(20)])
    broker.wait_empty()
    broker.send_many("late", 20, (30,))
    broker.wait_counts(16, 4)
    broker.unacked_never_above(4, 1)
    one.kill()


def test_the_eta_limit_bounds_what_is_taken(broker, worker, results):
    """T-50"""
    broker.declare()
    worker(concurrency=1, settings={"worker_eta_task_limit": 10})
    ids = [broker.send("noop", eta=messages.now(6)) for _ in range(30)]
    highest = broker.unacked_never_above(14, 2)
    assert highest >= 10
    assert (broker.counts()[0] or 0) >= 16
    assert len(results.wait_all(ids, 30)) == 30


@pytest.mark.deviates("Celery's prefetch decays after the limit was hit")
def test_the_base_prefetch_is_back_after_the_eta_limit_was_hit(broker, worker, results):
    """T-50"""
    broker.declare()
    one = worker(concurrency=1, settings={"worker_eta_task_limit": 10})
    results.wait_all([broker.send("noop", eta=messages.now(2)) for _ in range(30)], 30)
    broker.wait_empty()
    broker.send_many("late", 20, (30,))
    broker.wait_counts(16, 4)
    one.kill()


def test_a_thousand_eta_tasks_do_not_block_a_due_one_behind_them(broker, worker, results):
    """T-49"""
    broker.declare()
    if worker.is_judge:
        pytest.skip("Celery takes nine a second")
    broker.send_many("noop", 1000, eta=messages.now(3600))
    worker(concurrency=1)
    id = broker.send("add", (1, 2))
    assert results.value(id, timeout=5) == 3
