"""Processes that die after their work is done."""
import json
import os
import signal
import subprocess

import pytest
import redis as redis_client

import services
from recorder import Recorder
from services import keeper
from worker import BUILD


def requests_by_state(one):
    done = subprocess.run([BUILD / "bin/smallage", "status", "--json", "-n", one.node],
                          env={"TMPDIR": str(one.dir)}, stdout=subprocess.PIPE, check=False)
    return json.loads(done.stdout)["requests"]


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.mark.smallage_only("Celery's child stores its result itself")
def test_a_child_that_dies_after_its_outcome_changes_nothing(queue, worker):
    """T-171"""
    with services.Redis() as redis, Recorder(queue) as recorder:
        one = worker("-E", backend_url=redis.url(), concurrency=1)
        redis.pause()
        id = queue.send("late", (0,))
        # The task has ended; its record waits for Redis, its ack for the record.
        keeper.wait_until(lambda: requests_by_state(one)["finishing"] == 1, 10, "finished task")
        spawner, child = one.children()
        os.kill(child, signal.SIGKILL)
        one.wait_log("exited with 'signal 9", 10)
        redis.resume()
        client = redis_client.Redis(port=redis.port)
        keeper.wait_until(lambda: client.get(f"celery-task-meta-{id}"), 20, "record")
        assert b'"status": "SUCCESS"' in client.get(f"celery-task-meta-{id}")
        queue.wait_counts(0, 0)
        recorder.wait(3, uuid=id)
        assert one.stop() == 0
        assert recorder.types(id) == ["received", "started", "succeeded"]
        assert "WorkerLostError" not in one.log
        client.close()
