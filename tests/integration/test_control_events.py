"""Commands about what a worker tells others: events on and off, a heartbeat, an election."""
import time

import pytest

from mailbox import Mailbox
from messages import new_id
from recorder import Recorder
from worker import JUDGE

SIGNATURE = {"task": "testtasks.append", "kwargs": {}, "options": {}, "subtask_type": None,
             "immutable": False}


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def box(queue):
    mailbox = Mailbox(queue)
    yield mailbox
    mailbox.close()


@pytest.fixture
def recorder(queue):
    with Recorder(queue) as one:
        yield one


def run_one(queue, results):
    id = queue.send("add", (1, 2))
    assert results.value(id) == 3
    return id


def test_events_are_switched_on_and_off(queue, worker, results, box, recorder):
    """C-26"""
    worker(settings={"worker_send_task_events": False})
    quiet = run_one(queue, results)
    assert box.ask("disable_events") == {"ok": "task events already disabled"}
    assert box.ask("enable_events") == {"ok": "task events enabled"}
    assert box.ask("enable_events") == {"ok": "task events already enabled"}
    loud = run_one(queue, results)
    recorder.wait(1, type="task-succeeded", uuid=loud)
    assert box.ask("disable_events") == {"ok": "task events disabled"}
    silent = run_one(queue, results)
    box.ping()
    time.sleep(0.5)
    assert recorder.types(loud) == ["received", "started", "succeeded"]
    assert not recorder.types(quiet) and not recorder.types(silent)


def test_with_the_option_they_stay_on(queue, worker, results, box, recorder):
    """C-26: -E has no filter that a command could change."""
    worker("-E")
    assert box.ask("enable_events") == {"ok": "task events already enabled"}
    assert box.ask("disable_events") == {"ok": "task events already disabled"}
    recorder.wait(1, type="task-succeeded", uuid=run_one(queue, results))


def test_switched_on_they_survive_the_connection(queue, worker, results, box, recorder):
    """C-26"""
    worker(settings={"worker_send_task_events": False})
    box.cast("enable_events")
    box.settle()
    queue.server_closes()
    recorder.wait(1, type="task-succeeded", uuid=run_one(queue, results), timeout=20)


def test_the_heartbeat_asked_for_is_short(queue, worker, box, recorder):
    """C-33"""
    one = worker("--heartbeat-interval", 60)
    recorder.wait(1, type="worker-online", host=one.node)
    box.settle()
    assert box.ask("heartbeat") is None
    beat = recorder.wait(1, type="worker-heartbeat", host=one.node)[-1]
    assert beat["freq"] == 5 and not {"active", "processed", "loadavg"} & set(beat)
    box.cast("heartbeat")
    recorder.wait(2, type="worker-heartbeat", host=one.node)


@pytest.mark.deviates("an election of one ends Celery's worker: IndexError in sort_heap")
def test_an_election_of_one_harms_nobody(queue, worker, results, box, recorder):
    """C-31"""
    one = worker(alone=False)
    assert box.ask("election", {"id": new_id(), "topic": "task", "action": SIGNATURE}) is None
    for arguments in ({"id": 5, "topic": None}, {"id": "x", "topic": "nosuch", "action": [1]},
                      {"id": "y", "topic": "task", "action": "z"}):
        assert box.ask("election", arguments) is None
    run_one(queue, results)
    assert one.is_alive() and not JUDGE


@pytest.mark.smallage_only("two workers of different kinds")
def test_one_of_three_is_elected(queue, worker, results, box, recorder):
    """C-31"""
    id = new_id()
    workers = [worker(judge=False, alone=False, level="DEBUG"),
               worker(judge=True, alone=False, level="DEBUG"),
               worker(judge=True, alone=False, level="DEBUG")]
    for one in workers:
        for other in workers:
            if one is not other:
                one.wait_log(f"{other.node} joined the party", 20)
    for number in range(4):
        id = f"election-{number}"
        action = {**SIGNATURE, "task": "testtasks.add", "args": [number, 1],
                  "options": {"task_id": id}}
        box.cast("election", {"id": f"e-{number}", "topic": "task", "action": action})
        assert results.value(id) == number + 1
        recorder.wait(9, type="worker-elect-ack", timeout=10)
    time.sleep(1)
    log = "".join(one.log for one in workers)
    assert [log.count(f"Task testtasks.add[election-{number}] received")
            for number in range(4)] == [1] * 4
    assert sum(one.log.count("I won the election") for one in workers) == 4
