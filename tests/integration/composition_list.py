"""The compositions that are compared: each kind of task in each place, then random ones by seed."""
import itertools
import os
import random

from compositions import Node, ends_in_group, features, is_chord, task
from worker import JUDGE

# What the worker refuses in this version: compositions that need it are left out.
REFUSED = ""
NOT_YET = () if JUDGE else tuple(filter(None, os.environ.get("CANVAS_NOT_YET", REFUSED).split(",")))


def mark(**more):
    return task("mark", **more)


def error(**more):
    return task("note_error", **more)


def chain(*parts, **more):
    return Node("chain", *parts, **more)


def group(*parts, **more):
    return Node("group", *parts, **more)


def chord(parts, body, **more):
    return Node("chord", *parts, body=body, **more)


def swap(inner, **more):
    return task("swap", inner=inner, **more)


# What a task in a composition can do.
TASKS = {
    "mark": mark(), "immutable": mark(immutable=True), "quiet": task("quiet"),
    "fail": task("fail"), "again": task("again"), "give_up": task("give_up"),
    "skip": task("skip"), "expired": mark(expired=True), "nap": task("nap"),
    "turn_down": task("turn_down"),
}
# Where it can stand.
PLACES = [
    lambda x: x,
    lambda x: mark(links=[x]),
    lambda x: x.with_(links=[mark()]),
    lambda x: x.with_(links=[mark(), mark(immutable=True)]),
    lambda x: x.with_(errbacks=[error()]),
    lambda x: x.with_(errbacks=[error(), error(immutable=False)], links=[mark()]),
    lambda x: x.with_(errbacks=[task("note_failure")]),
    lambda x: x.with_(errbacks=[group(error(), error())]),
    lambda x: chain(x, mark()),
    lambda x: chain(mark(), x, mark()),
    lambda x: chain(mark(), x),
    lambda x: chain(mark(), x, mark(), errbacks=[error()]),
    lambda x: chain(mark(), x, links=[mark()]),
    lambda x: group(x, mark()),
    lambda x: group(chain(mark(), x), chain(x, mark())),
    lambda x: chord([mark(), x], mark()),
    lambda x: chord([x, mark()], mark(errbacks=[error()])),
    lambda x: chord([x, mark()], mark(), links=[mark()]),
    lambda x: chord([mark(), mark()], x),
    lambda x: chord([mark(), mark()], chain(x, mark())),
    lambda x: chord([mark(), mark()], group(x, mark())),
    lambda x: chord([mark(), x], group(mark(), mark())),
    lambda x: chord([mark(), x], group(mark(), mark()), errbacks=[error()]),
    lambda x: chord([chain(mark(), x), mark()], mark()),
    lambda x: chord([chain(x, mark()), mark()], mark()),
    lambda x: chord([group(mark(), x), mark()], mark()),
    lambda x: chain(mark(), group(mark(), x), mark()),
    lambda x: chain(mark(), group(mark(), x), mark(), mark(), errbacks=[error()]),
    lambda x: chain(mark(), group(x, mark())),
    lambda x: chain(group(mark(), x), mark(), group(mark(), mark()), mark()),
    lambda x: chain(mark(), x, group(mark(), mark()), mark()),
    lambda x: mark(links=[chain(x, mark())]),
    lambda x: mark(links=[group(x, mark())]),
    lambda x: mark(links=[chord([mark(), x], mark())]),
    lambda x: mark(links=[group(x, mark()), mark(), x]),
    lambda x: chord([chord([mark(), x], mark()), mark()], mark()),
    lambda x: chord([mark(), mark()], chord([mark(), x], mark())),
    lambda x: swap(x),
    lambda x: swap(mark(), links=[x]),
    lambda x: swap(x, links=[mark()], errbacks=[error()]),
    lambda x: swap(chain(mark(), x)),
    lambda x: swap(group(mark(), x)),
    lambda x: swap(chord([mark(), x], mark())),
    lambda x: chain(mark(), swap(x), mark()),
    lambda x: chain(mark(), swap(chain(mark(), x)), mark()),
    lambda x: chord([mark(), swap(x)], mark()),
    lambda x: chord([mark(), swap(chain(mark(), x))], mark()),
    lambda x: task("send", inner=x),
    lambda x: task("send", inner=chain(mark(), x)),
    lambda x: task("send", inner=chord([mark(), x], mark())),
    lambda x: chord([mark(), task("grow", inner=x)], mark()),
]
OTHERS = [
    Node("map"), Node("starmap"), chain(mark(), Node("map"), mark()),
    chain(mark(), Node("starmap"), mark()), chain(mark(), Node("chunks")),
    chord([Node("map"), Node("starmap")], mark()), mark(links=[Node("map")]),
    chord([Node("map"), mark()], Node("starmap")), swap(Node("map")),
    chain(mark(), chord([], mark()), mark()), chord([mark()], mark()), swap(swap(mark())),
    chain(swap(swap(chain(mark(), mark()))), mark()), chain(mark(), swap(group(mark(), mark())),
                                                            mark()),
]


