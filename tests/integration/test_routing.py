"""Queues, exchanges and routes of the settings: tasks.md 3.1, T-156; with Celery beside it where
what is declared is compared."""
import contextlib
import json
import re

import amqp
import pytest
from kombu import Exchange, Queue

import messages
from recorder import Recorder
from services.keeper import wait_until

pytestmark = pytest.mark.brokers("rabbitmq", why="it looks into RabbitMQ")
TASK = "testtasks."


def plain(value):
    """Without what is another in each worker."""
    return json.loads(re.sub(r"bcast\.[0-9a-f-]{36}|\bother\.[0-9a-f-]{36}", "FRESH",
                             json.dumps(value, sort_keys=True)))


def is_ours(name):
    return not re.search(r"pidbox|celeryev|celery_delayed|^amq\.|^$", name)


def topology(broker):
    """All that RabbitMQ knows of queues, exchanges and bindings but what control, events and
    Celery's delayed delivery have."""
    def rows(what, *keys):
        found = [{key: row[key] for key in keys}
                 for row in broker.rabbit.api("GET", f"/{what}/{broker.vhost}")
                 if is_ours(row.get("source", row.get("name")))
                 and is_ours(row.get("destination", "x"))]
        return sorted(plain(found), key=json.dumps)
    return {"queues": rows("queues", "name", "durable", "auto_delete", "exclusive", "arguments"),
            "exchanges": rows("exchanges", "name", "type", "durable", "auto_delete", "arguments"),
            "bindings": rows("bindings", "source", "destination", "routing_key", "arguments")}


LIST = [
    "named",
    {"name": "bare"},
    {"name": "topic", "exchange": "ex", "exchange_type": "topic", "routing_key": "a.#"},
    {"name": "deep", "exchange": {"name": "dx", "type": "fanout", "durable": False,
                                  "auto_delete": True, "arguments": {"alternate-exchange": "ex"}},
     "queue_arguments": {"x-max-length": 7}, "consumer_arguments": {"x-priority": 2},
     "message_ttl": 60.5, "max_priority": 3, "alias": "deeper"},
    {"name": "many", "bindings": [
        {"exchange": "one", "routing_key": "k1"},
        {"exchange": "ex", "exchange_type": "topic", "routing_key": "b.*"},
        {"exchange": {"name": "hx", "type": "headers"},
         "arguments": {"x-match": "any", "kind": "urgent"}},
        {"exchange": "amq.topic", "exchange_type": "topic", "routing_key": "z"}]},
    {"name": "gone", "durable": False, "auto_delete": True, "expires": 30},
    {"name": "news", "broadcast": True},
    {"name": "named_news", "broadcast": True, "queue": "other", "unique": True},
]
MAPPING = {
    "bare": {},
    "topic": {"exchange": "ex", "exchange_type": "topic", "binding_key": "a.#"},
    "passing": {"exchange": "px", "durable": False, "routing_key": "p"},
    "filled": {"exchange": "fx", "queue_arguments": {"x-max-priority": 3}, "alias": "other"},
    "kept": {"exchange": "kx", "exchange_durable": True, "queue_durable": False},
    "news": {"broadcast": True},
}
DEFAULTS = {"task_default_queue": "dq", "task_default_exchange": "dx",
            "task_default_exchange_type": "topic", "task_default_routing_key": "dq.#",
            "task_queue_max_priority": 7}
