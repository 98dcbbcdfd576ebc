"""The test's own connection to Redis as a broker, in a database of this test alone; kombu's keys
are written and read here without kombu."""
import json
import time

import redis

import envelope
import messages
from broker_base import BrokerBase
from envelope import Envelope
from services.keeper import wait_until

SEP = "\x06\x16"
STEPS = (0, 3, 6, 9)
OURS = "the-test"  # broadcasts that come while a connection is away are lost, so ours stay


def key_of(queue, priority=0):
    """Of a queue's list for this priority."""
    step = max(step for step in STEPS if step <= min(max(priority, 0), 9))
    return f"{queue}{SEP}{step}" if step else queue


class Link:
    """A monitor's connection: replies, events, requests."""

    def __init__(self, broker):
        self.broker = broker
        self.link = redis.Redis(port=broker.port, db=broker.db, socket_timeout=30,
                                client_name=OURS)
        self.queues, self.ear, self.take_event = {}, None, None

    def close(self):
        """With the traces that kombu's clients remove."""
        for queue, (exchange, key, _) in self.queues.items():
            self.link.srem(f"_kombu.binding.{exchange}", f"{key}{SEP}{SEP}{queue}")
            self.link.delete(queue)
        self.drop()

    def drop(self):
        """As when the process is killed."""
        if self.ear:
            self.ear.close()
        self.link.close()

    def listen(self, exchange, key, take):
        """Replies to `key` go to take(message)."""
        queue = f"{key}.{exchange}"
        self.link.sadd(f"_kombu.binding.{exchange}", f"{key}{SEP}{SEP}{queue}")
        self.queues[queue] = (exchange, key, take)

    def hear(self, exchange, take):
        """All events go to take(message); those of a time without connection are lost."""
        self.take_event = take
        self.ear = self.link.pubsub(ignore_subscribe_messages=True)
        self.ear.psubscribe(f"/{self.broker.db}.{exchange}/*")
        self.ear.get_message(timeout=5)

    def post(self, exchange, body, content_type="application/json", headers=None, routing_key="",
             **properties):
        raw = envelope.write(body, headers, exchange, routing_key, content_type=content_type,
                             content_encoding="utf-8", **properties)
        channel = f"/{self.broker.db}.{exchange}" + (f"/{routing_key}" if routing_key else "")
        self.link.publish(channel, raw)

    def pump(self, seconds):
        """Takes in what comes, at most so long. OSError: the connection is gone."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                if self._take(max(deadline - time.monotonic(), 0.001)):
                    return
                if time.monotonic() >= deadline:
                    return
        except redis.ConnectionError as error:
            raise ConnectionError(str(error)) from None

    def _take(self, seconds):
        if self.ear:
            message = self.ear.get_message(timeout=seconds)
            if message and message["type"] == "pmessage":
                self.take_event(Envelope(message["data"]))
            return message
        found = self.link.brpop(list(self.queues), min(seconds, 1)) if self.queues else None
        if found:
            self.queues[found[0].decode()][2](Envelope(found[1]))
        elif not self.queues:
            time.sleep(seconds)
        return found


class RedisBroker(BrokerBase):
    kind = "redis"

    def __init__(self, server, db):
        self.server, self.db, self.port = server, db, server.port
        self.url = server.url(db)
        self.client = redis.Redis(port=server.port, db=db, socket_timeout=30, client_name=OURS)

    def close(self):
        self.client.close()

    def link(self):
        return Link(self)

    def url_at(self, port):
        """Through a relay."""
        return f"redis://127.0.0.1:{port}/{self.db}"

    def crash(self):
        """As when the power fails, and back."""
        self.close()
        self.server.kill()
        self.server.start()

    def declare(self, queue="celery", arguments=None, exchange=None):
        """As a Celery producer does: the binding of its name."""
        exchange = exchange or queue
        for key in ("binding", "binding_permanent"):
            self.client.sadd(f"_kombu.{key}.{exchange}", f"{queue}{SEP}{SEP}{queue}")
        return queue

    def publish(self, body, headers=None, queue="celery", **properties):
        priority = properties.setdefault("priority", 0)
        self.client.lpush(key_of(queue, priority),
                          envelope.write(body, headers, "", queue, **properties))

    def send_many(self, task, count, args=(), queue="celery", **headers):
        """Many, in a few pipelines. Returns the ids."""
        ids, raws = [], []
        for id, body, head in self.many(task, count, args, **headers):
            raws.append(envelope.write(body, head, "", queue, **messages.properties(id)))
            ids.append(id)
            if len(raws) == 1000 or len(ids) == count:
                self.client.lpush(queue, *raws)
                raws.clear()
        return ids

    def peek(self, queue):
        for step in STEPS:
            raw = self.client.rpop(key_of(queue, step))
            if raw is not None:
                return Envelope(raw)
        return None

    def unacked(self, queue=None):
        """[(field, message, exchange, routing key, score)] of what workers hold."""
        pipe = self.client.pipeline()  # both at one moment
        pipe.hgetall("unacked")
        pipe.zrange("unacked_index", 0, -1, withscores=True)
        held, scores = pipe.execute()
        scores = dict(scores)
        rows = [(field, *json.loads(value), scores.get(field)) for field, value in held.items()]
        return [row for row in rows if queue is None or row[3] == queue]

    def counts(self, queue="celery"):
        """(ready, unacked), exact."""
        pipe = self.client.pipeline()
        for step in STEPS:
            pipe.llen(key_of(queue, step))
        pipe.hlen("unacked")
        *ready, held = pipe.execute()
        return sum(ready), len(self.unacked(queue)) if 0 < held < 2000 else held

    def wait_left(self, count, queue="celery", timeout=20):
        """What a killed worker held is still there, for whoever finds its owner dead."""
        def is_so():
            ready, unacked = self.counts(queue)
            return ready + unacked == count
        wait_until(is_so, timeout, f"{count} messages left", 0.05)

    def queues(self):
        """Names of what holds messages now, replies among them."""
        return [key.decode() for key in self.client.keys()
                if self.client.type(key) == b"list"]

    def bound(self, exchange):
        """{queue: routing key} of an exchange."""
        found = {}
        for member in self.client.smembers(f"_kombu.binding.{exchange}"):
            key, _, queue = member.decode().split(SEP)
            found[queue] = key
        return found

    def listeners(self):
        return sum(row["sub"] != "0" or row["psub"] != "0" for row in self.client.client_list()
                   if row["db"] == str(self.db))

    def wait_listeners(self, count):
        end = time.monotonic() + 2  # those without remote control never listen
        while self.listeners() < count and time.monotonic() < end:
            time.sleep(0.005)

    def refused(self, queue="celery"):
        return self.client.llen(f"smallage.rejected.{queue}")

    def others(self):
        """Connections to this database but ours."""
        return [row for row in self.client.client_list()
                if row["db"] == str(self.db) and row["name"] != OURS]

    def server_closes(self):
        """The server closes the worker's connections. Returns how many there were."""
        wait_until(self.others, 10, "a connection")
        return sum(self.client.client_kill_filter(_id=row["id"]) for row in self.others())
