"""What monitors hear of revoked tasks: control.md 3.5, lines 20 and 34."""
import pytest

import messages
from recorder import Recorder
from services.keeper import wait_until


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def recorder(broker):
    with Recorder(broker) as one:
        yield one


def hears(recorder, id, *types, terminated=False, signum=None):
    """Those events and no other; the last one is task-revoked with these fields."""
    wait_until(lambda: recorder.events("task-revoked", id), 15, "task-revoked")
    events = recorder.events("task-", id)
    assert [event["type"] for event in events] == [f"task-{each}" for each in types]
    last = {key: value for key, value in events[-1].items()
            if key not in ("hostname", "utcoffset", "pid", "clock", "timestamp")}
    assert last == {"type": "task-revoked", "uuid": id, "terminated": terminated,
                    "signum": signum, "expired": False}


def test_a_task_revoked_before_it_arrives(queue, worker, control, recorder):
    """C-20 C-34: it is not even received."""
    worker("-E")
    id = messages.new_id()
    control("revoke", task_id=id)
    queue.send("add", (1, 2), id=id)
    hears(recorder, id, "revoked")


def test_a_task_revoked_while_it_waits(queue, worker, control, recorder, tmp_path):
    """C-34: for a slot, for its ETA, and by a stamp."""
    worker("-E", concurrency=1)
    queue.send("sleep", (2,))
    slot = queue.send("add", (1, 2))
    eta = queue.send("add", (1, 2), eta=messages.now(1.5))
    for id in (slot, eta):
        wait_until(lambda: recorder.events("task-received", id), 10, "task-received")
    control("revoke", task_id=[slot, eta])
    control("revoke_by_stamped_headers", headers={"st": "x"})
    stamped = queue.send("add", (1, 2), stamped_headers=["st"], stamps={"st": "x"})
    for id in (slot, eta, stamped):
        hears(recorder, id, "received", "revoked")


@pytest.mark.prefork
@pytest.mark.parametrize("task, number", [("sleep", 15), ("late", 9)])
def test_a_task_terminated_while_it_runs(queue, worker, control, recorder, task, number):
    """C-34"""
    worker("-E", concurrency=1)
    id = queue.send(task, (30,))
    wait_until(lambda: recorder.events("task-started", id), 10, "task-started")
    control("terminate", task_id=id, signal=number)
    hears(recorder, id, "received", "started", "revoked", terminated=True, signum=number)
