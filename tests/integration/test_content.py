"""What bodies are written in: compression and serializers, tasks.md section 9, lines 34 to 42."""
import datetime
import decimal
import json
import os
import subprocess

import pytest
from celery import Celery
from celery.backends import base
from kombu import compression, serialization

import messages
from messages import new_id
from worker import BUILD, SANITIZERS

COMPRESSIONS = {"gzip": "application/x-gzip", "bzip2": "application/x-bz2",
                "lzma": "application/x-lzma", "brotli": "application/x-brotli",
                "zstd": "application/zstd"}


@pytest.fixture
def queue(broker):
    broker.declare()
    broker.watch_rejects()
    return broker


def send_compressed(broker, name, args, packed=None, **headers):
    """As a producer sends it that compresses; `name` is what the header says."""
    id = new_id()
    body = messages.body(args).encode()
    broker.publish(packed or compression.compress(body, name)[0],
                   messages.headers("testtasks.echo", id, args, compression=name, **headers),
                   **messages.properties(id))
    return id


class TestCompression:
    def test_what_python_compresses_is_read(self, queue, app, worker):
        """T-37 T-38"""
        worker()
        value = ["Zażółć 😀", 1.5, {"k": None}] * 50
        waiting = [app.send_task("testtasks.echo", (value,), compression=name)
                   for name in COMPRESSIONS]
        for name, result in zip(COMPRESSIONS, waiting):
            assert result.get(timeout=20) == value, name

    def test_other_names_of_the_same(self, queue, results, worker):
        """T-39"""
        worker()
        for name in ("gzip", "zlib", "bzip2", "bzip", "lzma", "xz", "brotli", "zstd", "zstandard"):
            assert results.value(send_compressed(queue, name, (name,))) == name

    def test_what_cannot_be_decompressed_is_acked(self, queue, results, worker):
        """T-40"""
        run = worker()
        ids = [send_compressed(queue, "application/x-gzip", (1,), packed=b"x\x9c\x01"),
               send_compressed(queue, "zstd", (1,), packed=b"not zstd"),
               send_compressed(queue, "lz4", (1,), packed=b"whatever")]
        queue.wait_empty()
        run.wait_log("[Cc]an't decode message body", count=3)
        assert results.value(queue.send("add", (20, 22))) == 42
        queue.dead(0)
        assert not any(results.record(id) for id in ids)

    @pytest.mark.deviates("Celery's worker fills its memory")
    def test_a_bomb_is_acked(self, queue, results, worker):
        """T-40"""
        run = worker(env={"SMALLAGE_WORKER_MAX_MESSAGE_BYTES": str(1 << 20)})
        packed = {name: compression.compress(b" " * (16 << 20), name)[0]
                  for name in COMPRESSIONS}
        for name in COMPRESSIONS:
            assert len(packed[name]) < 1 << 17
            send_compressed(queue, name, (1,), packed=packed[name])
        queue.wait_empty()
        run.wait_log(r"more than the \d+ bytes that may come out of it", count=len(COMPRESSIONS))
        assert results.value(queue.send("add", (20, 22))) == 42

    @pytest.mark.parametrize("name", COMPRESSIONS)
    def test_a_retry_is_compressed_as_task_compression_says(self, queue, results, worker, name):
        """T-37 T-38"""
        run = worker(settings={"task_compression": name})
        id = queue.send("retry", (5, 60), note="x" * 500)
        results.wait(id, "RETRY")
        queue.wait_counts(0, 1)
        run.stop()
        message = queue.get("celery")
        assert message.headers["compression"] == COMPRESSIONS[name]
        assert message.content_encoding == "utf-8"
        body = compression.decompress(message.body, message.headers["compression"])
        assert json.loads(body)[0] == [5, 60]

    def test_a_retry_does_not_carry_the_producers_compression(self, queue, results, worker):
        """T-79"""
        run = worker()
        id = new_id()
        body = compression.compress(messages.body((5, 60)).encode(), "gzip")[0]
        queue.publish(body, messages.headers("testtasks.retry", id, compression="gzip"),
                      **messages.properties(id))
        results.wait(id, "RETRY")
        queue.wait_counts(0, 1)
        run.stop()
        message = queue.get("celery")
        assert "compression" not in message.headers
        assert json.loads(message.body)[0] == [5, 60]


