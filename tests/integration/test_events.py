"""Events, as monitors see them: control.md section 3, lines 33 to 36."""
import json
import os
import signal
import time
import urllib.parse

import pytest

import messages
from messages import new_id
from recorder import Recorder
from services.keeper import wait_until
from worker import JUDGE

COMMON = ["hostname", "pid", "clock"]


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def recorder(broker):
    with Recorder(broker) as one:
        yield one


# What is sent to each of the two workers: name -> (how, number of task events).
def _send(queue, task, args=(), **more):
    return queue.send(task, args, **more)


CASES = {
    "success": (lambda q: _send(q, "add", (1, 2)), 3),
    "text": (lambda q: _send(q, "echo", ("Zażółć \"gęślą\" 😀\n",)), 3),
    "nothing": (lambda q: _send(q, "noop"), 3),
    "long": (lambda q: _send(q, "big", (5000,)), 3),
    "nested": (lambda q: _send(q, "echo", ([[[["deep"]]], {"a": {"b": {"c": {"d": 1}}}}],)), 3),
    "shadow": (lambda q: _send(q, "add", (1, 2), shadow="shade"), 3),
    "family": (lambda q: _send(q, "add", (1, 2), root_id="r", parent_id="p"), 3),
    "eta": (lambda q: _send(q, "add", (1, 2), eta=messages.now(0.3), expires=messages.now(60)), 3),
    "failure": (lambda q: _send(q, "raise_", ("ValueError", "x 'y' \"z\"")), 3),
    "key error": (lambda q: _send(q, "raise_", ("KeyError", "boom")), 3),
    "two arguments": (lambda q: _send(q, "raise_args", ("ValueError", ["a", 1])), 3),
    "retry": (lambda q: _send(q, "retry", (1, 0)), 6),
    "retry with a cause": (lambda q: _send(q, "retry_raise", (0,), retries=2), 6),
    "wrong call": (lambda q: _send(q, "add", (1,)), 3),
    "late reject": (lambda q: _send(q, "reject"), 4),
    "early reject": (lambda q: _send(q, "early_reject"), 3),
    "ignore": (lambda q: _send(q, "ignore"), 2),
    "unregistered": (lambda q: _send(q, "no.such.task"), 1),
    "expired": (lambda q: _send(q, "add", (1, 2), expires=messages.now(-5)), 1),
    "late ack not on failure": (lambda q: _send(q, "late_nofail"), 4),
}
VOLATILE = {"hostname", "pid", "clock", "timestamp", "runtime", "traceback", "utcoffset", "eta",
            "expires"}


def _run(queue, worker, judge):
    """The list sent to one worker: case -> its events."""
    ids, found = {}, {}
    with Recorder(queue) as recorder:
        # The texts of Celery's own pool of threads differ from those of its processes.
        one = worker("-E", judge=judge, concurrency=1, pool="prefork" if judge else None)
        for name, (send, count) in CASES.items():
            ids[name] = send(queue)
            try:
                wait_until(lambda: len(recorder.events("task-", ids[name])) >= count, 15, name)
            except AssertionError:
                pass  # the comparison tells
        last = queue.send("add", (0, 0))
        recorder.wait(3, uuid=last)
        one.stop()
        wait_until(lambda: recorder.messages[-1].routing_key == "worker.offline", 10, "its last word")
        for name, id in ids.items():
            found[name] = recorder.events("task-", id)
        keys = {m.routing_key for m in recorder.messages}
    return one, ids, found, keys


def _shape(event, id):
    """What must be equal: fields in their order, with types; values but for those that vary."""
    fields = [(name, type(value).__name__) for name, value in event.items()
              if name != "utcoffset"]
    values = {name: "the id" if value == id else value for name, value in event.items()
              if name not in VOLATILE}
    return fields, values


@pytest.mark.smallage_only("it is the comparison with Celery")
def test_every_kind_of_end_gives_celerys_events_field_by_field(queue, worker):
    """C-34 T-157"""
    _, their_ids, theirs, their_keys = _run(queue, worker, True)
    _, our_ids, ours, our_keys = _run(queue, worker, False)
    wrong = []
    for name in CASES:
        a = [_shape(e, their_ids[name]) for e in theirs[name]]
        b = [_shape(e, our_ids[name]) for e in ours[name]]
        if name.startswith("retry"):  # Celery's next try may come before the end of this one
            assert [e["type"][5:] for e in ours[name]][:4] == [
                "received", "started", "retried", "received"]
            a, b = sorted(a, key=str), sorted(b, key=str)
        if a != b:
            wrong.append(f"{name}:\n  celery   {a}\n  smallage {b}")
    assert not wrong, "\n".join(wrong)
    assert our_keys == their_keys


def _node_events(recorder, one):
    return [e["type"] for e in recorder.events("worker-", host=one.node)]


