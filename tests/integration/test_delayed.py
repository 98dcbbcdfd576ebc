"""Native delayed delivery: tasks.md 3.3, section 9 lines 52, 53 and 180; with Celery beside it where
what is declared is compared."""
import contextlib
import json
import re
import time

import pytest
from kombu import Exchange, Queue
from kombu.transport.native_delayed_delivery import calculate_routing_key

import messages
from services.keeper import wait_until

pytestmark = pytest.mark.brokers("rabbitmq", why="RabbitMQ alone has it")
QUORUM = {"x-queue-type": "quorum"}
TOPIC = {"name": "qq", "exchange": {"name": "qx", "type": "topic"}, "routing_key": "qq",
         "queue_arguments": QUORUM}
QUEUES = [TOPIC,
          {"name": "any", "exchange": {"name": "qx", "type": "topic"}, "routing_key": "#.any"},
          {"name": "fan", "exchange": {"name": "fx", "type": "fanout"}, "routing_key": "f"},
          {"name": "plain", "exchange": "px", "routing_key": "p"},
          {"name": "news", "broadcast": True}]
ENDS = "celery_delayed_delivery"


def topology(broker):
    """All of RabbitMQ's but what control and events have."""
    def rows(what, *keys):
        text = json.dumps([{key: row[key] for key in keys}
                           for row in broker.rabbit.api("GET", f"/{what}/{broker.vhost}")
                           if not re.search("pidbox|celeryev", json.dumps(row))])
        found = json.loads(re.sub(r"bcast\.[0-9a-f-]{36}", "FRESH", text))
        return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))
    return {"queues": rows("queues", "name", "durable", "auto_delete", "arguments"),
            "exchanges": rows("exchanges", "name", "type", "durable", "auto_delete", "arguments"),
            "bindings": rows("bindings", "source", "destination", "destination_type",
                             "routing_key", "arguments")}


def bound(broker, source=ENDS):
    return {(row["destination"], row["routing_key"])
            for row in broker.rabbit.api("GET", f"/bindings/{broker.vhost}")
            if row["source"] == source}


def wait_bound(broker, exchange="qx", key="#.qq"):
    wait_until(lambda: (exchange, key) in bound(broker), 30, f"{exchange} bound to the delays")


@pytest.mark.parametrize("settings", [
    {"task_queues": QUEUES},
    {"task_queues": [TOPIC], "broker_native_delayed_delivery_queue_type": "classic"},
], ids=["quorum", "classic"])
def test_what_is_declared_is_what_celery_declares(pair, settings):
    """T-52"""
    both = pair(settings=settings)
    judge, own = (side.broker for side in both.sides)
    wait_until(lambda: any(ENDS == name for name, _ in bound(judge, "celery_delayed_0")), 60,
               "Celery's delays")
    with contextlib.suppress(AssertionError):
        wait_until(lambda: topology(own) == topology(judge), 30, "the same")
    wanted, got = topology(judge), topology(own)
    for what in wanted:
        assert [row for row in wanted[what] if row not in got[what]] == []
        assert [row for row in got[what] if row not in wanted[what]] == []
    wanted = {row["name"]: row["arguments"] for row in got["queues"]}
    kind = settings.get("broker_native_delayed_delivery_queue_type", "quorum")
    for level in range(28):
        arguments = wanted[f"celery_delayed_{level}"]
        assert arguments["x-message-ttl"] == 2 ** level * 1000
        assert arguments["x-queue-type"] == kind


