"""/live, /ready and /metrics: what they say, and that nothing a client does harms the worker."""
import contextlib
import http.client
import json
import random
import re
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest

import services
from services.keeper import wait_until
from test_clients import mail_env
from test_status import SLACK
from worker import JUDGE

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: Celery has no HTTP listener")

PARSER = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([[f.name, f.type, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]]
                  for f in text_string_to_metric_families(sys.stdin.read())]))
"""


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def serve(worker):
    """A worker that listens at a port of its own; .port is its."""
    def start(*options, **more):
        port = services.free_port()
        one = worker("--http", f"127.0.0.1:{port}", *options, **more)
        one.port = port
        return one
    return start


def get(one, path, method="GET", timeout=10):
    """(status, headers, body)."""
    link = http.client.HTTPConnection("127.0.0.1", one.port, timeout=timeout)
    try:
        link.request(method, path)
        answer = link.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        link.close()


def families(text):
    """As the official parser reads it: {family: (type, {(sample, labels): value})}."""
    done = subprocess.run(["/usr/bin/python3", "-c", PARSER], input=text, text=True, check=True,
                          stdout=subprocess.PIPE)
    return {name: (kind, {(sample, tuple(sorted(labels.items()))): value
                          for sample, labels, value in samples})
            for name, kind, _, samples in json.loads(done.stdout)}


def sample(found, name, **labels):
    family = next((f for f in (name, re.sub("_(total|bucket|sum|count)$", "", name))
                   if f in found), None)
    return found[family][1].get((name, tuple(sorted(labels.items()))))


def ready(one):
    status, _, body = get(one, "/ready")
    return status, json.loads(body)


class TestAnswers:
    def test_metrics_are_what_prometheus_reads(self, queue, serve, results, smtp):
        """Every family has a type and help; values are right, histograms whole."""
        one = serve(concurrency=1, env=mail_env(smtp))
        results.wait_all(queue.send_many("noop", 5))
        results.error(queue.send("raise_", ("ValueError", "x")))
        results.value(queue.send("sleep", (0.3,)))
        results.value(queue.send("app.tasks.notifications.send_email_task", ("a@b.example", "s", "b")))
        queue.send("unknown_to_all")
        one.wait_log("unregistered")
        status, headers, text = get(one, "/metrics")
        assert status == 200
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = families(text)
        assert all(name.startswith("smallage_") and kind in ("counter", "gauge", "histogram")
                   for name, (kind, _) in found.items())
        assert len(re.findall("^# HELP ", text, re.M)) == len(re.findall("^# TYPE ", text, re.M)) \
            == len(found) > 25
        noop, sleep = {"task": "testtasks.noop"}, {"task": "testtasks.sleep"}
        assert sample(found, "smallage_tasks_total", **noop, outcome="succeeded") == 5
        assert sample(found, "smallage_tasks_total", **noop, outcome="failed") == 0
        assert sample(found, "smallage_tasks_total", task="testtasks.raise_", outcome="failed") == 1
        assert sample(found, "smallage_tasks_received_total", **noop) == 5
        assert sample(found, "smallage_task_run_seconds_count", **noop) == 5
        assert sample(found, "smallage_task_run_seconds_bucket", **sleep, le="0.25") == 0
        assert sample(found, "smallage_task_run_seconds_bucket", **sleep, le="+Inf") == 1
        assert 0.3 <= sample(found, "smallage_task_run_seconds_sum", **sleep) < 5
        assert sample(found, "smallage_task_queue_wait_seconds_count", **noop, since="received") == 5
        assert sample(found, "smallage_answers_total", service="mail", provider="smtp",
                      answer="accepted") == 1
        assert sample(found, "smallage_messages_refused_total", reason="unknown") == 1
        assert sample(found, "smallage_pool_slots") == 1
        assert sample(found, "smallage_ready") == 1
        assert sample(found, "smallage_build_info", version="0.1.0", node=one.node) == 1

    def test_gauges_follow_what_is_held(self, queue, serve, results):
        import messages
        one = serve(concurrency=2)
        queue.send_many("sleep", 5, (30,))
        queue.send("noop", eta=messages.now(60))
        one.wait_log("received", count=6)

        def found():
            return families(get(one, "/metrics")[2])
        wait_until(lambda: sample(found(), "smallage_pool_slots_busy") == 2, 10, "busy slots")
        now = found()
        held = {state: sample(now, "smallage_tasks_held", state=state)
                for state in ("scheduled", "active", "reserved", "submitted", "finishing")}
        assert held["scheduled"] == 1 and held["active"] == 2, held
        assert held["reserved"] + held["submitted"] == 3, held
        assert sample(now, "smallage_prefetch_limit") == 9
        one.kill()

    def test_remote_control_is_counted(self, queue, serve, app):
        one = serve(concurrency=1)
        assert app.control.inspect([one.node], timeout=5).ping()
        app.control.revoke(["a", "b", "c"], destination=[one.node], reply=True, timeout=5)
        found = families(get(one, "/metrics")[2])
        # More than these two: the workers greet each other as well.
        assert sample(found, "smallage_control_messages_total") >= 2
        assert sample(found, "smallage_control_replies_total") >= 2
        assert sample(found, "smallage_control_replies_dropped_total") == 0
        assert sample(found, "smallage_revoked_tasks") == 3

    def test_events_are_counted(self, queue, serve, results):
        one = serve("-E", concurrency=1)
        results.wait_all(queue.send_many("noop", 20))
        found = families(get(one, "/metrics")[2])
        assert sample(found, "smallage_events_enabled") == 1
        # Received, started, succeeded; worker-online and perhaps heartbeats.
        assert 61 <= sample(found, "smallage_events_sent_total") < 75
        assert sample(found, "smallage_events_dropped_total") == 0

    def test_live_ready_and_the_others(self, queue, serve):
        one = serve()
        assert get(one, "/live")[::2] == (200, '{"live": true}\n')
        status, answer = ready(one)
        assert status == 200 and answer["ready"] is True and answer["reasons"] == []
        assert answer["broker"]["up"] and answer["backend"]["up"] and answer["pool"]["slots"] == 2
        for path in ("/", "/metrics/", "/live2", "/../live", "/%2e%2e/etc/passwd", "//live"):
            assert get(one, path)[0] == 404, path
        assert get(one, "/metrics?name[]=x")[0] == 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"):
            status, headers, _ = get(one, "/metrics", method)
            assert status == 405 and headers["Allow"] == "GET, HEAD", method
        status, headers, body = get(one, "/metrics", "HEAD")
        assert status == 200 and body == "" and int(headers["Content-Length"]) > 1000

    def test_a_connection_is_used_again(self, queue, serve):
        one = serve()
        link = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10)
        link.connect()
        first = link.sock
        for path in ("/live", "/metrics", "/nowhere", "/ready"):
            link.request("GET", path)
            link.getresponse().read()
            assert link.sock is first
        link.close()

    def test_nothing_secret_is_told(self, queue, serve, results):
        """No host, no user, no password, no argument."""
        one = serve(env={"EMAIL_PASSWORD": "hunter2", "TWILIO_AUTH_TOKEN": "hunter3"})
        results.value(queue.send("echo", ("hunter4",)))
        text = "".join(get(one, path)[2] for path in ("/live", "/ready", "/metrics", "/"))
        for secret in ("guest", "hunter", "127.0.0.1", "amqp:", "redis:", queue.url.rpartition(":")[2]):
            assert secret not in text, secret


class TestReady:
    def test_not_without_the_broker(self, worker, results):
        with services.RabbitMQ() as rabbit:
            port = services.free_port()
            one = worker("--http", port, broker_url=rabbit.url())
            one.port = port
            wait_until(lambda: ready(one)[0] == 200, 10, "ready")
            rabbit.kill()
            status, answer = wait_until(
                lambda: ready(one) if ready(one)[0] == 503 else None, 20, "not ready")
            assert answer["reasons"] == ["no connection to the broker"]
            assert answer["broker"]["up"] is False and answer["backend"]["up"] is True
            assert get(one, "/live")[0] == 200
            found = families(get(one, "/metrics")[2])
            assert sample(found, "smallage_broker_up") == sample(found, "smallage_ready") == 0
            one.kill()

    def test_not_without_the_backend(self, queue, worker):
        with services.Redis() as redis:
            port = services.free_port()
            one = worker("--http", port, backend_url=redis.url())
            one.port = port
            wait_until(lambda: ready(one)[0] == 200, 10, "ready")
            redis.kill()
            answer = wait_until(lambda: ready(one)[1] if ready(one)[0] == 503 else None, 20,
                                "not ready")
            assert answer["reasons"] == ["no connection to the result backend"]
            redis.start()
            wait_until(lambda: ready(one)[0] == 200, 20, "ready again")
            found = families(get(one, "/metrics")[2])
            assert sample(found, "smallage_backend_reconnects_total") >= 1

    def test_not_while_it_stops(self, queue, serve, results):
        """But live, and measured, until the last task is done."""
        one = serve(concurrency=1)
        id = queue.send("sleep", (2,))
        one.wait_log("received")
        time.sleep(0.2)
        one.signal(signal.SIGTERM)
        answer = wait_until(lambda: ready(one)[1] if ready(one)[0] == 503 else None, 5, "not ready")
        assert answer["reasons"] == ["the worker is stopping"]
        assert get(one, "/live")[0] == 200
        assert sample(families(get(one, "/metrics")[2]), "smallage_stopping") == 1
        assert one.wait_end(20) == 0
        results.value(id)
        with pytest.raises(OSError):
            get(one, "/live")


class TestStart:
    def test_without_the_option_nothing_listens_and_nothing_is_loaded(self, queue, worker):
        one = worker()
        for pid in (one.pid, *one.children()):
            with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
                text = maps.read()
            assert "libmicrohttpd" not in text

    def test_children_have_no_part_in_it(self, queue, serve, results):
        one = serve(concurrency=2)
        results.wait_all(queue.send_many("noop", 10))
        for pid in one.children():
            with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
                assert "libmicrohttpd" not in maps.read()

    @pytest.mark.parametrize("address", ["x", "1.2.3:80", "localhost:99999", "example.com:80"])
    def test_a_wrong_address_is_refused(self, worker, address):
        one = worker("--http", address, ready=False)
        one.may_fault = True
        assert one.wait_end(10) == 1
        assert f"--http: '{address}' is no address to listen at" in one.log

    def test_a_taken_port_is_an_error(self, serve, worker):
        first = serve()
        one = worker("--http", first.port, ready=False)
        one.may_fault = True
        assert one.wait_end(10) == 1
        assert f"--http: cannot listen at {first.port}: Address already in use" in one.log

    def test_the_environment_and_ipv6(self, worker):
        port = services.free_port()
        one = worker(env={"SMALLAGE_HTTP": f"[::1]:{port}"})
        one.wait_log(rf"Answers at http://\[::1\]:{port}: ")
        link = http.client.HTTPConnection("::1", port, timeout=10)
        link.request("GET", "/live")
        assert link.getresponse().status == 200
        link.close()

    def test_it_is_back_after_a_restart(self, queue, serve):
        """HUP"""
        one = serve()
        one.signal(signal.SIGHUP)
        one.wait_log("ready\\.", count=2)
        assert get(one, "/ready")[0] == 200


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_it_answers_while_every_slot_is_busy(queue, serve, results, pool):
    one = serve(pool=pool, concurrency=2)
    queue.send_many("spin", 8, (4,))
    one.wait_log("received", count=2)
    time.sleep(0.3)
    took = sorted(timed(one, path) for path in ("/live", "/ready", "/metrics") * 10)
    assert took[15] < 0.05 * SLACK and took[-1] < 0.5 * SLACK, took
    one.kill()


def timed(one, path):
    started = time.monotonic()
    assert get(one, path)[0] == 200
    return time.monotonic() - started


def test_scrapes_under_load_cost_no_task(queue, serve, results):
    """8 clients that ask without a pause while 10,000 tasks pass through."""
    one = serve(concurrency=2, level="WARNING", ready=False)
    wait_until(lambda: services.keeper.port_answers(one.port), 10, "port")
    stop, failures, answers = threading.Event(), [], []

    def scrape():
        while not stop.is_set():
            try:
                answers.append(get(one, "/metrics")[0])
            except OSError as failure:
                failures.append(failure)
    threads = [threading.Thread(target=scrape) for _ in range(8)]
    for thread in threads:
        thread.start()
    ids = queue.send_many("noop", 10000)
    assert len(results.wait_all(ids, 120)) == 10000
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures and set(answers) == {200} and len(answers) > 50
    found = families(get(one, "/metrics")[2])
    assert sample(found, "smallage_tasks_total", task="testtasks.noop", outcome="succeeded") == 10000


def raw(one, data, timeout=2):
    """What the worker answers to these bytes, as far as it comes in time."""
    answer = b""
    with socket.create_connection(("127.0.0.1", one.port), timeout) as link, \
            contextlib.suppress(OSError):
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        while chunk := link.recv(65536):
            answer += chunk
    return answer


MALFORMED = [
    b"", b"\r\n", b"\n" * 5000, b"\0" * 3000, b"GET", b"GET /live", b"GET /live\r\n\r\n",
    b"GET /live HTTP/9.9\r\n\r\n", b"GET /live HTTP/1.1\r\n\r\n",  # no Host
    b"GET  /live  HTTP/1.1\r\nHost: x\r\n\r\n", b"get /live http/1.1\r\nHost: x\r\n\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", b"GET /live HTTP/1.1\r\n Host: x\r\n\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"GET /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 500000,
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 20000 + b"\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
    b"GET /%zz%00%ff HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /live\0x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500,  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100,
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://example.com/live HTTP/1.1\r\nHost: example.com\r\n\r\n",
    b"GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x05hello",
    b"GET /live HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd",
]


class TestHostileClients:
    def test_malformed_requests_do_no_harm(self, queue, serve):
        one = serve(concurrency=1)
        for data in MALFORMED:
            answer = raw(one, data, 0.3)
            assert answer == b"" or re.match(rb"HTTP/1\.[01] \d\d\d ", answer), (data[:80], answer[:200])
            assert get(one, "/live")[0] == 200 and one.is_alive(), data[:80]
        assert len(raw(one, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n" * 500).split(b"HTTP/1.1 200 ")) \
            == 501
        for head, status in ((b"GET /live HTTP/1.1\r\n", b"400"),
                             (b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n", b"400"),
                             (b"BREW /pot HTTP/1.1\r\nHost: x\r\n", b"405")):
            assert raw(one, head + b"\r\n").startswith(b"HTTP/1.1 " + status), head

    def test_mutated_requests_do_no_harm(self, queue, serve, results):
        dice = random.Random(20261121)
        one = serve(concurrency=1)
        for _ in range(1500):
            data = bytearray(dice.choice(MALFORMED)[:2000] or b"GET")
            for _ in range(dice.randrange(1, 12)):
                at = dice.randrange(len(data) + 1)
                how = dice.randrange(3)
                if how == 0 and at < len(data):
                    data[at] = dice.randrange(256)
                elif how == 1:
                    data[at:at] = dice.choice([b"\r\n", b"\r", b"\n", b" ", b"\0", b":", b"\xff"])
                else:
                    del data[at:at + dice.randrange(20)]
            raw(one, bytes(data), 0.02)
        assert get(one, "/metrics")[0] == 200
        assert results.value(queue.send("add", (1, 2))) == 3

    def test_a_thousand_connections_keep_nobody_out(self, queue, serve, results):
        """Half of them silent, half of them slow: requests are answered all the while."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        one = serve(concurrency=1)
        before, links = one.rss(), []
        try:
            took = []
            for i in range(1000):
                link = socket.socket()
                link.settimeout(5)
                link.connect(("127.0.0.1", one.port))
                if i % 2:
                    link.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")
                links.append(link)
                if i % 50 == 49:
                    took.append(timed(one, "/metrics"))
            assert max(took) < 1 * SLACK, took
            for link in links[-90:]:
                with contextlib.suppress(OSError):
                    link.sendall(b"y")
            assert timed(one, "/ready") < 1 * SLACK
            assert results.value(queue.send("add", (1, 2))) == 3
            with open(f"/proc/{one.pid}/status", encoding="utf-8") as status:
                assert int(re.search(r"FDSize:\s+(\d+)", status.read())[1]) <= 1024
            assert one.rss() - before < 20000 * SLACK
        finally:
            for link in links:
                link.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_who_is_too_slow_is_hung_up_on(self, queue, serve):
        """A byte now and then does not keep a connection: headers that never end (slowloris), and
        answers that nobody reads."""
        one = serve(concurrency=1)
        slow = socket.create_connection(("127.0.0.1", one.port))
        slow.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nX-Long: ")
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", one.port))
        deaf.setblocking(False)
        started = time.monotonic()
        is_open = {slow: True, deaf: True}
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200
        while any(is_open.values()) and time.monotonic() - started < 60:
            time.sleep(0.5)
            for link, data in ((slow, b"y"), (deaf, request)):
                try:
                    if is_open[link]:
                        link.send(data)
                except BlockingIOError:
                    pass
                except OSError:
                    is_open[link] = False
        assert not any(is_open.values()), is_open
        assert 20 < time.monotonic() - started < 60
        assert get(one, "/live")[0] == 200
        slow.close()
        deaf.close()
