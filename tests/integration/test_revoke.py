"""Revoke, terminate and stamps by remote control: tasks.md 4.8, control.md 2.6.

The client is Celery's own."""
import ast
import json
import time

import pytest

import messages
from services.keeper import wait_until

REVOKED = {"exc_type": "TaskRevokedError", "exc_module": "celery.exceptions"}


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def reason(record):
    assert record["status"] == "REVOKED" and record["traceback"] is None
    assert {k: v for k, v in record["result"].items() if k != "exc_message"} == REVOKED
    return record["result"]["exc_message"]


def started(path):
    wait_until(lambda: path.exists() and "S " in path.read_text(), 10, "the body to begin")


def busy(queue, tmp_path, seconds=30, **headers):
    """A task that runs now: (id, its file)."""
    out = tmp_path / "busy"
    id = queue.send("append_early", (str(out), "busy", seconds), **headers)
    started(out)
    return id, out


def test_a_task_revoked_before_it_arrives_does_not_run(queue, worker, results, control, tmp_path):
    """T-88 T-90 T-92 C-20: known to nobody, it is REVOKED at once."""
    out = tmp_path / "out"
    one = worker()
    id = messages.new_id()
    assert control("revoke", task_id=id) == {"ok": f"tasks {{'{id}'}} flagged as revoked"}
    record = results.wait(id, "REVOKED")
    assert reason(record) == ["revoked"]
    assert record["children"] is None and record["date_done"] and record["task_id"] == id
    assert set(record) == {"status", "result", "traceback", "children", "date_done", "task_id"}
    one.wait_log(f"Tasks flagged as revoked: {id}")
    queue.send("append", (str(out), "x"), id=id)
    one.wait_log(rf"Discarding revoked task: testtasks.append\[{id}\]")
    queue.wait_empty()
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    assert results.value(queue.send("add", (1, 2))) == 3
    assert not out.exists()
    assert control("revoked") == [id]


def test_a_revoked_task_is_discarded_on_receipt_whatever_its_eta(queue, worker, results, control):
    """T-88 C-20: nobody waits for a time that does not matter."""
    one = worker()
    id = messages.new_id()
    control("revoke", task_id=id)
    queue.send("add", (1, 2), id=id, eta=messages.now(600))
    one.wait_log(rf"Discarding revoked task: testtasks.add\[{id}\]")
    queue.wait_empty()


def test_many_ids_are_listed_in_order(queue, worker, results, control):
    """T-92 C-20: the reply is Python's repr of a set."""
    worker()
    for id in ("a", "b", "c", "a"):
        control("revoke", task_id=id)
    assert control("revoked") == ["b", "c", "a"]
    text = control("revoke", task_id=["x", "y", "x"])["ok"]
    assert text.startswith("tasks {") and text.endswith("} flagged as revoked")
    assert ast.literal_eval(text[6:text.rindex("}") + 1]) == {"x", "y"}
    assert control("revoke", task_id=None) == {"ok": "tasks set() flagged as revoked"}
    assert control("revoke", task_id=[]) == {"ok": "tasks set() flagged as revoked"}
    assert control("revoke", task_id=["it's"]) == {"ok": "tasks {\"it's\"} flagged as revoked"}


def test_wrong_arguments_are_answered_as_python_does(worker, queue, control):
    """T-92 C-22"""
    worker()
    assert control("revoke", task_id=[["a"]]) == {"error": "TypeError(\"unhashable type: 'list'\")"}
    assert control("revoke", task_id="a", terminate=True, signal="SIGBAD") == {
        "error": "AttributeError(\"module 'signal' has no attribute 'SIGBAD'\")"}
    assert control("terminate", task_id="a", signal="term") == {
        "error": "TypeError('signal name must be uppercase string.')"}
    assert control("revoke") == {
        "error": "TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"}
    assert control("terminate", task_id="a") == {
        "error": "TypeError(\"terminate() missing 1 required positional argument: 'signal'\")"}
    assert control("revoke", task_id=[5]) == {
        "error": "TypeError('sequence item 0: expected str instance, int found')"}
    assert control("revoke_by_stamped_headers", headers=["x"]) == {
        "error": "IndexError('list index out of range')"}
    assert control("revoke_by_stamped_headers", headers="x") == {
        "error": "AttributeError(\"'str' object has no attribute 'items'\")"}
    assert control("revoke_by_stamped_headers", headers={"x": None}) == {
        "error": "TypeError(\"'NoneType' object is not iterable\")"}


