"""Retries: tasks.md section 9, lines 79 to 85, 170 and 174."""
import datetime
import json
import re
import signal

import pytest

import messages
from messages import new_id


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def caught(broker, worker, results, task, args, properties=None, **headers):
    """The retry's message, as the broker holds it while its worker is gone."""
    one = worker(concurrency=1)
    id = broker.send(task, args, properties=properties, **headers)
    results.wait(id, "RETRY")
    broker.wait_counts(0, 1)
    one.stop()
    return id, broker.get("celery")


def seconds_from_now(iso):
    at = datetime.datetime.fromisoformat(iso)
    return (at - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def test_a_retry_keeps_the_canvas(queue, worker, results):
    """T-79"""
    errback = {"task": "testtasks.noop", "args": [], "kwargs": {}, "options": {},
               "subtask_type": None, "immutable": True}
    embed = {"callbacks": [errback], "errbacks": [errback], "chain": [errback], "chord": None}
    id, message = caught(queue, worker, results, "retry", (5, 60), embed=embed)
    sent = json.loads(message.body)[2]
    for name in ("callbacks", "errbacks", "chain"):
        assert [sig["task"] for sig in sent[name]] == ["testtasks.noop"], name
    assert sent["chord"] is None


def test_a_retry_keeps_the_message_and_counts(queue, worker, results):
    """T-79"""
    root, parent, group = new_id(), new_id(), new_id()
    one = worker(concurrency=1)
    id = queue.send("retry", (5, 60), root_id=root, parent_id=parent, group=group,
                    group_index=7, retries=1, shadow="shade", timelimit=[100, 50], tenant="acme",
                    origin="gen7@elsewhere", stamped_headers=["st"], stamps={"st": "abc"},
                    replaced_task_nesting=2, properties={"priority": 4, "reply_to": "reply-queue"})
    results.wait(id, "RETRY")
    queue.wait_counts(0, 1)
    one.stop()
    message = queue.get("celery")
    headers = message.headers
    assert 40 < seconds_from_now(headers["eta"]) <= 60
    assert headers["id"] == message.properties["correlation_id"] == id
    expected = {"task": "testtasks.retry", "retries": 2, "root_id": root, "parent_id": parent,
                "group": group, "group_index": 7, "shadow": "shade", "timelimit": [100, 50],
                "tenant": "acme", "origin": "gen7@elsewhere", "stamped_headers": ["st"],
                "stamps": {"st": "abc"}, "replaced_task_nesting": 2, "expires": None,
                "lang": headers["lang"], "ignore_result": False}
    assert {name: headers.get(name) for name in expected} == expected
    args, kwargs, sent = json.loads(message.body)
    assert (args, kwargs) == ([5, 60], {})
    assert not any((sent or {}).values())
    assert message.properties["reply_to"] == "reply-queue"
    assert message.properties["priority"] == 4
    assert message.properties["delivery_mode"] == 2
    assert message.properties["content_type"] == "application/json"
    assert set(messages.headers("t", id)) <= set(headers)


def caught_old(broker, worker, results, task, args):
    """As `caught`, of a message of protocol 1. The headers of the retry."""
    one = worker(concurrency=1)
    id = new_id()
    broker.publish(json.dumps({"task": f"testtasks.{task}", "id": id, "args": args, "kwargs": {}}),
                   {}, **messages.properties(id))
    results.wait(id, "RETRY")
    broker.wait_counts(0, 1)
    one.stop()
    return broker.get("celery").headers


def test_a_retry_of_an_old_message_describes_its_arguments(queue, worker, results):
    """T-79: protocol 1 has no such headers"""
    headers = caught_old(queue, worker, results, "retry", [5, 60])
    assert headers["retries"] == 1
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("(5, 60)", "{}")


@pytest.mark.deviates("Celery knows no secret parameters and shows them")
def test_a_retry_of_an_old_message_does_not_show_secret_arguments(queue, worker, results):
    headers = caught_old(queue, worker, results, "retry_secret", ["s3cret", 60])
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("***", "***")
    assert "s3cret" not in str(headers)


@pytest.mark.deviates("Celery describes them anew and shows what the producer had hidden")
def test_a_retry_keeps_the_description_that_the_producer_chose(queue, worker, results):
    id, message = caught(queue, worker, results, "retry", (5, 60), argsrepr="(<hidden>)")
    assert message.headers["argsrepr"] == "(<hidden>)"


def test_a_retry_drops_the_headers_of_dead_lettering(queue, worker, results):
    """T-80"""
    id, message = caught(queue, worker, results, "retry", (5, 60), tenant="acme", **{
        "x-death": [{"count": 1, "reason": "rejected", "queue": "q"}],
        "x-first-death-queue": "q", "x-first-death-reason": "rejected",
        "x-first-death-exchange": "", "x-last-death-queue": "q"})
    assert not [name for name in message.headers if name.startswith("x-")]
    assert message.headers["tenant"] == "acme"


def test_a_retry_keeps_the_absolute_expiry(queue, worker, results):
    """T-81"""
    expires = messages.now(100)
    id, message = caught(queue, worker, results, "retry", (5, 10), expires=expires,
                         properties={"expiration": "100000"})
    kept = datetime.datetime.fromisoformat(message.headers["expires"])
    assert abs((kept - datetime.datetime.fromisoformat(expires)).total_seconds()) < 0.001
    assert 80000 < int(message.properties["expiration"]) < 100000


def test_the_record_of_a_waiting_retry(queue, worker, results):
    """T-82"""
    worker(concurrency=1)
    plain, given = queue.send("retry", (1, 60)), queue.send("retry_raise", (60,))
    record = results.wait(plain, "RETRY")
    assert record["result"] is None or record["result"]["exc_type"]
    assert record["date_done"] is None
    record = results.wait(given, "RETRY")
    assert record["result"] == {"exc_type": "ValueError", "exc_message": ["again"],
                                "exc_module": "builtins"}
    assert record["date_done"] is None
    assert record["traceback"]


@pytest.mark.deviates("Celery may store RETRY over what the next run stored")
def test_a_retried_task_succeeds_in_the_end(queue, worker, results):
    """T-79 T-101"""
    one = worker()
    assert results.value(queue.send("retry", (3, 0))) == 3
    one.wait_log("retry: Retry in", count=3)
    queue.wait_empty()


def test_the_given_exception_is_raised_at_the_limit(queue, worker, results):
    """T-83 T-84"""
    worker()
    id = queue.send("retry_raise", (0,))
    assert results.error(id) == ("ValueError", ["again"], "builtins")


def test_without_an_exception_the_limit_has_its_own(queue, worker, results):
    """T-83 T-84"""
    one = worker()
    id = queue.send("retry_limited", (0,))
    kind, message, module = results.error(id)
    assert (kind, module) == ("MaxRetriesExceededError", "celery.exceptions")
    assert message[0] == f"Can't retry testtasks.retry_limited[{id}] args:(0,) kwargs:{{}}" or \
        message[0].startswith(f"Can't retry testtasks.retry_limited[{id}] args:")
    # Three retries after the first run.
    assert len([line for line in one.log.splitlines() if "Retry in" in line and id in line]) == 3


@pytest.mark.deviates("Celery may store RETRY over what the next run stored")
def test_no_limit_is_no_limit(queue, worker, results):
    """T-84"""
    worker()
    assert results.value(queue.send("retry", (12, 0)), 30) == 12


def test_autoretry_with_a_fixed_delay(queue, worker, results):
    """T-83 T-84"""
    worker()
    assert results.value(queue.send("autoretry_fixed", (2,))) == 2
    kind, message, module = results.error(queue.send("autoretry_fixed", (3,)))
    assert (kind, message, module) == ("ConnectionError", ["not yet"], "builtins")


def test_backoff_doubles_up_to_its_maximum(queue, worker, results):
    """T-85"""
    one = worker()
    delays = []
    for retries in range(5):
        queue.send("autoretry_backoff", (9,), retries=retries)
    one.wait_log("Retry in", count=5)
    delays = sorted(float(x) for x in re.findall(r"Retry in ([0-9.]+)s", one.log))
    assert delays == [1, 2, 4, 4, 4]


def test_jitter_stays_below_the_cap_in_whole_seconds(queue, worker, results):
    """T-85"""
    one = worker()
    ids = [queue.send("autoretry_jitter", (99,), retries=3) for _ in range(40)]
    for id in ids:
        one.wait_log(rf"jitter\[{id}\] retry: Retry in")
    lines = re.findall(r"jitter\[([0-9a-f-]+)\] retry: Retry in ([0-9.]+)s", one.log)
    first = {id: float(delay) for id, delay in reversed(lines)}
    delays = set(first.values())
    assert all(0 <= d <= 8 and d == int(d) for d in delays), delays
    assert len(delays) > 3


@pytest.mark.prefork
def test_a_lost_process_is_retried_when_asked_to(queue, worker, results):
    """T-170"""
    one = worker(settings={"task_retry_on_worker_lost": True}, concurrency=1)
    id = queue.send("crash_retried", (int(signal.SIGKILL),))
    record = results.wait(id, "RETRY")
    assert record["result"]["exc_type"] == "WorkerLostError"
    queue.wait_counts(0, 1)
    one.stop()
    assert queue.get("celery").headers["retries"] == 1


@pytest.mark.prefork
def test_a_lost_process_fails_when_its_retries_are_used_up(queue, worker, results):
    """T-170"""
    worker(settings={"task_retry_on_worker_lost": True, "task_acks_late": True,
                     "task_reject_on_worker_lost": True}, concurrency=1)
    id = queue.send("crash_retried", (int(signal.SIGKILL),), retries=3)
    assert results.error(id)[0] == "WorkerLostError"
    queue.wait_empty()


@pytest.mark.parametrize("task,header,stored", [("retry", True, False), ("retry_ignored", False,
                                                                         True)])
def test_a_retry_keeps_whether_the_result_is_ignored(queue, worker, results, task, header, stored):
    """T-174"""
    worker(concurrency=1)
    id = queue.send(task, (1, 0.2), ignore_result=header)
    assert results.value(queue.send("sleep", (1,))) == 1
    queue.wait_empty()
    if stored:
        assert results.value(id) == 1
    else:
        assert results.record(id) is None


@pytest.mark.smallage_only("Celery sends again without a confirm")
def test_a_retry_is_confirmed_before_its_message_is_acked(queue, worker, results):
    """T-79"""
    worker(concurrency=2, settings={"task_acks_late": True})
    ids = [queue.send("retry", (3, 0)) for _ in range(50)]
    queue.server_closes()
    assert {r["result"] for r in results.wait_all(ids, 60).values()} == {3}


@pytest.mark.deviates("Celery runs it twice")
def test_a_retry_that_was_published_twice_runs_once(queue, worker, results, tmp_path):
    """The publisher sends again what was not confirmed; the copy is no redelivered message."""
    out = tmp_path / "out"
    out.touch()
    worker(concurrency=2)
    waiting = new_id()
    for _ in range(2):
        queue.send("append", (str(out), "running", 1), id="running", retries=1)
        queue.send("append", (str(out), "waiting"), id=waiting, retries=1,
                   eta=messages.now(1))
    results.wait("running"), results.wait(waiting)
    queue.send("append", (str(out), "running", 1), id="running", retries=1)
    for _ in range(2):
        queue.send("append", (str(out), "twice", 1), id="twice")
    results.wait("twice")
    queue.wait_empty()
    lines = out.read_text().split("\n")
    assert lines.count("E running") == 1 and lines.count("E waiting") == 1, lines
    assert lines.count("E twice") == 2, lines
