"""A worker always ends, whatever is out of reach; and it does not crash on what gathered before."""
import json
import os
import pathlib
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone

import pytest

import services
from results import Results
from services.keeper import wait_until
from worker import BUILD


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def wait_line(path, text, timeout=15, count=1):
    wait_until(lambda: lines(path).count(text) >= count, timeout, f"{text!r} in {path.name}", 0.01)


def test_acks_of_the_first_queue_do_not_wait_for_the_second(broker, worker, tmp_path):
    """Deliveries come as soon as one queue is consumed, before all of them are."""
    names = [f"q{i}" for i in range(30)]
    for name in names:
        broker.declare(name)
    out = tmp_path / "out"
    for i in range(4):
        broker.send("append_early", (str(out), str(i), 0), queue="q0")
    worker(concurrency=4, queues=",".join(names))
    for i in range(4):
        wait_line(out, f"S {i}")
    broker.wait_empty("q0", 5)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_worker_ends_when_its_spawner_is_gone(queue, worker, tmp_path, pool):
    out = tmp_path / "out"
    one = worker(concurrency=2, pool=pool)
    queue.send("append", (str(out), "a", 60))
    queue.send("append_early", (str(out), "b", 60))
    wait_line(out, "S a")
    wait_line(out, "S b")
    spawner = next(pid for pid in one.children()
                   if "spawner" in pathlib.Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(spawner, signal.SIGKILL)
    assert one.wait_end(25) == 1
    queue.wait_left(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_ends_while_redis_is_gone_and_tells_that_a_result_is_lost(queue, worker, tmp_path,
                                                                         number):
    out = tmp_path / "out"
    with services.Redis() as own:
        one = worker(concurrency=2, backend_url=own.url())
        queue.send("append", (str(out), "warm", 0))
        wait_line(out, "E warm")
        queue.wait_empty()
        own.kill()
        one.wait_log("out of reach")
        queue.send("append", (str(out), "a", 0))
        queue.send("append_early", (str(out), "b", 0))
        wait_line(out, "E a")
        wait_line(out, "E b")
        time.sleep(0.5)
        one.signal(number)
        one.may_fault = True
        assert one.wait_end(30) == 3
        queue.wait_counts(1, 0)
    assert "1 results of tasks that were acked early are lost" in one.log
    assert one.log.count("could not be stored") == 2


def test_a_stop_while_redis_is_gone_is_clean_when_the_broker_keeps_the_tasks(queue, worker,
                                                                           tmp_path):
    """Late acks: nothing is lost."""
    out = tmp_path / "out"
    with services.Redis() as own:
        one = worker(concurrency=2, backend_url=own.url())
        own.kill()
        one.wait_log("out of reach")
        queue.send("append", (str(out), "a", 0))
        wait_line(out, "E a")
        one.signal(signal.SIGTERM)
        assert one.wait_end(30) == 0
        queue.wait_counts(1, 0)
    assert "are lost" not in one.log


def test_a_stop_while_redis_comes_back_is_clean(queue, worker, tmp_path):
    out = tmp_path / "out"
    with services.Redis() as own:
        one = worker(concurrency=2, backend_url=own.url())
        own.kill()
        one.wait_log("out of reach")
        id = queue.send("append_early", (str(out), "a", 0))
        wait_line(out, "E a")
        one.signal(signal.SIGTERM)
        one.wait_log("Warm shutdown")
        own.start()
        assert one.wait_end(30) == 0
        store = Results(own.port, 0)
        assert store.value(id) == "a"
        store.close()


def test_insisting_ends_at_once(queue, worker, tmp_path):
    out = tmp_path / "out"
    pid_file = tmp_path / "pid"
    with services.Redis() as own:
        one = worker("--pidfile", str(pid_file), concurrency=1, backend_url=own.url())
        own.kill()
        one.wait_log("out of reach")
        queue.send("append", (str(out), "a", 0))
        wait_line(out, "E a")
        one.signal(signal.SIGQUIT)
        one.wait_log("Cold shutdown")
        one.signal(signal.SIGINT)
        one.wait_log("Waiting gracefully")
        one.signal(signal.SIGINT)
        assert one.wait_end(2) == 1
        assert not pid_file.exists()
        queue.wait_left(1)


@pytest.mark.brokers("rabbitmq", why="it has a connection that only publishes")
def test_a_stop_ends_while_a_retry_cannot_be_published(queue, worker, results):
    with services.Relay(queue.port) as relay:
        # The connection that publishes opens with the first message.
        one = worker("--without-heartbeat", "--without-mingle", concurrency=1,
                     broker_url=queue.url_at(relay.port))
        relay.refuse()
        id = queue.send("retry", (1, 0))
        one.wait_log("publishing connection")
        one.signal(signal.SIGTERM)
        assert one.wait_end(40) == 0
    # Acked early, so this is all that is left of it.
    assert results.error(id)[0] == "OperationalError"


def test_many_expired_messages_at_once(queue, worker, tmp_path, results):
    """Behind a long task, and nothing to store: they all end in one call of the pump."""
    out = tmp_path / "out"
    one = worker(concurrency=1, backend_url="disabled://", level="WARNING", ready=False,
                 settings={"worker_prefetch_multiplier": 0})
    queue.send("append", (str(out), "long", 34))
    wait_line(out, "S long")
    soon = (datetime.now(timezone.utc) + timedelta(seconds=32)).isoformat()
    for _ in range(20):
        queue.send_many("noop", 2000, expires=soon)
    wait_line(out, "E long", 60)
    queue.wait_empty()
    assert one.is_alive()


def test_term_takes_a_restart_back(queue, worker, tmp_path):
    out = tmp_path / "out"
    one = worker(concurrency=1)
    queue.send("append", (str(out), "a", 2))
    wait_line(out, "S a")
    one.signal(signal.SIGHUP)
    one.wait_log("Warm shutdown")
    one.signal(signal.SIGTERM)
    assert one.wait_end(10) == 0


@pytest.mark.parametrize("how", ["broker", "backend", "queue", "socket"])
def test_a_worker_that_cannot_start_leaves_nothing(queue, worker, tmp_path, how):
    pid_file = tmp_path / "pid"
    more = {"broker": {"broker_url": "amqp://u:geheim@localhost:x/"},
            "backend": {"backend_url": "redis://:geheim@localhost/abc"},
            "queue": {"settings": {"task_create_missing_queues": False}, "queues": "other"},
            "socket": {}}[how]
    options = ["--pidfile", str(pid_file)]
    if how == "socket":
        options += ["--socket", "/proc/none/socket"]
    one = worker(*options, ready=False, **more)
    assert one.wait_end(10) in (1, 2)
    assert not pid_file.exists()
    assert "geheim" not in one.log


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_cold_stop_of_pools_that_cannot_kill(queue, worker, tmp_path, pool):
    out = tmp_path / "out"
    one = worker(concurrency=1, pool=pool)
    queue.send("append", (str(out), "a", 60))
    wait_line(out, "S a")
    one.signal(signal.SIGQUIT)
    assert one.wait_end(10) == 0
    queue.wait_counts(1, 0)


def test_restart_under_load(queue, worker, results):
    one = worker(concurrency=2)
    ids = queue.send_many("add", 3000, (1, 2))
    one.signal(signal.SIGHUP)
    one.wait_log("ready", 20, 2)
    results.wait_all(ids)
    assert one.stop() == 0


def test_state_reports_do_not_pile_up_while_redis_is_gone(queue, worker, tmp_path):
    with services.Redis() as own:
        one = worker("--socket", str(tmp_path / "s"), concurrency=1, backend_url=own.url(),
                     env={"SMALLAGE_WORKER_MAX_WAITING_BYTES": "500000"})
        own.kill()
        one.wait_log("out of reach")
        queue.send("progress", (20000, 0), ignore_result=False)
        queue.wait_counts(0, 0)
        seen = []
        for _ in range(20):
            answer = subprocess.run([str(BUILD / "bin/smallage"), "status", "--socket",
                                     str(tmp_path / "s"), "--json"], stdout=subprocess.PIPE,
                                    check=False)
            seen.append(json.loads(answer.stdout)["backend"]["waiting_bytes"])
            time.sleep(0.1)
        assert 400000 < max(seen) < 600000, seen


def test_a_stop_gives_back_at_once_what_has_not_begun(queue, worker, tmp_path):
    out = tmp_path / "out"
    one = worker(concurrency=1)
    later = (datetime.now(timezone.utc) + timedelta(seconds=600)).isoformat()
    queue.send("noop", eta=later)
    for text in "abc":
        queue.send("append", (str(out), text, 6))
    wait_line(out, "S a")
    queue.wait_counts(0, 4)
    one.signal(signal.SIGTERM)
    queue.wait_counts(3, 1, timeout=4)
    assert one.is_alive()
    assert one.wait_end(15) == 0
    assert lines(out) == ["S a", "E a"]
    queue.wait_counts(3, 0)
