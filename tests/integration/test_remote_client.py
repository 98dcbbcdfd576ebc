"""`smallage ping`, `inspect` and `control` beside `celery inspect` and `control`: control.md 1, 5."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

import kombu
import pytest

from services.keeper import free_port, wait_until
from test_commands import run
from worker import BUILD, JUDGE, Worker

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: the client is ours")


def celery(*args, timeout=40):
    """Celery's own command, without our settings (-C: as where Pygments is not installed)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "REDIS_"))}
    return subprocess.run([sys.executable, "-m", "celery", *map(str, args)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean,
                          timeout=timeout, check=False)


@pytest.fixture
def ask(broker, tmp_path):
    """ask("inspect", "ping", ...): by smallage."""
    return lambda *args, **more: run(tmp_path, *args, "-b", broker.url, **more)


@pytest.fixture
def ask_celery(broker):
    return lambda *args: celery("-C", "-b", broker.url, *args)


class Node:
    """Takes down what it is asked and answers what it is told to."""

    name = "n1@test"

    def __init__(self, url):
        self.requests, self.answers = [], [{self.name: {"ok": "pong"}}]
        self.url, self.is_over, self.is_up = url, False, threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        assert self.is_up.wait(20)

    def serve(self):
        with kombu.Connection(self.url) as connection:
            exchange = kombu.Exchange("celery.pidbox", type="fanout", durable=False)
            queue = kombu.Queue("n1@test.celery.pidbox", exchange, durable=False, exclusive=True,
                                auto_delete=True)
            producer = connection.Producer()

            def on_message(body, message):
                self.requests.append((body, dict(message.properties), dict(message.headers)))
                to = body["reply_to"]
                for answer in self.answers:
                    producer.publish(answer, exchange=to["exchange"], routing_key=to["routing_key"],
                                     headers={"ticket": body["ticket"], "clock": 1})
            with connection.Consumer([queue], callbacks=[on_message], no_ack=True):
                self.is_up.set()
                while not self.is_over:
                    try:
                        connection.drain_events(timeout=0.05)
                    except TimeoutError:
                        pass

    def close(self):
        self.is_over = True
        self.thread.join()


@pytest.fixture
def node(broker):
    one = Node(broker.url)
    yield one
    one.close()


REQUESTS = [
    ("inspect", "active"), ("inspect", "active_queues"), ("inspect", "clock"),
    ("inspect", "conf"), ("inspect", "conf", "true"), ("inspect", "conf", "No"),
    ("inspect", "memdump"), ("inspect", "memdump", "3"), ("inspect", "memsample"),
    ("inspect", "objgraph"), ("inspect", "objgraph", "Request", "5", "2"), ("inspect", "ping"),
    ("inspect", "query_task", "a", "b"), ("inspect", "registered"),
    ("inspect", "registered", "rate_limit", "max_retries"), ("inspect", "report"),
    ("inspect", "reserved"), ("inspect", "revoked"), ("inspect", "scheduled"),
    ("inspect", "stats"),
    ("control", "add_consumer", "q"), ("control", "add_consumer", "q", "x", "topic", "k.#"),
    ("control", "autoscale"), ("control", "autoscale", "4"), ("control", "autoscale", "4", "1"),
    ("control", "cancel_consumer", "q"), ("control", "disable_events"),
    ("control", "enable_events"), ("control", "heartbeat"), ("control", "pool_grow"),
    ("control", "pool_grow", "2"), ("control", "pool_restart"), ("control", "pool_shrink", "2"),
    ("control", "rate_limit", "proj.add", "10/m"), ("control", "revoke", "a", "żółć"),
    ("control", "revoke_by_stamped_headers", "m=a", "m=b"), ("control", "shutdown"),
    ("control", "terminate", "KILL", "a", "b"), ("control", "time_limit", "proj.add", "1"),
    ("control", "time_limit", "proj.add", "1.5", "2"),
]


class TestRequest:
    @pytest.mark.parametrize("words", REQUESTS, ids=" ".join)
    def test_its_arguments_have_the_types_that_celery_gives_them(self, node, ask, words):
        from celery.bin.control import _compile_arguments
        group, command, *arguments = words
        assert ask(group, command, *arguments, "-d", node.name, "-t", "5").returncode == 0
        sent = node.requests[-1][0]
        assert (sent["method"], sent["destination"]) == (command, [node.name])
        assert repr(sorted(sent["arguments"].items())) == \
            repr(sorted(_compile_arguments(command, arguments).items()))

    def test_it_is_the_message_that_celery_sends(self, node, ask, ask_celery):
        found = []
        for one in (ask_celery, ask):
            done = one("inspect", "conf", "true", "-d", f"{node.name},other@test", "-t", "2")
            assert done.returncode == 0, done.stderr
            body, properties, headers = node.requests[-1]
            assert set(body.pop("reply_to")) == {"exchange", "routing_key"}
            assert len(body.pop("ticket")) == 36
            assert -2 < headers.pop("expires") - time.time() <= 2
            assert headers.pop("clock") == 1
            for name in ("application_headers", "delivery_tag"):
                properties.pop(name, None)
            found.append((body, properties, headers))
        assert found[0] == found[1]

    def test_without_nodes_it_goes_to_all(self, node, ask):
        assert ask("inspect", "stats").returncode == 0
        assert node.requests[-1][0]["destination"] is None


ANSWERS = [
    {"ok": "pong"}, {"ok": ""}, {"error": "ValueError('x')"}, {"ok": "two\nlines"}, None, True, 7,
    0.1, 1e100, "text", "", [], ["a", "b"], [{"b": 1, "a": [None, True, "x"]}], [1, 2.5, None],
    {}, {"b": {"z": [], "a": {}}, "a": [1, {"k": "ż"}]}, {"ok": ["a", "b"]}, {"ok": {"k": 1}},
    {"error": ["a"]}, [{"it's": 'a "b" \\ \n\b'}, ["it's \x7f", "ż"], {}], ["a\tb"], {"inf": float("inf"), "big": 10 ** 30}, {"ok": None},
]


class TestAnswer:
    @pytest.mark.parametrize("options", [(), ("-j",)], ids=["text", "json"])
    @pytest.mark.parametrize("words", [("inspect", "stats"), ("control", "heartbeat")],
                             ids=" ".join)
    def test_it_is_shown_as_celery_shows_it(self, node, ask, ask_celery, words, options):
        node.answers = [{f"n{i}@test": answer} for i, answer in enumerate(ANSWERS)]
        theirs, ours = ask_celery(*words, *options), ask(*words, *options)
        assert theirs.stdout.count("@test") == len(ANSWERS)
        assert (ours.returncode, ours.stdout, ours.stderr) == (0, theirs.stdout, "")

    def test_two_answers_of_one_name_are_told_about(self, node, ask):
        node.answers = [{node.name: {"ok": 1}}, {node.name: {"ok": 2}}]
        done = ask("inspect", "stats", "-j", "-t", "0.5")
        assert (done.returncode, json.loads(done.stdout)) == (0, {node.name: {"ok": 2}})
        assert done.stderr == f"smallage inspect: several nodes answer to the name {node.name}\n"

    def test_what_is_no_answer_is_passed_over(self, node, ask):
        node.answers = ["text", [], {}, 7, {node.name: {"ok": 1}}]
        done = ask("inspect", "stats", "-d", node.name)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"->  {node.name}: OK")

    def test_an_answer_does_not_steer_the_terminal(self, node, ask):
        node.answers = [{node.name: {"ok": "\x1b[2Jgone\x07"}}]
        assert "?[2Jgone?" in ask("inspect", "stats", "-d", node.name).stdout


