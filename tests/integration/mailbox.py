"""Remote control by hand: requests to workers' mailboxes with any part bent, and their replies."""
import json
import time
import uuid

from services.keeper import wait_until


class Reply:
    def __init__(self, message):
        self.raw = message.body
        self.headers = message.headers or {}
        self.properties = message.properties
        self.delivery = message.delivery_info
        self.body = json.loads(message.body)
        (self.node, self.payload), = self.body.items()

    @property
    def ticket(self):
        return self.headers.get("ticket")


class Mailbox:
    """The client's end. `namespace` is the setting control_exchange."""

    def __init__(self, broker, namespace="celery"):
        self.broker, self.namespace = broker, namespace
        self.exchange = f"{namespace}.pidbox"
        self.oid = str(uuid.uuid4())
        self.link = broker.link()
        self.replies = []
        self.reply_to = self.listen(f"reply.{namespace}.pidbox", self.oid)

    def close(self):
        self.link.close()

    def listen(self, exchange, key):
        """Replies sent there are gathered in `replies`."""
        self.link.listen(exchange, key, lambda message: self.replies.append(Reply(message)))
        return {"exchange": exchange, "routing_key": key}

    def post(self, body, content_type="application/json", headers=None, **properties):
        """Any bytes as a request."""
        self.link.post(self.exchange, body, content_type, headers, **properties)

    def send(self, method, arguments=None, *, destination=None, headers=None, ticket=None, **more):
        """A request as of 5.7; `more` replaces or adds keys of the body. Returns the ticket."""
        ticket = ticket or str(uuid.uuid4())
        body = {"method": method, "arguments": arguments or {}, "destination": destination,
                "pattern": None, "matcher": None, "ticket": ticket, "reply_to": self.reply_to,
                **more}
        self.post(json.dumps(body), headers={"clock": 1, "expires": time.time() + 1,
                                             **(headers or {})}, delivery_mode=2, priority=0)
        return ticket

    def cast(self, method, arguments=None, destination=None):
        """A request that wants no reply."""
        self.post(json.dumps({"method": method, "arguments": arguments or {},
                              "destination": destination, "pattern": None, "matcher": None}),
                  headers={"clock": 1, "expires": 0})

    def pump(self, seconds):
        """Takes in what comes, at most so long."""
        self.link.pump(seconds)

    def take(self, ticket, count=1, timeout=10):
        """The replies with this ticket, taken out of `replies`."""
        deadline = time.monotonic() + timeout
        while True:
            found = [reply for reply in self.replies if reply.ticket == ticket]
            if len(found) >= count:
                self.replies = [reply for reply in self.replies if reply.ticket != ticket]
                return found
            left = deadline - time.monotonic()
            if left < 0:
                raise AssertionError(f"{len(found)} of {count} replies to {ticket} after "
                                     f"{timeout} s; others: {[r.body for r in self.replies]}")
            self.pump(left)

    def ask(self, method, arguments=None, timeout=10, **more):
        """What one worker answers."""
        reply, = self.take(self.send(method, arguments, **more), timeout=timeout)
        return reply.payload

    def ping(self, timeout=10, **more):
        return self.ask("ping", timeout=timeout, **more)

    def settle(self, timeout=10):
        """Until a ping is answered; pings lost with a mailbox that is made anew are repeated.
        What the worker was sent before has been dealt with then."""
        def answers():
            ticket = self.send("ping")
            try:
                return self.take(ticket, timeout=0.5)
            except AssertionError:
                return None
        wait_until(answers, timeout, "answer to ping")
