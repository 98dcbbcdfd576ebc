"""What a task can do besides returning: send tasks, be tried again with changes, look at its
request; and the tasks that every worker has. tasks.md 4.3, 5.3, 6.10."""
import json
import os

import pytest
from celery import chord, group

from messages import new_id
from services.keeper import wait_until
from signatures import queue, sig  # noqa: F401 (fixtures)


def tuple_of(id):
    return [[id, None], None]


class TestSending:
    def test_what_a_task_sends_runs_with_its_parent_and_root(self, queue, worker, results, sig):
        """T-109 T-154 T-156"""
        worker(settings={"task_routes": {"testtasks.noop": {"queue": "later"}}})
        id = queue.send("send_all", ([sig("add", 1, 2), sig("add", 3, 4).set(task_id="mine-" + new_id()),
                                      sig("echo", 5).set(queue="later", headers={"h": "v"}),
                                      sig("noop")],), root_id="the-root")
        first, second, third, fourth = results.value(id)
        assert second.startswith("mine-")
        assert results.value(first) == 3
        assert results.value(second) == 7
        assert results.record(first)["parent_id"] == id
        assert results.record(id)["children"] == [tuple_of(each)
                                                  for each in (first, second, third, fourth)]
        sent = {message.headers["id"]: message for message in (queue.get("later"), queue.get("later"))}
        headers = sent[third].headers
        assert (headers["root_id"], headers["parent_id"], headers["h"]) == ("the-root", id, "v")
        assert headers["argsrepr"] in ("(5,)", "[5]") and headers["origin"].startswith("gen")
        assert json.loads(sent[fourth].body)[:2] == [[], {}]

    @pytest.mark.parametrize("end", ["fail", "retry", "ignore", "progress"])
    def test_children_stand_in_every_record(self, queue, worker, results, sig, end):
        """T-109"""
        worker()
        child = new_id()
        id = queue.send("send_and", (end, [sig("add", 1, 2).set(task_id=child)]))
        assert results.value(child) == 3
        if end == "ignore":
            assert results.record(id) is None
        elif end == "progress":
            assert results.wait(id, "PROGRESS")["children"] == [tuple_of(child)]
        elif end == "fail":
            assert results.wait(id, "FAILURE")["children"] == [tuple_of(child)]
        else:
            assert results.wait(id)["children"] == [tuple_of(child)]

    @pytest.mark.brokers("rabbitmq", why="it can close a connection")
    def test_what_is_sent_is_confirmed_before_the_task_is_acked(self, queue, worker, results, sig):
        """T-154"""
        worker(settings={"task_acks_late": True})
        children = [new_id() for _ in range(50)]
        for child in children:
            queue.send("send_late", ("done", [sig("add", 1, 2).set(task_id=child)]))
        queue.server_closes()
        assert {r["result"] for r in results.wait_all(children, 60).values()} == {3}

    @pytest.mark.prefork
    def test_what_a_lost_process_had_sent_is_sent(self, queue, worker, results, sig):
        worker()
        child = new_id()
        id = queue.send("send_and", ("die", [sig("echo", 1).set(task_id=child, queue="later")]))
        assert results.wait(id)["result"]["exc_type"] == "WorkerLostError"
        assert queue.get("later").headers["id"] == child
        assert queue.peek("later") is None

    @pytest.mark.brokers("rabbitmq", why="others have no exchange that is missing")
    @pytest.mark.deviates("Celery's task does not hear of it")
    def test_what_the_broker_does_not_take_fails_the_task(self, queue, worker, results, sig):
        """T-172"""
        worker()
        id = queue.send("send_all", ([sig("add", 1, 2).set(exchange="nowhere", routing_key="x")],))
        name, message, module = results.error(id)
        assert (name, module) == ("OperationalError", "kombu.exceptions")
        assert message[0].startswith("a task that it sent could not be published: ")


