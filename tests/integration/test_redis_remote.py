"""Remote control, events and bindings over Redis beside Python clients of kombu 5.7 and redis-py 8
(which speaks RESP3), and what they leave in the database."""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from celery import Celery
from kombu import Exchange, Queue

from services.keeper import wait_until
from worker import BUILD

pytestmark = pytest.mark.smallage_only("Celery leaves its traces behind")

KILLED_CLIENTS = int(os.environ.get("SMALLAGE_KILLED_CLIENTS", "40"))
SEP = "\x06\x16"
OPTIONS = [{}, {"global_keyprefix": "app:"}, {"fanout_prefix": False}, {"fanout_patterns": False},
           {"fanout_prefix": "/x{db}.", "global_keyprefix": "app:", "priority_steps": [0, 5],
            "sep": ":"}]


@pytest.fixture
def keys(redis_broker):
    """keys(): the names of all keys."""
    return lambda: sorted(key.decode() for key in redis_broker.client.keys())


@pytest.fixture
def python(redis_broker, results):
    """python(**options): a Celery app."""
    apps = []

    def make(**options):
        app = Celery("client", broker=redis_broker.url, backend=results.url, set_as_current=False)
        app.conf.broker_transport_options = options
        app.conf.broker_connection_retry = False
        apps.append(app)
        return app
    yield make
    for app in apps:
        app.close()


@pytest.fixture
def start(redis_broker, worker):
    """start(*options, **transport options): a worker of ours."""
    def start(*more, settings=None, level="INFO", **options):
        return worker(*more, broker_url=redis_broker.url, level=level,
                      settings={"broker_transport_options": options, **(settings or {})})
    return start


def lasting(redis_broker, keys):
    """Those that do not go by themselves within the minute."""
    return {key for key in keys if not 0 < redis_broker.client.ttl(key) <= 60}


def ours(redis_broker, *words, options=None, **more):
    env = {**os.environ, "CELERY_BROKER_TRANSPORT_OPTIONS": json.dumps(options or {})}
    return subprocess.run([BUILD / "bin/smallage", *words, "-b", redis_broker.url], env=env,
                          capture_output=True, text=True, timeout=30, check=False, **more)


def record_events(app, seen):
    """Hears events until the end of the test."""
    ready = threading.Event()

    def hear():
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": seen.append})
            ready.set()
            try:
                receiver.capture(limit=None, timeout=20, wakeup=False)
            except Exception:  # the end of the test closes its connection
                pass
    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    ready.wait(5)
    time.sleep(0.5)  # until it has subscribed
    return thread


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")
def test_control_events_and_tasks_work_and_nothing_is_left(redis_broker, python, start, keys,
                                                           options):
    """C-49 C-75"""
    app, seen = python(**options), []
    record_events(app, seen)
    one = start("-E", **options)
    assert app.control.ping(timeout=5, limit=1) == [{one.node: {"ok": "pong"}}]
    stats = app.control.inspect(timeout=5, destination=[one.node]).stats()
    assert stats[one.node]["broker"]["transport"] == "redis"
    results = [app.send_task("testtasks.add", (i, 1), priority=i) for i in range(10)]
    assert [result.get(timeout=10) for result in results] == list(range(1, 11))
    assert ours(redis_broker, "inspect", "ping", options=options).stdout.startswith(
        f"->  {one.node}: OK")
    wait_until(lambda: sum(e["type"] == "task-succeeded" for e in list(seen)) == 10, 10, "events")
    assert any(event["type"] == "worker-online" for event in list(seen))
    one.stop()
    wait_until(lambda: any(e["type"] == "worker-offline" for e in list(seen)), 10, "the last event")
    # What is bound for good, and the monitor's.
    prefix = options.get("global_keyprefix", "")
    left = {f"{prefix}_kombu.{name}" for name in (
        "binding.celery", "binding_permanent.celery", "binding.celeryev", "binding_deadlines")}
    assert lasting(redis_broker, keys()) <= left
    with redis_broker.client.pipeline() as pipe:
        members = pipe.smembers(f"{prefix}_kombu.binding.celeryev").execute()[0]
    assert len(members) == 1


