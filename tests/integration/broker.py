"""The test's own connection to RabbitMQ, on a virtual host of this test alone."""
import contextlib
import itertools
import socket

import amqp

import messages
from broker_base import BrokerBase
from services.keeper import wait_until


class Link:
    """A monitor's connection: replies, events, requests."""

    def __init__(self, broker):
        self.link = amqp.Connection(f"127.0.0.1:{broker.port}", virtual_host=broker.vhost)
        self.link.connect()
        self.channel = self.link.channel()
        self.declared = set()

    def close(self):
        with contextlib.suppress(amqp.AMQPError, OSError):  # the server may have closed it
            self.link.close()

    def drop(self):
        """As when the process is killed."""
        self.link.transport.sock.close()

    def listen(self, exchange, key, take):
        """Replies to `key` go to take(message)."""
        self.channel.exchange_declare(exchange, "direct", durable=False, auto_delete=False)
        queue = self.channel.queue_declare(f"{key}.{exchange}", exclusive=True).queue
        self.channel.queue_bind(queue, exchange, key)
        self.channel.basic_consume(queue, no_ack=True, callback=take)

    def hear(self, exchange, take):
        """All events go to take(message), those of a time without connection later."""
        def acked(message):
            take(message)
            message.channel.basic_ack(message.delivery_tag)
        self.channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
        queue = self.channel.queue_declare("recorder", durable=True, auto_delete=False).queue
        self.channel.queue_bind(queue, exchange, "#")
        self.channel.basic_consume(queue, callback=acked)

    def post(self, exchange, body, content_type="application/json", headers=None, routing_key="",
             **properties):
        if exchange not in self.declared:
            self.declared.add(exchange)
            if exchange.endswith(".pidbox"):
                self.channel.exchange_declare(exchange, "fanout", durable=False, auto_delete=False)
            else:
                self.channel.exchange_declare(exchange, "topic", durable=True, auto_delete=False)
        self.channel.basic_publish(
            amqp.Message(body, content_type=content_type, content_encoding="utf-8",
                         application_headers=headers, **properties), exchange, routing_key)

    def pump(self, seconds):
        """Takes in what comes, at most so long. OSError: the connection is gone."""
        try:
            self.link.drain_events(timeout=max(seconds, 0.001))
        except (socket.timeout, TimeoutError):
            pass
        except amqp.exceptions.AMQPError as error:
            raise ConnectionError(str(error)) from None


class Broker(BrokerBase):
    kind = "rabbitmq"

    def __init__(self, rabbit, vhost):
        self.rabbit, self.vhost = rabbit, vhost
        self.port = rabbit.port
        self.url = rabbit.url(vhost)
        self._connection = self._channel = None

    def link(self):
        return Link(self)

    def url_at(self, port):
        """Through a relay."""
        return self.rabbit.url(self.vhost, port=port)

    def crash(self):
        """As when the power fails, and back."""
        self.close()
        self.rabbit.kill()
        self.rabbit.start()

    def close(self):
        if self._connection:
            with contextlib.suppress(Exception):
                self._connection.close()
        self._connection = self._channel = None

    @property
    def channel(self):
        if self._connection is None or not self._connection.connected:
            self._connection = amqp.Connection(f"127.0.0.1:{self.port}",
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

    def publisher(self, queue="celery"):
        """publish(body, headers, **properties) without confirms, and what closes it."""
        plain = amqp.Connection(f"127.0.0.1:{self.port}", virtual_host=self.vhost)
        plain.connect()
        channel = plain.channel()

        def publish(body, headers=None, **properties):
            channel.basic_publish(messages.Message(body, headers=headers, **properties), "", queue)
        return publish, plain.close

    def send_many(self, task, count, args=(), queue="celery", **headers):
        """Many, and one wait for the broker's confirm of all. Returns the ids."""
        link = amqp.Connection(f"127.0.0.1:{self.port}", virtual_host=self.vhost)
        link.connect()
        channel = link.channel()
        confirmed = set()
        channel.events["basic_ack"].add(lambda tag, multiple: confirmed.update(
            range(1, tag + 1) if multiple else (tag,)))
        channel.confirm_select()
        ids = []
        for id, body, head in self.many(task, count, args, **headers):
            channel.basic_publish(
                messages.Message(body, headers=head, **messages.properties(id)), "", queue)
            ids.append(id)
        while len(confirmed) < count:
            link.drain_events(timeout=60)
        link.close()
        return ids

    def peek(self, queue):
        return self.channel.basic_get(queue, no_ack=True)

    def counts(self, queue="celery"):
        """(ready, unacked), exact."""
        row = self.rabbit.queues(self.vhost).get(queue) or {}
        return row.get("messages_ready"), row.get("messages_unacknowledged")

    def wait_counts(self, ready, unacked, queue="celery", timeout=20):
        self.rabbit.wait_ready(self.vhost, queue, ready, unacked, timeout)

    def watch_rejects(self, queue="celery"):
        """Rejected messages of the queue gather in the queue `dead` from now on. By policy, so
        that the arguments of the declared queue stay as they are."""
        self.channel.exchange_declare("dead", "fanout", durable=True, auto_delete=False)
        self.channel.queue_declare("dead", durable=True, auto_delete=False)
        self.channel.queue_bind("dead", "dead")
        self.rabbit.api("PUT", f"/policies/{self.vhost}/dead-{queue}", {
            "pattern": f"^{queue}$", "definition": {"dead-letter-exchange": "dead"},
            "apply-to": "queues"})

    def dead(self, ids):
        count = ids if isinstance(ids, int) else len(ids)
        found = []
        wait_until(lambda: len(found) >= count or found.extend(
            itertools.takewhile(bool, iter(lambda: self.peek("dead"), None))) or
            len(found) >= count, 10, f"{count} dead letters")
        extra = self.peek("dead")
        assert extra is None and len(found) == count, f"{len(found)} dead letters, then {extra}"
        if not isinstance(ids, int):
            assert [message.headers["id"] for message in found] == ids
        return found

    def queues(self):
        """Names of what could hold messages now."""
        return list(self.rabbit.queues(self.vhost))

    def bound(self, exchange):
        """{queue: routing key} of an exchange."""
        rows = self.rabbit.api("GET", f"/bindings/{self.vhost}")
        return {row["destination"]: row["routing_key"] for row in rows
                if row["source"] == exchange}

    def others(self):
        """Connections but ours, as a statistic that lags a little behind."""
        return [row for row in self.rabbit.connections(self.vhost)
                if row["client_properties"].get("product") != "py-amqp"]

    def server_closes(self):
        """The server closes the worker's connections. Returns how many there were."""
        self.close()
        # The list of connections is a statistic: it lags a little behind.
        wait_until(lambda: self.rabbit.connections(self.vhost), 10, "a connection")
        return self.rabbit.close_connections(self.vhost)
