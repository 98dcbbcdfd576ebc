"""A steady load of chords in many forms, the killing of their workers, and what became of each."""
import collections
import json
import os
import random
import signal
import threading
import time

from celery import Celery

from composition_list import chain, chord, mark, without
from compositions import Builder, Node, task
from services.keeper import wait_until
from worker import Worker
from world import is_running

# What was begun by a worker that is killed runs again.
SETTINGS = {"task_acks_late": True, "task_reject_on_worker_lost": True}


def draw():
    """Gives another number each time it runs."""
    return task("draw")


def tell(**more):
    return task("tell", **more)


def fixed():
    return mark(immutable=True)


# Whatever is called twice by a chord may be called with the same values only. A chord that a worker
# starts is started again where that worker dies: so its parts always say the same.
FORMS = [
    chord([draw(), draw()], tell()), chord([draw()] * 7, tell()),
    chord([draw(), task("fail"), draw()], tell(errbacks=[task("note_error")])),
    chord([chain(draw(), draw()), draw()], tell()),
    chord([chord([draw(), draw()], draw()), draw()], tell()),
    chord([draw(), draw()], tell(links=[mark()])),
    chord([draw(), task("again")], chain(tell(), mark())),
    chord([draw(), draw()], Node("group", tell(), tell())),
    chain(fixed(), Node("group", fixed(), fixed()), tell(), mark()),
    chain(Node("group", draw(), draw()), tell(), Node("group", fixed(), fixed()), tell()),
    draw().with_(links=[chord([fixed(), fixed()], tell())]),
    chord([fixed(), fixed()], chord([fixed(), fixed()], tell())),
    chord([fixed(), task("swap", inner=fixed())], tell()),
]


class TellBuilder(Builder):
    """Tasks that tell get their text: the composition's number and their own tag."""

    def __init__(self, app, number):
        super().__init__(app)
        self.number, self.told = number, []

    def _task(self, node):
        made = super()._task(node)
        if node.name == "tell":
            made["kwargs"]["text"] = text = f"{self.number}.{made['kwargs']['tag']}"
            self.told.append(text)
        return made


Sent = collections.namedtuple("Sent", "form id told fails")


class Load(threading.Thread):
    def __init__(self, broker_url, results, seed, left_out, rate=12):
        super().__init__(daemon=True)
        self.forms, self.left = without(FORMS, left_out)
        self.random = random.Random(f"{seed} load")
        self.results, self.rate = results, rate
        self.app = Celery("client", broker=broker_url, backend=results.url, set_as_current=False)
        self.sent, self.error = [], None
        self.is_over = threading.Event()

    def run(self):
        # This thread's own. Nobody waits for the results here, so they need no connection when they
        # are thrown away.
        self.app.backend.remove_pending_result = lambda result: result
        try:
            while not self.is_over.wait(self.random.uniform(0.5, 1.5) / self.rate):
                form = self.random.choice(self.forms)
                builder = TellBuilder(self.app, len(self.sent))
                result = builder.make(form).apply_async()
                # A group has no record of its own.
                for one in getattr(result, "results", None) or [result]:
                    self.sent.append(Sent(form, one.id, builder.told, "fail" in str(form)))
        except BaseException as error:  # the test's thread shows it
            self.error = error

    def stop(self):
        self.is_over.set()
        self.join(30)
        self.app.close()
        if self.error:
            raise self.error


class Canvases:
    """Workers of one kind on one broker, and the load."""

    def __init__(self, seed, broker, results, folder, left_out):
        self.random = random.Random(seed)
        self.broker, self.results, self.folder = broker, results, folder
        self.journal = folder / "journal"
        self.workers, self.kills = [], collections.Counter()
        broker.declare()
        self.load = Load(broker.url, results, seed, left_out)

    def start_worker(self, ready=True):
        one = Worker(self.folder, self.broker.url, self.results.url, concurrency=3, ready=ready,
                     plugins=("testtasks", "canvastasks"), broker=self.broker, settings=SETTINGS,
                     env={"CANVAS_JOURNAL": str(self.journal)})
        self.workers.append(one)
        return one

    def living(self):
        return [one for one in self.workers if one.code is None]

    def kill(self):
        """kill -9: a process that runs tasks; or all of a worker; or its master only."""
        victim = self.random.choice(self.living())
        way = self.random.choice(("child", "worker", "master"))
        below = wait_until(victim.children, 20, "processes")
        if way == "child":
            os.kill(below[-1], signal.SIGKILL)
        else:
            if way == "master" and not victim.judge:
                os.kill(victim.pid, signal.SIGKILL)
                wait_until(lambda: not any(map(is_running, below)), 20, "end of the children")
            victim.kill()
            self.start_worker(ready=False)
        self.kills[way] += 1

    def run(self, kills):
        for _ in range(2):
            self.start_worker()
        self.load.start()
        for _ in range(kills):
            time.sleep(self.random.uniform(0.4, 1.2))
            self.kill()
        time.sleep(1)
        self.load.stop()

    def unfinished(self):
        keys = [self.results.key(sent.id) for sent in self.load.sent]
        return [sent for sent, raw in zip(self.load.sent, self.results.client.mget(keys))
                if not raw or json.loads(raw)["status"] not in ("SUCCESS", "FAILURE")]

    def told(self):
        """{text: [values, once for each time the task was called]}"""
        found = collections.defaultdict(list)
        for line in self.journal.read_text().splitlines():
            word, text, values = (line.split(" ", 2) + ["", ""])[:3]
            if word == "told":
                found[text].append(json.loads(values))
        return found

    def check(self, timeout=60):
        """No chord hangs, no body is called twice with different results."""
        try:
            wait_until(lambda: not self.unfinished(), timeout, "results", 0.2)
        except AssertionError:
            left = self.unfinished()
            raise AssertionError(f"{len(left)} of {len(self.load.sent)} hang, as " + "; ".join(
                f"{sent.form} ({sent.id})" for sent in left[:4])) from None
        self.broker.wait_empty(timeout=timeout)
        told = self.told()
        different = [text for text, calls in told.items() if any(each != calls[0] for each in calls)]
        assert not different, f"called with different results: {[told[each] for each in different[:3]]}"
        for sent in self.load.sent:
            status = self.results.record(sent.id)["status"]
            assert status == ("FAILURE" if sent.fails else "SUCCESS"), (status, str(sent.form))
            missing = [] if sent.fails else [text for text in sent.told if text not in told]
            assert not missing, f"never called: {missing} of {sent.form}"
        return {"sent": len(self.load.sent), "bodies": len(told),
                "called again": sum(len(calls) > 1 for calls in told.values()), **self.kills}

    def close(self):
        self.load.is_over.set()
        for one in self.workers:
            one.end()
        faults = [line for one in self.workers for line in one.faults()]
        assert not faults, "\n".join(faults)
