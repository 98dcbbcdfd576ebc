"""Hears every event of a broker as it is on the wire."""
import json
import threading
import time

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
        self._open()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join(5)
        self.link.close()

    def _open(self):
        self.link = self.broker.link()
        self.link.hear(self.exchange, lambda message: self.messages.append(Message(message)))

    def _read(self):
        while not self.is_over:
            try:
                self.link.pump(0.1)
            except OSError:
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