class TestRetries:
    def test_a_retry_with_other_arguments(self, queue, worker, results):
        """T-79"""
        worker()
        options = {"countdown": 0, "kwargs": {"note": "new"}, "time_limit": 30,
                   "soft_time_limit": 20}
        id = queue.send("again", (options,))
        assert results.value(id) == [1, "new", [30, 20]]

    def test_a_retry_to_another_queue_at_a_time(self, queue, worker, results):
        worker()
        options = {"eta": "2100-01-01T00:00:00+00:00", "queue": "later", "expires": 1000,
                   "headers": {"h": "v"}, "priority": 3, "shadow": "sha"}
        id = queue.send("again", (options,), {"text": "not now"})
        message = queue.get("later")
        headers = message.headers
        assert headers["id"] == id and headers["retries"] == 1
        assert headers["eta"].startswith("2100-01-01T00:00:00")
        assert (headers["h"], headers["shadow"]) == ("v", "sha")
        assert message.properties["priority"] == 3
        record = results.wait(id, "RETRY")
        assert record["result"]["exc_message"] == ["not now"]

    def test_the_limit_of_one_retry(self, queue, worker, results):
        """T-83"""
        worker()
        id = queue.send("again", ({"countdown": 0, "max_retries": 1, "args": [{"max_retries": 1,
                                                                              "countdown": 0}, 9]},
                                  9), {"note": "x"})
        name, message, _ = results.error(id)
        assert name == "MaxRetriesExceededError"
        assert message[0].startswith(f"Can't retry testtasks.again[{id}] args:({{'max_retries': 1")
        id = queue.send("again", ({"countdown": 0, "max_retries": 0},), {"text": "mine"})
        assert results.error(id) == ("ValueError", ["mine"], "builtins")


class TestRequest:
    def test_the_request(self, queue, worker, results, sig):
        """T-182"""
        one = worker()
        id = queue.send("request", (1,), {"a": 2}, parent_id="par", root_id="roo", shadow="sha",
                        timelimit=[30, 20], my="own", celery_beat_task=True, stamps={"s": "t"},
                        stamped_headers=["s"], expires="2100-01-01T00:00:00+00:00",
                        embed={"callbacks": [sig("echo")], "errbacks": None, "chain": [],
                               "chord": None})
        got = results.value(id)
        assert got["id"] == id and got["task"] == "testtasks.request"
        assert (got["parent_id"], got["root_id"], got["shadow"]) == ("par", "roo", "sha")
        assert got["args"] == [1] and got["kwargs"] == {"a": 2}
        assert got["timelimit"] == [30, 20] and got["retries"] == 0
        assert got["headers"]["my"] == "own" and got["headers"]["celery_beat_task"] is True
        assert got["hostname"] == one.node
        assert got["delivery_info"]["routing_key"] == "celery"
        assert got["delivery_info"]["redelivered"] is False
        assert got["stamps"] == {"s": "t"} and got["stamped_headers"] == ["s"]
        assert got["expires"].startswith("2100-01-01T00:00:00")
        assert got["callbacks"][0]["task"] == "testtasks.echo"
        assert got["group"] is None and got["chord"] is None and got["chain"] == []
        assert got["origin"] == "gen1@test" and got["correlation_id"] == id


class TestBuiltIns:
    """T-150"""
    @pytest.fixture
    def run(self, queue, worker, results, app):
        worker()
        return lambda name, *args, **kwargs: results.wait(
            app.send_task(f"celery.{name}", args, kwargs).id)

    def test_they_run(self, run, sig, results):
        add = sig("add")
        assert run("map", sig("echo"), [1, "two", None])["result"] == [1, "two", None]
        assert run("starmap", task=add, it=[[1, 2], [3, 4]])["result"] == [3, 7]
        assert run("starmap", add, [])["result"] == []
        assert run("accumulate", [6, 7], 8, index=0)["result"] == [6, 7]
        assert run("accumulate", 6, 7, index=-1)["result"] == 7
        assert run("accumulate", 6, 7)["result"] == [6, 7]
        assert run("backend_cleanup")["result"] is None
        for record, error in [
                (run("map", add, [1]), "TypeError"), (run("starmap", add, [1]), "TypeError"),
                (run("map", add, 1), "TypeError"), (run("accumulate", 1, index=1), "IndexError"),
                (run("map", sig("fail_not_there"), [1]), "NotRegistered"),
                (run("starmap", sig("raise_"), [["ValueError", "x"]]), "ValueError"),
                (run("chain"), "NotImplementedError")]:
            assert record["status"] == "FAILURE" and record["result"]["exc_type"] == error, record

    def test_chunks(self, run, sig, results):
        record = run("chunks", sig("add"), [[1, 2], [3, 4], [5, 6]], 2)
        assert record["status"] == "SUCCESS", record
        (gid, parent), members = record["result"]
        assert parent is None and len(members) == 2
        ids = [id for (id, _), _ in members]
        assert [results.value(id) for id in ids] == [[3, 7], [11]]
        assert results.record(ids[0])["group_id"] == gid
        assert record["children"] == [record["result"]]

    def test_old_results_in_files_are_removed(self, queue, worker, tmp_path):
        folder = tmp_path / "results"
        folder.mkdir()
        worker(backend_url=f"file://{folder}", settings={"result_expires": 3600})
        old, new = (folder / f"celery-task-meta-{name}" for name in ("old", "new"))
        for path in (old, new):
            path.write_text("{}")
        os.utime(old, (1, 1))
        queue.send("celery.backend_cleanup")
        wait_until(lambda: not old.exists(), 10, "the old result's end")
        assert new.exists()

    def test_a_producer_maps(self, run, app, sig):
        xmap = app.signature("celery.map", kwargs={"task": sig("echo"), "it": [4, 5]},
                             immutable=True)
        assert group([xmap, xmap]).apply_async().get(timeout=15) == [[4, 5], [4, 5]]


