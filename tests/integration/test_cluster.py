"""Python workers and the one under test in one cluster: what they tell each other."""
import json

import pytest

from mailbox import Mailbox
from pythons import python_of
from services.keeper import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def box(broker):
    mailbox = Mailbox(broker)
    yield mailbox
    mailbox.close()


@pytest.fixture
def join(worker, broker):
    """join(name, judge=None): a worker that mingles and gossips, with a queue of its own."""
    def start(name, judge=None, **more):
        more = more if judge is None else {**more, "judge": judge}
        broker.declare(name)
        return worker(name=f"{name}@cluster", queues=name, alone=False, level="DEBUG", **more)
    return start


def revoked(box, one):
    return box.ask("revoked", destination=[one.node])


def test_revokes_are_exchanged_at_the_start_both_ways(join, box, broker, results):
    """C-32 C-65"""
    first = join("first", judge=True)
    box.ask("revoke", {"task_id": "from-python"})
    # The one under test learns when it starts.
    one = join("tested")
    first.wait_log("sync with tested@cluster")
    wait_until(lambda: "from-python" in revoked(box, one), 10, "what Python revoked", 0.1)
    box.ask("revoke", {"task_id": ["from-us"]}, destination=[one.node])
    assert "from-us" not in revoked(box, first)
    # And tells a later one.
    second = join("second", judge=True)
    second.wait_log("mingle: sync with 2 nodes")
    second.wait_log("mingle: sync complete")
    one.wait_log("sync with second@cluster")
    wait_until(lambda: {"from-us", "from-python"} <= set(revoked(box, second)), 10, "revokes", 0.1)
    # What one revoked the others discard.
    for id, queue in (("from-python", "tested"), ("from-us", "second")):
        broker.send("add", (1, 2), id=id, queue=queue)
        assert results.wait(id)["status"] == "REVOKED"


def test_the_clock_is_taken_over(join, box):
    """C-32"""
    first = join("first", judge=True)
    for _ in range(300):
        box.ping()
    clock = box.ask("clock", destination=[first.node])["clock"]
    assert clock >= 300
    one = join("tested")
    wait_until(lambda: box.ask("clock", destination=[one.node])["clock"] > clock, 10, "clock", 0.1)


@pytest.mark.parametrize("version", ["5.2"])
def test_older_workers_exchange_revokes_too(join, box, broker, results, test_home, version):
    """C-65"""
    old = join("old", judge=True, python=python_of(version, test_home))
    box.ask("revoke", {"task_id": "from-the-old"})
    one = join("tested")
    wait_until(lambda: "from-the-old" in revoked(box, one), 10, "what the old one revoked", 0.1)
    box.ask("revoke", {"task_id": ["from-us"]}, destination=[one.node])
    later = join("later", judge=True, python=python_of(version, test_home))
    later.wait_log("mingle: sync with 2 nodes")
    wait_until(lambda: "from-us" in revoked(box, later), 10, "our revoke", 0.1)
    broker.send("add", (1, 2), id="from-us", queue="later")
    assert results.wait("from-us")["status"] == "REVOKED"
    assert "Traceback" not in old.log + later.log


def test_neighbours_see_us_come_go_and_get_lost(join):
    """C-39"""
    first = join("first", judge=True)
    one = join("tested")
    first.wait_log("tested@cluster joined the party", timeout=15)
    assert one.stop() == 0
    first.wait_log("tested@cluster left")
    again = join("tested")
    first.wait_log("tested@cluster joined the party", timeout=15, count=2)
    again.kill()
    first.wait_log("missed heartbeat from tested@cluster", timeout=25)
    assert len([line for line in first.log.splitlines() if "missed heartbeat" in line]) == 1
    assert "Traceback" not in first.log


def test_we_see_neighbours_come_and_get_lost(join):
    """C-39"""
    one = join("tested")
    other = join("lost", judge=True)
    one.wait_log("lost@cluster joined the party", timeout=15)
    other.kill()
    one.wait_log("missed heartbeat from lost@cluster", timeout=25)


@pytest.mark.deviates("Celery's worker dies of them")
def test_odd_events_of_neighbours_do_no_harm(join, box, broker, results):
    """C-39"""
    one = join("tested")
    for body, key in (
            (b"{}", "worker.heartbeat"), (b"[]", "worker.online"), (b"{{{", "worker.heartbeat"),
            (b'{"hostname": 5, "type": 7}', "worker.heartbeat"), (b"[[[", "worker.online"),
            (json.dumps({"hostname": "x@y", "type": "worker-heartbeat"}).encode(),
             "worker.heartbeat"),
            (json.dumps({"hostname": "x@y", "type": "worker-elect", "id": 5}).encode(),
             "worker.elect"),
            (json.dumps({"hostname": "x@y", "type": "worker-elect-ack"}).encode(),
             "worker.elect.ack"),
            (json.dumps({"hostname": "x@y", "type": "worker-online", "clock": "a", "freq": "b",
                         "timestamp": None, "pid": []}).encode(), "worker.online")):
        broker.post("celeryev", key, body, {"hostname": "x@y"})
    box.settle()
    assert results.value(broker.send("add", (1, 2), queue="tested")) == 3
    assert one.is_alive()
