"""Of a cluster: what each kind of worker lost and doubled, and how soon the tasks of killed ones
ran elsewhere."""
import collections
import json

import history

HEAD = ("test", "kind", "kills", "other", "tasks", "runs", "cut off", "again", "doubled", "lost",
        "stuck", "no result", "unsure", "back s (median, most)")
ACK_LAG = 3.0  # between a task's end and the arrival of its ack, on a busy machine


class Verdict:
    """A further run of a task is explained when the worker of the run before it was killed (or
    held still, or stopped) while that ran or before its ack was out. Else its worker lived, and
    the task was doubled. Lost is what nobody brought to its end (`early`: with early acks, what
    nobody began); stuck, of these, what still lay in Redis when the test ended."""

    def __init__(self, name, nodes, events, load, runs, records, server, stuck, lag=ACK_LAG,
                 early=False):
        self.name, self.nodes, self.events = name, {node.name: node for node in nodes}, events
        self.tasks, self.unsure = len(load.confirmed), len(load.unsure)
        self.lag = lag
        self.runs, self.cut = collections.Counter(), collections.Counter()
        self.again = collections.Counter()
        self.doubled, self.lost, self.back = {}, {}, {}  # kind of worker: tasks, or seconds
        self.pairs = []  # of runs: task, kinds of the workers
        for id in [*load.confirmed, *load.unsure]:
            self._count(id, runs.get(id, []))
        lost = [id for id in load.confirmed
                if id not in stuck and
                not any(run.end or early for run in runs.get(id, ()))]
        self.stuck = stuck
        self.steps = history.of(server, [*lost, *(id for id, _, _ in self.pairs)])
        for id, first, second in self.pairs:
            self.doubled.setdefault(history.who_doubled(self.steps[id], first, second),
                                    []).append(id)
        for id in lost:
            self.lost.setdefault(history.last_holder(self.steps[id]), []).append(id)
        gone = {*lost, *stuck}
        self.no_result = [] if early else [
            id for id in load.confirmed
            if id not in gone and (records.get(id) or {}).get("status") != "SUCCESS"]

    def _count(self, id, runs):
        for run in runs:
            node = self.nodes[run.node]
            self.runs[node.kind] += 1
            if run.end is None:
                self.cut[node.kind] += 1
        for first, second in zip(runs, runs[1:]):
            node = self.nodes[first.node]
            self.again[node.kind] += 1
            if not node.was_away(first, second.start, self.lag):
                self.pairs.append((id, node.kind, self.nodes[second.node].kind))
            elif node.died and first.end is None:
                self.back.setdefault(node.kind, []).append(second.start - node.died)

    def tell(self, ids):
        return "\n".join(f"{id}: {history.tell(self.steps.get(id, []))}" for id in ids[:5])

    def check(self, kind=None):
        """Nothing lost, nothing doubled: by this kind of worker, or any."""
        for what, found in (("lost", self.lost), ("ran again while their worker lived",
                                                  self.doubled)):
            bad = [id for one, ids in found.items() if kind in (None, one) for id in ids]
            assert not bad, f"{len(bad)} tasks {what}:\n{self.tell(bad)}"
        assert self.no_result == [], f"{len(self.no_result)} results are missing"

    def kinds(self):
        return sorted({node.kind for node in self.nodes.values()} | set(self.lost))

    def cells(self, kind):
        kills = self.events.get(f"kill {kind}", 0)
        other = " ".join(f"{what}:{count}" for what, count in sorted(self.events.items())
                         if not what.startswith("kill "))
        back = sorted(self.back.get(kind, []))
        return (self.name, kind, kills, other, self.tasks, self.runs[kind], self.cut[kind],
                self.again[kind], len(self.doubled.get(kind, [])),
                len(self.lost.get(kind, [])),
                len(self.stuck), len(self.no_result), self.unsure,
                f"{back[len(back) // 2]:.1f} {back[-1]:.1f}" if back else "-")

    def as_json(self):
        return json.dumps([dict(zip(HEAD, self.cells(kind))) for kind in self.kinds()])


def table(rows):
    lines = [HEAD, *rows]
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in lines) + "\n"
