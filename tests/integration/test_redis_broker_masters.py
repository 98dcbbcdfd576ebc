"""Tasks in a Redis behind Sentinels, in a fail-over list, at the end of a connection that hangs, and
other ways to reach one: control.md 7.6, lines 51, 52 and 76 of section 11."""
import contextlib
import re
import time

import kombu
import pytest
import redis
from celery import Celery

import services
from broker_redis import RedisBroker
from services.keeper import wait_until


class SentinelBroker(RedisBroker):
    """The master of this moment, written to without kombu."""

    def __init__(self, sentinels, db):
        self.sentinels, self.db = sentinels, db
        self.url, self.transport_options = sentinels.url(db), sentinels.options()

    def close(self):
        pass

    @property
    def client(self):
        return self.sentinels.client(self.sentinels.master.port, self.db)

    @property
    def port(self):
        return self.sentinels.master.port


@pytest.fixture(scope="module")
def sentinels():
    with services.Sentinels(password="pw", sentinel_password="for-sentinels") as cluster:
        yield cluster


@pytest.fixture
def redis_alone():
    with services.Redis() as server:
        yield server


@pytest.fixture
def broker(request):
    if "sentinels" in request.fixturenames:
        own = SentinelBroker(request.getfixturevalue("sentinels"), 4)
        own.client.flushdb()
    else:
        own = RedisBroker(request.getfixturevalue("redis_alone"), 0)
    yield own
    own.close()


def ping(broker, timeout=1):
    """Answers of a Celery client to `inspect ping`."""
    client = Celery("client", broker=broker.url, set_as_current=False)
    client.conf.broker_transport_options = {"socket_timeout": 3, "socket_connect_timeout": 3,
                                            **(broker.transport_options or {})}
    try:
        return client.control.ping(timeout=timeout)
    finally:
        client.close()


def wait_ping(broker, seconds=20):
    def is_answered():
        try:
            return ping(broker)
        except (redis.RedisError, kombu.exceptions.OperationalError):
            return False  # Python's client does not know the master yet
    wait_until(is_answered, seconds, "an answer to a ping", 0.5)


@contextlib.contextmanager
def without(lose, bring_back):
    """It is there again at the end, whatever became of the test."""
    lose()
    try:
        yield
    finally:
        bring_back()


def test_tasks_and_control_follow_the_master_through_an_orderly_fail_over(
        broker, worker, results, sentinels):
    """C-51"""
    one = worker()
    assert results.value(broker.send("add", (1, 2))) == 3
    sentinels.fail_over()
    one.wait_log("[Cc]onnection to broker lost", 30)
    ids = [broker.send("add", (n, 1)) for n in range(20)]
    assert [results.value(id, 60) for id in ids] == list(range(1, 21))
    wait_ping(broker)
    assert one.is_alive()


@pytest.mark.deviates("what Celery took comes back after the visibility timeout, an hour")
def test_tasks_and_control_follow_the_master_when_it_is_killed(broker, worker, results, sentinels):
    """C-51"""
    one = worker(concurrency=1)
    running = broker.send("sleep", (4,))
    one.wait_log("received")
    waiting = [broker.send("add", (n, 1)) for n in range(20)]
    old = sentinels.master
    # What was not replicated goes with its master.
    sentinels.client(old.port).wait(1, 5000)
    with without(old.kill, old.start):
        sentinels.wait_master(sentinels.other(old))
        later = [broker.send("add", (n, 2)) for n in range(20)]
        assert results.value(running, 60) == 4
        assert [results.value(id, 60) for id in waiting] == list(range(1, 21))
        assert [results.value(id, 60) for id in later] == list(range(2, 22))
        wait_ping(broker)
        assert one.log.count(f"[{running}] succeeded") == 1


@pytest.mark.smallage_only("Celery stays with the paused one for ever: no socket_timeout")
def test_tasks_go_on_when_the_master_is_paused(broker, worker, results, sentinels):
    """C-51"""
    one = worker()
    assert results.value(broker.send("add", (1, 2))) == 3
    old = sentinels.master
    sentinels.client(old.port).wait(1, 5000)
    with without(old.pause, old.resume):
        sentinels.wait_master(sentinels.other(old))
        assert results.value(broker.send("add", (2, 2)), 40) == 4
        wait_ping(broker)
        assert one.is_alive()


@pytest.mark.smallage_only("the words are ours")
def test_a_sentinel_url_without_a_master_is_refused(broker, worker, sentinels):
    broker.transport_options = None
    one = worker(ready=False)
    assert one.wait_end(20) != 0
    assert "master_name" in one.log and ":pw@" not in one.log


