"""Results as messages, rpc://: tasks.md section 9, lines 117 and 118."""
import json
import subprocess

import pytest
from celery import Celery, chain, signature

from messages import new_id
from pythons import python_of
from worker import BUILD

CLIENT = """
import json, sys
from celery import Celery
app = Celery("client", broker=sys.argv[1], backend="rpc://")
app.conf.result_expires = 3600
good = app.send_task("testtasks.add", (1, 2))
bad = app.send_task("testtasks.raise_", ("ValueError", "x"))
out = [good.get(timeout=20)]
try:
    bad.get(timeout=20)
except Exception as error:
    out.append([type(error).__name__, list(error.args)])
print(json.dumps(out))
"""


@pytest.fixture
def rpc_app(broker):
    client = Celery("client", broker=broker.url, backend="rpc://", set_as_current=False)
    client.conf.broker_connection_retry = False
    client.conf.broker_transport_options = broker.transport_options or {}
    client.conf.result_expires = 3600
    yield client
    client.close()


@pytest.fixture
def rpc(broker, worker):
    """Starts a worker that answers over its broker."""
    broker.declare()
    return lambda *options, **more: worker(*options, backend_url="rpc://", **more)


def test_a_client_gets_values_errors_and_retries(rpc, rpc_app):
    """T-117"""
    rpc()
    sent = [rpc_app.send_task("testtasks.add", (n, 1)) for n in range(20)]
    failing = rpc_app.send_task("testtasks.raise_", ("ValueError", "no"))
    retrying = rpc_app.send_task("testtasks.retry", (2, 0.1))
    steps = chain(signature("testtasks.add", (1, 2), app=rpc_app),
                  signature("testtasks.add", (3,), app=rpc_app), app=rpc_app).apply_async()
    assert [result.get(timeout=20) for result in sent] == [n + 1 for n in range(20)]
    with pytest.raises(ValueError) as error:
        failing.get(timeout=20)
    assert error.value.args[0] == "no"
    assert retrying.get(timeout=20) == 2
    assert steps.get(timeout=20) == 6


@pytest.mark.brokers("rabbitmq", why="queues are looked at")
def test_a_result_is_the_message_that_celery_sends(rpc, broker):
    """T-117"""
    rpc(settings={"result_extended": True})
    reply_to = new_id()
    broker.declare(reply_to)
    id = broker.send("add", (1, 2), properties={"reply_to": reply_to, "correlation_id": "other"})
    message = broker.get(reply_to)
    record = json.loads(message.body)
    assert record["task_id"] == id and record["result"] == 3 and record["name"] == "testtasks.add"
    assert message.properties["correlation_id"] == "other"
    assert message.properties["delivery_mode"] == 1
    assert message.properties["priority"] == 0
    assert message.properties["content_type"] == "application/json"
    assert message.properties["content_encoding"] == "utf-8"
    assert message.properties["application_headers"] == {}


def test_nobody_waits_and_no_queue_is_there(rpc, rpc_app, broker):
    """T-118"""
    one = rpc()
    broker.send("add", (1, 2), properties={"reply_to": None})
    broker.send("add", (1, 2), properties={"reply_to": "gone-" + new_id()})
    broker.send("no_such_task", (), properties={"reply_to": "gone-" + new_id()})
    assert rpc_app.send_task("testtasks.add", (2, 2)).get(timeout=20) == 4
    one.wait_log(r"succeeded in", count=3)
    assert "could not be stored" not in one.log
    assert one.is_alive()


@pytest.mark.brokers("rabbitmq", why="only its clients are older")
def test_older_clients_get_theirs(rpc, broker, test_home):
    """T-117: Celery 5.2 and 5.7."""
    rpc()
    for version in ("5.2", "5.7"):
        python = python_of(version, test_home)
        done = subprocess.run([python, "-c", CLIENT, broker.url], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [3, ["ValueError", ["x"]]]


@pytest.mark.smallage_only("a command of smallage")
@pytest.mark.brokers("rabbitmq", "redis", why="the command gets no folders")
def test_call_waits_for_the_message(rpc, broker):
    """T-117"""
    rpc()
    done = subprocess.run([BUILD / "bin/smallage", "call", "-b", broker.url, "--result-backend",
                           "rpc://", "testtasks.add", "1", "2"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n")
