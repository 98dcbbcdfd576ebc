"""10,000 messages mutated from real ones, with good ones among them: none of these is lost."""
import json
import os
import random
import struct
import time

import amqp
import pytest

import messages
from messages import new_id
from worker import JUDGE

COUNT = int(os.environ.get("SMALLAGE_POISON", "10000"))
SEED = int(os.environ.get("SMALLAGE_SEED", "1"))
SANITIZED = "address" in os.environ.get("SMALLAGE_BUILD", "")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300),
              pytest.mark.skipif(JUDGE, reason="smallage_only: Celery crashes at the first")]

VALUES = [None, True, False, 0, -1, 1, 2**31, -2**63, 2**62, 3.5, "", "x", "\u0000", "ż" * 300,
          "2020-01-01T00:00:00", "9999-12-31T23:59:59.999999-23:59", [], {}, [[]], {"a": {}},
          [None] * 50, {"__type__": "date", "__value__": "x"}, "a" * 800]
TEXTS = ['{"a":', "[", "]", "\\u00", "\\ud800", "1e999", "-", "NaN", "//", "\x00", "\xff",
         '"__type__"', "[[[[[[[[", '{"":{"":', "0" * 400, "true", "'", "\\"]
TYPES = ["application/json", "application/x-python-serialize", "text/plain", "", None,
         "application/data", "application/x-msgpack", "application/x-yaml", "a" * 200]


def mutate_text(rng, text):
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            data[at:at + rng.randint(1, 20)] = b""
        elif kind == 1:
            data[at:at] = rng.choice(TEXTS).encode("latin-1")
        elif kind == 2 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 3:
            data = data[:at]
        else:
            data[at:at] = data[rng.randrange(len(data) + 1):][:rng.randint(1, 200)]
        if not data:
            break
    return bytes(data)


def mutate_table(rng, table):
    """Bytes inside the field values only: a frame that the broker refuses reaches nobody."""
    headers = dict(table)
    for _ in range(rng.randint(1, 5)):
        name = rng.choice([*headers, "x-new", "a" * 100]) if headers else "x"
        kind = rng.randrange(4)
        if kind == 0:
            headers.pop(name, None)
        elif kind == 1:
            headers[name] = rng.choice(VALUES)
        elif kind == 2:
            headers[name] = {"nested": {"deep": [rng.choice(VALUES)] * rng.randint(0, 20)}}
        else:
            headers[name] = [rng.choice(VALUES) for _ in range(rng.randint(0, 8))]
    return headers


def v1_body(args, id):
    return json.dumps({"task": "testtasks.echo", "id": id, "args": args, "kwargs": {},
                       "retries": 0, "eta": None, "expires": None, "utc": True,
                       "callbacks": None, "errbacks": None, "timelimit": [None, None],
                       "taskset": None, "chord": None})


def mutated(rng):
    """(body, headers, properties) of one bad message."""
    id = f"bad-{rng.getrandbits(64):x}"
    args = [rng.choice(VALUES)]
    headers = messages.headers(rng.choice(["testtasks.echo", "testtasks.add", "testtasks.noop",
                                           "nope.nope"]), id, args)
    headers.pop("argsrepr")
    body = messages.body(args)
    properties = messages.properties(id)
    if rng.random() < 0.2:
        body, headers = v1_body(args, id), {}
    what = rng.randrange(7)
    if what in (0, 1, 5):
        body = mutate_text(rng, body)
    if what in (1, 2, 3):
        headers = mutate_table(rng, headers)
    if what in (3, 4):
        properties["content_type"] = rng.choice(TYPES)
        properties["content_encoding"] = rng.choice(["utf-8", "binary", "utf-16", "", None, "ż"])
        if rng.random() < 0.3:
            properties["correlation_id"] = None
    if what == 6:
        embed = {"callbacks": rng.choice(VALUES), "errbacks": rng.choice(VALUES),
                 "chain": rng.choice(VALUES), "chord": rng.choice(VALUES)}
        body = json.dumps([args, {"k": rng.choice(VALUES)}, embed])
    # As bytes: py-amqp encodes text by content_encoding.
    body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return body, headers, {k: v for k, v in properties.items() if v is not None}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_ten_thousand_mutated_messages_cost_no_good_one(broker, worker, results, pool):
    """T-10 T-11 T-12 T-13 T-14 T-15 T-16 T-17 T-20 T-21 T-22"""
    rng = random.Random(SEED)
    broker.declare()
    one = worker(concurrency=2, pool=pool, level="CRITICAL", ready=False)
    publish_one, close = broker.publisher()
    good, refused = [], 0
    rss = []

    def publish(body, headers, properties):
        publish_one(body, headers, **properties)

    for n in range(COUNT):
        if n % 10 == 0:
            id = new_id()
            good.append(id)
            publish(messages.body((n,)), messages.headers("testtasks.echo", id, (n,)),
                    messages.properties(id))
        body, headers, properties = mutated(rng)
        try:
            publish(body, headers, properties)
        except (ValueError, TypeError, LookupError, UnicodeError, struct.error, AttributeError,
                amqp.exceptions.FrameSyntaxError):
            refused += 1  # not even Python's client can say it
        if n % 500 == 0:
            results.wait(good[-1], timeout=60)
            if n >= COUNT // 5:
                rss.append(one.rss())
    close()
    found = results.wait_all(good, 120)
    assert [found[id]["result"] for id in good] == list(range(0, COUNT, 10))
    assert one.is_alive() and refused < COUNT // 4
    assert results.value(broker.send("add", (1, 2))) == 3
    held = broker.counts()
    assert held[0] == 0, held
    if not SANITIZED and len(rss) > 4:
        # What later messages add must be far below what they hold (10 MB of bodies).
        assert rss[-1] - rss[0] < 6 * 1024, rss
    time.sleep(0.2)
