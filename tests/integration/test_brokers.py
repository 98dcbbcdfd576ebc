"""Lost, blocked, refusing brokers: control.md section 11, lines 58 to 64 (9.3, 9.4)."""
import os
import re
import signal
import time

import pytest

import messages
import services
from broker import Broker
from results import Results
from services.keeper import wait_until

pytestmark = pytest.mark.brokers("rabbitmq", why="its subject is RabbitMQ")


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def own(request):
    """A RabbitMQ of this test alone, and the test's connection to it."""
    with services.RabbitMQ() as server:
        broker = Broker(server, server.add_vhost("own"))
        yield broker
        broker.close()


def processor_seconds(one):
    """Of the worker and all its children so far."""
    ticks = 0
    for pid in [one.pid, *one.children()]:
        with open(f"/proc/{pid}/stat") as text:
            fields = text.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_broker_that_stays_away_ends_the_worker_after_so_many_tries(worker):
    one = worker(ready=False, broker_url="amqp://guest:guest@127.0.0.1:1//",
                 settings={"broker_connection_max_retries": 2})
    one.may_fault = True
    assert one.wait_end(30) == 1
    assert len(re.findall(r"Trying again in [0-9.]+ seconds", one.log)) == 2


@pytest.mark.slow
def test_the_worker_backs_off_and_continues_after_a_broker_stop(own, worker, results):
    """C-59"""
    own.declare()
    one = worker(concurrency=1, broker_url=own.url)
    id = own.send("sleep", (6,))
    one.wait_log("received")
    own.close()
    own.rabbit.kill()
    time.sleep(9)
    used = processor_seconds(one)
    delays = [float(x) for x in re.findall(r"Trying again in ([0-9.]+) seconds", one.log)]
    assert delays[:2] == [2, 4]
    assert "Connection to broker lost" in one.log
    # The running task finished and its result was stored, without a broker.
    assert results.value(id, 5) == 6
    own.rabbit.start()
    assert results.value(own.send("add", (1, 2)), 60) == 3
    assert processor_seconds(one) - used < 2


def test_a_worker_that_starts_before_its_broker_waits_for_it(worker, results):
    """C-59"""
    server = services.RabbitMQ()
    try:
        one = worker(concurrency=1, broker_url=server.url(), ready=False)
        one.wait_log("Trying again in")
        server.start()
        one.wait_ready(60)
        broker = Broker(server, "/")
        assert results.value(broker.send("add", (1, 2))) == 3
        broker.close()
    finally:
        server.close()


def test_a_failover_list_is_tried_in_turn_without_a_pause(queue, worker, results):
    """C-58"""
    dead = services.free_port()
    started = time.monotonic()
    one = worker(broker_url=f"amqp://guest:guest@127.0.0.1:{dead}//;{queue.url}")
    assert time.monotonic() - started < 4
    assert results.value(queue.send("add", (1, 2))) == 3
    assert one.is_alive()


def test_a_queue_deleted_under_the_consumer_is_declared_again(queue, worker, results):
    """C-60"""
    worker()
    assert results.value(queue.send("add", (1, 2))) == 3
    for _ in range(3):
        queue.channel.queue_delete("celery")
        wait_until(lambda: "celery" in queue.rabbit.queues(queue.vhost), 20, "a new queue")
        # Sent without declaring: the binding to the default exchange is all it takes.
        assert results.value(queue.send("add", (1, 2))) == 3


def test_a_refused_login_is_said_clearly(rabbit, broker, worker):
    """C-61"""
    url = rabbit.url(broker.vhost, password="wr0ng-pass")
    one = worker(broker_url=url, ready=False)
    one.may_fault = True
    one.wait_log("ACCESS_REFUSED|[Aa]ccess [Rr]efused|403")
    time.sleep(2)
    assert "wr0ng-pass" not in one.log
    assert len(re.findall("ACCESS_REFUSED|403", one.log)) < 8
    if one.is_alive():
        assert processor_seconds(one) < 1.5


def test_an_unknown_vhost_makes_no_hot_loop(rabbit, worker):
    """C-61"""
    one = worker(broker_url=rabbit.url("nowhere"), ready=False)
    one.may_fault = True
    one.wait_log("530|[Nn]ot.?[Aa]llowed|not found")
    time.sleep(3)
    attempts = len(re.findall("530|not found", one.log))
    if not one.judge:
        assert attempts <= 6, one.log
        assert not one.is_alive() or processor_seconds(one) < 1


@pytest.mark.deviates("Celery ends")
def test_a_queue_with_other_arguments_is_said_clearly_and_does_no_harm(queue, worker, results):
    """C-61"""
    queue.channel.queue_delete("celery")
    queue.declare("celery", arguments={"x-max-priority": 5})
    one = worker(queues="celery,other", ready=False)
    one.may_fault = True
    one.wait_log("406|PRECONDITION_FAILED|inequivalent")
    time.sleep(3)
    assert len(re.findall("PRECONDITION_FAILED|406", one.log)) <= 6, one.log
    if one.is_alive():
        # Put right by the operator: the worker comes to work by itself.
        queue.channel.queue_delete("celery")
        queue.declare("celery")
        assert results.value(queue.send("add", (1, 2)), 60) == 3


