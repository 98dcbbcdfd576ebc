"""What bodies are written in: compression and serializers, tasks.md section 9, lines 34 to 42."""
import json

import pytest
from kombu import compression

import messages
from messages import new_id

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
        assert queue.dead(0) == [] and not any(results.record(id) for id in ids)

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