TYPES = {"msgpack": ("application/x-msgpack", "binary"), "yaml": ("application/x-yaml", "utf-8")}
SERIALIZERS = list(TYPES)
UTC = datetime.timezone.utc
VALUES = [None, True, -1, 2 ** 63 - 1, 1.5, 1e16, float("inf"), "", "Zażółć 😀\n", "null", "1",
          [[]], {"k": [1, {"x": None}], "": 1}, "x" * 3000, {"y" * 2000: 1}]
MORE = {"msgpack": [b"abc", b"\xff\xfe", {"bytes": b""}],
        "yaml": [b"abc", b"\xff\xfe", datetime.date(2026, 1, 2), 10 ** 30,
                 datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
                 datetime.datetime(2026, 1, 2, 3, 4)]}


def loads(message):
    """The body, decoded by kombu as the message says."""
    assert "compression" not in message.headers
    return serialization.loads(message.body, message.content_type, message.content_encoding,
                               accept=list(dict(TYPES.values())) + ["application/json"])


def dumps(name, value):
    """(body, properties)"""
    kind, encoding, body = serialization.dumps(value, serializer=name)
    assert (kind, encoding) == TYPES[name]
    return body, {"content_type": kind, "content_encoding": encoding}


class TestSerializers:
    @pytest.fixture(params=SERIALIZERS)
    def name(self, request):
        return request.param

    @pytest.fixture
    def run(self, queue, worker, name):
        return worker(settings={"accept_content": ["json", name]})

    def test_values_reach_the_task_and_come_back(self, app, run, name):
        """T-34 T-35"""
        waiting = [(value, app.send_task("testtasks.echo", (value,), {"more": value},
                                         serializer=name)) for value in VALUES + MORE[name]]
        for value, result in waiting:
            assert result.get(timeout=20) == value

    def test_two_references_to_one_value(self, queue, results, run, name):
        """T-35"""
        value = {"a": [1, 2]}
        id = new_id()
        body, properties = dumps(name, [[[value, value, {"b": value}]], {}, {}])
        assert name != "yaml" or b"&id001" in body.encode()
        queue.publish(body, messages.headers("testtasks.echo", id),
                      **messages.properties(id, **properties))
        assert results.value(id) == [value, value, {"b": value}]

    def test_a_version_1_message_runs(self, queue, results, run, name):
        """T-34 T-35"""
        id = new_id()
        body, properties = dumps(name, {"task": "testtasks.add", "id": id, "args": [1],
                                        "kwargs": {"y": 2}})
        queue.publish(body, **messages.properties(id, **properties))
        assert results.value(id) == 3

    def test_a_compressed_message_runs(self, app, run, name):
        """T-38"""
        value = ["x" * 100] * 100
        assert app.send_task("testtasks.echo", (value,), serializer=name,
                             compression="zstd").get(timeout=20) == value

    def test_it_is_rejected_where_it_is_not_accepted(self, queue, results, worker, name):
        """T-12"""
        run = worker()
        id = new_id()
        body, properties = dumps(name, [[1, 2], {}, {}])
        queue.publish(body, messages.headers("testtasks.add", id),
                      **messages.properties(id, **properties))
        queue.wait_empty()
        run.wait_log(f"Refusing to deserialize untrusted content of type {name} ")
        queue.dead([id])
        assert results.record(id) is None

    def test_what_is_not_of_its_form_is_acked(self, queue, results, run, name):
        """T-11"""
        for body in (b"\xc1", b"\x92\x01", b"!!python/tuple [1]"):
            id = new_id()
            queue.publish(body, messages.headers("testtasks.add", id), **messages.properties(
                id, content_type=TYPES[name][0], content_encoding="binary"))
        queue.wait_empty()
        assert results.value(queue.send("add", (20, 22))) == 42

    def test_a_retry_is_written_as_task_serializer_says(self, queue, results, worker, name):
        """T-34 T-35"""
        run = worker(settings={"accept_content": ["json", name], "task_serializer": name})
        id = queue.send("retry", (5, 60), {}, tenant="acme")
        results.wait(id, "RETRY")
        queue.wait_counts(0, 1)
        run.stop()
        message = queue.get("celery")
        assert (message.content_type, message.content_encoding) == TYPES[name]
        assert loads(message)[0] == [5, 60] and message.headers["tenant"] == "acme"

    def test_a_chain_in_it_goes_on_in_it(self, queue, app, results, worker, name):
        """T-34 T-35"""
        worker(settings={"accept_content": [name], "task_serializer": name})
        step = {"task": "testtasks.add", "args": [10], "kwargs": {}, "options": {"task_id": new_id()},
                "subtask_type": None, "immutable": False}
        body, properties = dumps(name, [[1, 2], {}, {"chain": [step]}])
        id = new_id()
        queue.publish(body, messages.headers("testtasks.add", id),
                      **messages.properties(id, **properties))
        assert results.value(id) == 3
        assert results.value(step["options"]["task_id"]) == 13

    def test_remote_control_speaks_it(self, queue, app, worker, name):
        worker(settings={"accept_content": [name], "task_serializer": name})
        app.conf.update(task_serializer=name, accept_content=[name])
        replies = app.control.inspect(timeout=5, limit=1).ping()
        assert list(replies.values()) == [{"ok": "pong"}]
        queues = app.control.inspect(timeout=5, limit=1).active_queues()
        assert [one["name"] for one in list(queues.values())[0]] == ["celery"]


