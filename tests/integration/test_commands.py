"""The commands beside a worker in the foreground, without a server wherever none is needed."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

import services
from services.keeper import free_port, wait_until
from test_clients import mail_env
from worker import BUILD, JUDGE, SANITIZERS, Worker

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: Celery has no such commands")

PLUGIN = BUILD / "lib/smallage/test-tasks/testtasks.so"


def run(folder, *args, env=None, timeout=40):
    """Ended, its output apart: .returncode .stdout .stderr"""
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("CELERY_", "EMAIL_", "REDIS_", "SMALLAGE_"))}
    return subprocess.run([BUILD / "bin/smallage", *map(str, args)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
                          env={**clean, **SANITIZERS, "TMPDIR": str(folder), **(env or {})},
                          timeout=timeout, check=False)


@pytest.fixture
def folder(tmp_path):
    """Where a worker runs that needs no server; its messages and results are files in it."""
    one = Worker(tmp_path, None, None, concurrency=1)
    yield tmp_path
    one.end()
    assert not one.faults()


class TestCall:
    def test_the_result_alone_is_on_standard_output(self, folder):
        done = run(folder, "call", "testtasks.add", "[1, 2]")
        assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")

    @pytest.mark.parametrize("args, value", [
        (["--args", "[1, 2.5]"], 3.5),
        (["1", "2"], 3),
        (["--kwargs", '{"x": 1, "y": 2}'], 3),
        (["--args", "[1]", "--kwargs", '{"y": 2}'], 3)])
    def test_arguments_may_be_json_or_words(self, folder, args, value):
        done = run(folder, "call", "testtasks.add", *args)
        assert (done.returncode, json.loads(done.stdout)) == (0, value)

    @pytest.mark.parametrize("word, value", [
        ("word", "word"), ('"1"', "1"), ('{"a": [null, true]}', {"a": [None, True]}),
        ("żółć 🙂", "żółć 🙂"), ("null", None), ("", "")])
    def test_a_word_that_is_no_json_is_a_string(self, folder, word, value):
        done = run(folder, "call", "testtasks.echo", word)
        assert (done.returncode, json.loads(done.stdout)) == (0, value)

    def test_a_failure_is_exit_code_one_and_says_what_failed(self, folder):
        done = run(folder, "call", "testtasks.raise_", "ValueError", "oh dear")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Traceback (most recent call last):\n")
        assert done.stderr.endswith("smallage call: FAILURE: ValueError: oh dear\n")

    def test_a_task_that_nobody_knows_is_a_failure(self, folder):
        done = run(folder, "call", "nobody.knows.it")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "smallage call: FAILURE: NotRegistered: nobody.knows.it\n"

    def test_a_record_can_be_printed_whole(self, folder):
        done = run(folder, "call", "--json", "testtasks.raise_", "ValueError", "oh")
        record = json.loads(done.stdout)
        assert done.returncode == 1
        assert (record["status"], record["result"]["exc_message"]) == ("FAILURE", ["oh"])
        record = json.loads(run(folder, "call", "--json", "testtasks.add", "1", "2").stdout)
        assert (record["status"], record["result"]) == ("SUCCESS", 3)

    def test_no_result_in_time_is_exit_code_two(self, folder):
        started = time.monotonic()
        done = run(folder, "call", "-t", "0.5", "testtasks.sleep", "2")
        assert (done.returncode, done.stdout) == (2, "")
        assert 0.5 <= time.monotonic() - started < 2
        assert done.stderr.startswith("smallage call: no result of task ")
        assert done.stderr.endswith(" within 0.5 s\n")

    def test_a_countdown_is_waited_for(self, folder):
        started = time.monotonic()
        done = run(folder, "call", "--countdown", "1", "-t", "10", "testtasks.add", "1", "2")
        assert (done.returncode, done.stdout) == (0, "3\n")
        assert time.monotonic() - started >= 1

    def test_without_waiting_the_id_is_printed_and_leads_to_the_result(self, folder):
        done = run(folder, "call", "--no-wait", "testtasks.add", "1", "2")
        assert done.returncode == 0 and len(done.stdout) == 37
        path = folder / f"smallage-data/results/celery-task-meta-{done.stdout.strip()}"
        wait_until(path.exists, 10, "the result")
        assert json.loads(path.read_text())["result"] == 3

    @pytest.mark.parametrize("args, text", [
        ([], "which task? smallage call NAME [ARGS]"),
        (["testtasks.add", "--args", '{"a": 1}'], "--args is not a JSON list"),
        (["testtasks.add", "--kwargs", "[1]"], "--kwargs is not a JSON object"),
        (["testtasks.add", "--args", "[1"], "--args: Expecting ',' delimiter"),
        (["-t", "soon", "testtasks.add"], "option --timeout: 'soon' is no number of seconds"),
        (["--eta", "later", "testtasks.add"], "option --eta: "),
        (["--no-such", "testtasks.add"], "unknown option '--no-such'")])
    def test_a_wrong_command_line_is_exit_code_one_and_sends_nothing(self, tmp_path, args, text):
        done = run(tmp_path, "call", *args)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"smallage call: {text}")
        assert not list(tmp_path.rglob("*.msg"))

    @pytest.mark.parametrize("url, text", [
        ("amqp://guest:s3cret@127.0.0.1:{port}//", "broker: connect to 127.0.0.1:{port}: "),
        ("amqp://guest:s3cret@127.0.0.1:port//", "broker: broker URL: the port"),
        ("carrier-pigeon://s3cret@loft/", "broker: ")])
    def test_a_wrong_broker_is_exit_code_one_and_named(self, tmp_path, url, text):
        port = free_port()
        started = time.monotonic()
        done = run(tmp_path, "call", "-b", url.format(port=port), "testtasks.add", "1", "2")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("smallage call: " + text.format(port=port)), done.stderr
        assert "s3cret" not in done.stderr
        assert time.monotonic() - started < 10

    def test_a_wrong_password_is_named_without_being_shown(self, tmp_path, rabbit):
        url = rabbit.url(password="s3cret")
        done = run(tmp_path, "call", "-b", url, "testtasks.add", "1", "2")
        assert (done.returncode, done.stdout) == (1, "")
        assert "ACCESS_REFUSED" in done.stderr or "refused" in done.stderr.lower(), done.stderr
        assert "s3cret" not in done.stderr

    def test_a_dead_result_store_is_named_when_the_time_is_over(self, tmp_path, broker):
        done = run(tmp_path, "call", "-b", broker.url, "--result-backend",
                   f"redis://:s3cret@127.0.0.1:{free_port()}/0", "-t", "1", "testtasks.add", "1")
        assert (done.returncode, done.stdout) == (2, "")
        assert "no result of task" in done.stderr and "127.0.0.1" in done.stderr
        assert "s3cret" not in done.stderr


def verdicts(done):
    """{"broker": "FAILED connect to ...", ...}"""
    return dict(line.split(None, 1) for line in done.stdout.splitlines() if line[:1].strip())


class TestCheck:
    def test_without_a_server_all_is_well(self, tmp_path):
        done = run(tmp_path, "check", "-I", PLUGIN)
        found = verdicts(done)
        assert done.returncode == 0, done.stdout
        assert {name: text.split()[0] for name, text in found.items()} == dict.fromkeys(
            ("settings", "tasks", "queues", "broker", "results", "templates", "email", "sms"),
            "ok")
        assert "testtasks.add(x: any, y: any)" in done.stdout

    def test_sound_servers_are_named(self, tmp_path, broker, results, smtp):
        done = run(tmp_path, "check", "-b", broker.url, "--result-backend", results.url,
                   env=mail_env(smtp))
        found = verdicts(done)
        assert done.returncode == 0, done.stdout
        assert found["broker"].startswith("ok") and str(broker.port) in found["broker"]
        assert found["results"].startswith("ok") and str(results.port) in found["results"]
        assert found["email"].startswith("ok") and str(smtp.port) in found["email"]
        assert "guest:guest" not in done.stdout

    @pytest.mark.parametrize("dead", ["broker", "results", "email"])
    def test_a_dead_server_fails_alone_and_is_named(self, tmp_path, broker, results, smtp, dead):
        port = free_port()
        env = mail_env(smtp, EMAIL_HOST_PASSWORD="s3cret")
        broker_url, results_url = broker.url, results.url
        if dead == "broker":
            broker_url = f"amqp://guest:s3cret@127.0.0.1:{port}//"
        elif dead == "results":
            results_url = f"redis://:s3cret@127.0.0.1:{port}/0"
        else:
            env["EMAIL_PORT"] = str(port)
        started = time.monotonic()
        done = run(tmp_path, "check", "-t", "3", "-b", broker_url, "--result-backend", results_url,
                   env=env)
        found = verdicts(done)
        assert done.returncode == 1, done.stdout
        assert [name for name, text in found.items() if text.startswith("FAILED")] == [dead]
        assert str(port) in found[dead]
        assert done.stdout.endswith("1 of these failed\n")
        assert "s3cret" not in done.stdout + done.stderr
        assert time.monotonic() - started < 15

    def test_all_dead_servers_are_named_at_once(self, tmp_path, smtp):
        env = mail_env(smtp, EMAIL_PORT=str(free_port()))
        done = run(tmp_path, "check", "-t", "2", "-b", f"amqp://127.0.0.1:{free_port()}//",
                   "--result-backend", f"redis://127.0.0.1:{free_port()}/0", env=env)
        assert done.returncode == 1
        found = verdicts(done)
        assert [name for name in found if found[name].startswith("FAILED")] == \
            ["broker", "results", "email"]
        assert done.stdout.endswith("3 of these failed\n")

    def test_a_server_that_does_not_answer_costs_the_timeout(self, tmp_path):
        with services.RabbitMQ(management=False) as rabbit:
            rabbit.pause()
            started = time.monotonic()
            done = run(tmp_path, "check", "-t", "1", "-b", rabbit.url())
            took = time.monotonic() - started
            rabbit.resume()
        assert done.returncode == 1
        assert verdicts(done)["broker"].startswith("FAILED"), done.stdout
        assert took < 5

    def test_a_plug_in_that_is_missing_is_named(self, tmp_path):
        done = run(tmp_path, "check", "-I", tmp_path / "none.so")
        assert done.returncode == 1
        assert verdicts(done)["tasks"].startswith("FAILED") and "none.so" in done.stdout


class Daemon:
    """`smallage worker -D`; it is nobody's child, so the pid file is all there is to end it by."""

    def __init__(self, folder):
        self.folder = folder
        self.pid_file, self.log_file = folder / "worker.pid", folder / "worker.log"

    def start(self, *more):
        return run(self.folder, "worker", "-D", "--pidfile", self.pid_file, "--logfile",
                   self.log_file, "-l", "info", "-c", "1", "-n", "d@test", "-I", PLUGIN, *more)

    def wait_ready(self):
        wait_until(lambda: self.log_file.exists() and "d@test ready" in self.log_file.read_text(),
                   20, "a ready daemon")
        return int(self.pid_file.read_text())

    def is_running(self, pid):
        try:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z"

    def wait_gone(self, pid):
        wait_until(lambda: not self.is_running(pid), 20, "the end of the daemon")


