"""Results in memcached: tasks.md section 9, line 119."""
import json
import subprocess
import time

import pytest
import services
from celery import Celery, chain, signature

from pythons import python_of
from services.keeper import wait_until
from worker import BUILD

CLIENT = """
import json, sys
from celery import Celery
from celery.result import AsyncResult
app = Celery("client", broker=sys.argv[1], backend=sys.argv[2])
good = AsyncResult(sys.argv[3], app=app)
bad = AsyncResult(sys.argv[4], app=app)
out = [good.get(timeout=20)]
try:
    bad.get(timeout=20)
except Exception as error:
    out.append([type(error).__name__, list(error.args)])
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def memcached():
    with services.Memcached() as server:
        yield server


class Cache:
    def __init__(self, server):
        from pymemcache.client.base import Client
        self.server = server
        self.url = f"cache+memcached://127.0.0.1:{server.port}/"
        self.client = Client(("127.0.0.1", server.port), timeout=10)

    def record(self, id):
        raw = self.client.get(f"celery-task-meta-{id}")
        return json.loads(raw) if raw else None

    def wait(self, id, state=None, timeout=20):
        def is_there():
            found = self.record(id)
            return found and found["status"] in ((state,) if state else ("SUCCESS", "FAILURE")) \
                and found
        return wait_until(is_there, timeout, "a record")

    def seconds_left(self, id):
        """Of a key, by the server's own word."""
        return int(self.client.raw_command(f"mg celery-task-meta-{id} t").split(b" t")[1])


@pytest.fixture
def cache(memcached):
    return Cache(memcached)


@pytest.fixture
def stored(broker, worker, cache):
    broker.declare()
    return lambda *options, **more: worker(*options, backend_url=cache.url, **more)


def test_clients_read_what_was_stored(stored, broker, cache):
    """T-119"""
    stored(settings={"result_expires": 3600})
    app = Celery("client", broker=broker.url, backend=cache.url, set_as_current=False)
    app.conf.broker_transport_options = broker.transport_options or {}
    sent = [app.send_task("testtasks.add", (n, 1)) for n in range(100)]
    failing = app.send_task("testtasks.raise_", ("ValueError", "no"))
    retrying = app.send_task("testtasks.retry", (2, 0.1))
    steps = chain(signature("testtasks.add", (1, 2), app=app),
                  signature("testtasks.add", (3,), app=app), app=app).apply_async()
    assert [each.get(timeout=20, interval=0.05) for each in sent] == [n + 1 for n in range(100)]
    with pytest.raises(ValueError):
        failing.get(timeout=20, interval=0.05)
    assert retrying.get(timeout=20, interval=0.05) == 2
    assert steps.get(timeout=20, interval=0.05) == 6
    assert 3500 < cache.seconds_left(sent[0].id) <= 3600
    app.close()


@pytest.mark.brokers("rabbitmq", why="its clients are the subject")
def test_celery_5_2_reads_them(stored, broker, cache, test_home):
    """T-119"""
    python = python_of("5.2", test_home)
    stored()
    good, bad = broker.send("add", (1, 2)), broker.send("raise_", ("ValueError", "x"))
    cache.wait(bad)
    done = subprocess.run([python, "-c", CLIENT, broker.url, cache.url, good, bad],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [3, ["ValueError", ["x"]]]


def test_a_success_is_kept_and_a_failure_is_not(stored, broker, cache):
    """T-119"""
    stored()
    kept = broker.send("echo", (1,))
    cache.wait(kept, "SUCCESS")
    broker.send("raise_", ("ValueError", "x"), id=kept)
    broker.send("echo", (2,), id=kept)
    other = broker.send("raise_", ("ValueError", "x"))
    cache.wait(other, "FAILURE")
    broker.send("echo", (3,), id=other)
    assert cache.wait(other, "SUCCESS")["result"] == 3
    broker.wait_empty()
    assert cache.record(kept)["result"] == 1


@pytest.mark.deviates("Celery's result is an absolute time in the past, so it is gone at once")
def test_a_long_expiry_is_kept(stored, broker, cache):
    """T-119"""
    stored(settings={"result_expires": 90 * 86400})
    id = broker.send("echo", (1,))
    cache.wait(id)
    assert cache.seconds_left(id) > 89 * 86400


@pytest.mark.smallage_only("commands of smallage, and its words")
def test_commands_and_a_result_that_is_too_large(stored, broker, cache):
    """T-119"""
    one = stored()
    servers = ["-b", broker.url, "--result-backend", cache.url]
    called = subprocess.run([BUILD / "bin/smallage", "call", *servers, "testtasks.add", "1", "2"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=30, check=False)
    assert (called.returncode, called.stdout) == (0, "3\n")
    broker.send("big", (3 << 20,))
    one.wait_log("could not be stored: memcached: SERVER_ERROR object too large for cache")
    cache.wait(broker.send("echo", (1,)))


@pytest.mark.deviates("Celery's store fails")
def test_what_ends_while_memcached_is_away_is_stored_later(broker, worker):
    """T-119"""
    broker.declare()
    with services.Memcached() as server:
        cache = Cache(server)
        one = worker(backend_url=cache.url, concurrency=2)
        cache.wait(broker.send("echo", (1,)))
        server.stop()
        one.wait_log("results wait")
        ids = [broker.send("echo", (n,)) for n in range(200)]
        one.wait_log("succeeded in", count=201)
        time.sleep(0.2)
        server.start()
        cache = Cache(server)
        assert [cache.wait(id)["result"] for id in ids] == list(range(200))
        one.wait_log("is back")
