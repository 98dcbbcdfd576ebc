"""Workers that hear of each other: control.md section 4, line 39."""
import json
import signal
import time

import pytest

from messages import new_id
from recorder import Recorder
from services.keeper import wait_until
from worker import JUDGE


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def recorder(broker):
    with Recorder(broker) as one:
        yield one


def test_alone_there_is_nobody(queue, worker):
    one = worker(alone=False)
    one.wait_log("mingle: all alone")
    assert "mingle: searching for neighbors" in one.log


@pytest.mark.smallage_only("Celery waits for its second before it is ready")
def test_the_start_does_not_wait_for_answers(queue, worker):
    one = worker()
    assert time.monotonic() - one.started < 1
    one.wait_log("mingle: all alone")
    queues = queue.bound("reply.celery.pidbox")
    assert not queues, queues


@pytest.mark.parametrize("option", ["--without-mingle", "--without-gossip"])
def test_each_can_be_switched_off(queue, worker, option):
    one = worker(option, alone=False)
    time.sleep(1.5)
    has_mingle = "mingle" in one.log
    has_gossip = bool(queue.bound("celeryev"))
    assert (has_mingle, has_gossip) == (option == "--without-gossip", option == "--without-mingle")


def test_the_clock_follows_the_others(queue, worker, recorder):
    """C-39"""
    one = worker(alone=False)
    recorder.wait(1, type="worker-heartbeat", host=one.node)
    _tell(queue, "worker-heartbeat", "other@h", clock=100000)
    wait_until(lambda: recorder.events("worker-heartbeat", host=one.node)[-1]["clock"] > 100000,
               10, "the clock")


@pytest.mark.deviates("Celery's worker hears nothing more, or ends")
def test_what_cannot_be_understood_is_passed_over(queue, worker, recorder):
    one = worker(alone=False)
    recorder.wait(1, type="worker-heartbeat", host=one.node)
    for bad in (b"{{{", b"[1]", b"7", b'{"type": 5}', b'{"type":"worker-x","clock":"y"}',
                b'{"type":"worker-heartbeat","hostname":7,"clock":-5}'):
        queue.post("celeryev", "worker.heartbeat", bad)
    count = len(recorder.events("worker-heartbeat", host=one.node))
    recorder.wait(count + 2, type="worker-heartbeat", host=one.node)


def _tell(queue, type, host, **fields):
    """An event of another worker."""
    body = json.dumps({"type": type, "hostname": host, "timestamp": time.time(), "pid": 1, **fields})
    queue.post("celeryev", type.replace("-", "."), body, {"hostname": host})


def test_a_node_that_falls_silent_is_missed(queue, worker, recorder):
    """C-39"""
    one = worker(alone=False, level="DEBUG")
    recorder.wait(1, type="worker-heartbeat", host=one.node)
    _tell(queue, "worker-online", "quiet@h", clock=1, freq=1.0)
    one.wait_log("quiet@h joined the party")
    one.wait_log("missed heartbeat from quiet@h", 15)
    _tell(queue, "worker-online", "polite@h", clock=1, freq=1.0)
    _tell(queue, "worker-offline", "polite@h", clock=1, freq=1.0)
    one.wait_log("polite@h left")
    time.sleep(6)
    assert "missed heartbeat from polite@h" not in one.log


@pytest.mark.smallage_only("two workers of different kinds")
def test_a_python_worker_joins_and_misses_us(queue, worker):
    """C-39"""
    ours = worker(judge=False, level="DEBUG", settings={"worker_send_task_events": True})
    theirs = worker(judge=True, alone=False, level="DEBUG")
    theirs.wait_log(f"{ours.node} joined the party")
    ours.wait_log(f"{theirs.node} joined the party")
    time.sleep(6)
    assert "missed heartbeat" not in theirs.log + ours.log and "drift" not in theirs.log
    ours.signal(signal.SIGSTOP)
    theirs.wait_log(f"missed heartbeat from {ours.node}", 20)
    ours.signal(signal.SIGCONT)
    theirs.wait_log(f"{ours.node} joined the party", 10, count=2)
    ours.stop()
    theirs.wait_log(f"{ours.node} left")


@pytest.mark.smallage_only("what a Python worker answers to our hello")
def test_we_learn_clock_and_revoked_tasks_from_a_python_worker(queue, worker, results):
    theirs = worker(judge=True, queues="elsewhere")
    id = new_id()
    queue.post("celery.pidbox", "", json.dumps({
        "method": "revoke", "arguments": {"task_id": id}, "destination": None, "pattern": None,
        "matcher": None}))
    theirs.wait_log(f"Tasks flagged as revoked: {id}")
    ours = worker(judge=False, queues="celery")
    ours.wait_log("mingle: sync with 1 nodes")
    ours.wait_log("mingle: sync complete")
    queue.send("add", (1, 2), id=id)
    assert results.wait(id, "REVOKED")
    assert f"sync with {ours.node}" in theirs.log


def test_who_stands_for_an_election_is_answered(queue, worker, recorder):
    one = worker(alone=False)
    recorder.wait(1, type="worker-heartbeat", host=one.node)
    _tell(queue, "worker-elect", "other@h", clock=5, id="e1", topic="task", action={"x": 1}, cver=1)
    ack = recorder.wait(1, type="worker-elect-ack", host=one.node)[0]
    assert [k for k in ack if k != "utcoffset"] == ["hostname", "pid", "clock", "id", "timestamp",
                                                    "type"]
    assert ack["id"] == "e1"
    assert [m.routing_key for m in recorder.messages if m.body == ack] == ["worker.elect.ack"]
    _tell(queue, "worker-elect", "other@h", clock=5)
    one.wait_log("election request missing field 'id'")
