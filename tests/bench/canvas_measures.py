"""The measures of compositions: what one producer sent once, copied with other ids."""
import json
import re
import time

import amqp
from celery import Celery, chain, chord, group

from kinds import cpu_s, pss_mib, stop
from measures import QUEUE, Bench

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SIZE = "celery-taskset-meta-%s.s"


class Template:
    """The messages of one composition, the ids of its last tasks, and the size of its chord."""

    def __init__(self, messages, finals, chord_id=None, size=0):
        self.messages, self.finals, self.chord_id, self.size = messages, finals, chord_id, size
        texts = [text for message in messages for text in message[:2]]
        drawn = dict.fromkeys(id for text in texts for id in UUID.findall(text))
        self.numbers = {id: number for number, id in enumerate(drawn)}

    def id(self, old, seed, copy):
        number = self.numbers[old]
        return f"{seed:08x}-{number >> 16:04x}-4{number >> 12 & 15:03x}-8000-" \
               f"{number & 4095:04x}{copy:08x}"

    def copies(self, seed, count):
        """(headers, body, properties) of all messages of so many copies."""
        for copy in range(count):
            for headers, body, properties in self.messages:
                def renamed(text):
                    return UUID.sub(lambda m: self.id(m[0], seed, copy), text)  # noqa: B023
                yield json.loads(renamed(headers)), renamed(body), properties


class CanvasBench(Bench):
    def __init__(self, rabbit, redis):
        super().__init__(rabbit, redis)
        self.app = Celery("producer", broker=self.broker_url, backend=self.results_url,
                          set_as_current=False)
        self.app.backend.remove_pending_result = lambda result: result

    def signature(self, name):
        return self.app.signature(name, queue=QUEUE)

    def chain_of(self, count):
        sent = chain([self.signature("testtasks.echo") for _ in range(count)]).apply_async()
        return Template(self._taken(), [sent.id])

    def group_of(self, count):
        sent = group([self.signature("testtasks.noop") for _ in range(count)],
                     app=self.app).apply_async()
        return Template(self._taken(), [one.id for one in sent.results])

    def chord_of(self, count):
        sent = chord([self.signature("testtasks.noop") for _ in range(count)],
                     self.signature("canvastasks.size"), app=self.app).apply_async()
        return Template(self._taken(), [sent.id], sent.parent.id, count)

    def _taken(self):
        """The messages that lie in the queue, taken out."""
        found = []
        with amqp.Connection(f"127.0.0.1:{self.rabbit.port}") as link:
            channel = link.channel()
            while message := channel.basic_get(QUEUE, no_ack=True):
                properties = {key: value for key, value in message.properties.items()
                              if key not in ("application_headers", "correlation_id")}
                found.append((json.dumps(message.headers), message.body, properties))
        return found

    def load_copies(self, template, count):
        """Returns the ids of their last tasks."""
        self.seed += 1
        if template.chord_id:
            sizes = {SIZE % template.id(template.chord_id, self.seed, copy): template.size
                     for copy in range(count)}
            self.store.mset(sizes)
        with amqp.Connection(f"127.0.0.1:{self.rabbit.port}") as link:
            channel = link.channel()
            for headers, body, properties in template.copies(self.seed, count):
                channel.basic_publish(
                    amqp.Message(body, application_headers=headers, correlation_id=headers["id"],
                                 **properties), exchange="", routing_key=QUEUE)
        return ["celery-task-meta-" + template.id(id, self.seed, copy)
                for copy in range(count) for id in template.finals]

    def _wait(self, keys, least, timeout=300):
        deadline = time.monotonic() + timeout
        while (found := self.store.exists(*keys)) < least:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {len(keys)} last results")
            time.sleep(0.005)
        return found

    def compositions(self, kind, template, count):
        """So many of them a second, from the first result of any task to the last, and their CPU."""
        self.purge()
        keys = self.load_copies(template, count)
        sizes = self.store.dbsize()
        time.sleep(1)  # let the broker write its pages
        worker = kind.start(self, QUEUE)
        try:
            self.wait_results(sizes + 1, 60)
            first, cpu = time.monotonic(), cpu_s(worker.pid)
            self._wait(keys, len(keys))
            return {"rate": count / (time.monotonic() - first),
                    "cpu_ms": (cpu_s(worker.pid) - cpu) * 1000 / count}
        finally:
            stop(worker)

    def large(self, kind, template):
        """One composition: seconds from the worker's first result to the last, and its most
        memory meanwhile, beyond what it had when it was idle."""
        self.purge()
        worker = kind.start(self, QUEUE)
        try:
            self.load(1)
            self.wait_results(1, 60)
            time.sleep(1)
            idle = peak = pss_mib(worker.pid)
            cpu, started = cpu_s(worker.pid), time.monotonic()
            keys = self.load_copies(template, 1)
            loaded_s = time.monotonic() - started
            deadline = started + 300
            while self.store.exists(*keys) < len(keys):
                peak = max(peak, pss_mib(worker.pid))
                if time.monotonic() > deadline:
                    raise TimeoutError("the last result is missing")
                time.sleep(0.02)
            return {"seconds": time.monotonic() - started, "loading_s": loaded_s,
                    "grown": peak - idle, "peak": peak, "cpu_s": cpu_s(worker.pid) - cpu}
        finally:
            stop(worker)
