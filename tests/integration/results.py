"""Results as bytes in Redis, read without Celery."""
import json

import redis

from services.keeper import wait_until

READY = ("SUCCESS", "FAILURE", "REVOKED")


class Results:
    def __init__(self, port, db):
        self.port, self.db = port, db
        self.url = f"redis://127.0.0.1:{port}/{db}"
        self.client = redis.Redis(port=port, db=db, socket_timeout=30)

    def close(self):
        self.client.close()

    @staticmethod
    def key(id):
        return f"celery-task-meta-{id}"

    def raw(self, id):
        return self.client.get(self.key(id))

    def record(self, id):
        raw = self.raw(id)
        return json.loads(raw) if raw else None

    def wait(self, id, state=None, timeout=15):
        """The record once it is in `state` (default: any final one)."""
        wanted = (state,) if state else READY
        seen = {}

        def is_there():
            seen["record"] = self.record(id)
            return seen["record"] and seen["record"]["status"] in wanted

        try:
            wait_until(is_there, timeout, "result")
        except AssertionError:
            raise AssertionError(f"{id}: record {seen['record']} after {timeout} s, "
                                 f"expected {wanted}") from None
        return seen["record"]

    def value(self, id, timeout=15):
        """What the task returned; fails unless it is SUCCESS."""
        record = self.wait(id, timeout=timeout)
        assert record["status"] == "SUCCESS", record
        return record["result"]

    def error(self, id, timeout=15):
        """(exc_type, exc_message, exc_module) of a failure."""
        record = self.wait(id, "FAILURE", timeout)
        exc = record["result"]
        return exc["exc_type"], exc["exc_message"], exc["exc_module"]

    def wait_all(self, ids, timeout=60):
        """{id: record} once all are final."""
        left = set(ids)
        found = {}

        def all_there():
            batch = list(left)
            for start in range(0, len(batch), 5000):
                part = batch[start:start + 5000]
                for id, raw in zip(part, self.client.mget([self.key(id) for id in part])):
                    if raw and (record := json.loads(raw))["status"] in READY:
                        found[id] = record
                        left.discard(id)
            return not left

        try:
            wait_until(all_there, timeout, "results", 0.1)
        except AssertionError:
            raise AssertionError(f"{len(left)} of {len(ids)} results missing after {timeout} s, "
                                 f"among them {sorted(left)[:3]}") from None
        return found
