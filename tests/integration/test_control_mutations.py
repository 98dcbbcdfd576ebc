"""Thousands of broken control messages: none silences the mailbox or harms the worker."""
import json
import os
import random

import pytest

from messages import new_id
from services.keeper import wait_until

COUNT = int(os.environ.get("SMALLAGE_MUTATIONS", "5000"))
METHODS = ["ping", "clock", "stats", "report", "conf", "active", "reserved", "scheduled",
           "query_task", "revoked", "registered", "active_queues", "memsample", "memdump",
           "objgraph", "hello", "revoke", "terminate", "rate_limit", "time_limit", "heartbeat",
           "revoke_by_stamped_headers", "election", "enable_events", "disable_events",
           "cancel_consumer", "add_consumer", "autoscale", "pool_restart", "nosuch"]
VALUES = [None, True, False, 0, -1, 7, 1 << 62, 1 << 70, 1.5, float("nan"), float("inf"), "", "x",
          "mutated", "a\0b", "\ud800", "ż" * 300, "x" * 70000, [], [1, None, "a"], [[[]]], {},
          {"a": 1}, {"__type__": "datetime", "__value__": "x"}, {"a\0": {"b": []}}]
KEYS = ["ids", "task_id", "headers", "from_node", "revoked", "task_name", "rate_limit", "soft",
        "hard", "taskinfoitems", "builtins", "safe", "with_defaults", "signal", "terminate", "id",
        "topic", "action", "max", "min", "n", "samples", "state", "bogus", "\0", "ż"]


def request(chance, reply_to):
    """A good one, then any of its parts replaced."""
    body = {"method": chance.choice(METHODS), "destination": None, "pattern": None,
            "matcher": None, "ticket": "t", "reply_to": dict(reply_to),
            "arguments": {chance.choice(KEYS): chance.choice(VALUES)
                          for _ in range(chance.randrange(4))}}
    if body["method"] == "add_consumer":
        body["arguments"]["queue"] = chance.choice([5, None, "", "x" * 256, "a\0b"])
    elif body["method"] == "cancel_consumer":
        body["arguments"]["queue"] = chance.choice(VALUES)
    for key in list(body):
        if chance.random() < 0.08 and key not in ("arguments", "method"):
            body[key] = chance.choice(VALUES + [["w@none"], "w@none", "(", "[a-", "glob", "pcre"])
        if chance.random() < 0.03:
            del body[key]
    if chance.random() < 0.1:
        body["arguments"] = chance.choice(VALUES)
    return body


def as_bytes(chance, body):
    data = bytearray(json.dumps(body).encode())
    for _ in range(chance.choice([0, 0, 0, 1, 3])):
        at = chance.randrange(len(data))
        kind = chance.randrange(4)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at:at + chance.randrange(1, 9)]
        elif kind == 2:
            data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 5)))
        else:
            del data[at:]
        if not data:
            break
    return bytes(data)


def headers(chance):
    if chance.random() < 0.5:
        return {"clock": 1, "expires": 0}
    return {chance.choice(["clock", "expires", "ticket", "compression", "x"]): value
            for value in chance.sample([None, True, 5, -5, 2.5, "x", [1], {"a": 1}], 2)}


class Client:
    """Its own connection, so that its mutated replies do not disturb anybody."""

    def __init__(self, broker):
        self.link = broker.link()
        self.pongs = 0
        self.reply_to = {"exchange": "reply.celery.pidbox", "routing_key": new_id()}
        self.link.listen("reply.celery.pidbox", self.reply_to["routing_key"], self._take)

    def _take(self, message):
        json.loads(message.body)
        self.pongs += (message.headers or {}).get("ticket") == "settle"

    def post(self, body, kind="application/json", table=None):
        self.link.post("celery.pidbox", body, kind, table)

    def settle(self):
        """A ping is answered, at once: what was sent before has been dealt with."""
        want = self.pongs + 1
        self.post(json.dumps({"method": "ping", "ticket": "settle", "reply_to": self.reply_to}))

        def is_there():
            self.link.pump(0.05)
            return self.pongs >= want
        wait_until(is_there, 5, "answer to ping", 0)


@pytest.mark.judge_cannot("redis", "it stops answering")
def test_mutated_requests_silence_nothing(broker, worker, results):
    """C-8"""
    seed = int(os.environ.get("SMALLAGE_SEED", "4"))
    chance = random.Random(seed)
    broker.declare()
    one = worker(settings={"worker_pool_restarts": False})
    client = Client(broker)
    client.settle()
    before = one.rss()
    for i in range(COUNT):
        kind = "application/json" if chance.random() < 0.95 else chance.choice(
            ["text/plain", "application/data", "application/x-python-serialize", "x/y"])
        client.post(as_bytes(chance, request(chance, client.reply_to)), kind, headers(chance))
        if i % 100 == 0:
            client.settle()
    client.settle()
    assert one.is_alive()
    assert results.value(broker.send("add", (1, 2))) == 3
    if "address" not in os.environ.get("SMALLAGE_BUILD", ""):  # which keeps what was freed
        assert one.rss() < before + (64 << 10), (before, one.rss())
