"""Redis as broker, by its keys: control.md section 7, lines 45 to 54, 72, 73 and 75."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis

import messages
import services
from broker_redis import SEP, RedisBroker, key_of
from mailbox import Mailbox
from services.keeper import wait_until
from worker import JUDGE

KILLED_CLIENTS = int(os.environ.get("SMALLAGE_KILLED_CLIENTS", "100"))
# Sweeps of Celery's that do not take minutes.
EAGER = {"visibility_timeout": 3, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}


@pytest.fixture
def broker(redis_broker):
    redis_broker.declare()
    return redis_broker


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def wait_line(path, text, timeout=15, count=1):
    wait_until(lambda: lines(path).count(text) >= count, timeout, f"{text!r} in {path.name}", 0.01)


def begun(path):
    return [line[2:] for line in lines(path) if line.startswith("S ")]


class TestQueues:
    def test_priorities_have_four_lists_and_the_lowest_number_is_served_first(self, broker, worker,
                                                                              app, tmp_path):
        """C-45 T-41"""
        out = tmp_path / "out"
        sent = [app.send_task("testtasks.append_early", (str(out), str(n)), priority=n)
                for n in range(9, -1, -1)]
        assert [broker.client.llen(key_of("celery", step)) for step in (0, 3, 6, 9)] == [3, 3, 3, 1]
        worker(concurrency=1)
        for each in sent:
            each.get(timeout=10)
        # In each list in the order of their arrival.
        assert begun(out) == ["2", "1", "0", "5", "4", "3", "8", "7", "6", "9"]
        broker.wait_empty()

    def test_a_queue_of_low_numbers_waits_for_no_other_queue(self, broker, worker, tmp_path):
        """C-45: priority first, then the queue."""
        out = tmp_path / "out"
        for queue in ("one", "two"):
            for priority in (9, 0):
                broker.send("append_early", (str(out), f"{queue} {priority}"), queue=queue,
                            properties={"priority": priority})
        worker(concurrency=1, queues="one,two")
        wait_until(lambda: len(begun(out)) == 4, 10, "four tasks")
        assert [text[-1] for text in begun(out)] == ["0", "0", "9", "9"]

    @pytest.mark.parametrize("strategy, expected", [
        ("priority", ["a", "a", "a", "b", "b", "b"]), ("sorted", ["a", "a", "a", "b", "b", "b"]),
        ("round_robin", ["a", "b", "a", "b", "a", "b"])])
    def test_the_order_of_queues(self, broker, worker, tmp_path, strategy, expected):
        """C-45"""
        out = tmp_path / "out"
        for queue in "ab":
            for _ in range(3):
                broker.send("append_early", (str(out), queue), queue=queue)
        order = "b,a" if strategy == "sorted" else "a,b"
        worker(concurrency=1, queues=order, settings={
            "worker_prefetch_multiplier": 1,
            "broker_transport_options": {"queue_order_strategy": strategy}})
        wait_until(lambda: len(begun(out)) == 6, 10, "six tasks")
        found = begun(out)
        if strategy == "round_robin":  # which of two that both wait comes first is open
            found = [queue for at in (0, 2, 4) for queue in sorted(found[at:at + 2])]
        assert found == expected

    def test_a_message_is_taken_at_once(self, broker, worker, results):
        """No polling: a worker that has nothing to do hears of it."""
        worker()
        results.value(broker.send("add", (1, 2)))
        took = []
        for _ in range(20):
            time.sleep(0.05)
            started = time.monotonic()
            id = broker.send("add", (1, 2))
            while results.record(id) is None:
                assert time.monotonic() - started < 5
                time.sleep(0.0005)
            took.append(time.monotonic() - started)
        assert sorted(took)[10] < 0.05, took

    def test_bindings_stand_in_both_sets(self, broker, worker):
        """C-72"""
        one = worker(queues="celery,other")
        for name in ("celery", "other"):
            member = f"{name}{SEP}{SEP}{name}".encode()
            for key in ("binding", "binding_permanent"):
                assert broker.client.smembers(f"_kombu.{key}.{name}") == {member}, key
            assert broker.client.zscore("_kombu.binding_deadlines", name) is None
        member = f"{SEP}{SEP}{one.node}.celery.pidbox".encode()

        def is_bound():
            return broker.client.sismember("_kombu.binding.celery.pidbox", member)
        wait_until(is_bound, 10, "the mailbox")
        assert not broker.client.exists("_kombu.binding_permanent.celery.pidbox")
        deadline = broker.client.zscore("_kombu.binding_deadlines", "celery.pidbox")
        assert 3500 < deadline / 1000 - time.time() < 8000
        one.stop()
        assert not is_bound()
        assert broker.client.exists("_kombu.binding_permanent.celery")

    def test_a_deadline_that_has_passed_does_not_take_our_binding(self, broker, worker, app):
        """C-73"""
        one = worker()
        broker.client.sadd("_kombu.binding.celery", f"x{SEP}{SEP}gone")
        broker.client.zadd("_kombu.binding_deadlines", {"celery": 1000})
        assert app.control.ping([one.node], timeout=5) == [{one.node: {"ok": "pong"}}]
        assert "celery" in broker.bound("celery")

    def test_celerys_commands_see_the_queues(self, broker, worker, results):
        """C-54"""
        def celery(*arguments):
            return subprocess.run([sys.executable, "-m", "celery", "-b", broker.url, *arguments],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  cwd="/tmp", check=False).stdout
        one = worker(queues="celery,other")
        listed = celery("list", "bindings")
        assert any(line.split() == ["celery"] * 3 for line in listed.splitlines()), listed
        one.stop()
        for priority in (0, 9):
            broker.send("noop", properties={"priority": priority})
        assert "2 messages" in celery("purge", "-f", "-Q", "celery")
        assert broker.counts() == (0, 0)


class TestHeld:
    def test_what_is_held_can_be_read_by_others(self, broker, worker, app, tmp_path):
        """C-46"""
        out = tmp_path / "out"
        worker(concurrency=1)
        sent = [app.send_task("testtasks.append", (str(out), text, 4)) for text in "ab"]
        wait_line(out, "S a")
        broker.wait_counts(0, 2)
        rows = broker.unacked()
        assert {row[1]["headers"]["id"] for row in rows} == {each.id for each in sent}
        for _, message, exchange, key, score in rows:
            assert (exchange, key) == ("", "celery") and abs(score - time.time()) < 30
            assert message["properties"]["delivery_info"]["routing_key"] == "celery"

    @pytest.mark.parametrize("dead, heir", [(None, True), (True, None)],
                             ids=["the tested dies", "Python dies"])
    def test_what_a_killed_worker_held_runs_on_the_other_kind(self, broker, worker, tmp_path, dead,
                                                              heir):
        """C-46: dead, heir: True is Python's worker."""
        out = tmp_path / "out"
        settings = {"broker_transport_options": EAGER}
        one = worker(concurrency=1, judge=JUDGE or bool(dead), settings=settings)
        for text in "abc":
            broker.send("append", (str(out), text, 30 if text == "a" else 0))
        wait_line(out, "S a")
        broker.wait_counts(0, 3)
        one.kill()
        broker.wait_left(3)
        worker(concurrency=3, judge=JUDGE or bool(heir), settings=settings)
        for text in "bc":
            wait_line(out, f"E {text}", 30)
        wait_line(out, "S a", 30, 2)
        assert sorted(begun(out)) == ["a", "a", "b", "c"]

    @pytest.mark.deviates("Celery waits for the visibility timeout, an hour")
    def test_what_a_killed_worker_held_runs_elsewhere_within_15_seconds(self, broker, worker,
                                                                        results, tmp_path):
        """C-46"""
        out = tmp_path / "out"
        one = worker(concurrency=1, queues="celery")
        heir = worker(concurrency=2, queues="other")
        ids = [broker.send("append", (str(out), text, 30 if text == "a" else 0)) for text in "abc"]
        later = broker.send("append", (str(out), "later"), eta=messages.now(1))
        wait_line(out, "S a")
        broker.wait_counts(0, 4)
        one.kill()
        heir.stop()
        worker(concurrency=3)
        started = time.monotonic()
        results.wait_all([ids[1], ids[2], later], 20)
        wait_line(out, "S a", 5, 2)
        assert time.monotonic() - started < 15

    @pytest.mark.deviates("Celery runs it again and again")
    @pytest.mark.parametrize("eta", [False, True])
    def test_a_task_that_outlasts_the_visibility_timeout_runs_once(self, broker, worker, results,
                                                                   app, tmp_path, eta):
        """C-48: beside a Python worker and a monitor that sweep, too."""
        out = tmp_path / "out"
        settings = {"broker_transport_options": EAGER}
        worker(concurrency=1, settings=settings)
        id = broker.send("append", (str(out), "a", 0 if eta else 10),
                         eta=messages.now(10) if eta else None)
        if not eta:
            wait_line(out, "S a")
        broker.wait_counts(0, 1)
        worker(concurrency=1, judge=True, settings=settings, queues="celery,other")
        app.conf.broker_transport_options = EAGER
        end = time.monotonic() + 9
        while time.monotonic() < end:
            app.control.ping(timeout=0.5)
        assert results.value(id, 20) == "a"
        time.sleep(1)
        assert lines(out) == ["S a", "E a"]
        broker.wait_empty()

    def test_a_warm_stop_puts_back_what_has_not_begun_to_be_served_next(self, broker, worker,
                                                                        tmp_path):
        """C-47"""
        out = tmp_path / "out"
        one = worker(concurrency=1, settings={"worker_prefetch_multiplier": 3})
        broker.send("append_early", (str(out), "a", 3))
        wait_line(out, "S a")
        held = [broker.send("noop", eta=messages.now(600))]
        held += [broker.send("noop") for _ in range(3)]
        broker.wait_counts(0, 4)
        waiting = broker.send("noop", id="waiting")
        broker.wait_counts(1, 4)
        assert one.stop() == 0
        assert broker.counts() == (5, 0)
        assert not broker.client.exists("unacked", "unacked_index")
        found = [broker.peek("celery") for _ in range(5)]
        assert {message.headers["id"] for message in found[:4]} == set(held)
        for message in found[:4]:
            assert message.headers["redelivered"] and message.delivery_info["redelivered"]
        assert found[4].headers["id"] == waiting and not found[4].delivery_info["redelivered"]

    @pytest.mark.deviates("Celery loses what it has just popped")
    def test_many_stops_lose_nothing(self, broker, worker, results, tmp_path):
        """C-47: SMALLAGE_STOPS of them."""
        stops = int(os.environ.get("SMALLAGE_STOPS", "15"))
        out = tmp_path / "out"
        ids = broker.send_many("append_early", 40 * stops, lambda i: (str(out), str(i), 0.002))
        for number in range(stops):
            one = worker(concurrency=2, ready=False)
            wait_until(lambda: broker.counts()[1], 10, "messages held", 0.002)
            time.sleep(number % 7 * 0.01)
            one.signal(signal.SIGTERM)
            assert one.wait_end() == 0
            assert broker.counts()[1] == 0
        worker(concurrency=2)
        assert len(results.wait_all(ids, 60)) == len(ids)
        assert sorted(begun(out)) == sorted(str(i) for i in range(len(ids)))