def test_a_worker_is_online_beats_and_goes_offline(queue, worker, recorder):
    """C-33"""
    one = worker()
    queue.send("add", (1, 2))
    beat = recorder.wait(2, type="worker-heartbeat", host=one.node)[-1]
    queue.wait_empty()
    one.stop()
    types = _node_events(recorder, one)
    assert types[0] == "worker-online" and types[-1] == "worker-offline"
    assert set(types[1:-1]) == {"worker-heartbeat"}
    assert [k for k in beat if k != "utcoffset"] == COMMON + [
        "freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys", "timestamp",
        "type"]
    assert beat["freq"] == 2.0 and type(beat["freq"]) is float
    assert beat["active"] == 0 and beat["processed"] == 1
    assert [type(n) for n in beat["loadavg"]] == [float] * 3
    assert all(round(n, 2) == n for n in beat["loadavg"])
    assert beat["sw_sys"] == "Linux" and beat["pid"] == one.pid
    assert abs(beat["timestamp"] - time.time()) < 10
    clocks = [e["clock"] for e in recorder.events(host=one.node)]
    assert clocks == sorted(set(clocks))
    assert not recorder.events("task-")  # without -E


def test_the_interval_is_an_option(queue, worker, recorder):
    """C-33"""
    one = worker("--heartbeat-interval", 1)
    started = time.time()
    beats = recorder.wait(3, type="worker-heartbeat", host=one.node)
    assert time.time() - started < 5 and beats[0]["freq"] == 1.0


def test_without_heartbeat_there_is_none(queue, worker, recorder):
    """C-33"""
    one = worker("--without-heartbeat", "-E")
    id = queue.send("add", (1, 2))
    recorder.wait(3, uuid=id)
    time.sleep(2.5)
    assert _node_events(recorder, one) == []


def test_the_messages_are_those_of_celery(queue, worker, recorder):
    """C-35"""
    one = worker("-E")
    ids = [queue.send("add", (n, n)) for n in range(20)]
    for id in ids:
        recorder.wait(3, uuid=id)
    one.stop()
    for message in recorder.messages:
        assert message.headers == {"hostname": one.node}
        assert message.properties["delivery_mode"] == 1 and message.properties["priority"] == 0
        assert message.properties["content_type"] == "application/json"
        assert message.properties["content_encoding"] == "utf-8"
        assert "expiration" not in message.properties
        if message.routing_key == "task.multi":
            assert isinstance(message.body, list) and message.body
        else:
            assert message.routing_key == message.body["type"].replace("-", ".")


def test_a_setting_stands_for_the_option_and_names_the_exchange(queue, worker):
    """C-35"""
    with Recorder(queue, exchange="elsewhere") as recorder:
        worker(settings={"worker_send_task_events": True, "event_exchange": "elsewhere"})
        recorder.wait(3, uuid=queue.send("add", (1, 2)))


@pytest.mark.prefork
@pytest.mark.parametrize("task,args,expected", [
    ("late_requeue", (30,), ["received", "started", "rejected"]),
    ("late", (30,), ["received", "started", "failed"])])
def test_a_lost_child_rejects_or_fails(queue, worker, recorder, task, args, expected):
    """C-34"""
    one = worker("-E", concurrency=1)
    id = queue.send(task, args)
    recorder.wait(1, type="task-started", uuid=id)
    for child in one.children():
        try:
            os.kill(child, signal.SIGKILL) if "spawner" not in _title(child) else None
        except ProcessLookupError:
            pass
    recorder.wait(3, uuid=id)
    assert recorder.types(id)[:3] == expected
    event = recorder.events(uuid=id)[2]
    if expected[-1] == "rejected":
        assert event["requeue"] is True
        one.kill()
    else:
        assert event["exception"].startswith(_name_of("WorkerLostError", one))
        assert event["traceback"]


def _name_of(exception, one):
    """What the process reports, not the task: Celery 5.7 wraps it and tells the wrapper."""
    return "ExceptionWithTraceback(" if one.judge else f"{exception}("


def _title(pid):
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
        return file.read()


@pytest.mark.prefork
def test_a_hard_time_limit_fails(queue, worker, recorder):
    """C-34"""
    one = worker("-E", concurrency=1)
    id = queue.send("sleep", (30,), timelimit=[1, None])
    recorder.wait(3, uuid=id)
    assert recorder.types(id)[:3] == ["received", "started", "failed"]
    exception = recorder.events(uuid=id)[2]["exception"]
    assert exception.startswith(_name_of("TimeLimitExceeded", one))