# What a worker publishes: every kind of message, to tasks that end well.
PUBLISHED = [
    mark(links=[mark()]), mark(links=[mark(immutable=True), mark()]), chain(mark(), mark(), mark()),
    task("fail", errbacks=[error()]), task("fail", errbacks=[error(), error()]),
    task("again", links=[mark()]), chain(mark(), task("again"), mark()),
    chain(mark(), task("quiet"), mark()), mark(links=[mark(links=[mark()])]),
    chain(mark(), group(mark(), mark())), mark(links=[group(mark(), mark())]),
    mark(links=[chain(mark(), mark())]), chord([mark(), mark()], mark()),
    chord([mark(), mark(), mark()], chain(mark(), mark())),
    chord([mark(), mark()], group(mark(), mark())), chain(mark(), group(mark(), mark()), mark()),
    chain(group(mark(), mark()), mark(), group(mark(), mark()), mark()),
    mark(links=[chord([mark(), mark()], mark())]),
    chord([chain(mark(), mark()), mark()], mark()), chord([mark(), task("fail")], mark()),
    chord([task("fail"), mark()], mark(errbacks=[error()])),
    swap(mark()), swap(chain(mark(), mark())), chain(swap(mark()), mark()),
    chain(swap(group(mark(), mark())), mark()), chain(mark(), Node("map"), mark()),
    task("send", inner=mark()), task("send", inner=chain(mark(), mark())),
]


def systematic():
    """Every task in every place, those with few tasks first."""
    found = [place(one) for one, place in itertools.product(TASKS.values(), PLACES)]
    return sorted(OTHERS + found, key=lambda node: node.size)


class Random:
    """Compositions of up to three levels."""

    def __init__(self, seed):
        self.random = random.Random(f"compositions {seed}")

    def make(self, depth=3):
        kind = self.random.choices(("task", "chain", "group", "chord"),
                                   (3 if depth < 3 else 0, 4, 2, 3))[0] if depth else "task"
        return getattr(self, f"_{kind}")(depth)

    def _parts(self, low, high, depth):
        return [self.make(depth - 1) for _ in range(self.random.randint(low, high))]

    def _decorated(self, node, depth):
        """Links and errbacks, now and then."""
        if depth and node.kind != "group" and self.random.random() < 0.15:
            node = node.with_(links=self._parts(1, 2, min(depth, 2)))
        if self.random.random() < 0.15:
            node = node.with_(errbacks=[error() for _ in range(self.random.randint(1, 2))])
        return node

    def _task(self, depth):
        names = list(TASKS)
        node = TASKS[self.random.choices(names, (12, 2, 1, 2, 2, 1, 1, 1, 1, 0))[0]]
        if depth and self.random.random() < 0.1:
            node = swap(self.make(depth - 1))
        elif self.random.random() < 0.05:
            node = Node(self.random.choice(("map", "starmap")))
        return self._decorated(node, depth)

    def _chain(self, depth):
        return self._decorated(chain(*self._parts(2, 4, depth)), depth)

    def _group(self, depth):
        return self._decorated(group(*self._parts(1, 3, depth)), depth)

    def _chord(self, depth):
        return self._decorated(chord(self._parts(1, 3, depth), self.make(depth - 1)), depth)


def randoms(seed, count, largest=16):
    maker, found = Random(seed), []
    while len(found) < count:
        node = maker.make()
        if node.size <= largest:
            found.append(node)
    return found


def fails(node):
    """Does a part of it fail, so that a chord around it does?"""
    return node.expired or node.name in ("fail", "give_up", "turn_down") or any(
        map(fails, [*node.parts, *filter(None, (node.body, node.inner))]))


def header_of(node):
    """The parts of the chord that a node is."""
    if node.kind == "chord":
        return node.parts
    return [part for part in node.parts[:-1] if ends_in_group(part)]


def becomes_chord(node):
    return is_chord(node) or node.name == "swap" and ends_in_group(node.inner)


def fails_within(outer):
    """A chord that fails is a part of another."""
    return is_chord(outer) and any(becomes_chord(inner) and fails(inner)
                                   for part in header_of(outer) for inner in part.all())


def fails_before_chord(node):
    """A chord that fails has a chord for its body."""
    if node.kind == "chord":
        return is_chord(node.body) and any(map(fails, node.parts))
    # What a group becomes with something behind it.
    chords = [is_chord(part) or ends_in_group(part) for part in node.parts[:-1]]
    chords += map(is_chord, node.parts[-1:])
    return node.kind == "chain" and any(
        one and two and fails(part) for one, two, part in zip(chords, chords[1:], node.parts))


# What smallage does otherwise on purpose, see docs/compatibility.md: why, and which compositions.
DEVIATES = {} if JUDGE else {
    "a chord that fails fails the chord that it is a part of": fails_within,
    "a chord that fails fails the chord that is its body": fails_before_chord,
}


def without(nodes, words):
    """(those that need none of these features, {word: how many were left out for it})"""
    kept, left = [], {}
    for node in nodes:
        needed = sorted(features(node) & set(words)) + [
            why for why, is_so in DEVIATES.items() if any(map(is_so, node.all()))]
        if not needed:
            kept.append(node)
        for word in needed:
            left[word] = left.get(word, 0) + 1
    return kept, left
