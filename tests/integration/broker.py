"""The test's own connection to RabbitMQ, on a virtual host of this test alone."""
import contextlib
import itertools
import time

import amqp

import messages
from services.keeper import wait_until


class Broker:
    def __init__(self, rabbit, vhost):
        self.rabbit, self.vhost = rabbit, vhost
        self.url = rabbit.url(vhost)
        self._connection = self._channel = None

    def close(self):
        if self._connection:
            with contextlib.suppress(Exception):
                self._connection.close()
        self._connection = self._channel = None

    @property
    def channel(self):
        if self._connection is None or not self._connection.connected:
            self._connection = amqp.Connection(f"127.0.0.1:{self.rabbit.port}",
                                               virtual_host=self.vhost, confirm_publish=True)
            self._connection.connect()
            self._channel = None
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel

    def declare(self, queue="celery", arguments=None, exchange=None):
        """As a Celery producer does: durable queue, direct exchange and binding of its name."""
        exchange = exchange or queue
        self.channel.exchange_declare(exchange, "direct", durable=True, auto_delete=False)
        self.channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
        self.channel.queue_bind(queue, exchange, queue)
        return queue

    def publish(self, body, headers=None, queue="celery", table=None, **properties):
        """One message, confirmed by the broker."""
        message = messages.Message(body, headers=headers, table=table, **properties)
        self.channel.basic_publish_confirm(message, exchange="", routing_key=queue)

    def send(self, task, args=(), kwargs=None, *, queue="celery", id=None, embed=messages.EMBED,
             properties=None, **headers):
        """A protocol 2 message as of 5.7. Names without a dot are test tasks. Returns the id."""
        id = id or messages.new_id()
        if "." not in task:
            task = f"testtasks.{task}"
        self.publish(messages.body(args, kwargs, embed),
                     messages.headers(task, id, args, kwargs, **headers), queue,
                     **messages.properties(id, **(properties or {})))
        return id

    def send_many(self, task, count, args=(), queue="celery", **headers):
        """Many, and one wait for the broker's confirm of all. Returns the ids."""
        name = task if "." in task else f"testtasks.{task}"
        link = amqp.Connection(f"127.0.0.1:{self.rabbit.port}", virtual_host=self.vhost)
        link.connect()
        channel = link.channel()
        confirmed = set()
        channel.events["basic_ack"].add(lambda tag, multiple: confirmed.update(
            range(1, tag + 1) if multiple else (tag,)))
        channel.confirm_select()
        ids = []
        for i in range(count):
            each = args(i) if callable(args) else args
            id = messages.new_id()
            channel.basic_publish(
                messages.Message(messages.body(each), headers=messages.headers(name, id, each,
                                                                               **headers),
                                 **messages.properties(id)), "", queue)
            ids.append(id)
        while len(confirmed) < count:
            link.drain_events(timeout=60)
        link.close()
        return ids

    def get(self, queue, timeout=10):
        """Takes one message, waiting for it."""
        return wait_until(lambda: self.channel.basic_get(queue, no_ack=True), timeout,
                          f"a message in {queue}")

    def peek(self, queue):
        return self.channel.basic_get(queue, no_ack=True)

    def counts(self, queue="celery"):
        """(ready, unacked), exact."""
        row = self.rabbit.queues(self.vhost).get(queue) or {}
        return row.get("messages_ready"), row.get("messages_unacknowledged")

    def wait_counts(self, ready, unacked, queue="celery", timeout=20):
        self.rabbit.wait_ready(self.vhost, queue, ready, unacked, timeout)

    def wait_empty(self, queue="celery", timeout=20):
        self.wait_counts(0, 0, queue, timeout)

    def unacked_never_above(self, limit, seconds, queue="celery"):
        """Watches for so long; returns the highest value seen."""
        end = time.monotonic() + seconds
        highest = 0
        while time.monotonic() < end:
            highest = max(highest, self.counts(queue)[1] or 0)
            assert highest <= limit, f"{highest} unacked"
        return highest

    def watch_rejects(self, queue="celery"):
        """Rejected messages of the queue gather in the queue `dead` from now on. By policy, so
        that the arguments of the declared queue stay as they are."""
        self.channel.exchange_declare("dead", "fanout", durable=True, auto_delete=False)
        self.channel.queue_declare("dead", durable=True, auto_delete=False)
        self.channel.queue_bind("dead", "dead")
        self.rabbit.api("PUT", f"/policies/{self.vhost}/dead-{queue}", {
            "pattern": f"^{queue}$", "definition": {"dead-letter-exchange": "dead"},
            "apply-to": "queues"})

    def dead(self, count, timeout=10):
        """`count` rejected messages (taken out); none if 0 and nothing more after them."""
        found = []
        wait_until(lambda: len(found) >= count or found.extend(
            itertools.takewhile(bool, iter(lambda: self.peek("dead"), None))) or
            len(found) >= count, timeout, f"{count} dead letters")
        extra = self.peek("dead")
        assert extra is None and len(found) == count, f"{len(found)} dead letters, then {extra}"
        return found

    def server_closes(self):
        """The server closes the worker's connections. Returns how many there were."""
        self.close()
        # The list of connections is a statistic: it lags a little behind.
        wait_until(lambda: self.rabbit.connections(self.vhost), 10, "a connection")
        return self.rabbit.close_connections(self.vhost)
