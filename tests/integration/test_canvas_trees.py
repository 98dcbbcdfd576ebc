"""Compositions of tasks, run by Celery's worker, by the tested one, and by both on one queue: what
they leave behind is equal.

CANVAS_COMPOSITIONS: how many (default 300, on each broker others); `all`. CANVAS_SEED: of the choice
and of those that are drawn at random. CANVAS_ONLY: those whose text holds this.
CANVAS_NOT_YET: other features than the stated ones to leave out, by commas (may be empty).
"""
import contextlib
import os
import random

import pytest

from canvas_batch import Batch, differences
from composition_list import NOT_YET, randoms, systematic, without
from conftest import broker_maker
from worker import JUDGE

SEED = os.environ.get("CANVAS_SEED", "1")
COUNT = os.environ.get("CANVAS_COMPOSITIONS", "300")


def choose(kind):
    """(compositions, a line that tells how many and what is left out)"""
    nodes, left = without(systematic() + randoms(f"{SEED} {kind}", 100), NOT_YET)
    nodes = [node for node in nodes if os.environ.get("CANVAS_ONLY", "") in str(node)]
    chosen = nodes
    if COUNT != "all" and len(nodes) > int(COUNT):
        chosen = random.Random(f"{SEED} {kind}").sample(nodes, int(COUNT))
    words = ", ".join(f"{word} {count}" for word, count in sorted(left.items()))
    return chosen, f"{len(chosen)} of {len(nodes)} compositions" + (
        f"; left out: {words}" if left else "")


class Scene:
    """The same compositions on three brokers, each with other workers."""

    def __init__(self, stack, nodes, new_broker, redis_server, folder):
        self.nodes = nodes
        workers = {"Celery": [{"judge": True}], "smallage": [{}], "both": [{"judge": True}, {}]}
        self.batches = {name: Batch(stack, new_broker, redis_server, folder / name, each)
                        for name, each in workers.items()}
        for batch in self.batches.values():
            batch.send(nodes)
        self.trees = {}
        for name, batch in self.batches.items():
            batch.wait_quiet()
            left = batch.leavings()
            self.trees[name] = left.trees()
            # What nothing connects with a composition, all of it together.
            self.trees[name][len(nodes)] = dict(enumerate(left.strangers()))

    def compare(self, name, left_out="-"):
        """All that differs, the smallest compositions first."""
        found = []
        labels = [*map(str, self.nodes), "what belongs to no composition"]
        sizes = [node.size for node in self.nodes] + [1000]
        for number in sorted(range(len(labels)), key=lambda number: (sizes[number], number)):
            lines = differences(self.trees["Celery"].get(number, {}),
                                self.trees[name].get(number, {}), ("Celery", name))
            if lines and left_out not in labels[number]:
                found.append("\n    ".join([labels[number], *lines[:12]]))
        assert not found, f"{len(found)} of {len(self.nodes)} differ:\n" + "\n".join(found[:10])


@pytest.mark.filterwarnings("ignore:task_allow_error_cb_on_chord_header")
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["rabbitmq", "redis"])
def test_compositions_leave_the_same_trees(request, redis_server, tmp_path, record_property, kind):
    """T-121 T-124 T-131 T-143 T-144 T-145 T-146 T-147 T-151 T-176: run by Celery, by smallage, and by
    both on one queue"""
    nodes, line = choose(kind)
    record_property("compared", f"{kind}: {line}")
    with contextlib.ExitStack() as stack:
        scene = Scene(stack, nodes, broker_maker(request, tmp_path, kind), redis_server, tmp_path)
        scene.compare("smallage")
        # Celery stores RETRY after it has sent the retry: then another worker may have failed.
        scene.compare("both", left_out="give_up")
