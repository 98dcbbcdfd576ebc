"""Who is meant by a request, where the reply goes, and what a broken request does: nothing."""
import json
import os
import threading
import time

import pytest

from mailbox import Mailbox
from services.keeper import wait_until
from worker import JUDGE

KILLED_CLIENTS = int(os.environ.get("SMALLAGE_KILLED_CLIENTS", "100"))


@pytest.fixture
def one(broker, worker):
    broker.declare()
    return worker(name="w1@wire.test")


@pytest.fixture
def box(broker, one):
    mailbox = Mailbox(broker)
    yield mailbox
    mailbox.close()


ANSWERED = {
    "nobody named": {"destination": []},
    "no destination key": {"destination": None},
    "its name": {"destination": ["x@y", "w1@wire.test"]},
    "part of a text": {"destination": "a,w1@wire.test,b"},
    "the text itself": {"destination": "w1@wire.test"},
    "glob": {"pattern": "w*", "matcher": "glob"},
    "glob of one": {"pattern": "w?@w[ijk]re.*", "matcher": "glob"},
    "glob without": {"pattern": "w[!2]@*", "matcher": "glob"},
    "pcre start": {"pattern": "w1", "matcher": "pcre"},
    "pcre class": {"pattern": r"(w|x)\d+@[a-z.]+$", "matcher": "pcre"},
    "pattern alone": {"pattern": "zzz"},
    "matcher alone": {"matcher": "glob"},
    "destination wins": {"destination": ["w1@wire.test"], "pattern": "zz", "matcher": "glob"},
    "unknown keys": {"bogus": [1, {"a": None}]},
    "arguments null": {"arguments": None},
}
SILENT = {
    "another": {"destination": ["w2@wire.test"]},
    "its name in part": {"destination": ["w1@wire"]},
    "a text without it": {"destination": "w1@wire.tes"},
    "upper case": {"destination": ["W1@WIRE.TEST"]},
    "glob": {"pattern": "x*", "matcher": "glob"},
    "glob is case-sensitive": {"pattern": "W*", "matcher": "glob"},
    "glob of a part": {"pattern": "w1", "matcher": "glob"},
    "pcre": {"pattern": "x", "matcher": "pcre"},
    "pcre not at the start": {"pattern": "wire", "matcher": "pcre"},
    "unknown matcher": {"pattern": "w1", "matcher": "sql"},
    "arguments a list": {"arguments": [1]},
    "arguments a text": {"arguments": "x"},
    "method a list": {"method": ["ping"]},
}


def test_the_worker_answers_when_it_is_meant(box):
    """C-3 C-4 C-5 C-8"""
    for what, change in ANSWERED.items():
        ticket = box.send(**{"method": "ping", **change})
        try:
            reply, = box.take(ticket, timeout=5)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None
        assert reply.body == {"w1@wire.test": {"ok": "pong"}}, what


def test_the_worker_is_silent_when_another_is_meant(box):
    """C-4 C-5 C-8"""
    for what, change in SILENT.items():
        if JUDGE and what == "method a list":
            continue  # Celery says which TypeError it was
        ticket = box.send(**{"method": "ping", **change})
        box.settle()
        assert not [reply for reply in box.replies if reply.ticket == ticket], what


def test_a_ticket_of_any_kind_comes_back(box):
    """C-6"""
    for ticket in (7, "x", "", 2.5, True, ["a", 1]):
        # Unhashable and falsy ones too: the worker only echoes.
        body = {"method": "ping", "arguments": {}, "ticket": ticket, "reply_to": box.reply_to}
        before = len(box.replies)
        box.post(json.dumps(body), headers={"clock": 1, "expires": 0})
        wait_until(lambda: box.pump(0.1) or len(box.replies) > before, 5, f"reply {ticket!r}")  # noqa: B023
        assert box.replies[-1].ticket == ticket and type(box.replies[-1].ticket) is type(ticket)


@pytest.mark.parametrize("has_null", [True, False])
def test_without_ticket_the_reply_has_null(box, has_null):
    """C-6"""
    body = {"method": "ping", "reply_to": box.reply_to, **({"ticket": None} if has_null else {})}
    box.post(json.dumps(body), headers={"clock": 1})
    wait_until(lambda: box.pump(0.1) or box.replies, 5, "reply")
    assert "ticket" in box.replies[0].headers and box.replies[0].ticket is None


def test_a_cast_runs_and_sends_nothing(box):
    """C-6"""
    box.cast("revoke", {"task_id": "by-a-cast"})
    box.cast("ping")
    box.cast("nosuch")
    box.cast("revoke", {"bogus": 1})
    box.settle()
    assert not box.replies
    assert "by-a-cast" in box.ask("revoked")


def test_the_reply_goes_where_it_shall(box):
    """C-7"""
    elsewhere = box.listen("some.other.exchange", "a key")
    reply, = box.take(box.send("ping", reply_to=elsewhere))
    assert reply.delivery["exchange"] == "some.other.exchange"
    assert reply.delivery["routing_key"] == "a key"


