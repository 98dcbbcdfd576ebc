"""The measures with Redis as the broker, and with distance put between the worker and its Redis."""
import base64
import contextlib
import json
import time
import uuid

import redis as redis_client

from kinds import BUILD, cpu_s, pss_mib, stop
from measures import QUEUE, Bench
from services import keeper

BODY = '[%s, {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def envelope(task, id, eta, args):
    """As kombu writes Celery's own messages."""
    return json.dumps({
        "body": base64.b64encode((BODY % args).encode()).decode(), "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": id, "shadow": None, "eta": eta or None,
                    "expires": None, "group": None, "group_index": None, "retries": 0,
                    "timelimit": [None, None], "root_id": id, "parent_id": None, "argsrepr": "()",
                    "kwargsrepr": "{}", "origin": "gen12345@host", "ignore_result": False,
                    "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {}},
        "properties": {"correlation_id": id, "reply_to": "ec62c3db-3545-389e-9cc4-462d3875fb1b",
                       "delivery_mode": 2,
                       "delivery_info": {"exchange": "", "routing_key": QUEUE}, "priority": 0,
                       "body_encoding": "base64",
                       "delivery_tag": "a1ae08e3-5897-4609-8da0-37a53061b87b"}})


class RedisBench(Bench):
    """Broker in database 0, results in database 1."""

    def __init__(self, redis):
        super().__init__(None, redis)
        self.client = redis_client.Redis(port=redis.port, db=0)
        self.port = redis.port
        self.reach(redis.port)

    def reach(self, port):
        """The worker's way to Redis."""
        self.port = port
        self.broker_url, self.results_url = (f"redis://127.0.0.1:{port}/{db}" for db in (0, 1))

    def bare_command(self, queue, batch):
        return [BUILD / "bench/bare_redis", self.port, 0, queue, self.port, 1, batch]

    def purge(self):
        self.store.flushdb()
        self.client.flushdb()

    def load(self, count, task="testtasks.noop", body_bytes=0, eta="", args="[]"):
        self.seed += 1
        if body_bytes:
            args = json.dumps(["x" * body_bytes])
        name, tag = str(uuid.uuid4()), "a1ae08e3-5897-4609-8da0-37a53061b87b"
        whole = envelope(task, name, eta, args)
        raws = []
        for number in range(count):
            id = f"{self.seed:08x}-0000-4000-8000-{number:012d}"
            raws.append(whole.replace(name, id).replace(tag, f"{tag[:23]}-{number:012d}"))
            if len(raws) == 1000 or number == count - 1:
                self.client.lpush(QUEUE, *raws)
                raws.clear()

    @contextlib.contextmanager
    def distance(self, milliseconds):
        """So much, each way, between the worker and Redis."""
        port = keeper.free_port()
        relay = keeper.start([BUILD / "bench/delay", str(port), str(self.redis.port),
                              str(int(milliseconds * 1000))], log="/dev/null")
        keeper.wait_for_port(port)
        self.reach(port)
        try:
            yield
        finally:
            self.reach(self.redis.port)
            keeper.end(relay)

    def throughput_at(self, kind, count, milliseconds):
        with self.distance(milliseconds):
            return self.throughput(kind, count)

    def held(self, kind, count, patience=300):
        """Bytes of the worker for each of `count` tasks due in an hour that it holds."""
        self.purge()
        worker = kind.start(self, QUEUE)
        try:
            self.load(1)
            self.wait_results(1, 60)
            time.sleep(1)
            idle, cpu = pss_mib(worker.pid), cpu_s(worker.pid)
            started = time.monotonic()
            self.load(count, eta="2099-01-01T00:00:00+00:00")
            while self.client.hlen("unacked") < count:
                if time.monotonic() - started > patience:
                    raise TimeoutError(f"{self.client.hlen('unacked')} of {count} held")
                time.sleep(0.1)
            taken_s = time.monotonic() - started
            time.sleep(2)
            each = (pss_mib(worker.pid) - idle) * (1 << 20) / count
            return {"bytes": each, "beyond_body": each - len(BODY % "[]"), "taken_s": taken_s,
                    "cpu_s": cpu_s(worker.pid) - cpu}
        finally:
            stop(worker)
