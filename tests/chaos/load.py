"""A steady load of tasks that leave a trace, and the reading of their traces."""
import os
import random
import threading
import time

import amqp

import messages
from services.keeper import wait_until


class Load(threading.Thread):
    """Publishes `task` at 30 to 60 a second, each message confirmed by the broker.

    A message whose confirm did not come may or may not be in the queue. It is not sent again,
    which could run it twice by our own fault, but kept apart in `unsure`."""

    def __init__(self, broker, task, journal, seed, pause=(0.005, 0.05)):
        super().__init__(daemon=True)
        self.broker, self.task, self.journal, self.pause = broker, task, journal, pause
        self.random = random.Random(f"{seed} load")
        self.confirmed, self.unsure = [], []
        self.connection = self.channel = None
        self.is_over = threading.Event()
        self.error = None

    def run(self):
        try:
            due = time.monotonic()
            while not self.is_over.is_set():
                self._publish_one()
                due = max(due + self.random.uniform(1 / 60, 1 / 30), time.monotonic() - 0.2)
                self.is_over.wait(max(0, due - time.monotonic()))
        except BaseException as error:  # the test's thread shows it
            self.error = error
        finally:
            self._disconnect()

    def call(self, id):
        """(task, arguments) of the next message."""
        return self.task, (str(self.journal.path), id, round(self.random.uniform(*self.pause), 4))

    def _publish_one(self):
        id = messages.new_id()
        task, args = self.call(id)
        message = messages.Message(messages.body(args),
                                   headers=messages.headers(f"testtasks.{task}", id, args),
                                   **messages.properties(id))
        if not self._connect():
            return
        try:
            self.channel.basic_publish_confirm(message, exchange="", routing_key="celery",
                                               confirm_timeout=20)
            self.confirmed.append(id)
        except (OSError, amqp.AMQPError):
            self.unsure.append(id)
            self._disconnect()

    def _connect(self):
        if self.connection:
            return True
        try:
            link = amqp.Connection(f"127.0.0.1:{self.broker.rabbit.port}", confirm_publish=True,
                                   virtual_host=self.broker.vhost, connect_timeout=5)
            link.connect()
            self.channel = link.channel()
            self.connection = link
        except (OSError, amqp.AMQPError):
            self.is_over.wait(0.1)
        return self.connection is not None

    def _disconnect(self):
        try:
            if self.connection:
                self.connection.close()
        except (OSError, amqp.AMQPError):
            pass
        self.connection = self.channel = None

    @property
    def port(self):
        """Our end of the connection, by which the broker lists it."""
        try:
            return self.connection.transport.sock.getsockname()[1]
        except (AttributeError, OSError):
            return None

    def stop(self):
        self.is_over.set()
        self.join(60)
        assert not self.is_alive(), "the producer hangs"
        if self.error:
            raise self.error


class Tries(Load):
    """Tasks that fail `times[id]` times first; early and late acks in turn. Four tries are all."""

    MAX_RETRIES = 3

    def __init__(self, broker, task, journal, seed):
        super().__init__(broker, task, journal, seed, pause=(0, 0.008))
        self.times = {}

    def call(self, id):
        task, args = super().call(id)
        self.times[id] = self.random.randint(0, self.MAX_RETRIES + 1)
        return task + self.random.choice(("", "_early")), (*args, self.times[id])

    def tries(self, ids):
        """All tries that these tasks are to have, as the journal names them."""
        return [f"{id}:{number}" for id in ids
                for number in range(min(self.times[id], self.MAX_RETRIES) + 1)]

    def has_ended_well(self, id, record):
        if self.times[id] > self.MAX_RETRIES:
            return bool(record) and record["status"] == "FAILURE" and \
                record["result"]["exc_type"] == "ConnectionError"
        return bool(record) and (record["status"], record["result"]) == ("SUCCESS", self.times[id])


class Journal:
    """The file to which tasks append `S id` and `E id`, each with one write."""

    def __init__(self, path):
        self.path = path

    def size(self):
        return os.path.getsize(self.path) if self.path.exists() else 0

    def read(self):
        """{id: [(mark, offset), ...]} in the order of the file."""
        found, offset = {}, 0
        for line in self.path.read_bytes().splitlines(True) if self.path.exists() else ():
            mark, id = line.decode().split()
            found.setdefault(id, []).append((mark, offset))
            offset += len(line)
        return found

    def wait_ends(self, count, timeout=90):
        """Until `count` more tasks ended."""
        at = self.size()
        seen = 0

        def is_so():
            nonlocal at, seen
            if self.size() == at:
                return seen >= count
            with open(self.path, "rb") as text:
                text.seek(at)
                fresh = text.read()
            at += len(fresh)
            seen += fresh.count(b"E ")
            return seen >= count

        try:
            wait_until(is_so, timeout, "progress")
        except AssertionError:
            raise AssertionError(f"only {seen} of {count} tasks ended in {timeout} s") from None