def test_killed_clients_leave_nothing(redis_broker, python, start, keys):
    """C-50"""
    one = start()
    before = keys()
    commands = [[BUILD / "bin/smallage", "inspect", "stats", "-b", redis_broker.url],
                [sys.executable, "-m", "celery", "-b", redis_broker.url, "inspect", "stats"]]
    reach = []
    for command in commands:
        began = time.monotonic()
        subprocess.run(command, capture_output=True, timeout=30, check=True)
        reach.append(time.monotonic() - began)
    for i in range(KILLED_CLIENTS):
        kind = i % 8 == 0  # Python takes its time
        client = subprocess.Popen(commands[kind], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, reach[kind]))
        client.send_signal(signal.SIGKILL)
        client.wait()
    def lists():
        return [key for key in keys() if redis_broker.client.type(key) == b"list"]
    assert all(redis_broker.client.pttl(key) != -1 for key in lists())
    wait_until(lambda: not lists(), 20, "the end of their lists")
    # A table of bindings may hold those whom nobody had answered yet, until its deadline.
    left = lasting(redis_broker, set(keys()) - set(before))
    assert left <= {"_kombu.binding.reply.celery.pidbox"}
    assert redis_broker.client.zscore("_kombu.binding_deadlines", "celery.pidbox")
    assert python().control.ping(timeout=5, limit=1) == [{one.node: {"ok": "pong"}}]


def test_topic_bindings_route_both_ways(redis_broker, python, start):
    """C-53 C-74"""
    app = python()
    one = start()
    reply, = app.control.add_consumer("q", exchange="t", exchange_type="topic",
                                      routing_key="a.*.c", reply=True, timeout=5, limit=1)
    assert "ok" in reply[one.node]
    exchange = Exchange("t", type="topic")
    wait_until(lambda: redis_broker.bound("t"), 5, "the binding")
    with app.connection_for_write() as connection:
        theirs = Queue("theirs", exchange, routing_key="a.#", channel=connection.channel())
        theirs.declare()
        # kombu reads our pattern here.
        results = [app.send_task("testtasks.add", (1, i), exchange=exchange, routing_key=key,
                                 connection=connection)
                   for i, key in enumerate(("a.b.c", "a.b.b.c", "a.c", "a.xyz.c"))]
        assert [results[0].get(timeout=10), results[3].get(timeout=10)] == [1, 4]
        assert redis_broker.client.llen("theirs") == 4
        assert redis_broker.client.llen("q") == 0
        # And we read theirs: a task that came by the exchange is tried again by it.
        app.send_task("testtasks.retry", (1, 0), exchange=exchange, routing_key="a.b.c",
                      connection=connection)
    one.wait_log("Retry")
    wait_until(lambda: redis_broker.client.llen("theirs") == 6, 10, "the second try")


def test_both_see_the_queues_of_the_other(redis_broker, python, start):
    """C-54"""
    app = python()
    one = start()
    one.stop()
    with app.connection_for_write() as connection:
        app.amqp.queues["celery"](connection.default_channel).declare()
        bindings = connection.get_manager().get_bindings()
    assert {"destination": "celery", "source": "celery", "routing_key": "celery"} in bindings
    for i in range(7):
        app.send_task("testtasks.add", (1, i), priority=i)
    purged = subprocess.run([sys.executable, "-m", "celery", "-b", redis_broker.url, "purge", "-f"],
                            capture_output=True, text=True, timeout=30, check=True)
    assert "Purged 7 messages" in purged.stdout
    listed = subprocess.run([sys.executable, "-m", "celery", "-b", redis_broker.url, "list",
                             "bindings"], capture_output=True, text=True, timeout=30, check=True)
    assert "celery" in listed.stdout