class TestReplacing:
    def test_another_task_takes_the_place(self, queue, worker, results, sig):
        """T-151"""
        worker()
        link = sig("echo").set(queue="later", task_id=new_id())
        id = queue.send("replace", (sig("add", 1, 2),), root_id="the-root", embed={
            "callbacks": [link], "errbacks": None, "chord": None,
            "chain": [sig("add", 10).set(task_id="last-" + new_id())]})
        assert results.value(id) == 3
        assert queue.get("later").headers["parent_id"] == id
        # Its own id is its parent, and that of the step behind it.
        assert results.record(id)["parent_id"] == id
        assert len(results.record(id)["children"]) == 2

    def test_a_group_takes_the_place(self, queue, worker, results, sig):
        """T-150 T-151"""
        worker()
        id = queue.send("replace", (group(sig("add", 1, 2), sig("add", 3, 4)),))
        assert results.value(id) == [3, 7]

    @pytest.mark.parametrize("bad, error", [
        ({"task": "x.y", "options": {"chord": {"task": "x.z"}}},
         "A signature replacing a task must not be part of a chord"),
        ({"task": "celery.chain", "kwargs": {"tasks": []}, "subtask_type": "chain", "args": [],
          "options": {}, "immutable": False}, "Cannot replace with an empty chain")])
    def test_what_cannot_take_it(self, queue, worker, results, bad, error):
        worker()
        id = queue.send("replace", (bad,))
        assert results.error(id) == ("ImproperlyConfigured", [error], "celery.exceptions")

    def test_a_chord_grows(self, queue, worker, results, sig):
        worker()
        body = sig("echo")
        result = chord([sig("grow", 1, sig("add", 5, 6)), sig("add", 1, 1)], body).apply_async()
        assert sorted(result.get(timeout=15)) == [1, 2, 11]


class TestErrbacks:
    """T-130 T-133: those of the new style are called in the worker that saw the failure."""
    @pytest.fixture
    def fail(self, queue, worker, results, sig, tmp_path):
        one = worker()
        path = tmp_path / "errors"

        def run(task, *errbacks, state="FAILURE"):
            id = queue.send(*task, embed={"callbacks": None, "errbacks": list(errbacks),
                                          "chain": None, "chord": None})
            results.wait(id, state)
            return id

        run.path, run.worker, run.queue = path, one, queue
        run.lines = lambda n: wait_until(
            lambda: path.exists() and len(path.read_text().splitlines()) >= n and
            path.read_text().splitlines(), 10, "lines")
        return run

    def test_they_get_request_exception_and_traceback(self, fail, sig):
        errback = sig("on_error", path=str(fail.path))
        id = fail(("raise_", ("ValueError", "oh")), errback, sig("echo").set(queue="later"))
        assert fail.lines(1) == [f'X {id} ValueError ["oh"] 1']
        # The other one is sent, with the id.
        message = fail.queue.get("later")
        assert json.loads(message.body)[0] == [id] and message.headers["group"]

    def test_one_that_fails_itself_is_logged(self, fail, sig):
        fail(("raise_", ("ValueError", "oh")), sig("on_error"), sig("on_error", str(fail.path)))
        fail.lines(1)
        fail.worker.wait_log("Errback 'testtasks.on_error' raised an exception")

    @pytest.mark.prefork
    def test_of_a_lost_process(self, fail, sig):
        id = fail(("crash", (9,)), sig("on_error", str(fail.path)))
        line, = fail.lines(1)
        assert line.startswith(f"X {id} WorkerLostError ")