def test_tasks_we_send_ourselves_are_told_when_asked_for(queue, worker, recorder):
    """T-158 C-34"""
    one = worker("-E", concurrency=1, settings={"task_send_sent_event": True})
    id = queue.send("retry", (1, 0))
    recorder.wait(7, uuid=id)
    sent = recorder.events("task-sent", id)
    assert len(sent) == 1
    assert [k for k in sent[0] if k != "utcoffset"] == COMMON + [
        "uuid", "root_id", "parent_id", "name", "args", "kwargs", "retries", "eta", "expires",
        "queue", "exchange", "routing_key", "timestamp", "type"]
    expected = {"root_id": id, "parent_id": id, "name": "testtasks.retry", "args": "(1, 0)",
                "kwargs": "{}", "retries": 1, "eta": None, "expires": None, "queue": "celery",
                "exchange": "", "routing_key": "celery"}
    assert {k: sent[0][k] for k in expected} == expected
    assert sent[0]["hostname"].startswith("gen") and sent[0]["hostname"].endswith("@test") or \
        one.judge
    assert [m.routing_key for m in recorder.messages if m.body == sent[0]] == ["task.sent"]


@pytest.mark.deviates("Celery's worker is shown offline in between, and events may come twice")
@pytest.mark.timeout(900)
def test_no_event_is_lost_or_overtakes_when_connections_break(queue, worker, recorder):
    """C-36"""
    breaks = int(os.environ.get("SMALLAGE_BREAKS", 6))
    count = breaks * 300
    one = worker("-E", concurrency=2)
    ids = []
    for n in range(breaks):
        ids += queue.send_many("add", count // breaks, (1, n))
        queue.server_closes()
    queue.wait_empty(timeout=60)
    recorder.wait(count, 60, type="task-succeeded")
    seen, order = {}, []
    for event in recorder.events(host=one.node):  # at least once: a second copy is dropped here
        if event["clock"] not in seen:
            seen[event["clock"]] = event
            order.append(event["clock"])
    assert order == sorted(order)
    kinds = {}
    for clock in order:
        event = seen[clock]
        if event["type"].startswith("task-"):
            kinds.setdefault(event["uuid"], []).append(event["type"][5:])
    assert set(kinds) == set(ids)
    for id, types in kinds.items():
        # What was taken ahead of a break is received again.
        assert types[0] == "received" and types[-2:] == ["started", "succeeded"], types
        assert set(types[:-2]) == {"received"}, types
    wait_until(lambda: _node_events(recorder, one)[-1] != "worker-offline", 10, "online")
    assert "dropped" not in one.log


def test_times_are_true_in_every_zone(queue, worker, recorder):
    worker("-E", env={"TZ": "Asia/Kolkata"})
    event = recorder.wait(3, uuid=queue.send("add", (1, 2)))[0]
    assert abs(event["timestamp"] - time.time()) < 5 and ("utcoffset" not in event or JUDGE)


def _broadcast(queue, method, **arguments):
    queue.post("celery.pidbox", "", json.dumps({
        "method": method, "arguments": arguments, "destination": None, "pattern": None,
        "matcher": None}))


@pytest.mark.prefork
def test_terminate_and_revoke_are_told(queue, worker, recorder):
    """C-34"""
    one = worker("-E", concurrency=1)
    id, later = queue.send("sleep", (30,)), new_id()
    recorder.wait(2, uuid=id)
    _broadcast(queue, "revoke", task_id=later)
    one.wait_log(f"Tasks flagged as revoked: {later}")
    queue.send("add", (1, 2), id=later)
    _broadcast(queue, "revoke", task_id=id, terminate=True, signal="SIGTERM")
    recorder.wait(3, uuid=id)
    assert recorder.types(id) == ["received", "started", "revoked"]
    expected = {"terminated": True, "signum": 15, "expired": False}
    assert {k: recorder.events(uuid=id)[2][k] for k in expected} == expected
    recorder.wait(1, uuid=later)
    assert recorder.types(later) == ["revoked"]
    expected = {"terminated": False, "signum": None, "expired": False}
    assert {k: recorder.events(uuid=later)[0][k] for k in expected} == expected


@pytest.mark.brokers("rabbitmq", why="its connections have names and heartbeats")
@pytest.mark.smallage_only("Celery restarts both of its connections")
def test_the_loss_of_the_publishing_connection_leaves_the_consumer_alone(queue, worker, recorder):
    """C-71"""
    one = worker("-E", concurrency=1)
    recorder.wait(1, type="worker-heartbeat", host=one.node)
    connections = wait_until(lambda: [c for c in queue.rabbit.connections(queue.vhost)
                                      if "publisher" in str(c)], 10, "the connection")
    assert all(c["timeout"] > 0 for c in connections)  # AMQP heartbeats
    for connection in connections:
        name = urllib.parse.quote(connection["name"], safe="")
        queue.rabbit.api("DELETE", f"/connections/{name}")
    ids = [queue.send("add", (n, n)) for n in range(20)]
    for id in ids:
        recorder.wait(3, uuid=id)
        assert recorder.types(id) == ["received", "started", "succeeded"]
    assert "Connection to broker lost" not in one.log
    assert _node_events(recorder, one)[0] == "worker-online"
    assert "worker-offline" not in _node_events(recorder, one)