def test_a_task_that_waits_for_a_slot_does_not_run(queue, worker, results, control, tmp_path):
    """T-88"""
    out = tmp_path / "out"
    worker(concurrency=1)
    _, busy_out = busy(queue, tmp_path, 3)
    id = queue.send("append", (str(out), "x"))
    wait_until(lambda: queue.counts()[1] == 1, 10, "the task to be taken")
    control("revoke", task_id=id)
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    wait_until(lambda: "E " in busy_out.read_text(), 10, "the slot to be free")
    queue.wait_empty()
    assert results.value(queue.send("add", (1, 2))) == 3
    assert not out.exists()
    assert results.record(id)["status"] == "REVOKED"


def test_a_task_that_waits_for_its_eta_is_discarded_then(queue, worker, results, control, tmp_path):
    """T-88 C-21: acked no later than its ETA."""
    out = tmp_path / "out"
    one = worker()
    id = queue.send("append", (str(out), "x"), eta=messages.now(2))
    one.wait_log("received")
    control("revoke", task_id=id)
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    one.wait_log("Discarding revoked task")
    queue.wait_empty()
    assert not out.exists()


def test_terminate_of_a_task_that_waits_for_its_eta_names_it(queue, worker, results, control,
                                                             tmp_path):
    """C-67"""
    out = tmp_path / "out"
    one = worker()
    id = queue.send("append", (str(out), "x"), eta=messages.now(2))
    one.wait_log("received")
    assert control("terminate", task_id=id, signal="KILL") == {"ok": f"terminate: {id}"}
    one.wait_log("Discarding revoked task")
    queue.wait_empty()
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    assert not out.exists()


@pytest.mark.prefork
@pytest.mark.parametrize("how, number", [
    ({}, 15), ({"signal": None}, 15), ({"signal": "SIGTERM"}, 15), ({"signal": "TERM"}, 15),
    ({"signal": 15}, 15), ({"signal": "KILL"}, 9), ({"terminate": 1}, 15)])
def test_a_running_task_is_killed_within_a_second(queue, worker, results, control, tmp_path, how,
                                                  number):
    """T-89 C-21 C-22: REVOKED, acked, its process replaced."""
    one = worker(concurrency=1)
    id, out = busy(queue, tmp_path)
    assert control("revoke", **{"task_id": id, "terminate": True, **how}) == {
        "ok": f"terminate: {id}"}
    assert reason(results.wait(id, "REVOKED", timeout=2)) == ["terminated"]
    one.wait_log(rf"Terminating {id} \({number}\)|Terminating {id} \(Signals")
    assert results.value(queue.send("add", (1, 2))) == 3
    queue.wait_empty()
    assert "E " not in out.read_text()
    assert results.record(id)["status"] == "REVOKED"
    assert not [line for line in one.log.splitlines() if "WorkerLost" in line]


@pytest.mark.prefork
def test_a_late_acked_task_that_is_terminated_is_acked(queue, worker, results, control, tmp_path):
    """T-89: it does not come again."""
    out = tmp_path / "out"
    worker(concurrency=1)
    id = queue.send("append", (str(out), "x", 30))
    started(out)
    assert control("terminate", task_id=[id], signal="SIGKILL") == {"ok": f"terminate: {id}"}
    assert reason(results.wait(id, "REVOKED", timeout=2)) == ["terminated"]
    queue.wait_empty()
    assert results.value(queue.send("add", (1, 2))) == 3
    assert out.read_text().split() == ["S", "x"]


def test_terminate_of_unknown_tasks_says_so_and_revokes_them(queue, worker, results, control):
    """T-92 C-22"""
    worker()
    assert control("revoke", task_id=["n1", "n2"], terminate=True) == {
        "ok": "terminate: tasks unknown"}
    assert sorted(control("revoked")) == ["n1", "n2"]


@pytest.mark.prefork
def test_terminate_names_what_it_found(queue, worker, results, control, tmp_path):
    """T-92: the others are revoked."""
    worker(concurrency=2)
    ids = []
    for n in range(2):
        out = tmp_path / f"out{n}"
        ids.append(queue.send("append_early", (str(out), "x", 30)))
        started(out)
    text = control("revoke", task_id=[*ids, "unknown"], terminate=True)["ok"]
    assert sorted(text[len("terminate: "):].split(", ")) == sorted(ids)
    for id in ids:
        assert reason(results.wait(id, "REVOKED", timeout=2)) == ["terminated"]
    assert reason(results.wait("unknown", "REVOKED")) == ["revoked"]


