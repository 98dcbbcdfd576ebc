"""Queues that remote control adds and cancels, and the stop it asks for; by Celery's own client."""
import pytest

from services.keeper import wait_until


def names(app, node):
    found = app.control.inspect(destination=[node], timeout=5).active_queues()
    return sorted(queue["name"] for queue in found[node])


def test_an_added_queue_is_consumed_until_it_is_cancelled(broker, worker, results, app):
    """C-18 C-29"""
    broker.declare()
    node = worker().node
    reply = app.control.add_consumer("later", destination=[node], reply=True, timeout=5)
    assert reply == [{node: {"ok": "add consumer later"}}]
    wait_until(lambda: names(app, node) == ["celery", "later"], 1, "the queue on the list", 0.05)
    assert results.value(broker.send("add", (1, 2), queue="later")) == 3
    reply = app.control.cancel_consumer("later", destination=[node], reply=True, timeout=5)
    assert reply == [{node: {"ok": "no longer consuming from later"}}]
    wait_until(lambda: names(app, node) == ["celery"], 1, "the queue off the list", 0.05)
    broker.send("add", (1, 2), queue="later")
    broker.wait_counts(1, 0, "later")
    assert results.value(broker.send("add", (2, 2))) == 4
    # Known by name, it comes back as it was.
    app.control.add_consumer("later", destination=[node], reply=True, timeout=5)
    wait_until(lambda: broker.counts("later")[0] == 0, 10, "an empty queue")


@pytest.mark.brokers("rabbitmq", why="queues have no arguments there")
def test_an_added_queue_is_declared_as_asked(broker, worker, results, app):
    """C-29: exchange, type, key and options; unknown options are ignored."""
    broker.declare()
    node = worker().node
    app.control.add_consumer("deep", exchange="ex", exchange_type="topic", routing_key="a.#",
                             options={"max_priority": 5, "message_ttl": 60, "bogusopt": 7,
                                      "queue_arguments": {"x-max-length": 10}},
                             destination=[node], reply=True, timeout=5)
    wait_until(lambda: "deep" in broker.rabbit.queues(broker.vhost), 5, "the queue", 0.05)
    queue = broker.rabbit.api("GET", f"/queues/{broker.vhost}/deep")
    assert queue["arguments"] == {"x-max-priority": 5, "x-message-ttl": 60000, "x-max-length": 10}
    assert queue["durable"] and not queue["auto_delete"]
    bound = broker.rabbit.api("GET", f"/exchanges/{broker.vhost}/ex/bindings/source")
    assert [(each["destination"], each["routing_key"]) for each in bound] == [("deep", "a.#")]
    assert results.value(broker.send("add", (1, 2), queue="deep")) == 3


@pytest.mark.brokers("rabbitmq", why="queues have no arguments there")
@pytest.mark.deviates("Celery's worker ends: 406 PRECONDITION_FAILED")
def test_a_queue_declared_otherwise_takes_nothing_down(broker, worker, results, app):
    """C-29"""
    broker.declare()
    broker.channel.queue_declare("taken", durable=True, auto_delete=False,
                                 arguments={"x-max-priority": 3})
    one = worker()
    reply = app.control.add_consumer("taken", destination=[one.node], reply=True, timeout=5)
    assert reply == [{one.node: {"ok": "add consumer taken"}}]
    one.wait_log("PRECONDITION_FAILED")
    assert results.value(broker.send("add", (1, 2))) == 3
    assert app.control.ping([one.node], timeout=5) == [{one.node: {"ok": "pong"}}]
    # What is refused for good can be given up.
    app.control.cancel_consumer("taken", destination=[one.node], reply=True, timeout=5)
    app.control.add_consumer("fine", destination=[one.node], reply=True, timeout=5)
    wait_until(lambda: "fine" in names(app, one.node), 5, "another queue", 0.05)
    assert results.value(broker.send("add", (2, 2), queue="fine")) == 4


def test_added_queues_outlive_the_connection(broker, worker, results, app):
    """C-29"""
    broker.declare()
    one = worker()
    app.control.add_consumer("kept", destination=[one.node], reply=True, timeout=5)
    app.control.add_consumer("gone", destination=[one.node], reply=True, timeout=5)
    app.control.cancel_consumer("gone", destination=[one.node], reply=True, timeout=5)
    app.close()
    broker.server_closes()
    assert results.value(broker.send("add", (1, 2), queue="kept")) == 3
    assert results.value(broker.send("add", (1, 3))) == 4
    broker.send("add", (1, 2), queue="gone")
    wait_until(lambda: broker.counts("gone")[0] == 1, 10, "a message that waits")


@pytest.mark.brokers("rabbitmq", why="any name will do elsewhere")
def test_what_is_no_queue_is_answered_all_the_same(broker, worker, app):
    """C-29: what came of it is in the log."""
    broker.declare()
    one = worker()
    for queue in ("x" * 300, ""):
        reply = app.control.broadcast("add_consumer", {"queue": queue}, [one.node], reply=True,
                                      timeout=5)
        assert reply == [{one.node: {"ok": f"add consumer {queue}"}}]
    assert names(app, one.node) == ["celery"]


def test_a_stop_by_remote_control_is_warm(broker, worker, results, app):
    """C-30"""
    broker.declare()
    one = worker()
    id = broker.send("sleep", (2,))
    wait_until(lambda: app.control.inspect([one.node], timeout=5).active()[one.node], 10,
               "a running task", 0.1)
    assert app.control.broadcast("shutdown", destination=[one.node], reply=True, timeout=1) == []
    assert one.wait_end() == 0
    assert results.value(id) == 2
    assert "Got shutdown from remote" in one.log


def test_requests_of_a_lost_connection_are_answered_on_the_next(broker, worker, app):
    """C-12: the mailbox is made anew."""
    broker.declare()
    one = worker()
    for _ in range(3):
        app.close()
        broker.server_closes()
        wait_until(lambda: _ping(app, one.node), 20, "answer to ping", 0.2)


def _ping(app, node):
    try:
        return app.control.ping([node], timeout=1) == [{node: {"ok": "pong"}}]
    except app.connection_for_read().connection_errors:
        return False