@pytest.mark.slow
def test_nothing_is_lost_while_the_broker_blocks_publishers(own, worker, results):
    """C-62"""
    own.declare()
    one = worker(concurrency=2, broker_url=own.url)
    ids = own.send_many("retry", 20, (1, 0.5))
    own.rabbit.raise_alarm()
    time.sleep(4)
    assert one.is_alive()
    own.rabbit.clear_alarm()
    assert {r["result"] for r in results.wait_all(ids, 40).values()} == {1}
    assert results.value(own.send("add", (1, 2))) == 3
    own.wait_empty()


@pytest.mark.slow
def test_a_whole_worker_under_a_memory_alarm(queue, worker, results, app, control):
    """C-62: what is sent waits, what is taken is acked and stored, and control is answered."""
    one = worker(concurrency=2)
    slow = [queue.send("sleep", (0.2,)) for _ in range(60)]
    tried = [queue.send("retry", (1,)) for _ in range(10)]
    linked = [messages.new_id() for _ in range(3)]
    for id in linked:
        after = app.signature("testtasks.echo", args=("after",), immutable=True, task_id=id)
        app.send_task("testtasks.add", (1, 2), link=after)
    queue.rabbit.raise_alarm()
    try:
        one.wait_log("the broker accepts no messages")
        assert len(results.wait_all(slow, 30)) == 60
        wait_until(lambda: queue.counts()[0] == 0, 10, "all taken")
        assert not any(results.record(id) for id in linked)
    finally:
        queue.rabbit.clear_alarm()
    one.wait_log("the broker accepts messages again")
    assert control("ping") == {"ok": "pong"}
    assert [results.value(id) for id in tried + linked] == [1] * 10 + ["after"] * 3
    queue.wait_empty()
    assert one.stop() == 0


def test_a_silent_broker_is_noticed_within_two_heartbeats(own, worker, results):
    """C-64"""
    own.declare()
    one = worker(concurrency=1, broker_url=own.url, settings={"broker_heartbeat": 2})
    assert results.value(own.send("add", (1, 2))) == 3
    own.close()
    own.rabbit.pause()
    started = time.monotonic()
    try:
        one.wait_log("Connection to broker lost", 20)
        assert time.monotonic() - started < 8
    finally:
        own.rabbit.resume()
    own.close()
    assert results.value(own.send("add", (1, 2)), 60) == 3


def test_a_hanging_network_is_noticed(queue, worker, results):
    """C-64"""
    with services.Relay(queue.rabbit.port) as relay:
        one = worker(concurrency=1, settings={"broker_heartbeat": 2},
                     broker_url=queue.rabbit.url(queue.vhost, port=relay.port))
        assert results.value(queue.send("add", (1, 2))) == 3
        relay.hang()
        one.wait_log("Connection to broker lost", 20)
        relay.flow()
        assert results.value(queue.send("add", (1, 2)), 40) == 3


def test_connections_closed_by_the_server_are_opened_again(queue, worker, results):
    """C-59"""
    one = worker(concurrency=2)
    for _ in range(3):
        assert results.value(queue.send("add", (1, 2)), 30) == 3
        assert queue.server_closes() >= 1
    assert results.value(queue.send("add", (1, 2)), 30) == 3
    assert one.is_alive()


@pytest.mark.deviates("Celery drops results after a few attempts")
def test_results_wait_for_redis_with_a_bound(queue, worker):
    """T-71: at the bound the worker stops taking tasks instead of dropping results."""
    with services.Redis() as server:
        store = Results(server.port, 0)
        one = worker(concurrency=2, backend_url=store.url, level="WARNING", ready=False,
                     env={"SMALLAGE_WORKER_MAX_WAITING_BYTES": "1048576"})
        assert store.value(queue.send("add", (1, 2))) == 3
        server.kill()
        before = one.rss()
        ids = queue.send_many("big", 400, (20000,))
        time.sleep(5)
        ready, unacked = queue.counts()
        assert ready > 200, "the worker goes on although nothing can be stored"
        assert one.rss() - before < 40000
        server.start()
        found = store.wait_all(ids, 60)
        assert {len(r["result"]) for r in found.values()} == {20000}
        store.close()


def test_an_interrupted_redis_connection_loses_no_result(queue, worker, redis_server, results):
    """T-71"""
    with services.Relay(redis_server.port) as relay:
        worker(concurrency=2, backend_url=f"redis://127.0.0.1:{relay.port}/{results.db}")
        ids = queue.send_many("sleep", 300, (0.01,))
        for _ in range(5):
            time.sleep(0.3)
            relay.cut()
        assert len(results.wait_all(ids, 40)) == 300