def smallage(broker, *args, **settings):
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("CELERY_", "REDIS_", "SMALLAGE_"))}
    env = {f"CELERY_{key.upper()}": value for key, value in settings.items()}
    return subprocess.run([BUILD / "bin/smallage", *args, "-b", broker.url], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, env={**clean, **SANITIZERS, **env})


class TestResults:
    def client(self, queue, results, **conf):
        client = Celery("client", broker=queue.url, backend=results.url, set_as_current=False)
        client.conf.update(conf)
        return client

    @pytest.mark.parametrize("name", SERIALIZERS)
    def test_a_client_of_the_same_serializer_reads_them(self, queue, results, worker, name):
        worker(settings={"result_serializer": name})
        app = self.client(queue, results, result_serializer=name, result_accept_content=[name])
        values = [value for value in VALUES + MORE[name] if not isinstance(value, datetime.date)]
        waiting = [app.send_task("testtasks.echo", (value,)) for value in values]
        assert [result.get(timeout=20) for result in waiting] == values
        failed = app.send_task("testtasks.raise_", ("ValueError", "Zażółć"))
        with pytest.raises(ValueError, match="Zażółć"):
            failed.get(timeout=20)
        assert results.raw(failed.id)[:1] != b"{" or name == "yaml"
        app.close()

    def test_dates_in_yaml(self, queue, results, worker):
        worker(settings={"result_serializer": "yaml"})
        app = self.client(queue, results, result_serializer="yaml", result_accept_content=["yaml"])
        value = [datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)]
        assert app.send_task("testtasks.echo", (value,)).get(timeout=20) == value
        app.close()

    @pytest.mark.parametrize("name", COMPRESSIONS)
    def test_a_compressed_result_bears_the_mark(self, queue, results, worker, name):
        """T-167"""
        worker(settings={"result_compression": name})
        with_it = self.client(queue, results, result_compression=name)
        without = self.client(queue, results)
        listener = results.client.pubsub()
        id = new_id()
        listener.subscribe(results.key(id))
        value = "Zażółć " * 100
        for app in (with_it, without):
            assert app.send_task("testtasks.echo", (value,)).get(timeout=20) == value
        queue.send("echo", (value,), id=id)
        told = next(m["data"] for m in listener.listen() if m["type"] == "message")
        assert told == results.raw(id)
        mark = b"\0celery-compressed\0" + COMPRESSIONS[name].encode() + b"\0"
        assert told.startswith(mark)
        assert json.loads(compression.decompress(told[len(mark):], name))["result"] == value
        listener.close()
        with_it.close()
        without.close()

    def test_a_compressed_success_is_kept(self, queue, results, worker):
        """T-167 T-100"""
        run = worker()
        id = new_id()
        record = {"status": "SUCCESS", "result": "first", "traceback": None, "children": [],
                  "task_id": id}
        packed = base.compress_payload(json.dumps(record), "gzip")
        results.client.set(results.key(id), packed)
        queue.send("raise_", ("ValueError", "late"), id=id)
        run.wait_log("raised unexpected")
        queue.wait_empty()
        assert results.value(queue.send("add", (1, 2))) == 3
        assert results.raw(id) == packed

    def test_what_the_serializer_has_no_form_for_is_a_failure(self, queue, results, worker):
        """T-34: to the log and to errbacks as well"""
        run = worker(settings={"result_serializer": "msgpack"})
        queue.declare("errors")
        app = self.client(queue, results, result_serializer="msgpack",
                          result_accept_content=["msgpack"])
        errback = app.signature("testtasks.echo", ("said",), queue="errors")
        result = app.send_task("testtasks.echo", (decimal.Decimal("1.5"),), serializer="json",
                               link_error=errback)
        with pytest.raises(Exception, match="serialize"):
            result.get(timeout=20)
        assert result.state == "FAILURE" and type(result.result).__name__ == "EncodeError"
        run.wait_log(r"raised unexpected: EncodeError\(")
        assert queue.get("errors").headers["task"] == "testtasks.echo"
        assert f"{result.id}] succeeded" not in run.log
        app.close()