class TestOneWorker:
    settings = {"task_queues": [TOPIC, {"name": "plain", "exchange": "px", "routing_key": "p"}]}
    # RabbitMQ counts what is in quorum queues every few seconds only.
    countable = {**settings, "broker_native_delayed_delivery_queue_type": "classic"}

    @pytest.fixture
    def queue(self, broker, app):
        app.conf.task_queues = [
            Queue("qq", Exchange("qx", "topic"), routing_key="qq", queue_arguments=QUORUM),
            Queue("plain", Exchange("px", "direct"), routing_key="p")]
        return broker

    def test_a_producers_countdown_waits_in_the_broker(self, queue, worker, app, results):
        """T-53"""
        one = worker(settings=self.countable)
        wait_bound(queue)
        started = time.monotonic()
        sent = app.send_task("testtasks.add", (1, 2), countdown=5, queue="qq")
        wait_until(lambda: queue.counts("celery_delayed_2")[0] == 1, 3, "a message that waits",
                   0.01)
        assert f"{sent.id}] received" not in one.log
        assert sent.get(timeout=10) == 3
        assert 4.5 <= time.monotonic() - started <= 5.5
        # Delays are no reason to hold up what is due now.
        later = [app.send_task("testtasks.noop", countdown=60, queue="qq") for _ in range(30)]
        assert app.send_task("testtasks.add", (1, 3), queue="qq").get(timeout=5) == 4
        assert not any(f"{one_of.id}] received" in one.log for one_of in later)

    @pytest.mark.deviates("Celery goes by its default queue, which is another one here")
    def test_a_retry_waits_there_with_one_prefix(self, queue, worker, app, results):
        """T-180"""
        worker(settings=self.settings)
        wait_bound(queue)
        queue.channel.queue_declare("copies", durable=True, auto_delete=False)
        queue.channel.queue_bind("copies", ENDS, "#")
        for args, countdown in (((3, 1), None), ((2, 2), 1)):
            started = time.monotonic()
            sent = app.send_task("testtasks.retry", args, countdown=countdown, queue="qq")
            assert sent.get(timeout=20) == args[0]
            took = args[0] * args[1] + (countdown or 0)
            assert took - 0.5 <= time.monotonic() - started <= took + 2
            keys = [message.delivery_info["routing_key"]
                    for message in iter(lambda: queue.peek("copies"), None)]
            wanted = [calculate_routing_key(args[1], "qq")] * args[0]
            if countdown:
                wanted.insert(0, calculate_routing_key(countdown, "qq"))
            assert keys == wanted

    @pytest.mark.deviates("Celery rejects the retry, and loses it behind another queue's key")
    def test_short_delays_and_other_keys_are_kept(self, queue, worker, app, results):
        """A retry after less than a second is not delayed in the broker; one of a message with a
        key of its own keeps it."""
        settings = {"task_queues": [{**TOPIC, "routing_key": "a.#"}]}
        app.conf.task_queues = [
            Queue("qq", Exchange("qx", "topic"), routing_key="a.#", queue_arguments=QUORUM)]
        worker(settings=settings)
        wait_bound(queue, "qx", "#.a.#")
        for countdown in (0, 0.2, 1.2):
            id = messages.new_id()
            queue.channel.basic_publish_confirm(
                messages.Message(messages.body((2, countdown)),
                                 headers=messages.headers("testtasks.retry", id, (2, countdown)),
                                 **messages.properties(id)), exchange="qx", routing_key="a.own")
            assert results.value(id) == 2

    def test_links_wait_there_too(self, queue, worker, app, results):
        worker(settings=self.countable)
        wait_bound(queue)
        link = app.signature("testtasks.noop", immutable=True).set(queue="qq", countdown=4)
        after = link.freeze()
        app.send_task("testtasks.add", (1, 2), link=link, queue="plain")
        wait_until(lambda: queue.counts("celery_delayed_2")[0] == 1, 5, "a link that waits", 0.01)
        assert results.value(after.id) is None

    def test_a_direct_exchange_is_waited_for_here(self, queue, worker, app, results):
        one = worker(settings=self.settings)
        wait_bound(queue)
        one.wait_log("Exchange '?px'? is a direct exchange")
        sent = app.send_task("testtasks.retry", (1, 1), countdown=2, queue="plain")
        wait_until(lambda: queue.counts("plain") == (0, 1), 2, "a message in hand", 0.01)
        assert sent.get(timeout=10) == 1


def test_with_a_python_worker_beside_it(broker, worker, app, results):
    """T-52: whoever comes second finds what it would declare."""
    app.conf.task_queues = [
        Queue("qq", Exchange("qx", "topic"), routing_key="qq", queue_arguments=QUORUM)]
    settings = {"task_queues": [TOPIC]}
    both = [worker(settings=settings, judge=True)]
    wait_bound(broker)
    both.append(worker(settings=settings))
    wait_until(lambda: broker.server_closes() and "Connection to broker lost" in both[1].log, 15,
               "end of the connection", 0.5)
    both[1].wait_log("Connected to", count=2)
    sent = [app.send_task("testtasks.retry", (1, 1), countdown=1, queue="qq") for _ in range(20)]
    assert [one.get(timeout=20) for one in sent] == [1] * 20
    assert "PRECONDITION" not in both[0].log + both[1].log


@pytest.mark.smallage_only("Celery's worker declares no such stages and says so in other words")
def test_stages_declared_otherwise_are_reported_and_tasks_go_on(broker, worker, results):
    broker.channel.queue_declare("celery_delayed_27", durable=True, auto_delete=False)
    one = worker(settings={"task_queues": [TOPIC]}, queues="qq")
    one.wait_log("native delayed delivery cannot be set up.*406")
    id = messages.new_id()
    broker.channel.basic_publish_confirm(
        messages.Message(messages.body((1, 1.2)), headers=messages.headers(
            "testtasks.retry", id, (1, 1.2)), **messages.properties(id)),
        exchange="qx", routing_key="qq")
    assert results.value(id) == 1
