"""Queues of all kinds on any broker (SMALLAGE_BROKER), with a Python producer that has the same
task_queues; T-156 there too."""
import json
import subprocess

import pytest

from services.keeper import wait_until
from worker import BUILD, SANITIZERS

TASK = "testtasks."
QUEUES = [
    {"name": "celery", "exchange": "celery", "routing_key": "celery"},
    {"name": "topic", "exchange": "ex", "exchange_type": "topic", "routing_key": "a.#"},
    {"name": "many", "bindings": [
        {"exchange": "one", "routing_key": "k1"},
        {"exchange": "ex", "exchange_type": "topic", "routing_key": "b.*"}]},
    {"name": "all", "exchange": "fan", "exchange_type": "fanout", "routing_key": "x"},
    {"name": "news", "broadcast": True},
]


@pytest.fixture
def producer(app):
    from pyworker.queues import queues_of
    app.conf.task_queues = queues_of(QUEUES)
    return app


@pytest.fixture
def settings():
    return {"task_queues": QUEUES, "task_routes": {TASK + "noop": "news", TASK + "echo": "topic"}}


def test_a_python_producer_reaches_every_kind_of_queue(worker, results, producer, settings):
    worker(settings=settings)
    for options in ({"queue": "topic", "routing_key": "a.x.y"}, {"queue": "many"},
                    {"queue": "all"}, {"queue": "celery"}):
        sent = producer.send_task(TASK + "add", (1, 2), **options)
        assert results.value(sent.id) == 3, options


@pytest.mark.judge_cannot("redis", "its producers push a Broadcast to lists that nobody reads")
def test_a_broadcast_of_python_comes_to_all(worker, producer, settings):
    all_of_them = [worker(settings=settings) for _ in range(2)]
    sent = producer.send_task(TASK + "add", (1, 2), queue="news")
    for one in all_of_them:
        one.wait_log(rf"{sent.id}\] succeeded")


@pytest.mark.judge_cannot("redis", "its producers push a Broadcast to lists that nobody reads")
def test_what_the_worker_sends_follows_the_routes(worker, results, producer, settings):
    """T-156"""
    all_of_them = [worker(settings=settings) for _ in range(2)]
    links = [producer.signature(TASK + name, immutable=True) for name in ("noop", "echo")]
    ids = [link.freeze().id for link in links]
    for link in links:
        assert results.value(producer.send_task(TASK + "add", (1, 2), link=link).id) == 3
    assert results.value(ids[1]) is None
    for one in all_of_them:
        one.wait_log(rf"Task testtasks.noop\[{ids[0]}\] succeeded")


@pytest.mark.smallage_only("its own command")
def test_call_sends_where_task_routes_say(broker, worker, results, settings, tmp_path):
    all_of_them = [worker(settings=settings) for _ in range(2)]
    file = tmp_path / "call.yaml"
    file.write_text(json.dumps(broker.settings(settings)))

    def call(*words):
        return subprocess.run([BUILD / "bin/smallage", "call", "--config", file, "-b", broker.url,
                               "--result-backend", results.url, *words], check=True, text=True,
                              stdout=subprocess.PIPE, env={**SANITIZERS, "PATH": "/usr/bin:/bin"},
                              timeout=60).stdout.strip()
    id = call("--no-wait", TASK + "noop")
    for one in all_of_them:
        one.wait_log(rf"Task testtasks.noop\[{id}\] succeeded")
    assert call(TASK + "add", "1", "2", "--exchange", "ex", "--routing-key", "a.called") == "3"
    assert call(TASK + "add", "1", "2", "--queue", "many") == "3"


@pytest.mark.judge_cannot("redis", "its producers push a Broadcast to lists that nobody reads")
def test_a_broadcast_leaves_nothing_behind(broker, worker, producer, settings):
    one, other = [worker(settings=settings) for _ in range(2)]
    assert one.stop() == 0
    sent = producer.send_task(TASK + "add", (1, 2), queue="news")
    other.wait_log(rf"{sent.id}\] succeeded")
    assert other.stop() == 0
    if broker.kind == "filesystem":
        wait_until(lambda: not list(broker.data.glob("*.msg")), 5, "an empty folder")
        assert (broker.control / "news.exchange").read_text() == "[]"
    elif broker.kind == "redis":
        assert not [key for key in broker.client.keys("*") if b"bcast" in key]