CASES = {
    "list": ({"task_queues": LIST}, None),
    "mapping": ({"task_queues": MAPPING, "task_queue_max_priority": 9}, None),
    "defaults": (DEFAULTS, None),
    "defaults-list": ({**DEFAULTS, "task_queues": [{"name": "a"}, {"name": "dq"}]}, None),
    "quorum": ({"task_default_queue_type": "quorum", "task_default_queue": "dq"}, None),
    "missing-quorum": ({"task_create_missing_queue_type": "quorum"}, "celery,q1"),
    "missing-topic": ({"task_create_missing_queue_exchange_type": "topic"}, "celery,q1"),
    "selected": ({"task_queues": LIST, "worker_direct": True}, "deeper,news,else"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_declared_is_what_celery_declares(pair, case):
    """T-43 T-44 T-45 C-18"""
    settings, queues = CASES[case]
    both = pair(settings=settings, queues=queues)
    judge = topology(both.sides[0].broker)
    with contextlib.suppress(AssertionError):  # ready means: the first of its queues is consumed
        wait_until(lambda: topology(both.sides[1].broker) == judge, 5, "the same")
    own = topology(both.sides[1].broker)
    for what in judge:
        assert [row for row in judge[what] if row not in own[what]] == []
        assert [row for row in own[what] if row not in judge[what]] == []
    shown = [sorted(plain(side.mailbox.ask("active_queues", {})), key=json.dumps)
             for side in both.sides]
    for queue in shown[0] + shown[1]:
        queue["bindings"].sort(key=json.dumps)  # Celery holds a set
    assert shown[1] == shown[0]


@pytest.fixture
def queue(broker):
    for name in ("celery", "later"):
        broker.declare(name)
    return broker


def publish(broker, exchange, key, task="add", args=(1, 2), headers=None):
    id = messages.new_id()
    message = messages.Message(messages.body(args),
                               headers={**messages.headers(TASK + task, id, args),
                                        **(headers or {})}, **messages.properties(id))
    broker.channel.basic_publish_confirm(message, exchange=exchange, routing_key=key)
    return id


def test_messages_come_in_by_every_type_of_exchange(queue, worker, results):
    one = worker(settings={"task_queues": LIST})
    assert results.value(publish(queue, "ex", "a.x.y")) == 3
    assert results.value(publish(queue, "ex", "b.x")) == 3
    assert results.value(publish(queue, "one", "k1")) == 3
    assert results.value(publish(queue, "dx", "whatever")) == 3
    assert results.value(publish(queue, "hx", "", headers={"kind": "urgent"})) == 3
    assert results.value(publish(queue, "amq.topic", "z")) == 3
    assert results.value(publish(queue, "news", "")) == 3
    lost = [publish(queue, "ex", "b.x.y"), publish(queue, "one", "k2"), publish(queue, "hx", "")]
    assert results.value(publish(queue, "", "named")) == 3
    assert not any(results.record(id) for id in lost)
    assert one.is_alive()


def test_every_worker_has_its_own_copy_of_a_broadcast(queue, worker, results):
    settings = {"task_queues": [{"name": "celery", "exchange": "celery", "routing_key": "celery"},
                                {"name": "news", "broadcast": True}]}
    all_of_them = [worker(settings=settings) for _ in range(3)]
    id = publish(queue, "news", "celery", "echo", ("to all",))
    for one in all_of_them:
        one.wait_log(rf"Task testtasks.echo\[{id}\] succeeded")
    private = [name for name in queue.rabbit.queues(queue.vhost) if name.startswith("bcast.")]
    assert len(private) == 3
    for one in all_of_them[:2]:
        assert one.stop() == 0
    wait_until(lambda: len([n for n in queue.rabbit.queues(queue.vhost)
                            if n.startswith("bcast.")]) == 1, 10, "one queue left")
    id = publish(queue, "news", "", "echo", ("again",))
    all_of_them[2].wait_log(rf"{id}\] succeeded")
    queue.server_closes()
    all_of_them[2].wait_log("Connected to", count=2)
    wait_until(lambda: any(n.startswith("bcast.") for n in queue.rabbit.queues(queue.vhost)), 10,
               "its queue")
    id = publish(queue, "news", "", "echo", ("once more",))
    all_of_them[2].wait_log(rf"{id}\] succeeded")


def linked(app, results, name, **options):
    """A task whose link is sent by the worker; the link's id."""
    args = {"progress": (1,), "sleep": (0,)}.get(name, ())
    link = app.signature(TASK + name, args=args, immutable=True).set(**options)
    after = link.freeze()
    sent = app.send_task(TASK + "add", (1, 2), link=link)
    assert results.value(sent.id) == 3
    return after.id


ROUTES = {
    "testtasks.noop": "later",
    "testtasks.pro*": {"queue": "topic", "routing_key": "a.routed", "priority": 4},
    "*.sleep": {"exchange": "ex", "routing_key": "a.slept"},
    "testtasks.*": {"queue": "later", "priority": 2},
}


class TestWhatTheWorkerSends:
    settings = {"task_queues": {"celery": {"exchange": "celery"},
                                "topic": {"exchange": "ex", "exchange_type": "topic",
                                          "routing_key": "a.#"}},
                "task_routes": ROUTES}

    def test_goes_where_task_routes_say(self, queue, worker, results, app):
        """T-156"""
        queue.channel.exchange_declare("ex", "topic", durable=True, auto_delete=False)
        queue.channel.queue_declare("topic", durable=True, auto_delete=False)
        queue.channel.queue_bind("topic", "ex", "a.#")
        worker(queues="celery", settings=self.settings)
        found = {}
        for task, where in (("noop", "later"), ("progress", "topic"), ("sleep", "topic"),
                            ("echo", "later")):
            id = linked(app, results, task)
            message = queue.get(where)
            assert message.headers["id"] == id
            found[task] = (message.delivery_info["exchange"],
                           message.delivery_info["routing_key"], message.properties["priority"])
        assert found == {"noop": ("", "later", 0), "progress": ("ex", "a.routed", 4),
                         "sleep": ("ex", "a.slept", 0), "echo": ("", "later", 2)}

    def test_its_own_options_go_before_the_routes(self, queue, worker, results, app):
        """T-156"""
        queue.declare("own")
        worker(queues="celery", settings=self.settings)
        id = linked(app, results, "echo", queue="own")
        message = queue.get("own")
        assert (message.headers["id"], message.properties["priority"]) == (id, 2)
        id = linked(app, results, "echo", queue="topic", routing_key="a.mine", priority=7)
        message = queue.get("topic")
        assert message.headers["id"] == id
        assert message.delivery_info["exchange"] == "ex"
        assert message.delivery_info["routing_key"] == "a.mine"
        assert message.properties["priority"] == 7

    def test_a_broadcast_is_sent_to_all(self, queue, worker, results, app):
        """T-156"""
        settings = {"task_queues": [{"name": "celery", "exchange": "celery",
                                     "routing_key": "celery"},
                                    {"name": "news", "broadcast": True}],
                    "task_routes": {"testtasks.noop": "news"}}
        both = [worker(settings=settings) for _ in range(2)]
        id = linked(app, results, "noop")
        for one in both:
            one.wait_log(rf"Task testtasks.noop\[{id}\] succeeded")

    def test_a_retry_goes_back_to_its_exchange(self, queue, worker, results):
        worker(settings=self.settings)
        id = publish(queue, "ex", "a.retried", "retry", (1,))
        assert results.value(id) == 1
        id = publish(queue, "", "topic", "retry", (1,))
        assert results.value(id) == 1


def test_a_queue_that_is_not_defined_is_not_sent_to(queue, worker, results, app):
    one = worker(settings={"task_queues": {"celery": {"exchange": "celery"}},
                           "task_create_missing_queues": False,
                           "task_routes": {"testtasks.noop": "nowhere"}})
    link = app.signature(TASK + "noop", immutable=True)
    app.send_task(TASK + "add", (1, 2), link=link)
    one.wait_log("'nowhere' missing from task_queues")
    assert "nowhere" not in queue.rabbit.queues(queue.vhost)


@pytest.fixture
def other(new_broker):
    with new_broker() as own:
        own.declare()
        yield own


class TestTwoBrokers:
    """broker_read_url and broker_write_url."""

    @staticmethod
    def settings(broker, other):
        return {"broker_read_url": broker.url, "broker_write_url": other.url}

    def test_tasks_come_from_one_and_go_to_the_other(self, queue, other, worker, results, app):
        """C-69"""
        worker(settings=self.settings(queue, other))
        id = linked(app, results, "noop")
        assert other.get("celery").headers["id"] == id
        assert queue.peek("celery") is None
        id = queue.send("retry", (1,))
        assert other.get("celery").headers["id"] == id
        assert queue.peek("celery") is None

    @pytest.mark.deviates("Celery answers on the other broker, where nobody waits")
    def test_control_is_answered_where_it_was_asked(self, queue, other, worker, app):
        one = worker(settings=self.settings(queue, other))
        assert app.control.ping([one.node], timeout=5) == [{one.node: {"ok": "pong"}}]

    def test_events_go_where_tasks_go(self, queue, other, worker, results):
        with Recorder(other) as heard, Recorder(queue) as here:
            worker("-E", settings=self.settings(queue, other))
            id = queue.send("add", (1, 2))
            assert results.value(id) == 3
            wait_until(lambda: any(event.get("uuid") == id and event["type"] == "task-succeeded"
                                   for message in heard.messages for event in message.events),
                       10, "the event")
            assert not [event for message in here.messages for event in message.events]

    @pytest.mark.deviates("Celery answers on the other broker, where nobody waits")
    def test_no_password_is_shown(self, queue, other, worker, app):
        """C-69"""
        one = worker(settings=self.settings(queue, other))
        conf = app.control.inspect([one.node], timeout=5).conf()[one.node]
        for name in ("broker_read_url", "broker_write_url"):
            assert re.search(r"//\w+:\*{8}@", conf[name]), conf[name]
        stats = app.control.inspect([one.node], timeout=5).stats()[one.node]
        assert stats["broker"]["virtual_host"] == queue.vhost

    def test_they_may_be_of_different_kinds(self, queue, redis_broker, worker, results, app):
        worker(settings=self.settings(redis_broker, queue), broker_url=redis_broker.url)
        id = redis_broker.send("retry", (1,))
        assert queue.get("celery").headers["id"] == id
        assert results.value(redis_broker.send("add", (1, 2))) == 3

    def test_a_cold_end_and_a_lost_connection_of_either_lose_nothing(self, queue, other, worker,
                                                                     results):
        one = worker(settings=self.settings(queue, other))
        for broker in (other, queue):
            broker.server_closes()
            id = queue.send("retry", (1,))
            assert other.get("celery", 20).headers["id"] == id
        assert one.stop() == 0

    @pytest.mark.smallage_only("Celery fails such tasks")
    def test_what_cannot_be_sent_waits_and_tasks_go_on(self, queue, other, worker, results, app):
        other.rabbit.api("DELETE", f"/permissions/{other.vhost}/guest")
        one = worker(settings=self.settings(queue, other))
        id = queue.send("retry", (1,))
        one.wait_log("for sending")
        assert results.value(queue.send("add", (1, 2))) == 3
        other.rabbit.api("PUT", f"/permissions/{other.vhost}/guest",
                         {"configure": ".*", "write": ".*", "read": ".*"})
        other.close()
        assert other.get("celery", 30).headers["id"] == id
        assert one.stop() == 0


def test_python_and_we_share_queues_of_all_types(queue, worker, results, app):
    """Python's producer with the same task_queues declares before and after without a quarrel."""
    app.conf.task_queues = [Queue("topic", Exchange("ex", "topic"), routing_key="a.#")]
    sent = app.send_task(TASK + "add", (1, 2), queue="topic", routing_key="a.b")
    worker(settings={"task_queues": LIST})
    assert results.value(sent.id) == 3
    sent = app.send_task(TASK + "add", (1, 3), queue="topic", routing_key="a.b")
    assert results.value(sent.id) == 4


@pytest.mark.deviates("Celery's worker ends: 406 PRECONDITION_FAILED")
def test_an_exchange_declared_otherwise_stops_only_its_queue(queue, worker, results):
    """C-61"""
    queue.channel.exchange_declare("ex", "direct", durable=True, auto_delete=False)
    one = worker(settings={"task_queues": LIST})
    one.wait_log("queue 'topic' cannot be consumed: 406")
    assert results.value(publish(queue, "", "named")) == 3
    with pytest.raises(amqp.exceptions.NotFound):
        queue.channel.queue_declare("nothing", passive=True)