class TestRemote:
    @pytest.mark.parametrize("options", [
        {}, {"global_keyprefix": "pre:"}, {"fanout_prefix": False}, {"fanout_patterns": False},
        {"fanout_prefix": False, "fanout_patterns": False, "global_keyprefix": "p-"},
        {"fanout_prefix": "/{db}/own."}], ids=lambda options: "+".join(options) or "none")
    def test_tasks_control_and_events_with_transport_options(self, broker, worker, app, options):
        """C-49 C-75"""
        app.conf.broker_transport_options = options
        seen, receivers = [], []

        def listen():
            with app.connection_for_read() as connection:
                receivers.append(app.events.Receiver(connection, handlers={"*": seen.append}))
                receivers[0].capture(wakeup=False)
        broker.client.delete("_kombu.binding.celery", "_kombu.binding_permanent.celery")
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        one = worker("-E", settings={"broker_transport_options": options})
        try:
            assert app.control.ping([one.node], timeout=5) == [{one.node: {"ok": "pong"}}]
            wait_until(lambda: [event for event in seen if event["type"] == "worker-heartbeat"],
                       10, "a heartbeat")
            id = app.send_task("testtasks.add", (1, 2))
            assert id.get(timeout=10) == 3
            wait_until(lambda: [event["type"] for event in seen if event.get("uuid") == id.id] ==
                       ["task-received", "task-started", "task-succeeded"], 10, "events")
        finally:
            receivers[0].should_stop = True
            thread.join(10)
        prefix = options.get("global_keyprefix", "").encode()
        assert not [key for key in broker.client.keys() if not key.startswith(prefix)]
        assert redis.VERSION[0] >= 8
        assert {row["resp"] for row in broker.client.client_list()} >= {"3"}

    @pytest.mark.deviates("Celery's replies to those who died stay for ever")
    def test_replies_to_clients_that_died_expire(self, broker, worker):
        """C-50"""
        worker()
        box = Mailbox(broker)
        box.settle()
        names = []
        for _ in range(KILLED_CLIENTS):
            client = Mailbox(broker)
            client.send("ping")
            names.append(f"{client.oid}.reply.celery.pidbox")
            client.link.drop()
        box.settle()
        wait_until(lambda: broker.client.exists(*names) == len(names), 10, "replies", 0.1)
        assert all(0 < broker.client.ttl(name) <= 60 for name in names)
        box.close()

    def test_patterns_of_a_topic_exchange_are_pythons(self, broker, worker, results, app):
        """C-53"""
        one = worker()
        for queue, key in (("stars", "a.*.c"), ("hash", "r.#"), ("odd", "a-b.c_d")):
            app.control.add_consumer(queue, exchange="topics", exchange_type="topic",
                                     routing_key=key, destination=[one.node], reply=True, timeout=5)
        wait_until(lambda: broker.client.scard("_kombu.binding.topics") == 3, 10, "bindings")
        assert {tuple(member.decode().split(SEP))
                for member in broker.client.smembers("_kombu.binding.topics")} == {
            ("a.*.c", r"^a\.[^\.]+\.c$", "stars"), ("r.#", r"^r\..*?$", "hash"),
            ("a-b.c_d", r"^a\-b\.c\_d$", "odd")}
        from kombu import Exchange
        topics = Exchange("topics", "topic")
        for key in ("a.x.c", "r.y.z", "a-b.c_d"):
            sent = app.send_task("testtasks.add", (1, 2), exchange=topics, routing_key=key,
                                 declare=[topics])
            assert sent.get(timeout=10) == 3, key
        app.send_task("testtasks.add", (1, 2), exchange=topics, routing_key="a.b.b.c",
                      declare=[topics])
        assert results.value(broker.send("add", (2, 2))) == 4
        broker.wait_empty("stars")


