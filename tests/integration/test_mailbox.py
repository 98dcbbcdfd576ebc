"""The control queue under adverse conditions: control.md section 11."""
import pytest

from services.keeper import wait_until


def pings(app, node, timeout=5):
    try:
        return app.control.ping(destination=[node], timeout=timeout)
    except app.connection_for_read().connection_errors:  # its own was closed, too
        return []


def answers(node):
    return [{node: {"ok": "pong"}}]


@pytest.mark.brokers("rabbitmq", why="exchanges have no properties elsewhere")
@pytest.mark.deviates("Celery ends when its exchange was declared otherwise")
def test_an_exchange_declared_otherwise_costs_only_remote_control(worker, app, broker):
    """Tasks go on, and it is tried again."""
    broker.rabbit.api("PUT", f"/exchanges/{broker.vhost}/celery.pidbox",
                      {"type": "fanout", "durable": True})
    one = worker()
    one.wait_log("406 PRECONDITION_FAILED")
    assert app.send_task("testtasks.add", (1, 2)).get(timeout=10) == 3
    broker.rabbit.api("DELETE", f"/exchanges/{broker.vhost}/celery.pidbox")
    one.wait_log("remote messages come by queue", timeout=15)
    assert pings(app, one.node) == answers(one.node)


def test_control_comes_back_with_the_connection(worker, app, broker):
    """C-59"""
    one = worker()
    assert pings(app, one.node) == answers(one.node)
    broker.server_closes()
    wait_until(lambda: pings(app, one.node, 1), 30, "an answer")
    assert app.send_task("testtasks.add", (1, 2)).get(timeout=10) == 3
