"""Hears every event of a virtual host as it is on the wire."""
import json
import threading
import time

import amqp

from services.keeper import wait_until


class Message:
    def __init__(self, message):
        self.routing_key = message.delivery_info["routing_key"]
        self.properties = dict(message.properties)
        self.headers = self.properties.pop("application_headers", {})
        body = message.body
        try:
            self.body = json.loads(body)
        except ValueError:  # a test sent it
            self.body = None
        self.at = time.time()

    @property
    def events(self):
        events = self.body if isinstance(self.body, list) else [self.body]
        return [e for e in events if isinstance(e, dict) and "hostname" in e]


class Recorder:
    """Use as a context. A connection of its own; what the server closes is opened again."""

    def __init__(self, broker, exchange="celeryev"):
        self.broker, self.exchange = broker, exchange
        self.messages, self.is_over = [], False

    def __enter__(self):
        self.channel = self._open()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join(5)
        self.link.close()

    def _open(self):
        self.link = amqp.Connection(f"127.0.0.1:{self.broker.rabbit.port}",
                                    virtual_host=self.broker.vhost)
        self.link.connect()
        channel = self.link.channel()
        channel.exchange_declare(self.exchange, "topic", durable=True, auto_delete=False)
        self.queue = channel.queue_declare("recorder", durable=True, auto_delete=False).queue
        channel.queue_bind(self.queue, self.exchange, "#")
        channel.basic_consume(self.queue, callback=self._take)
        return channel

    def _take(self, message):
        self.messages.append(Message(message))
        message.channel.basic_ack(message.delivery_tag)

    def _read(self):
        while not self.is_over:
            try:
                self.link.drain_events(timeout=0.1)
            except TimeoutError:
                pass
            except (OSError, amqp.exceptions.AMQPError):
                if not self.is_over:
                    self._open()

    def events(self, type=None, uuid=None, host=None):
        """In the order they came."""
        return [event for message in list(self.messages) for event in message.events
                if (type is None or event["type"] == type or event["type"].startswith(type))
                and (uuid is None or event.get("uuid") == uuid)
                and (host is None or event["hostname"] == host)]

    def types(self, uuid):
        return [event["type"].split("-", 1)[1] for event in self.events("task-", uuid)]

    def wait(self, count=1, timeout=10, **which):
        """Until so many events fit; returns them."""
        wait_until(lambda: len(self.events(**which)) >= count, timeout,
                   f"{count} events {which}, not {[e['type'] for e in self.events()][-20:]}")
        return self.events(**which)