def test_a_reply_is_as_celerys(box):
    """C-3 C-6"""
    clocks = []
    for _ in range(3):
        ticket = box.send("ping")
        reply, = box.take(ticket)
        properties = reply.properties
        assert properties["content_type"] == "application/json"
        assert properties["content_encoding"] == "utf-8"
        assert (properties["delivery_mode"], properties.get("priority")) == (1, 0)
        assert set(properties) == {"content_type", "content_encoding", "delivery_mode", "priority",
                                   "application_headers"}
        assert set(reply.headers) == {"ticket", "clock"} and reply.ticket == ticket
        assert reply.delivery["exchange"] == "reply.celery.pidbox"
        assert reply.delivery["routing_key"] == box.oid
        clocks.append(reply.headers["clock"])
    assert clocks == sorted(set(clocks)) and all(type(clock) is int for clock in clocks)


def test_a_reply_nobody_waits_for_is_dropped(box):
    """C-7"""
    box.send("ping", reply_to={"exchange": "reply.celery.pidbox", "routing_key": "gone"})
    box.send("ping", reply_to={"exchange": "never.declared", "routing_key": "gone"})
    box.settle()


BROKEN = [
    (b"[1,2]", "application/json"), (b"{{{", "application/json"), (b"", "application/json"),
    (b"\xff\xfe", "application/json"), (b"null", "application/json"), (b"7", "application/json"),
    (b'"ping"', "application/json"), (b"{}", "application/json"),
    (b"ping", "text/plain"), (b"\x80\x04}q\x00.", "application/x-python-serialize"),
    (b"method: ping", "application/x-yaml"), (b"\x00", "application/data"),
    (b'{"arguments": {}}', "application/json"), (b'{"method": null}', "application/json"),
    (b'{"method": 5, "arguments": {}}', "application/json"),
    (b'{"method": "ping", "reply_to": 5, "ticket": "x"}', "application/json"),
    (b'{"method": "ping", "reply_to": {"exchange": 5}, "ticket": "x"}', "application/json"),
    (b'{"method": "ping", "destination": 7}', "application/json"),
    (b'{"method": "ping", "pattern": "(", "matcher": "pcre"}', "application/json"),
    (b'{"method": "ping", "pattern": 5, "matcher": 5}', "application/json"),
    (b"[" * 100000, "application/json"),
    (json.dumps({"method": "ping", "arguments": {"x": "y" * 1000000}}).encode(),
     "application/json"),
]


def test_a_broken_request_silences_nothing(box, broker, results):
    """C-8"""
    for body, kind in BROKEN:
        box.post(body, kind, {"clock": 1})
        box.settle()
    for clock in ("text", None, [1], {"a": 1}, True, 1 << 60, -1, 2.5):
        box.send("ping", headers={"clock": clock})
        box.settle()
    assert results.value(broker.send("add", (1, 2))) == 3


def test_headers_are_not_needed(box):
    """C-9"""
    box.take(box.send("ping", headers={"expires": time.time() - 100}))
    for headers in (None, {}, {"clock": 1}, {"clock": 5, "expires": "never"}):
        before = len(box.replies)
        box.post(json.dumps({"method": "ping", "ticket": "t", "reply_to": box.reply_to}),
                 headers=headers)
        wait_until(lambda: box.pump(0.1) or len(box.replies) > before, 5, f"{headers}")  # noqa: B023


@pytest.mark.brokers("rabbitmq", why="queues have no arguments there")
def test_the_mailbox_is_declared_as_celerys(broker, one, box):
    """C-10"""
    queue = broker.rabbit.api("GET", f"/queues/{broker.vhost}/w1@wire.test.celery.pidbox")
    assert queue["arguments"] == {"x-expires": 10000, "x-message-ttl": 300000}
    assert (queue["durable"], queue["auto_delete"], queue["exclusive"]) == (False, True, True)
    exchanges = {each["name"]: each for each in
                 broker.rabbit.api("GET", f"/exchanges/{broker.vhost}")}
    for name, kind in (("celery.pidbox", "fanout"), ("reply.celery.pidbox", "direct")):
        each = exchanges[name]
        assert (each["type"], each["durable"], each["auto_delete"]) == (kind, False, False)
    bound = broker.rabbit.api("GET", f"/exchanges/{broker.vhost}/celery.pidbox/bindings/source")
    assert [(each["destination"], each["routing_key"]) for each in bound] == \
        [("w1@wire.test.celery.pidbox", "")]


