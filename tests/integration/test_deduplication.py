"""worker_deduplicate_successful_tasks: tasks.md 4.2, section 9 lines 72 and 73."""
import json

import pytest

import messages
import services
from results import Results
from services.keeper import wait_until

pytestmark = pytest.mark.brokers("rabbitmq", why="messages are made redelivered by hand")
SETTINGS = {"worker_deduplicate_successful_tasks": True}
DONE = "Task already completed successfully."


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def redeliver(broker):
    """All that waits has been delivered once."""
    held = list(iter(lambda: broker.channel.basic_get("celery"), None))
    for message in held:
        broker.channel.basic_reject(message.delivery_tag, requeue=True)


def store(results, status="SUCCESS", result=None, children=()):
    id = messages.new_id()
    results.client.set(results.key(id), json.dumps({
        "status": status, "result": result, "traceback": None, "children": children,
        "date_done": messages.now(), "task_id": id}))
    return id


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


class Case:
    def __init__(self, queue, out):
        self.queue, self.out = queue, out

    def send(self, text, id=None, task="append", **more):
        return self.queue.send(task, (str(self.out), text, 0), id=id, **more)


def test_what_has_succeeded_is_not_run_again(queue, worker, results, tmp_path):
    """T-72 T-73"""
    case = Case(queue, tmp_path / "out")
    done = case.send("done", store(results, result="done"))
    case.send("none")
    case.send("failed", store(results, "FAILURE",
                              {"exc_type": "ValueError", "exc_message": ["x"],
                               "exc_module": "builtins"}))
    case.send("retried", store(results, "RETRY"))
    case.send("early", store(results, result="early"), task="append_early")
    redeliver(queue)
    fresh = case.send("fresh", store(results, result="fresh"))
    one = worker(concurrency=1, settings=SETTINGS)
    wait_until(lambda: "E fresh" in lines(case.out), 15, "the last")
    queue.wait_empty()
    assert sorted(line for line in lines(case.out) if line[0] == "S") == [
        "S early", "S failed", "S fresh", "S none", "S retried"]
    assert one.log.count(DONE) == 1
    one.wait_log(rf"Task testtasks.append\[{done}\] {DONE}")
    assert fresh not in "".join(line for line in one.log.splitlines() if DONE in line)


def test_what_is_to_follow_is_sent_unless_it_was(queue, worker, results, tmp_path):
    """T-72"""
    case = Case(queue, tmp_path / "out")
    step = {"task": "testtasks.echo", "args": [], "kwargs": {}, "immutable": False,
            "subtask_type": None}

    def embed(link, following):
        return {**messages.EMBED, "callbacks": [{**step, "options": {"task_id": link}}],
                "chain": [{**step, "options": {"task_id": following}}]}
    first, second = messages.new_id(), messages.new_id()
    lost = [messages.new_id(), messages.new_id()]
    case.send("done", store(results, result={"a": [1]}), embed=embed(first, second))
    case.send("sent", store(results, result=2, children=[[["x", None], None]]), embed=embed(*lost))
    redeliver(queue)
    worker(concurrency=1, settings=SETTINGS)
    assert results.value(first) == results.value(second) == {"a": [1]}
    queue.wait_empty()
    assert not any(results.record(id) for id in lost)
    assert not lines(case.out)


@pytest.mark.deviates("its chord hangs: the part is not reported")
def test_a_chord_whose_part_was_not_reported_goes_on(queue, worker, results, tmp_path):
    """T-72: the first worker may have died between the two."""
    case = Case(queue, tmp_path / "out")
    group, body = messages.new_id(), messages.new_id()
    results.client.set(f"celery-taskset-meta-{group}.s", 1)
    chord = {"task": "testtasks.echo", "args": [], "kwargs": {}, "immutable": False,
             "subtask_type": None, "options": {"task_id": body}}
    case.send("done", store(results, result="done"), group=group, group_index=0,
              embed={**messages.EMBED, "chord": chord})
    redeliver(queue)
    worker(concurrency=1, settings=SETTINGS)
    assert results.value(body) == ["done"]
    queue.wait_empty()
    assert not lines(case.out)


@pytest.mark.deviates("its worker runs the task while the store is away")
def test_a_store_that_is_away_is_waited_for(queue, worker, tmp_path):
    """T-72: also over a lost connection to the broker, where the message comes once more."""
    case = Case(queue, tmp_path / "out")
    with services.Redis() as server:
        results = Results(server.port, 0)
        case.send("done", store(results, result="done"))
        redeliver(queue)
        server.stop()
        one = worker(concurrency=1, settings=SETTINGS, backend_url=results.url)
        one.wait_log(r"Task testtasks.append\S+ received")
        wait_until(lambda: queue.server_closes() and "Connection to broker lost" in one.log, 15,
                   "end of the connection", 0.5)
        one.wait_log(r"Task testtasks.append\S+ received", count=2)
        server.start()
        one.wait_log(DONE, timeout=20)
        queue.wait_empty()
        assert one.log.count(DONE) == 1 and not lines(case.out)
        assert one.stop() == 0
        results.close()


def test_it_is_off_unless_asked_for(queue, worker, results, tmp_path):
    case = Case(queue, tmp_path / "out")
    case.send("again", store(results, result="again"))
    redeliver(queue)
    worker(concurrency=1)
    wait_until(lambda: "E again" in lines(case.out), 15, "a second run")
    queue.wait_empty()