def test_the_next_server_of_a_list_is_used(broker, worker, results):
    """C-51 C-58"""
    dead = services.free_port()
    one = worker(broker_url=f"redis://127.0.0.1:{dead}/0;{broker.url}")
    assert results.value(broker.send("add", (1, 2))) == 3
    assert one.is_alive()


def test_a_unix_socket_leads_to_the_broker(broker, worker, results, redis_alone, tmp_path):
    """C-52"""
    path = tmp_path / "redis.sock"
    with services.Redis("--unixsocket", str(path)) as server:
        there = RedisBroker(server, 3)
        one = worker(broker_url=f"redis+socket://{path}?virtual_host=3")
        assert results.value(there.send("add", (1, 2))) == 3
        there.url = f"redis+socket://{path}?virtual_host=3"
        wait_ping(there)
        assert one.stop() == 0


def test_a_user_with_a_password_is_let_in(broker, worker, results, redis_alone):
    """C-52"""
    broker.client.acl_setuser("celery", enabled=True, passwords=["+s3cret/%"], keys=["*"],
                              channels=["*"], commands=["+@all", "-@dangerous", "+keys", "+info"])
    one = worker(broker_url=f"redis://celery:s3cret%2F%25@127.0.0.1:{redis_alone.port}/0")
    assert results.value(broker.send("add", (1, 2))) == 3
    wait_ping(broker)
    assert "s3cret" not in one.log


@pytest.mark.parametrize("login, db, words", [
    ("", 9999, "DB index is out of range"),
    ("me:wr0ng@", 0, "WRONGPASS|invalid username-password")])
def test_a_refusal_is_said_clearly_and_makes_no_hot_loop(broker, worker, redis_alone, login, db,
                                                         words):
    """C-52"""
    one = worker(broker_url=f"redis://{login}127.0.0.1:{redis_alone.port}/{db}", ready=False)
    one.may_fault = True
    one.wait_log(words, 15)
    time.sleep(2)
    assert len(re.findall(words, one.log)) < 12
    assert "wr0ng" not in one.log
    # Not what the server saw, either.
    assert broker.client.info("stats")["total_connections_received"] < 40


@pytest.mark.smallage_only("Celery never notices on its command connection: no socket_timeout")
def test_a_half_open_connection_is_noticed(broker, worker, results, redis_alone):
    """C-76: nothing passes any more, and nobody is told. With the default settings this takes up to
    45 s."""
    with services.Relay(redis_alone.port) as relay:
        one = worker(broker_url=f"redis://127.0.0.1:{relay.port}/0", settings={
            "broker_transport_options": {"socket_timeout": 2, "health_check_interval": 1,
                                         "client_name": "half-open"}})
        assert results.value(broker.send("add", (1, 2))) == 3
        names = [row["name"] for row in broker.client.client_list()]
        assert names.count("half-open") >= 1
        relay.hang()
        one.wait_log("no answer for 2 s", 15)
        id = broker.send("add", (2, 2))
        relay.flow()
        assert results.value(id, 40) == 4
        wait_ping(broker)
        assert one.stop() == 0


def test_killed_connections_are_made_anew(broker, worker, results, redis_alone):
    """C-51"""
    one = worker()
    for n in range(3):
        assert results.value(broker.send("add", (n, 2)), 20) == n + 2
        assert broker.server_closes() > 0
    assert results.value(broker.send("add", (5, 2)), 20) == 7
    wait_ping(broker)
    assert one.is_alive()


@pytest.mark.deviates("what Celery took comes back after the visibility timeout, an hour")
def test_a_full_server_is_waited_for(broker, worker, results, redis_alone):
    """C-51: maxmemory"""
    one = worker()
    ids = [broker.send("sleep", (0.5,)) for _ in range(6)]
    one.wait_log("received")
    used = broker.client.info("memory")["used_memory"]
    broker.client.config_set("maxmemory", max(used // 2, 100000))
    with pytest.raises(redis.ResponseError):
        broker.send("add", (1, 1))
    time.sleep(3)
    broker.client.config_set("maxmemory", 0)
    assert [results.value(id, 30) for id in ids] == [0.5] * 6
    assert results.value(broker.send("add", (1, 2)), 20) == 3
    for id in ids:
        assert one.log.count(f"[{id}] succeeded") == 1
    wait_ping(broker)
