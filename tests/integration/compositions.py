"""Compositions of tasks as trees of plain values: written down, counted, made into signatures."""
import functools
import itertools
import operator

from celery import canvas, chord, group
from celery.canvas import xmap, xstarmap

PAST = "2020-01-01T00:00:00+00:00"


class Node:
    """A task (`name`) or, as `kind`: chain, group, chord (with a body), map, starmap, chunks.

    inner: the composition that the task sends itself (swap, grow, send)."""

    def __init__(self, kind, *parts, name="", body=None, inner=None, immutable=False,
                 expired=False, links=(), errbacks=()):
        self.kind, self.parts, self.name = kind, parts, name
        self.body, self.inner = body, inner
        self.immutable, self.expired = immutable, expired
        self.links, self.errbacks = links, errbacks

    def with_(self, **changes):
        return Node(self.kind, *self.parts, **{
            "name": self.name, "body": self.body, "inner": self.inner, "links": self.links,
            "immutable": self.immutable, "expired": self.expired, "errbacks": self.errbacks,
            **changes})

    def below(self):
        return [*self.parts, *filter(None, (self.body, self.inner)), *self.links, *self.errbacks]

    def all(self):
        """This one and all below."""
        return [self, *itertools.chain.from_iterable(each.all() for each in self.below())]

    @property
    def size(self):
        return len(self.all())

    def __str__(self):
        parts = ", ".join(map(str, self.parts))
        text = {"task": self.name, "chord": f"chord([{parts}], {self.body})"}.get(
            self.kind, f"{self.kind}({parts})")
        for mark, is_so in (("!", self.immutable), ("~expired", self.expired)):
            text += mark if is_so else ""
        if self.inner:
            text += f"<{self.inner}>"
        for word, nodes in (("link", self.links), ("link_error", self.errbacks)):
            text += f".{word}({', '.join(map(str, nodes))})" if nodes else ""
        return text


def task(name, **more):
    return Node("task", name=name, **more)


def is_chord(node):
    """Producers make one of a group with something behind it."""
    return node.kind == "chord" or node.kind == "chain" and any(
        ends_in_group(part) for part in node.parts[:-1])


def ends_in_group(node):
    return node.kind == "group" or node.kind == "chain" and ends_in_group(node.parts[-1])


def features(node, is_later=False):
    """What a worker has to know for it: words. is_later: a worker starts this, not the producer."""
    found = set()
    if is_chord(node):
        found.add("chord started by the worker" if is_later else "chord")
    elif is_later and node.kind in ("group", "chain"):
        found.add(f"{node.kind} started by the worker")
    if node.name == "swap" and ends_in_group(node.inner):
        found.add("chord started by the worker")  # its results are gathered
    if node.kind == "task" and node.name in ("swap", "grow", "send", "note_failure"):
        found.add(node.name)
    if node.kind in ("map", "starmap", "chunks"):
        found.add(node.kind)
    for number, part in enumerate(node.parts):
        found |= features(part, is_later or node.kind == "chain" and number > 0)
    for each in [*filter(None, (node.body, node.inner)), *node.links, *node.errbacks]:
        found |= features(each, True)
    return found


class Builder:
    """Makes signatures; each task gets the next tag, and goes to the next of the queues."""

    def __init__(self, app, queues=None):
        self.app = app
        self.tags = itertools.count(1)
        self.queues = itertools.cycle(queues or (None,))

    def _options(self):
        queue = next(self.queues)
        return {"queue": queue} if queue else {}

    def make(self, node):
        made = getattr(self, f"_{node.kind}")(node)
        for link in node.links:
            made.link(self.make(link))
        for errback in node.errbacks:
            made.link_error(self.make(errback))
        return made

    def _task(self, node):
        if node.name == "note_failure":
            return self.app.signature("canvastasks.note_failure")
        kwargs, options = {"tag": f"t{next(self.tags)}"}, self._options()
        if node.inner:
            kwargs["sig"] = self.make(node.inner)
        if node.name == "grow":
            # Parts of one index stand in the order of their ids.
            kwargs["sig"].options["task_id"] = canvas.uuid()
        if node.expired:
            options["headers"] = {"expires": PAST}
        return self.app.signature(f"canvastasks.{node.name}", kwargs=kwargs, options=options,
                                  immutable=node.immutable)

    def _chain(self, node):
        return functools.reduce(operator.or_, map(self.make, node.parts))

    def _group(self, node):
        return group([self.make(part) for part in node.parts], app=self.app)

    def _chord(self, node):
        return chord([self.make(part) for part in node.parts], self.make(node.body), app=self.app)

    def _map(self, node):
        return xmap(task=self.app.signature("canvastasks.mark"), it=[1, None, "three"],
                    app=self.app, **self._options())

    def _starmap(self, node):
        return xstarmap(task=self.app.signature("canvastasks.mark"), it=[[1, "x"], [2, "y"]],
                        app=self.app, **self._options())

    def _chunks(self, node):
        return self.app.signature("celery.chunks", kwargs={
            "task": self.app.signature("canvastasks.mark"), "it": [[1, "x"], [2, "y"], [3, "z"]],
            "n": 2}, immutable=True)
