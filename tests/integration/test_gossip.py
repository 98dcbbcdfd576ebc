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
    queues = queue.rabbit.queues(queue.vhost)
    assert not [name for name in queues if ".reply." in name], queues


@pytest.mark.parametrize("option", ["--without-mingle", "--without-gossip"])
def test_each_can_be_switched_off(queue, worker, option):
    one = worker(option, alone=False)
    time.sleep(1.5)
    has_mingle = "mingle" in one.log
    has_gossip = bool([name for name in queue.rabbit.queues(queue.vhost)
                       if name.startswith("celeryev.")])
    assert (has_mingle, has_gossip) == (option == "--without-gossip", option == "--without-mingle")


def test_the_clock_follows_the_others(queue, worker, recorder):
    """C-39"""
    one = worker(alone=False)
    recorder.wait(1, type="worker-heartbeat", host=one.node)
    queue.channel.basic_publish(_event("worker-heartbeat", "other@h", clock=100000),
                                "celeryev", "worker.heartbeat")
    wait_until(lambda: recorder.events("worker-heartbeat", host=one.node)[-1]["clock"] > 100000,
               10, "the clock")


@pytest.mark.deviates("Celery's worker hears nothing more, or ends")
def test_what_cannot_be_understood_is_passed_over(queue, worker, recorder):
    one = worker(alone=False)
    recorder.wait(1, type="worker-heartbeat", host=one.node)
    for bad in (b"{{{", b"[1]", b"7", b'{"type": 5}', b'{"type":"worker-x","clock":"y"}',
                b'{"type":"worker-heartbeat","hostname":7,"clock":-5}'):
        queue.channel.basic_publish(_raw(bad), "celeryev", "worker.heartbeat")
    count = len(recorder.events("worker-heartbeat", host=one.node))
    recorder.wait(count + 2, type="worker-heartbeat", host=one.node)


def _raw(body):
    import amqp
    return amqp.Message(body, content_type="application/json", content_encoding="utf-8")


def _event(type, host, **fields):
    message = _raw(json.dumps({"type": type, "hostname": host, "timestamp": time.time(),
                               "pid": 1, **fields}))
    message.properties["application_headers"] = {"hostname": host}
    return message


def test_a_node_that_falls_silent_is_missed(queue, worker, recorder):
    """C-39"""
    one = worker(alone=False, level="DEBUG")
    queue.channel.basic_publish(_event("worker-online", "quiet@h", clock=1, freq=1.0),
                                "celeryev", "worker.online")
    one.wait_log("quiet@h joined the party")
    one.wait_log("missed heartbeat from quiet@h", 15)
    queue.channel.basic_publish(_event("worker-online", "polite@h", clock=1, freq=1.0),
                                "celeryev", "worker.online")
    queue.channel.basic_publish(_event("worker-offline", "polite@h", clock=1, freq=1.0),
                                "celeryev", "worker.offline")
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


def _broadcast(channel, method, **arguments):
    channel.exchange_declare("celery.pidbox", "fanout", durable=False, auto_delete=False)
    channel.basic_publish(_raw(json.dumps({
        "method": method, "arguments": arguments, "destination": None, "pattern": None,
        "matcher": None})), "celery.pidbox", "")


@pytest.mark.smallage_only("what a Python worker answers to our hello")
def test_we_learn_clock_and_revoked_tasks_from_a_python_worker(queue, worker, results):
    theirs = worker(judge=True, queues="elsewhere")
    id = new_id()
    _broadcast(queue.channel, "revoke", task_id=id)
    theirs.wait_log(f"Tasks flagged as revoked: {id}")
    ours = worker(judge=False, queues="celery")
    ours.wait_log("mingle: sync with 1 nodes")
    ours.wait_log("mingle: sync complete")
    queue.send("add", (1, 2), id=id)
    assert results.wait(id, "REVOKED")
    assert f"sync with {ours.node}" in theirs.log


def test_who_stands_for_an_election_is_answered(queue, worker, recorder):
    one = worker(alone=False)
    queue.channel.basic_publish(
        _event("worker-elect", "other@h", clock=5, id="e1", topic="task", action={"x": 1}, cver=1),
        "celeryev", "worker.elect")
    ack = recorder.wait(1, type="worker-elect-ack", host=one.node)[0]
    assert [k for k in ack if k != "utcoffset"] == ["hostname", "pid", "clock", "id", "timestamp",
                                                    "type"]
    assert ack["id"] == "e1"
    assert [m.routing_key for m in recorder.messages if m.body == ack] == ["worker.elect.ack"]
    queue.channel.basic_publish(_event("worker-elect", "other@h", clock=5), "celeryev",
                                "worker.elect")
    one.wait_log("election request missing field 'id'")