@pytest.mark.brokers("rabbitmq", why="queues have no arguments there")
def test_settings_change_the_mailbox(broker, worker):
    """C-7 C-10"""
    broker.declare()
    one = worker(settings={"control_exchange": "ctl", "control_queue_ttl": 20.5,
                           "control_queue_expires": 30, "control_queue_exclusive": False})
    box = Mailbox(broker, "ctl")
    box.settle()
    queue = broker.rabbit.api("GET", f"/queues/{broker.vhost}/{one.node}.ctl.pidbox")
    assert queue["arguments"] == {"x-expires": 30000, "x-message-ttl": 20500}
    assert (queue["durable"], queue["auto_delete"], queue["exclusive"]) == (False, True, False)
    box.close()


def test_without_remote_control_there_is_no_mailbox(broker, worker):
    broker.declare()
    worker(settings={"worker_enable_remote_control": False})
    assert not [name for name in broker.bound("celery.pidbox") if ".reply." not in name]


@pytest.mark.smallage_only("Celery's worker ends: the queue is exclusive")
def test_a_second_worker_of_the_name_takes_nothing_down(broker, worker, one, box, results):
    """C-11"""
    second = worker(name=one.node)
    ids = [broker.send("add", (i, i)) for i in range(20)]
    results.wait_all(ids)
    box.settle()
    one.stop()
    # The second one gets the name as soon as it is free.
    box.settle(timeout=30)
    assert second.is_alive()
    assert results.value(broker.send("add", (1, 2))) == 3


@pytest.mark.parametrize("pool", ["prefork", "threads", pytest.param(
    "solo", marks=pytest.mark.deviates("solo answers nothing while a task runs"))])
def test_the_worker_answers_while_every_slot_is_busy(broker, worker, pool):
    """C-12"""
    broker.declare()
    one = worker(concurrency=1 if pool == "solo" else 2, pool=pool)
    box = Mailbox(broker)
    for _ in range(12):
        broker.send("spin", (6,))
    wait_until(lambda: box.ask("active"), 10, "a running task", 0.1)
    slowest = 0
    for _ in range(10):
        started = time.monotonic()
        assert box.ping(timeout=3) == {"ok": "pong"}
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.1)
    assert slowest < 1
    box.close()
    one.kill()


@pytest.mark.deviates("Celery is silent as soon as it stops")
def test_the_worker_answers_while_it_stops(broker, worker, one, box, results):
    """C-12"""
    id = broker.send("sleep", (3,))
    wait_until(lambda: box.ask("active"), 10, "a running task", 0.1)
    one.signal(15)
    one.wait_log("[Ww]arm shutdown")
    for _ in range(5):
        assert box.ping(timeout=1) == {"ok": "pong"}
        time.sleep(0.2)
    assert [row["id"] for row in box.ask("active")] == [id]
    assert one.wait_end() == 0
    assert results.value(id) == 3


def test_two_hundred_pings_at_once_are_answered(broker, one):
    """C-13"""
    wrong = []

    def client(number):
        try:
            box = Mailbox(broker)
            tickets = [box.send("ping", ticket=f"{number}-{i}") for i in range(10)]
            for ticket in tickets:
                reply, = box.take(ticket, timeout=10)
                if reply.body != {one.node: {"ok": "pong"}}:
                    wrong.append(reply.body)
            if box.replies:
                wrong.append([reply.body for reply in box.replies])
            box.close()
        except (AssertionError, OSError) as error:
            wrong.append(f"{number}: {error}")

    threads = [threading.Thread(target=client, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:5]


def test_celerys_client_gets_its_own_answers_in_twenty_threads(one, app):
    """C-13 C-44: eight kinds of requests side by side, as Flower sends them."""
    methods = ["stats", "active_queues", "registered", "conf", "scheduled", "active", "reserved",
               "revoked"]
    wrong = []
    app.conf.broker_pool_limit = 100  # each thread takes two; with ten they wait for each other

    def ask(method):
        while True:
            try:
                return getattr(app.control.inspect(destination=[one.node], timeout=10), method)()
            except RuntimeError as error:
                # Kombu's tables of connections are not made for threads.
                if "dictionary changed size" not in str(error):
                    raise

    def client(number):
        try:
            for i in range(3):
                method = methods[(number + i) % 8]
                answer = ask(method)
                value = (answer or {}).get(one.node)
                is_object = method in ("stats", "conf")
                if type(value) is not (dict if is_object else list):
                    wrong.append((method, answer))
        except Exception as error:  # whatever the client met
            wrong.append(repr(error))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]


@pytest.mark.brokers("rabbitmq", why="answers outlive their client a little: test_redis_remote")
def test_killed_clients_leave_nothing(broker, one, box):
    """Their reply queues go with their connections."""
    for i in range(KILLED_CLIENTS):
        client = Mailbox(broker)
        client.send("stats")
        if i % 2:
            client.link.drop()
        else:
            client.close()
    box.settle()
    wait_until(lambda: len([name for name in broker.queues()
                            if name.startswith(box.oid) or ".reply." in name]) <= 1, 20,
               "only our own reply queue", 0.2)
    assert JUDGE or one.is_alive()