class TestTroubles:
    def test_connections_killed_under_load_lose_nothing(self, broker, worker, results, tmp_path):
        """C-51"""
        one = worker(concurrency=2)
        ids = broker.send_many("sleep", 300, (0.01,))
        for _ in range(4):
            time.sleep(0.4)
            assert broker.server_closes() >= 1
        assert len(results.wait_all(ids, 60)) == 300
        broker.wait_empty()
        assert results.value(broker.send("add", (1, 2)), 30) == 3
        assert one.is_alive()

    @pytest.mark.deviates("Celery's worker goes on, deaf")
    def test_a_restart_without_the_scripts_is_survived(self, worker, results, tmp_path):
        """C-51"""
        with services.Redis() as server:
            own = RedisBroker(server, 0)
            one = worker(broker_url=own.url)
            ids = own.send_many("sleep", 100, (0.01,))
            for _ in range(2):
                time.sleep(0.5)
                own.crash()
                ids += own.send_many("sleep", 50, (0.01,))
            assert len(results.wait_all(ids, 60)) == 200
            own.client.script_flush()
            assert results.value(own.send("add", (1, 2)), 30) == 3
            own.wait_empty()
            assert one.stop() == 0
            own.close()

    @pytest.mark.deviates("Celery's worker ends, or loses what it has popped")
    def test_a_full_redis_stops_nothing_for_good(self, worker, results):
        """C-51"""
        with services.Redis() as server:
            own = RedisBroker(server, 0)
            one = worker(broker_url=own.url)
            ids = own.send_many("retry", 100, (1, 1))
            own.client.config_set("maxmemory", "1")
            time.sleep(4)
            assert one.is_alive()
            own.client.config_set("maxmemory", "0")
            assert {row["result"] for row in results.wait_all(ids, 60).values()} == {1}
            own.wait_empty(timeout=30)
            assert one.stop() == 0
            own.close()

    @pytest.mark.deviates("Celery's worker does not notice")
    def test_a_connection_that_hangs_is_given_up(self, broker, worker, results):
        """C-76"""
        with services.Relay(broker.port) as relay:
            worker(broker_url=broker.url_at(relay.port), settings={
                "broker_transport_options": {"health_check_interval": 2}})
            assert results.value(broker.send("add", (1, 2))) == 3
            relay.hang()
            time.sleep(1)
            id = broker.send("add", (2, 2))
            time.sleep(8)
            relay.cut()
            relay.flow()
            assert results.value(id, 30) == 4

    @pytest.mark.deviates("Celery's worker ends")
    def test_envelopes_of_other_clients_run(self, broker, worker, results):
        """Without delivery tag and info, with the body as text, with only what is needed."""
        one = worker()
        bodies = {}
        for kind in ("text", "no tag", "bare"):
            id = bodies[kind] = messages.new_id()
            whole = {"body": messages.body((1, 2)), "content-type": "application/json",
                     "content-encoding": "utf-8", "headers": messages.headers("testtasks.add", id),
                     "properties": {"delivery_info": {"exchange": "", "routing_key": "celery"},
                                    "delivery_tag": "1", "body_encoding": "utf-8"}}
            if kind != "text":
                del whole["properties"]["delivery_tag"]
            if kind == "bare":
                whole = {"body": whole["body"], "headers": whole["headers"], "properties": {},
                         "content-type": "application/json"}
            broker.client.lpush("celery", json.dumps(whole))
        assert [results.value(id) for id in bodies.values()] == [3, 3, 3]
        broker.wait_empty()
        assert one.is_alive()

    @pytest.mark.deviates("Celery's worker ends")
    @pytest.mark.parametrize("raw", [b"", b"x", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"{}",
                                     b'{"body": 5}', b'{"body": "W10=", "properties": []}',
                                     b"[" * 5000, b'{"a":1}, "x"'], ids=repr)
    def test_what_is_no_envelope_stops_nothing(self, broker, worker, results, raw):
        """And never stands in `unacked`, where a Python worker's sweep would choke on it."""
        one = worker()
        broker.client.lpush("celery", raw)
        assert results.value(broker.send("add", (1, 2))) == 3
        broker.wait_empty()
        assert one.is_alive()
