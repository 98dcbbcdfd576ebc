"""Results in a Redis behind Sentinels, in a fail-over list, at the end of a connection that hangs:
control.md 7.6, lines 51, 52 and 76 of section 11."""
import re
import time

import pytest

import services
from results import Results


@pytest.fixture(scope="module")
def sentinels():
    with services.Sentinels(password="pw", sentinel_password="for-sentinels") as cluster:
        yield cluster


def store_at(sentinels):
    """The test's own look into the master of this moment."""
    store = Results(sentinels.master.port, 3)
    store.client = sentinels.client(sentinels.master.port, 3)
    return store


def start(worker, sentinels, **settings):
    return worker(backend_url=sentinels.url(3), settings={
        "result_backend_transport_options": sentinels.options(), **settings})


@pytest.mark.deviates("Celery writes to the old master, which is no more, for ten seconds")
def test_results_follow_the_master_through_an_orderly_fail_over(broker, worker, sentinels):
    """C-51"""
    broker.declare()
    one = start(worker, sentinels)
    assert store_at(sentinels).value(broker.send("add", (1, 2))) == 3
    sentinels.fail_over()
    one.wait_log("is back")
    ids = [broker.send("add", (n, 1)) for n in range(20)]
    store = store_at(sentinels)
    assert [store.value(id, 30) for id in ids] == list(range(1, 21))
    assert one.is_alive()


@pytest.mark.deviates("Celery gives such results up")
def test_results_follow_the_master_when_it_is_killed(broker, worker, sentinels):
    """C-51"""
    broker.declare()
    one = start(worker, sentinels)
    old = sentinels.master
    assert store_at(sentinels).value(broker.send("add", (1, 2))) == 3
    old.kill()
    # Some of these wait for a master; none is lost.
    ids = [broker.send("add", (n, 1)) for n in range(20)]
    sentinels.wait_master(sentinels.other(old))
    store = store_at(sentinels)
    assert [store.value(id, 30) for id in ids] == list(range(1, 21))
    assert one.is_alive()
    old.start()


@pytest.mark.smallage_only("the words are ours")
def test_a_master_that_no_sentinel_knows_is_said_so(broker, worker, sentinels):
    broker.declare()
    one = worker(backend_url=sentinels.url(0), ready=False, settings={
        "result_backend_transport_options": {**sentinels.options(), "master_name": "unknown"}})
    one.wait_log("no Sentinel tells where the master 'unknown' is; 127.0.0.1:[0-9]+: "
                 "does not know this master")
    one.may_fault = True
    assert "for-sentinels" not in one.log and ":pw@" not in one.log


@pytest.mark.smallage_only("Celery takes one server only")
def test_results_go_to_the_next_server_of_a_list(broker, worker, results, redis_server):
    """C-51"""
    broker.declare()
    dead = services.free_port()
    with services.Redis() as first:
        one = worker(backend_url=f"{first.url(0)};redis://127.0.0.1:{dead}/0;{results.url}")
        assert Results(first.port, 0).value(broker.send("add", (1, 2))) == 3
        first.kill()
        assert results.value(broker.send("add", (2, 2))) == 4
        assert one.is_alive()


@pytest.mark.smallage_only("Celery's results wait for redis_socket_timeout, 120 s")
def test_a_half_open_connection_for_results_is_noticed(broker, worker, results):
    """C-76: nothing passes any more, and nobody is told."""
    broker.declare()
    with services.Relay(results.port) as relay:
        one = worker(backend_url=f"redis://127.0.0.1:{relay.port}/{results.db}",
                     settings={"redis_socket_timeout": 2,
                               "redis_backend_health_check_interval": 1,
                               "redis_client_name": "half-open"})
        assert results.value(broker.send("add", (1, 2))) == 3
        assert "half-open" in [row["name"] for row in results.client.client_list()]
        relay.hang()
        one.wait_log("no answer for 2 s", 10)
        id = broker.send("add", (2, 2))
        relay.flow()
        assert results.value(id, 20) == 4


def test_a_database_that_is_not_there_is_said_so_and_tried_seldom(broker, worker, redis_server):
    """C-52"""
    broker.declare()
    one = worker(backend_url=redis_server.url(9999), ready=False)
    one.may_fault = True
    if one.judge:
        broker.send("add", (1, 2))
    one.wait_log("DB index is out of range")
    time.sleep(3)
    assert len(re.findall("DB index is out of range", one.log)) < 20