def test_terminate_of_a_task_that_waits_for_a_slot_discards_it(queue, worker, results, control,
                                                               tmp_path):
    """T-88 C-22: nothing is there to be killed."""
    out = tmp_path / "out"
    one = worker(concurrency=1)
    busy(queue, tmp_path, 2)
    id = queue.send("append", (str(out), "x"))
    one.wait_log("received", count=2)
    assert control("terminate", task_id=id, signal="TERM") == {"ok": f"terminate: {id}"}
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    one.wait_log(rf"Discarding revoked task: testtasks.append\[{id}\]")
    queue.wait_empty()
    assert results.value(queue.send("add", (1, 2))) == 3
    assert not out.exists()


def test_a_task_that_runs_is_left_alone_without_terminate(queue, worker, results, control, tmp_path):
    """T-90 T-168"""
    worker(concurrency=1)
    id, _ = busy(queue, tmp_path, 1)
    control("revoke", task_id=id)
    assert results.wait(id)["status"] == "SUCCESS"


@pytest.mark.parametrize("state, is_replaced", [
    (None, True), ("PENDING", True), ("RECEIVED", True), ("RETRY", True), ("REJECTED", True),
    ("STARTED", False), ("FAILURE", False), ("SUCCESS", False), ("REVOKED", False),
    ("PROGRESS", False)])
def test_only_a_record_of_a_task_that_has_not_begun_is_replaced(queue, worker, results, control,
                                                                state, is_replaced):
    """T-90 T-168 C-66"""
    worker()
    id = messages.new_id()
    before = {"status": state, "result": {"exc_type": "E", "exc_message": ["x"],
                                          "exc_module": "m"}, "traceback": None, "children": [],
              "date_done": None, "task_id": id}
    if state:
        results.client.set(results.key(id), json.dumps(before))
    assert control("revoke", task_id=id) == {"ok": f"tasks {{'{id}'}} flagged as revoked"}
    if is_replaced:
        assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    else:
        time.sleep(0.3)
        assert results.record(id) == before


@pytest.mark.deviates("Celery waits for the backend before it answers")
def test_a_backend_that_is_down_delays_no_reply(queue, worker, control):
    """C-66"""
    worker(backend_url="redis://127.0.0.1:1/0")
    ids = [messages.new_id() for _ in range(500)]
    control("revoke", task_id=ids)
    assert control.took < 1
    assert len(control("revoked")) == 500


@pytest.mark.deviates("Celery waits for the backend before it answers")
def test_a_backend_that_is_slow_delays_no_reply(queue, worker, results, control):
    """C-66: the record is there once it can be."""
    worker()
    id = messages.new_id()
    results.client.execute_command("CLIENT", "PAUSE", 3000, "WRITE")
    control("revoke", task_id=id)
    assert control.took < 1
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]


STAMPED = [({"st": "abc"}, {"st": "abc"}), ({"st": "abc"}, {"st": ["x", "abc"]}),
           (["st=abc"], {"st": "abc"}), ({"st": ["q", "abc"]}, {"st": ["abc", "y"]}),
           ({"two": "abc"}, {"one": "1", "two": "abc"}), ({"n": 1}, {"n": 1})]


@pytest.mark.parametrize("headers, stamps", STAMPED)
def test_a_task_with_a_revoked_stamp_does_not_run(queue, worker, results, control, tmp_path,
                                                  headers, stamps):
    """T-91 T-92 T-169 C-23"""
    out = tmp_path / "out"
    one = worker()
    as_dict = headers if isinstance(headers, dict) else {"st": "abc"}
    assert control("revoke_by_stamped_headers", headers=headers) == {
        "ok": f"headers {as_dict} flagged as revoked, but not terminated"}
    id = queue.send("append", (str(out), "x"), stamped_headers=list(stamps), stamps=stamps)
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    one.wait_log(rf"Discarding revoked task: testtasks.append\[{id}\] \(revoked by header: {{")
    queue.wait_empty()
    assert not out.exists()
    other = queue.send("add", (1, 2), stamped_headers=["st"], stamps={"st": "other"})
    assert results.value(other) == 3


def test_a_stamp_that_is_named_but_missing_does_no_harm(queue, worker, results, control):
    """T-169 T-91"""
    worker()
    control("revoke_by_stamped_headers", headers={"st": "abc"})
    for stamps in ({}, {"other": "abc"}, {"st": None}):
        id = queue.send("add", (1, 2), stamped_headers=["st", "other"], stamps=stamps)
        assert results.value(id) == 3