@pytest.fixture
def daemon(tmp_path):
    one = Daemon(tmp_path)
    yield one
    if one.pid_file.exists():
        pid = int(one.pid_file.read_text())
        if one.is_running(pid):
            os.kill(pid, signal.SIGKILL)


class TestDaemon:
    def test_it_starts_works_and_stops(self, daemon):
        done = daemon.start()
        assert (done.returncode, done.stderr) == (0, "")
        pid = daemon.wait_ready()
        assert daemon.is_running(pid)
        assert "smallage" in pathlib.Path(f"/proc/{pid}/comm").read_text()
        # Away from us: a session of its own, and none of our descriptors.
        assert os.getsid(pid) != os.getsid(0)
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
        assert run(daemon.folder, "call", "testtasks.add", "1", "2").stdout == "3\n"
        status = run(daemon.folder, "status", "-n", "d@test")
        assert status.returncode == 0 and f"(pid {pid}, " in status.stdout
        os.kill(pid, signal.SIGTERM)
        daemon.wait_gone(pid)
        assert not daemon.pid_file.exists()
        assert run(daemon.folder, "status", "-n", "d@test").returncode == 2

    @pytest.mark.parametrize("how", ["-D", "in the foreground"])
    def test_a_second_start_is_refused_and_leaves_the_first_alone(self, daemon, how):
        daemon.start()
        pid = daemon.wait_ready()
        if how == "-D":
            second = daemon.start()
            said = second.stderr
        else:
            second = run(daemon.folder, "worker", "--pidfile", daemon.pid_file)
            said = second.stderr
        assert second.returncode == 1
        assert f"Pidfile ({daemon.pid_file}) already exists. Seems we're already running? " \
            f"(pid: {pid})" in said
        assert int(daemon.pid_file.read_text()) == pid and daemon.is_running(pid)
        assert run(daemon.folder, "call", "testtasks.add", "1", "2").stdout == "3\n"
        os.kill(pid, signal.SIGTERM)
        daemon.wait_gone(pid)

    def test_the_pid_file_of_a_dead_worker_does_not_stop_the_next(self, daemon):
        gone = subprocess.Popen(["true"])
        gone.wait()
        daemon.pid_file.write_text(f"{gone.pid}\n")
        assert daemon.start().returncode == 0
        pid = daemon.wait_ready()
        assert pid != gone.pid
        assert "Stale pidfile exists" in daemon.log_file.read_text()
        os.kill(pid, signal.SIGTERM)
        daemon.wait_gone(pid)
        assert not daemon.pid_file.exists()

    def test_a_wrong_setting_is_said_before_it_goes_to_the_background(self, daemon):
        done = daemon.start("-c", "x")
        assert done.returncode == 2
        assert "must be a non-negative integer or 'auto', got 'x'" in done.stderr
        assert not daemon.pid_file.exists()

    def test_what_fails_in_the_background_is_in_the_log_and_leaves_no_pid_file(self, daemon):
        daemon.start("-b", "amqp://guest:s3cret@localhost:x//")
        wait_until(lambda: daemon.log_file.exists() and "broker_url" in daemon.log_file.read_text(),
                   20, "the reason in the log")
        wait_until(lambda: not daemon.pid_file.exists(), 20, "no pid file")
        assert "s3cret" not in daemon.log_file.read_text()


class TestStatusOfNoWorker:
    def test_it_says_that_there_is_none(self, tmp_path):
        done = run(tmp_path, "status", "-n", "nobody@nowhere")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("smallage status: no worker listens at ")

    def test_a_socket_that_a_killed_worker_left_is_no_worker(self, tmp_path):
        socket = tmp_path / "s"
        one = Worker(tmp_path, None, None, "--socket", str(socket), concurrency=1)
        assert run(tmp_path, "status", "--socket", socket).returncode == 0
        one.kill()
        assert socket.exists()
        for more in ((), ("--json",)):
            done = run(tmp_path, "status", "--socket", socket, *more)
            assert (done.returncode, done.stdout) == (2, "")
            assert "no worker listens at" in done.stderr

    def test_a_worker_that_hangs_is_no_worker_after_the_timeout(self, tmp_path):
        socket = tmp_path / "s"
        one = Worker(tmp_path, None, None, "--socket", str(socket), concurrency=1)
        one.signal(signal.SIGSTOP)
        started = time.monotonic()
        done = run(tmp_path, "status", "-t", "0.5", "--socket", socket)
        took = time.monotonic() - started
        one.end()
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "smallage status: the worker does not answer\n"
        assert 0.5 <= took < 5
