"""Chords where the result store does not join them: tasks.md section 9, line 149, and 6.10."""
import pytest
from celery import Celery, chord, group

import services
from services.keeper import wait_until

STORES = ["file", "sqlite", "memcached"]


@pytest.fixture(scope="module")
def memcached():
    with services.Memcached() as server:
        yield server


@pytest.fixture(params=STORES)
def app(request, broker, tmp_path):
    """A Python producer with this store, and a queue."""
    broker.declare()
    if request.param == "memcached":
        server = request.getfixturevalue("memcached")
        url = f"cache+memcached://127.0.0.1:{server.port}/"
    else:
        (tmp_path / "results").mkdir()
        url = f"file://{tmp_path}/results" if request.param == "file" \
            else f"db+sqlite:///{tmp_path}/results.db"
    app = Celery("client", broker=broker.url, backend=url, set_as_current=False)
    app.conf.broker_transport_options = broker.transport_options or {}
    app.conf.result_backend_always_retry = True
    app.kind = request.param
    yield app
    app.close()


@pytest.fixture
def sig(app):
    def make(name, *args, **kwargs):
        return app.signature(f"testtasks.{name}", args=args, kwargs=kwargs)
    return make


def error(result, timeout=15):
    """type and text of what get() would raise."""
    wait_until(lambda: result.state == "FAILURE", timeout, "failure")
    return type(result.result).__name__, str(result.result)


def test_bodies_and_errors(worker, app, sig):
    """T-149 T-135 T-139 T-141 T-143"""
    one = worker(backend_url=app.conf.result_backend,
                 settings={"result_chord_retry_interval": 0.2, "result_extended": True})
    boom = sig("raise_", "ValueError", "boom")
    many = chord([sig("add", i, i) for i in range(200)])(sig("echo"))
    late = chord([sig("sleep", 1.5), sig("retry", 1, countdown=0.1)])(sig("echo"))
    nested = chord([sig("add", 2, 2) | group(sig("add", 1), sig("add", 2)), sig("add", 3, 3)])(
        sig("echo"))
    steps = (sig("add", 1, 1) | group(sig("add", 1), sig("add", 2)) | sig("echo")
             | group(sig("echo"), sig("echo")) | sig("echo")).delay()
    failed = chord([sig("add", 1, 1), boom, sig("add", 2, 2)])(sig("echo"))
    assert many.get(timeout=30) == [2 * i for i in range(200)]
    assert late.get(timeout=30) == [1.5, 1]
    assert nested.get(timeout=30) == [[5, 6], 6]
    assert steps.get(timeout=30) == [[3, 4], [3, 4]]
    kind, text = error(failed)
    culprit = failed.parent.results[1].id
    assert kind == "ChordError" and text == f"Dependency {culprit} raised ValueError('boom')"
    assert one.is_alive()


def test_a_chord_beside_a_worker_of_celery(worker, app, sig):
    """T-149 T-136"""
    more = {"backend_url": app.conf.result_backend,
            "settings": {"result_chord_retry_interval": 0.2}}
    worker(**more)
    worker(judge=True, **more)
    bodies = [chord([sig("echo", [n, i]) for i in range(10)])(sig("echo")) for n in range(5)]
    for n, body in enumerate(bodies):
        assert body.get(timeout=30) == [[n, i] for i in range(10)]


def test_one_that_nobody_looks_at_any_more(worker, app, sig):
    """T-149"""
    if app.kind == "memcached":
        pytest.skip("it counts")
    worker(backend_url=app.conf.result_backend)
    body = sig("echo")
    body.freeze()
    app.signature("celery.chord_unlock", args=("gid", body), kwargs={
        "interval": 0.1, "max_retries": 2, "result": [[["nobody", None], None]]}).delay()
    kind, text = error(app.AsyncResult(body.id))
    assert kind == "ChordError" and text.startswith("chord_unlock could not be retried: MaxRetr")
