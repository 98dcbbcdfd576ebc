"""A steady load of tasks on a Redis broker, as kombu writes them."""
import os
import random
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import envelope
import messages
from services.keeper import wait_until


def client(port, db=0, timeout=10):
    """Tells of every break: the library would send again by itself."""
    return redis.Redis(port=port, db=db, socket_timeout=timeout, retry=Retry(NoBackoff(), 0))


def message(task, args, id=None, queue="celery", **headers):
    id = id or messages.new_id()
    return envelope.write(messages.body(args),
                          messages.headers(f"testtasks.{task}", id, args, **headers), "", queue,
                          **messages.properties(id))


class Pusher(threading.Thread):
    """`rate` tasks a second, every `long_every` seconds one that takes `long_s`; of `eta_share`
    the time has not come yet.

    A push whose reply did not come is kept apart in `unsure`, never sent again; so is one that so
    many replicas have not got. port: a function, asked for each connection."""

    def __init__(self, port, task, journal, seed, *, rate=(15, 30), pause=(0.005, 0.05), long_s=0,
                 long_every=3.0, eta_share=0.05, eta_s=(1, 6), queue="celery", replicas=0):
        super().__init__(daemon=True)
        self.port, self.task, self.journal, self.queue = port, task, journal, queue
        self.replicas = replicas
        self.rate, self.pause, self.long_s, self.long_every = rate, pause, long_s, long_every
        self.eta_share, self.eta_s = eta_share, eta_s
        self.random = random.Random(f"{seed} load")
        self.confirmed, self.unsure = [], []
        self.refused = 0
        self.link = None
        self.is_over = threading.Event()
        self.error = None

    def run(self):
        due = time.monotonic()
        long_due = due if self.long_s else float("inf")
        try:
            while not self.is_over.is_set():
                is_long = time.monotonic() >= long_due
                if is_long:
                    long_due += self.long_every
                self._push_one(is_long)
                low, high = self.rate
                due = max(due + self.random.uniform(1 / high, 1 / low), time.monotonic() - 0.2)
                self.is_over.wait(max(0, due - time.monotonic()))
        except BaseException as error:  # the test's thread shows it
            self.error = error
        finally:
            self._disconnect()

    def _disconnect(self):
        if self.link:
            self.link.close()
        self.link = None

    def call(self, id, pause):
        return self.task, (str(self.journal.path), id, pause)

    def _push_one(self, is_long):
        id = messages.new_id()
        pause = self.long_s if is_long else round(self.random.uniform(*self.pause), 4)
        task, args = self.call(id, pause)
        more = {}
        if not is_long and self.random.random() < self.eta_share:
            more["eta"] = messages.now(self.random.uniform(*self.eta_s))
        self.link = self.link or client(self.port())
        try:
            pipe = self.link.pipeline(transaction=False)
            pipe.lpush(self.queue, message(task, args, id, self.queue, **more))
            pipe.execute_command("WAIT", self.replicas, 2000)
            is_safe = pipe.execute()[1] >= self.replicas
            (self.confirmed if is_safe else self.unsure).append(id)
        except redis.ResponseError:
            self.refused += 1  # the server is full, or just starts, or is no master any more
            self._disconnect()
            self.is_over.wait(0.1)
        except (redis.ConnectionError, redis.TimeoutError):
            self.unsure.append(id)
            self._disconnect()
            self.is_over.wait(0.1)

    def stop(self):
        self.is_over.set()
        self.join(60)
        assert not self.is_alive(), "the producer hangs"
        if self.error:
            raise self.error


class PushedTries(Pusher):
    """Tasks that fail `times[id]` times first; early and late acks in turn. Four tries are all."""

    MAX_RETRIES = 3

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.times = {}

    def call(self, id, pause):
        task, args = super().call(id, pause)
        self.times[id] = self.random.randint(0, self.MAX_RETRIES + 1)
        return task + self.random.choice(("", "_early")), (*args, self.times[id])

    def tries(self, ids):
        return [f"{id}:{number}" for id in ids
                for number in range(min(self.times[id], self.MAX_RETRIES) + 1)]


class Run:
    """One execution, as its task wrote it down."""

    def __init__(self, node, start):
        self.node, self.start, self.end = node, start, None


class Runs:
    """The file to which tasks append `S id node seconds` and `E id node seconds`."""

    def __init__(self, path):
        self.path = path

    def size(self):
        return os.path.getsize(self.path) if self.path.exists() else 0

    def ended(self):
        return self.path.read_bytes().count(b"E ") if self.path.exists() else 0

    def read(self):
        """{id: its runs in the order of their beginnings}"""
        found = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            mark, id, node, seconds = line.split()
            runs = found.setdefault(id, [])
            if mark == "S":
                runs.append(Run(node, float(seconds)))
            else:
                # One node may run a task twice, even at the same time.
                open_ones = [run for run in runs if run.node == node and run.end is None]
                open_ones[0].end = float(seconds)
        return {id: sorted(runs, key=lambda run: run.start) for id, runs in found.items()}

    def wait_ends(self, count, timeout=90):
        """Until `count` more tasks ended."""
        before = self.ended()
        wait_until(lambda: self.ended() >= before + count, timeout, f"{count} tasks more", 0.05)

    def wait_started(self, ids, timeout=30):
        def is_so():
            found = self.read()
            return all(id in found for id in ids)
        wait_until(is_so, timeout, "the start of the tasks", 0.05)
