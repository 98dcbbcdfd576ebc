"""The local status socket, and the command line beside the worker."""
import json
import os
import signal
import subprocess
import time

import pytest

from worker import BUILD, JUDGE

# Starting a sanitized program alone takes longer than the worker may take to answer.
SLACK = 5 if "address" in os.environ.get("SMALLAGE_BUILD", "") else 1

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: Celery has no local socket")


def smallage(*args, env=None, timeout=20, cwd="/tmp"):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "EMAIL_"))}
    return subprocess.run([BUILD / "bin/smallage", *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
                          env={**clean, **(env or {})}, cwd=cwd)


def status(one):
    """(seconds of the whole call, its answer)."""
    started = time.monotonic()
    done = smallage("status", "--json", "-n", one.node, env={"TMPDIR": str(one.dir)})
    took = time.monotonic() - started
    assert done.returncode == 0, done.stdout
    return took, json.loads(done.stdout)


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def test_usr1_writes_the_state_to_the_log(queue, worker):
    one = worker(concurrency=1)
    queue.send("sleep", (20,))
    queue.wait_counts(0, 0)
    one.signal(signal.SIGUSR1)
    one.wait_log(r"dump: 1 requests active")
    one.wait_log(r"dump: broker up, 1 received")
    one.kill()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize("task", ["sleep", "stubborn"])
def test_the_worker_answers_while_every_slot_is_busy(queue, worker, results, pool, task):
    """Within 50 ms, whatever the tasks do."""
    one = worker(pool=pool, concurrency=2)
    queue.send_many(task, 20, (4,))
    one.wait_log("received", count=2)
    time.sleep(0.3)
    took = sorted(status(one)[0] for _ in range(30))
    assert took[15] < 0.05 * SLACK and took[-1] < 0.5 * SLACK, took
    one.kill()


def test_the_worker_answers_under_load(queue, worker, results):
    """While 20,000 tasks pass through."""
    one = worker(concurrency=2, level="WARNING", ready=False)
    ids = queue.send_many("noop", 20000)
    took = sorted(status(one)[0] for _ in range(30))
    assert took[15] < 0.1 * SLACK, took
    assert len(results.wait_all(ids, 60)) == 20000


def test_the_worker_answers_while_its_servers_are_away(worker, results):
    """Redis and RabbitMQ stopped."""
    import services
    with services.RabbitMQ() as rabbit, services.Redis() as redis:
        one = worker(broker_url=rabbit.url(), backend_url=redis.url())
        rabbit.pause()
        redis.pause()
        try:
            took = [status_any(one) for _ in range(20)]
            assert sorted(took)[10] < 0.05 * SLACK, took
        finally:
            rabbit.resume()
            redis.resume()
        rabbit.kill()
        one.wait_log("Connection to broker lost")
        done = smallage("status", "-n", one.node)
        assert done.returncode == 1, done.stdout


def status_any(one):
    started = time.monotonic()
    smallage("status", "-n", one.node)
    return time.monotonic() - started


def test_the_answer_counts(queue, worker, results):
    """Every counter and connection."""
    one = worker(concurrency=3)
    results.wait_all(queue.send_many("noop", 25))
    answer = status(one)[1]
    text = json.dumps(answer)
    assert one.node in text and "guest:guest" not in text
    assert any(value == 25 for value in flat(answer)), answer


def flat(value):
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [value]


def test_a_second_worker_of_the_same_name_does_not_break_the_first(queue, worker, results):
    """And it says where it looked."""
    one = worker(name=f"twin-{os.getpid()}@test")
    worker(name=one.node)
    assert results.value(queue.send("add", (1, 2))) == 3
    assert one.is_alive()


class TestCall:
    def call(self, queue, results, *args):
        return smallage("call", "-b", queue.url, "--result-backend", results.url, *args)

    def test_a_task_is_called_and_its_result_printed(self, queue, worker, results):
        worker()
        done = self.call(queue, results, "testtasks.add", "--args", "[1, 2]")
        assert (done.returncode, done.stdout.strip()) == (0, "3")
        done = self.call(queue, results, "testtasks.echo", "--kwargs", '{"value": {"ż": [1]}}')
        assert json.loads(done.stdout) == {"ż": [1]}

    def test_a_failure_is_an_exit_code(self, queue, worker, results):
        worker()
        done = self.call(queue, results, "testtasks.raise_", "--args", '["ValueError", "oh"]')
        assert done.returncode != 0 and "ValueError" in done.stdout and "oh" in done.stdout

    def test_the_time_to_wait_has_an_end(self, queue, worker, results):
        started = time.monotonic()
        done = self.call(queue, results, "-t", "1", "testtasks.add", "--args", "[1, 2]")
        assert done.returncode != 0 and time.monotonic() - started < 5

    def test_a_call_is_a_message_as_python_sends_it(self, queue, results):
        import messages
        done = self.call(queue, results, "--no-wait", "--countdown", "60", "testtasks.add",
                         "--args", "[1, 2]")
        id = done.stdout.split()[-1]
        message = queue.get("celery")
        assert set(messages.headers("t", id)) <= set(message.headers)
        assert message.headers["id"] == message.properties["correlation_id"] == id
        assert json.loads(message.body)[0] == [1, 2]
        assert message.properties["delivery_mode"] == 2
        assert message.headers["eta"]


class TestCheck:
    def test_an_unknown_setting_names_the_nearest(self, tmp_path):
        (tmp_path / "smallage.yaml").write_text("task_acks_lat: true\n")
        done = smallage("check", cwd=tmp_path)
        assert done.returncode != 0 and "task_acks_late" in done.stdout


def test_concurrency_auto_respects_the_affinity_mask(queue, worker, results):
    """C-78"""
    one = worker(concurrency="auto", prefix=("taskset", "-c", "0"))
    queue.send_many("late", 10, (20,))
    queue.wait_counts(6, 4)
    one.kill()


def test_a_wrong_concurrency_is_refused(worker):
    """C-78"""
    one = worker(concurrency="x", ready=False)
    one.may_fault = True
    assert one.wait_end(10) == 2
    assert "must be a non-negative integer or 'auto', got 'x'" in one.log


def test_a_pidfile_is_there_while_the_worker_runs(worker, tmp_path):
    path = tmp_path / "worker.pid"
    one = worker("--pidfile", path)
    assert int(path.read_text()) == one.pid
    assert one.stop() == 0
    assert not path.exists()


def test_a_logfile_takes_the_log(worker, tmp_path, queue, results):
    path = tmp_path / "own.log"
    one = worker("--logfile", path, ready=False)
    assert results.value(queue.send("add", (1, 2))) == 3
    assert f"{one.node} ready" in path.read_text()


def test_logs_are_json_lines_with_task_and_tenant(queue, worker, results):
    one = worker()
    id = queue.send("raise_", ("ValueError", "żółć \"quoted\"\nline"), tenant_id="acme")
    results.error(id)
    one.wait_log("raised unexpected")
    rows = [json.loads(line) for line in one.log.splitlines() if line.startswith("{")]
    mine = [row for row in rows if row.get("task_id") == id]
    assert len(mine) >= 2 and all(row["task_name"] == "testtasks.raise_" for row in mine)