@pytest.mark.smallage_only("its own commands")
class TestCommands:
    @pytest.mark.parametrize("name", SERIALIZERS)
    def test_call_writes_what_kombu_reads(self, queue, name):
        """T-34 T-35"""
        values = VALUES + MORE[name]
        smallage(queue, "call", "testtasks.echo", "--no-wait", "--args",
                 serialization.dumps([values], serializer="json")[2], "--kwargs",
                 serialization.dumps({"more": values}, serializer="json")[2],
                 task_serializer=name)
        message = queue.get("celery")
        assert (message.content_type, message.content_encoding) == TYPES[name]
        args, kwargs, embed = loads(message)
        assert args == [values] and kwargs == {"more": values} and embed["chain"] is None

    @pytest.mark.parametrize("name", SERIALIZERS)
    def test_inspect_asks_and_reads_in_it(self, queue, worker, name):
        settings = {"accept_content": name, "task_serializer": name}
        worker(settings=settings)
        done = smallage(queue, "inspect", "ping", "--json", **settings)
        assert [*json.loads(done.stdout).values()] == [{"ok": "pong"}]

    def test_what_a_serializer_has_no_form_for_is_refused(self, queue):
        """T-34"""
        with pytest.raises(subprocess.CalledProcessError):
            smallage(queue, "call", "testtasks.echo", "--no-wait", "--args",
                     '[{"__type__": "decimal", "__value__": "1.5"}]', task_serializer="msgpack")
        assert queue.peek("celery") is None

    def test_call_reads_only_results_that_are_accepted(self, queue, results, worker):
        """T-167"""
        worker(settings={"result_serializer": "msgpack", "result_compression": "zstd"})
        args = ["call", "testtasks.add", "[1, 2]", "--result-backend", results.url]
        done = smallage(queue, *args, result_accept_content="json,msgpack")
        assert done.stdout == "3\n"
        with pytest.raises(subprocess.CalledProcessError) as failed:
            smallage(queue, *args)
        assert "Refusing to deserialize untrusted content of type msgpack" in failed.value.stderr