class TestWorkers:
    def test_a_python_worker_and_ours_answer_alike(self, worker, ask, ask_celery):
        """C-2"""
        theirs, ours = worker(judge=True), worker(judge=False)
        both = f"{theirs.node},{ours.node}"
        done = ask("ping", "-d", both, "-j", "-t", "20")
        assert json.loads(done.stdout) == {theirs.node: {"ok": "pong"}, ours.node: {"ok": "pong"}}
        for node in (theirs.node, ours.node):
            done = ask("ping", "-d", node)
            assert done.stdout == f"->  {node}: OK\n        pong\n\n1 node online.\n"
            for command in ("ping", "active", "active_queues", "registered", "conf", "revoked",
                            "reserved", "scheduled", "report"):
                for options in ((), ("-j",)):
                    words = ("inspect", command, "-d", node, "-t", "5", *options)
                    shown = ask_celery(*words).stdout
                    assert shown and ask(*words).stdout == shown
            assert ask("control", "rate_limit", "testtasks.add", "5/s", "-d", node).stdout == \
                f"->  {node}: OK\n        new rate limit set successfully\n"
            assert ask("control", "rate_limit", "nobody.knows", "5/s", "-d", node).stdout == \
                f"->  {node}: ERROR\n        unknown task\n"
        done = ask("inspect", "ping")
        assert done.returncode == 0 and done.stdout.endswith("\n\n2 nodes online.\n")

    def test_a_named_node_ends_the_waiting(self, worker, ask, ask_celery):
        """C-2"""
        one = worker()
        for asker, *words in ((ask, "ping"), (ask, "inspect", "stats"),
                              (ask_celery, "inspect", "ping")):
            started = time.monotonic()
            assert asker(*words, "-d", one.node, "-t", "60").returncode == 0
            assert time.monotonic() - started < 30
        for asker in (ask, ask_celery):
            done = asker("inspect", "ping", "-d", "other@x")
            assert (done.returncode, done.stdout) == (69, "")

    def test_beat_is_named_and_not_counted(self, worker, ask, broker, tmp_path):
        """C-80"""
        one = worker()
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with open(tmp_path / "beat.log", "w", encoding="utf-8") as log:
            beat = subprocess.Popen([sys.executable, "-m", "celery", "-b", broker.url, "beat",
                                     "--enable-remote-control", "-n", "celerybeat@test", "-s",
                                     tmp_path / "schedule"], stdout=log, stderr=log, env=env)
        try:
            wait_until(lambda: ask("inspect", "ping", "-d", "celerybeat@test", "-t", "2")
                       .returncode == 0, 40, "an answer of beat")
            done = ask("inspect", "ping")
            assert done.returncode == 0
            assert {"->  celerybeat@test: OK", f"->  {one.node}: OK"} < set(done.stdout.split("\n"))
            assert done.stdout.endswith("\n\n1 node online.\ncelerybeat@test is no worker: it "
                                        "answers ping only (celery beat).\n")
            one.stop()
            assert ask("ping", "-j").returncode == 69  # nobody but beat
            assert ask("ping", "-d", "celerybeat@test").returncode == 0
        finally:
            beat.terminate()
            beat.wait(20)

    def test_without_a_server_too(self, tmp_path):
        one = Worker(tmp_path, None, None, concurrency=1)
        try:
            done = run(tmp_path, "ping", "-d", one.node, "-t", "10")
            assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"->  {one.node}: OK")
            done = run(tmp_path, "control", "pool_grow", "-d", one.node, "-t", "10", "-j")
            assert json.loads(done.stdout) == [{one.node: {"ok": "pool will grow"}}]
        finally:
            one.end()
        assert not one.faults()


