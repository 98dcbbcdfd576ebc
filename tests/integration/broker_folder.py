"""A folder as broker, of this test alone; kombu's files are written and read here without kombu."""
import fcntl
import json
import os
import time

import pytest

import envelope
import messages
from broker_base import BrokerBase
from envelope import Envelope
from services.keeper import wait_until


class FolderBroker(BrokerBase):
    kind = "filesystem"
    url = "filesystem://"
    port = None

    def __init__(self, folder):
        self.data, self.control = folder / "data", folder / "control"
        for each in (self.data, self.control):
            each.mkdir(parents=True)
        self.transport_options = {"data_folder_in": str(self.data),
                                  "data_folder_out": str(self.data),
                                  "control_folder": str(self.control)}
        self.last = 0

    def close(self):
        pass

    @staticmethod
    def _skip(*_):
        pytest.skip("a folder has no connection")

    link = url_at = others = server_closes = crash = _skip

    def declare(self, queue="celery", arguments=None, exchange=None):
        """As a Celery producer does: the binding of its name."""
        table = self.control / f"{exchange or queue}.exchange"
        rows = json.loads(table.read_text()) if table.exists() else []
        if [queue, "", queue] not in rows:
            table.write_text(json.dumps([[queue, "", queue], *rows]))
        return queue

    def _put(self, queue, raw):
        # Names are served in their order, kombu's number first.
        self.last = max(self.last + 1, int(time.monotonic() * 1000))
        name = f"{self.last}_{messages.new_id()}.{queue}.msg"
        with open(self.data / name, "wb", buffering=0) as out:
            fcntl.lockf(out, fcntl.LOCK_EX)
            out.write(raw.encode())

    def publish(self, body, headers=None, queue="celery", **properties):
        self._put(queue, envelope.write(body, headers, "", queue, **properties))

    def send_many(self, task, count, args=(), queue="celery", **headers):
        ids = []
        for id, body, head in self.many(task, count, args, **headers):
            self.publish(body, head, queue, **messages.properties(id))
            ids.append(id)
        return ids

    def _files(self, queue, folder="."):
        found = [path for path in self.data.glob(f"{folder}/*.msg")
                 if path.name.partition(".")[2] == f"{queue}.msg"]
        return sorted(found, key=lambda path: int(path.name.partition("_")[0]))

    def peek(self, queue):
        for path in self._files(queue):
            try:
                found = Envelope(path.read_text())
                os.unlink(path)
                return found
            except (OSError, ValueError):  # somebody else's, or not whole yet
                continue
        return None

    def counts(self, queue="celery"):
        """(ready, unacked); Celery keeps what it has taken nowhere."""
        return len(self._files(queue)), len(self._files(queue, ".smallage-*"))

    def queues(self):
        """Names of what holds messages now."""
        return {path.name.partition(".")[2].removesuffix(".msg") for path in self.data.glob("*.msg")}

    def bound(self, exchange):
        """{queue: routing key} of an exchange."""
        try:
            rows = json.loads((self.control / f"{exchange}.exchange").read_text())
        except FileNotFoundError:
            return {}
        return {queue: key for key, _, queue in rows}

    def wait_left(self, count, queue="celery", timeout=20):
        """What a killed worker held lies in its folder until another worker finds that dead."""
        wait_until(lambda: sum(self.counts(queue)) == count, timeout, f"{count} messages left", 0.05)