@pytest.mark.prefork
@pytest.mark.parametrize("headers, stamps", STAMPED)
def test_a_running_task_with_a_revoked_stamp_is_terminated(queue, worker, results, control,
                                                           tmp_path, headers, stamps):
    """T-91 T-92 C-23"""
    worker(concurrency=2)
    id, out = busy(queue, tmp_path, stamped_headers=list(stamps), stamps=stamps)
    text = control("revoke_by_stamped_headers", headers=headers, terminate=True)["ok"]
    name = next(iter(headers)) if isinstance(headers, dict) else "st"
    value = {"n": "1"}.get(name, "'abc'")
    assert text == f"headers defaultdict(<class 'set'>, {{'{name}': {{{value}}}}}) revoked"
    assert reason(results.wait(id, "REVOKED", timeout=2)) == ["terminated"]
    queue.wait_empty()


def test_stamps_that_nothing_has_terminate_nothing(queue, worker, results, control):
    """T-92 C-23"""
    worker()
    assert control("revoke_by_stamped_headers", headers={"st": ["a", "b"]}, terminate=True) == {
        "ok": "headers {'st': ['a', 'b']} were not terminated"}


def test_the_threads_pool_cannot_kill(queue, worker, results, control, tmp_path):
    """C-22: Python's words for it."""
    worker(concurrency=2, pool="threads")
    id, _ = busy(queue, tmp_path, 3)
    assert control("terminate", task_id=id, signal="TERM") == {
        "error": "NotImplementedError(\"<class 'celery.concurrency.thread.TaskPool'> does not "
                 "implement kill_job\")"}
    assert results.wait(id)["status"] == "SUCCESS"


@pytest.mark.prefork
def test_usr1_ends_a_task_as_its_soft_limit_does(queue, worker, results, control):
    """T-89: the documented way to end a task gently."""
    worker(concurrency=1)
    id = queue.send("soft", (30,))
    queue.wait_empty()
    time.sleep(0.3)
    assert control("terminate", task_id=id, signal="SIGUSR1") == {"ok": f"terminate: {id}"}
    assert results.wait(id, "SUCCESS", timeout=5)["result"] == "caught"


@pytest.mark.prefork
def test_a_task_that_survives_one_signal_is_killed_by_the_next(queue, worker, results, control,
                                                               tmp_path):
    """C-21"""
    worker(concurrency=1)
    id, _ = busy(queue, tmp_path)
    control("terminate", task_id=id, signal="CONT")
    # Celery has forgotten it by now.
    if not worker.is_judge:
        assert control("terminate", task_id=id, signal="KILL") == {"ok": f"terminate: {id}"}
        assert results.value(queue.send("add", (1, 2))) == 3
    assert reason(results.wait(id, "REVOKED", timeout=3)) == ["terminated"]


@pytest.mark.smallage_only("a file of our own")
def test_revoked_ids_and_stamps_survive_a_restart(queue, worker, results, control, tmp_path):
    """T-93: after a clean stop, and after a kill."""
    state = tmp_path / "state"
    first = worker("--statedb", str(state))
    control("revoke", task_id=["a", "b"])
    control("revoke_by_stamped_headers", headers={"st": ["x"]})
    assert first.stop() == 0
    second = worker("--statedb", str(state))
    assert control("revoked") == ["a", "b"]
    results.client.flushdb()
    queue.send("add", (1, 2), id="a")
    assert reason(results.wait("a", "REVOKED")) == ["revoked"]
    id = queue.send("add", (1, 2), stamped_headers=["st"], stamps={"st": "x"})
    assert reason(results.wait(id, "REVOKED")) == ["revoked"]
    control("revoke", task_id="c")
    time.sleep(4)
    second.kill()
    worker("--statedb", str(state))
    assert control("revoked") == ["a", "b", "c"]


@pytest.mark.parametrize("revoked, learned", [
    (["a", "b"], ["a", "b"]), ({"a": 12.5}, ["a"]), ({"a": [2916.891814507, "a"]}, ["a"]),
    ({"a": 12, "b": 13}, ["a", "b"]), ([], []), (None, [])])
def test_what_another_worker_revoked_is_revoked_here(queue, worker, results, control, revoked,
                                                     learned):
    """C-65 C-32: the forms of all versions; the answer is a list."""
    worker()
    control("revoke", task_id="own")
    answer = control("hello", from_node="other@host", revoked=revoked)
    assert answer["revoked"] == ["own", *learned] and isinstance(answer["clock"], int)
    assert control("revoked") == ["own", *learned]
    for id in learned:
        queue.send("add", (1, 2), id=id)
        assert reason(results.wait(id, "REVOKED")) == ["revoked"]