class TestExitCode:
    @pytest.mark.parametrize("words", [("ping",), ("inspect", "stats"), ("control", "heartbeat")])
    @pytest.mark.parametrize("nodes", [(), ("-d", "nobody@nowhere")])
    def test_nobody_answers(self, ask, words, nodes):
        started = time.monotonic()
        done = ask(*words, *nodes)
        assert 1 <= time.monotonic() - started < 5
        assert (done.returncode, done.stdout) == (69, "")
        assert done.stderr == f"smallage {words[0]}: No nodes replied within time constraint\n"

    def test_one_of_two_does_not_answer(self, node, ask):
        nodes = f"{node.name}, nobody@nowhere"
        for words, code in ((("ping",), 69), (("inspect", "ping"), 0)):
            done = ask(*words, "-d", nodes, "-j", "-t", "0.5")
            assert (done.returncode, json.loads(done.stdout)) == (code, {node.name: {"ok": "pong"}})
            assert done.stderr == f"smallage {words[0]}: no answer from nobody@nowhere\n"

    def test_a_dead_broker_is_named(self, tmp_path):
        port = free_port()
        done = run(tmp_path, "ping", "-b", f"amqp://guest:s3cret@127.0.0.1:{port}//")
        assert (done.returncode, done.stdout) == (69, "")
        assert done.stderr == ("smallage ping: Could not connect to the message broker: "
                               f"connect to 127.0.0.1:{port}: Connection refused\n")

    def test_a_wrong_password_is_told_without_being_shown(self, tmp_path, rabbit):
        done = run(tmp_path, "ping", "-t", "10", "-b", rabbit.url(password="s3cret"))
        assert (done.returncode, done.stdout) == (69, "")
        assert "refused" in done.stderr.lower() and "s3cret" not in done.stderr

    def test_a_broker_that_hangs_costs_the_timeout(self, tmp_path, rabbit):
        rabbit.pause()
        wait_until(lambda: not rabbit.speaks_amqp(), 20, "the pause")
        started = time.monotonic()
        try:
            done = run(tmp_path, "ping", "-b", rabbit.url(), "-t", "1")
        finally:
            rabbit.resume()
        assert done.returncode == 69 and "no connection within 1 s" in done.stderr
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize("words, text", [
        (("inspect",), "which command? smallage inspect COMMAND; `smallage inspect --list`"),
        (("inspect", "actve"), "unknown command 'actve'; did you mean 'active'?"),
        (("inspect", "revoke"), "revoke is a control command: smallage control revoke"),
        (("control", "stats"), "stats is an inspect command: smallage inspect stats"),
        (("control", "zzzzzz"), "unknown command 'zzzzzz'; `smallage control --list` names them"),
        (("control", "pool_grow", "x"), "pool_grow: n must be a whole number, not 'x'"),
        (("control", "time_limit", "t", "1s"), "time_limit: soft must be a number, not '1s'"),
        (("inspect", "conf", "maybe"), "conf: with_defaults must be true or false, not 'maybe'"),
        (("control", "terminate", "TERM"), "terminate takes SIGNAL ID..."),
        (("control", "pool_grow", "1", "2"), "pool_grow takes [N]"),
        (("inspect", "active", "x"), "active takes no arguments"),
        (("ping", "w1@test"), "unexpected argument 'w1@test'; nodes are named by -d"),
        (("control", "shutdown", "-d", ""), "option --destination names no node"),
        (("ping", "-t", "soon"), "option --timeout: 'soon' is no number of seconds"),
        (("ping", "--list"), "unknown option '--list'"),
        (("ping", "-b", "sqs://127.0.0.1"), "sqs:// is not supported as a broker")])
    def test_a_wrong_command_line_is_exit_code_two(self, tmp_path, words, text):
        done = run(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"smallage {words[0]}: {text}")

    def test_the_commands_are_listed(self, tmp_path):
        for group, words in (("inspect", REQUESTS[:20]), ("control", REQUESTS[20:])):
            listed = run(tmp_path, group, "--list")
            assert listed.returncode == 0
            named = {line.split()[0] for line in listed.stdout.splitlines()
                     if line[:3].strip()}
            assert named == {word[1] for word in words} | \
                ({"election"} if group == "control" else set())
            assert listed.stdout in run(tmp_path, group, "--help").stdout