def test_a_sweep_leaves_what_lasts(redis_broker, python, start, keys):
    """C-72 C-73"""
    app = python()
    one = start()
    member = f"k{SEP}{SEP}q"
    app.control.add_consumer("q", exchange="shared", routing_key="k", reply=True, timeout=5, limit=1)
    client = redis_broker.client
    wait_until(lambda: client.sismember("_kombu.binding.shared", member), 5, "our binding")
    assert client.sismember("_kombu.binding_permanent.shared", member)
    own = f"{SEP}{SEP}{one.node}.celery.pidbox"
    assert client.sismember("_kombu.binding.celery.pidbox", own)
    assert not client.exists("_kombu.binding_permanent.celery.pidbox")
    deadline = client.zscore("_kombu.binding_deadlines", "celery.pidbox")
    assert deadline >= (time.time() + 3590) * 1000
    # An expiring queue was bound to the same exchange, long ago.
    client.sadd("_kombu.binding.shared", f"x{SEP}{SEP}gone")
    client.zadd("_kombu.binding_deadlines", {"shared": 1000})
    client.sadd("_kombu.binding.forgotten", f"x{SEP}{SEP}gone")
    client.zadd("_kombu.binding_deadlines", {"forgotten": 1000})
    subprocess.run([sys.executable, "-m", "celery", "-b", redis_broker.url, "inspect", "ping"],
                   capture_output=True, timeout=30, check=True)
    wait_until(lambda: not client.exists("_kombu.binding.forgotten"), 5, "the sweep")
    assert client.sismember("_kombu.binding.shared", member)
    one.stop()
    assert not client.sismember("_kombu.binding.celery.pidbox", own)


def test_a_broadcast_reaches_every_worker_once(redis_broker, python, start, results):
    """Broadcast tasks come over channels, at most once, whatever the prefetch count says."""
    app = python()
    both = [start(), start()]
    replies = app.control.add_consumer("all", exchange="all", exchange_type="fanout",
                                       routing_key="k", reply=True, timeout=5, limit=2)
    assert len(replies) == 2
    channel = f"/{redis_broker.db}.all/k"
    wait_until(lambda: dict(redis_broker.client.pubsub_numsub(channel))[channel.encode()] == 2, 5,
               "two subscriptions")
    with app.connection_for_write() as connection:
        # Celery does not declare it by itself, and takes it for a direct one.
        exchange = Exchange("all", type="fanout", channel=connection.default_channel)
        exchange.declare()
        for i in range(20):
            app.send_task("testtasks.add", (1, i), exchange=exchange, exchange_type="fanout",
                          routing_key="k", connection=connection)
    for one in both:
        one.wait_log("succeeded", count=20)
    for one in both:
        one.stop()
    assert not redis_broker.client.exists("unacked", "all")


def test_a_server_that_restarts_is_heard_again(redis_for_brokers, redis_broker, python, start):
    """C-51"""
    app = python()
    one = start()
    for end in (redis_for_brokers.stop, redis_for_brokers.kill):
        end()
        time.sleep(0.5)
        redis_for_brokers.start()
        wait_until(lambda: _pings(app, one), 20, "an answer")
    for kind in ("normal", "pubsub"):
        redis_broker.client.client_kill_filter(_type=kind, skipme=True)
        wait_until(lambda: _pings(app, one), 20, "an answer")


def _pings(app, one):
    try:
        return app.control.ping(timeout=1, limit=1) == [{one.node: {"ok": "pong"}}]
    except Exception:  # its own connections were cut
        return False


def test_the_full_server_does_not_stop_the_worker(redis_broker, python, start):
    """C-51"""
    app = python()
    one = start("-E")
    client = redis_broker.client
    client.config_set("maxmemory", 1)
    try:
        time.sleep(2)
        assert one.is_alive()
    finally:
        client.config_set("maxmemory", 0)
    assert app.send_task("testtasks.add", (1, 2)).get(timeout=10) == 3
    wait_until(lambda: _pings(app, one), 10, "an answer")


def test_neighbours_find_each_other(redis_broker, start):
    first = start(level="DEBUG")
    second = start()
    second.wait_log("mingle: sync with 1 nodes")
    first.wait_log(f"{second.node} joined the party")
    second.stop()
    first.wait_log(f"{second.node} left")


def test_a_headers_exchange_is_refused(redis_broker, python, start):
    app = python()
    one = start()
    reply, = app.control.add_consumer("q", exchange="h", exchange_type="headers", reply=True,
                                      timeout=5, limit=1)
    assert "ok" in reply[one.node]  # as Celery: what comes of it is in the log
    one.wait_log("type headers exists on RabbitMQ only")
    assert _pings(app, one)
