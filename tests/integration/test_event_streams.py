"""Events that come of remote control, as Celery's worker sends them."""
import time

import pytest

from likeness import differences
from mailbox import Mailbox
from recorder import Recorder
from services.keeper import wait_until

# Celery sends utcoffset, which spoils the times of readers in another zone; smallage leaves it out.
VAGUE = [r"hostname", r"loadavg.*", r"active", r"processed"]


@pytest.fixture
def recorder(broker):
    with Recorder(broker) as one:
        yield one


@pytest.fixture
def box(broker):
    mailbox = Mailbox(broker)
    yield mailbox
    mailbox.close()


def compare(judge, other):
    """Lines of difference between two lists of events."""
    kinds = [[event["type"] for event in each] for each in (judge, other)]
    if kinds[0] != kinds[1]:
        return [f"{kinds[1]}, {kinds[0]} in Celery"]
    return [f"{left['type']}: {line}" for left, right in zip(judge, other) for line in differences(
        {name: value for name, value in left.items() if name != "utcoffset"},
        {name: value for name, value in right.items() if name != "utcoffset"}, VAGUE)]


def steer(side):
    """{what: its events}."""
    send, ask = side.broker.send, side.mailbox.ask
    with Recorder(side.broker) as recorder:
        ask("revoke", {"task_id": "before"})
        send("noop", id="before")
        recorder.wait(1, type="task-revoked", uuid="before")
        send("noop", id="waiting", eta="2099-01-01T00:00:00+00:00")
        send("sleep", (600,), id="running")
        recorder.wait(1, type="task-started", uuid="running")
        send("noop", id="reserved")
        recorder.wait(1, type="task-received", uuid="reserved")
        ask("terminate", {"task_id": ["reserved", "waiting"], "signal": "TERM"})
        ask("terminate", {"task_id": "running", "signal": "SIGKILL"})
        recorder.wait(1, type="task-revoked", uuid="running")
        recorder.wait(1, type="task-revoked", uuid="reserved")
        send("sleep", (600,), id="stamped", stamped_headers=["m"], stamps={"m": "a"}, m="a")
        recorder.wait(1, type="task-started", uuid="stamped")
        ask("revoke_by_stamped_headers", {"headers": {"m": "a"}, "terminate": True})
        recorder.wait(1, type="task-revoked", uuid="stamped")
        time.sleep(0.5)
        return {what: recorder.events("task-", what)
                for what in ("before", "waiting", "running", "reserved", "stamped")}


def test_revoked_and_terminated_tasks_have_celerys_events(pair):
    """C-34"""
    judge, other = pair("-E", concurrency=1).both(steer)
    wrong = [f"{what}: {line}" for what in judge for line in compare(judge[what], other[what])]
    assert not wrong, "\n" + "\n".join(wrong)


def beat(side):
    with Recorder(side.broker) as recorder:
        recorder.wait(1, type="worker-heartbeat")
        side.mailbox.ask("heartbeat")
        wait_until(lambda: [event for event in recorder.events("worker-heartbeat")
                            if event["freq"] == 5], 10, "the short heartbeat")
        return recorder.events("worker-heartbeat")


def test_a_heartbeat_on_demand_is_celerys(pair):
    """C-33"""
    beats = pair().both(beat)
    for freq in (2, 5):
        judge, other = [[event for event in each if event["freq"] == freq][:1] for each in beats]
        assert not compare(judge, other)


def test_events_are_switched_at_run_time(broker, worker, results, recorder, box):
    """C-26 C-34"""
    broker.declare()
    one = worker()
    results.value(broker.send("add", (1, 2)))
    recorder.wait(1, type="worker-heartbeat")
    assert not recorder.events("task-")
    box.ask("enable_events")
    id = broker.send("add", (1, 2))
    recorder.wait(1, type="task-succeeded", uuid=id)
    assert recorder.types(id) == ["received", "started", "succeeded"]
    # What was switched stays so over a broken connection.
    box.close()
    broker.server_closes()
    box.__init__(broker)
    box.settle(20)
    id = broker.send("add", (1, 2))
    recorder.wait(1, type="task-succeeded", uuid=id)
    box.ask("disable_events")
    last = broker.send("add", (1, 2))
    results.value(last)
    time.sleep(0.5)
    assert not recorder.events("task-", last)
    assert one.stop() == 0


def test_a_worker_that_tells_nothing(broker, worker, results, recorder):
    """C-26"""
    broker.declare()
    one = worker("--without-heartbeat", "--without-gossip")
    results.value(broker.send("add", (1, 2)))
    time.sleep(2.5)
    assert one.stop() == 0
    assert not recorder.messages


def test_the_last_tasks_are_told_after_the_worker_is_offline(broker, worker, recorder):
    """C-30 C-33"""
    broker.declare()
    one = worker("-E")
    id = broker.send("sleep", (2,))
    recorder.wait(1, type="task-started", uuid=id)
    one.signal(15)
    assert one.wait_end() == 0
    recorder.wait(1, type="task-succeeded", uuid=id)
    kinds = [event["type"] for event in recorder.events()]
    assert kinds.index("worker-offline") < kinds.index("task-succeeded")
    assert "worker-heartbeat" not in kinds[kinds.index("worker-offline"):]
