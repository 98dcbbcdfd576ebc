"""What the tests ask of a broker, whichever it is."""
import time

import messages
from services.keeper import wait_until


class BrokerBase:
    """A broker of this test alone. Those below it say how."""

    kind = None
    transport_options = None  # the worker's and the client's, where the URL does not say it all

    # Of each kind: close, declare, publish, send_many, peek, counts, url_at, server_closes, link,
    # crash.

    def settings(self, settings=None):
        """The worker's settings on this broker."""
        if self.transport_options is None:
            return settings
        settings = dict(settings or {})
        settings["broker_transport_options"] = {**self.transport_options,
                                                **settings.get("broker_transport_options", {})}
        return settings

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

    @staticmethod
    def many(task, count, args, **headers):
        """(id, body, headers) of so many messages."""
        name = task if "." in task else f"testtasks.{task}"
        for i in range(count):
            each = args(i) if callable(args) else args
            id = messages.new_id()
            yield id, messages.body(each), messages.headers(name, id, each, **headers)

    def get(self, queue, timeout=10):
        """Takes one message, waiting for it."""
        return wait_until(lambda: self.peek(queue), timeout, f"a message in {queue}")

    def wait_counts(self, ready, unacked, queue="celery", timeout=20):
        started, seen = time.monotonic(), []

        def is_so():
            seen[:] = [self.counts(queue)]
            return seen[0] == (ready, unacked)

        try:
            wait_until(is_so, timeout, "queue", 0.05)
        except AssertionError:
            raise AssertionError(
                f"queue {queue}: {seen[0]} (ready, unacked) after "
                f"{time.monotonic() - started:.1f} s, expected {(ready, unacked)}") from None

    def wait_left(self, count, queue="celery", timeout=20):
        """Of a worker that was killed: so many messages are there for others."""
        self.wait_counts(count, 0, queue, timeout)

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
        """Rejected messages of the queue can be told from acked ones from now on; where a broker
        keeps none, `dead` sees only that they are gone."""

    def listeners(self):
        """How many listen to broadcasts, where those that nobody hears are lost."""
        return 0

    def wait_listeners(self, count):
        """So that a worker that says it is ready hears what is asked of it."""

    def dead(self, ids):
        """The messages of these ids (or so many) were rejected, and no others. Returns them, or as
        many that nobody kept."""
        self.wait_empty()
        return [None] * (ids if isinstance(ids, int) else len(ids))

    def refused(self, queue="celery"):
        """How many messages were rejected and kept (after watch_rejects)."""
        return self.counts("dead")[0]

    def publisher(self, queue="celery"):
        """publish(body, headers, **properties) in a hurry, and what closes it."""
        def publish(body, headers=None, **properties):
            self.publish(body, headers, queue, **properties)
        return publish, lambda: None

    def post(self, exchange, routing_key, body, headers=None):
        """A broadcast: a request to the workers, an event to the monitors."""
        link = self.link()
        link.post(exchange, body, routing_key=routing_key, headers=headers)
        link.close()
