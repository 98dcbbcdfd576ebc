"""Runs many compositions on one broker at once, and reads what they left."""
import contextlib
import itertools
import json
import time
from unittest import mock

from celery import Celery

from canvas_tree import Leavings, frozen_id
from compositions import Builder
from conftest import fresh_results
from recorder import Recorder
from services.keeper import wait_until
from worker import Worker

# Who is done with a message has sent what follows from it.
SETTINGS = {"task_acks_late": True, "result_extended": True}
UUID_USERS = ("celery.canvas", "celery.app.base", "celery.app.task")


@contextlib.contextmanager
def counted_ids(composition):
    """All ids that the producer draws."""
    numbers = itertools.count(1)

    def draw():
        return frozen_id(composition, next(numbers))
    with contextlib.ExitStack() as stack:
        for module in UUID_USERS:
            stack.enter_context(mock.patch(f"{module}.uuid", draw))
        yield


class Batch:
    """A broker and a database of its own. workers: the differences between them, as
    [{"judge": True}, {}]. queues: where the tasks of a composition go, in turn."""

    def __init__(self, stack, new_broker, redis_server, folder, workers, queues=None):
        self.broker = stack.enter_context(new_broker())
        self.results = stack.enter_context(fresh_results(redis_server))
        for queue in queues or ("celery",):
            self.broker.declare(queue)
        self.queues = queues
        self.recorder = stack.enter_context(Recorder(self.broker))
        self.journal = folder / "journal"
        folder.mkdir()
        self.app = Celery("client", broker=self.broker.url, backend=self.results.url,
                          set_as_current=False)
        # Nobody waits for the results here, so they need no connection when they are thrown away.
        self.app.backend.remove_pending_result = lambda result: result
        stack.callback(self.app.close)
        self.workers, self.groups = [], {}
        for more in workers:
            one = Worker(folder, self.broker.url, self.results.url, "-E",
                         plugins=("testtasks", "canvastasks"), ready=False, broker=self.broker,
                         settings=SETTINGS, env={"CANVAS_JOURNAL": str(self.journal)}, **more)
            stack.callback(self._end, one)
            self.workers.append(one)

    @staticmethod
    def _end(worker):
        worker.kill()
        assert not worker.faults(), "\n".join(worker.faults())

    def send(self, nodes):
        """Composition number i of the batch is nodes[i]."""
        for number, node in enumerate(nodes):
            with counted_ids(number):
                self._learn(Builder(self.app, self.queues).make(node).apply_async())

    def _learn(self, result):
        """Who is in which group."""
        if result is None:
            return
        self._learn(result.parent)
        for each in getattr(result, "results", None) or ():
            self.groups[each.id] = result.id
            self._learn(each)

    def wait_quiet(self, timeout=90, still_s=0.7):
        """Until nothing waits, nothing runs and nothing is told any more."""
        for one in self.workers:
            one.wait_ready()
        since, seen = time.monotonic(), None

        def is_quiet():
            nonlocal since, seen
            now = ([self.broker.counts(queue) for queue in self.queues or ("celery",)],
                   len(self.recorder.messages))
            if now != seen or any(counts != (0, 0) for counts in now[0]):
                since, seen = time.monotonic(), now
            return time.monotonic() - since > still_s
        try:
            wait_until(is_quiet, timeout, "quiet", 0.1)
        except AssertionError:
            raise AssertionError(f"{seen} (ready, unacked), events after {timeout} s:\n" + "\n".join(
                one.log[-3000:] for one in self.workers)) from None

    def leavings(self):
        prefix = b"celery-task-meta-"
        keys = list(self.results.client.scan_iter(prefix + b"*", count=1000))
        values = self.results.client.mget(keys) if keys else []
        records = {key[len(prefix):].decode(): json.loads(value)
                   for key, value in zip(keys, values) if value}
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return Leavings(records, self.recorder.events("task-"), lines, self.groups)


def flat(value, path=""):
    if isinstance(value, dict):
        return {key: each for name, part in value.items()
                for key, each in flat(part, f"{path}{' ' if path else ''}{name}").items()}
    return {path: value}


def differences(one, other, names=("Celery", "the other")):
    """Lines that tell how two trees differ."""
    lines = []
    for part in sorted(one.keys() | other.keys(), key=str):
        if part not in one or part not in other:
            there, what = (names[0], one[part]) if part in one else (names[1], other[part])
            lines.append(f"{part}: only in {there}: {what}")
            continue
        left, right = flat(one[part]), flat(other[part])
        lines += [f"{part} {path}: {left.get(path, '(nothing)')!r} in {names[0]}, "
                  f"{right.get(path, '(nothing)')!r} in {names[1]}"
                  for path in sorted(left.keys() | right.keys())
                  if left.get(path, ...) != right.get(path, ...)]
    return lines