class TestTraces:
    def queues(self, broker):
        return [name for name in broker.queues() if name.endswith(".reply.celery.pidbox")]

    @pytest.mark.brokers("rabbitmq", why="elsewhere a binding stays for an hour")
    def test_a_killed_client_leaves_no_queue(self, broker, tmp_path):
        one = subprocess.Popen([BUILD / "bin/smallage", "ping", "-b", broker.url, "-t", "60", "-d",
                                "nobody@nowhere"], cwd=tmp_path)
        wait_until(lambda: self.queues(broker), 20, "the queue for answers")
        one.send_signal(signal.SIGKILL)
        one.wait()
        wait_until(lambda: not self.queues(broker), 20, "the end of that queue")

    @pytest.mark.brokers("rabbitmq", why="elsewhere a binding stays for an hour")
    def test_nor_do_many_that_are_killed_at_any_moment(self, broker, node, tmp_path):
        def start():
            return subprocess.Popen([BUILD / "bin/smallage", "inspect", "stats", "-b", broker.url],
                                    cwd=tmp_path, stdout=subprocess.DEVNULL)

        def kill(one):
            one.send_signal(signal.SIGKILL)
            one.wait()
        started = time.monotonic()
        one = start()
        wait_until(lambda: node.requests, 20, "the first one's request", 0.001)
        reach = time.monotonic() - started
        kill(one)
        for i in range(60):
            one = start()
            time.sleep(reach * i / 30)
            kill(one)
        wait_until(lambda: not self.queues(broker), 20, "the end of those queues")
        assert len(node.requests) > 5  # some were far enough

    def test_nor_does_one_that_ended(self, broker, node, ask):
        assert ask("ping", "-d", node.name).returncode == 0
        assert not self.queues(broker)
