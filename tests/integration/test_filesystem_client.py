"""No server at all: an unchanged Celery producer over filesystem:// and file://."""
import json
import signal
import threading

import pytest
from celery import Celery

from services.keeper import wait_until
from worker import JUDGE, Worker

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: starts without a server")


@pytest.fixture
def folders(tmp_path):
    data, control, results = (tmp_path / name for name in ("data", "control", "results"))
    data.mkdir()
    results.mkdir()
    return {"data_folder_in": str(data), "data_folder_out": str(data),
            "control_folder": str(control)}, results


@pytest.fixture
def app(folders):
    options, results = folders
    client = Celery("client", broker="filesystem://", backend=f"file://{results}",
                    set_as_current=False)
    client.conf.broker_transport_options = options
    yield client
    client.close()


@pytest.fixture
def start(folders, tmp_path):
    options, results = folders
    started = []

    def one(*more, settings=None, **how):
        worker = Worker(tmp_path, "filesystem://", f"file://{results}", *more,
                        settings={"broker_transport_options": options, **(settings or {})}, **how)
        started.append(worker)
        return worker

    yield one
    for worker in started:
        worker.end()


def messages(folders, queue="celery"):
    return [path for path in (folders[1].parent / "data").glob("*.msg")
            if path.name.partition(".")[2] == f"{queue}.msg"]


def test_links_and_chains(app, start):
    """T-120 T-125 T-128"""
    start()
    add = app.signature("testtasks.add", args=(10,))
    link = add.clone()
    after = link.freeze()
    first = app.signature("testtasks.add", args=(1, 2))
    first.clone().apply_async(link=link)
    assert after.get(timeout=10, interval=0.01) == 13
    assert (first | add | add).apply_async().get(timeout=10, interval=0.01) == 23
    failed = (first | app.signature("testtasks.noop") | add).apply_async()
    with pytest.raises(TypeError):
        failed.get(timeout=10, interval=0.01)


def test_a_python_producer_gets_its_results(app, start, folders):
    """C-55 T-97 T-100: sent before and after the start; records read by Celery."""
    early = app.send_task("testtasks.add", (1, 2))
    start()
    late = [app.send_task("testtasks.add", (i, i)) for i in range(200)]
    assert early.get(timeout=10, interval=0.01) == 3
    assert [r.get(timeout=10, interval=0.01) for r in late] == [2 * i for i in range(200)]
    assert early.date_done.tzinfo is not None
    assert not messages(folders)
    record = json.loads((folders[1] / f"celery-task-meta-{early.id}").read_bytes())
    assert list(record) == ["status", "result", "traceback", "children", "date_done", "task_id"]


def test_forget_and_failures(app, start):
    """T-115: a client's forget() is final; exceptions come back as themselves."""
    start()
    result = app.send_task("testtasks.add", (1,))
    with pytest.raises(TypeError):
        result.get(timeout=10, interval=0.01)
    result.forget()
    assert app.AsyncResult(result.id).state == "PENDING"


def test_queues_side_by_side(app, start, folders):
    """C-77: celery, x.celery and celery.x do not take each other's messages."""
    sent = {queue: app.send_task("testtasks.add", (1, 1), queue=queue)
            for queue in ("x.celery", "celery.x", "celery")}
    start()
    assert sent["celery"].get(timeout=10, interval=0.01) == 2
    assert len(messages(folders, "x.celery")) == len(messages(folders, "celery.x")) == 1
    start(queues="x.celery,celery.x")
    for queue in ("x.celery", "celery.x"):
        assert sent[queue].get(timeout=10, interval=0.01) == 2


def test_a_killed_worker_loses_nothing(app, start, folders):
    """Better than kombu, which loses what it has read: late acks come back after kill -9."""
    worker = start(concurrency=1, settings={"task_acks_late": True})
    sent = [app.send_task("testtasks.sleep", (0.3,)) for _ in range(4)]
    worker.wait_log("received")
    worker.kill()
    start(concurrency=4, settings={"task_acks_late": True})
    for result in sent:
        result.get(timeout=20, interval=0.01)
    assert not messages(folders)


def test_a_warm_stop_gives_back_what_was_not_started(app, start, folders):
    """C-55: unacked messages are files again, marked as redelivered."""
    worker = start(concurrency=1)
    sent = [app.send_task("testtasks.sleep", (0.5,)) for _ in range(4)]
    worker.wait_log("received")
    worker.signal(signal.SIGTERM)
    assert worker.wait_end() == 0
    left = messages(folders)
    assert left
    assert all(json.loads(path.read_bytes()).get("redelivered") for path in left)
    start(concurrency=4)
    for result in sent:
        result.get(timeout=20, interval=0.01)


def test_a_python_monitor_hears_the_events_in_order(app, folders, start):
    """C-55"""
    seen = []

    def listen():
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": seen.append})
            receiver.capture(wakeup=False)

    threading.Thread(target=listen, daemon=True).start()
    wait_until((folders[1].parent / "control" / "celeryev.exchange").exists, 10, "the monitor")
    worker = start("-E")
    results = [app.send_task("testtasks.add", (n, n)) for n in range(30)]
    for n, result in enumerate(results):
        assert result.get(timeout=10) == 2 * n
    assert worker.stop() == 0
    wait_until(lambda: [e for e in seen if e["type"] == "worker-offline"], 30, "the last event")
    assert seen[0]["type"] == "worker-online" and seen[-1]["type"] == "worker-offline"
    for result in results:
        assert [e["type"] for e in seen if e.get("uuid") == result.id] == [
            "task-received", "task-started", "task-succeeded"]
