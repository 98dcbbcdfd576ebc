"""What became of every task, and the table of all tests."""
import collections
import json

Kill = collections.namedtuple("Kill", "kind before after")
HEAD = ("test", "kills", "tasks", "runs", "cut off", "run twice", "whole twice", "unexplained",
        "not run", "no result", "unsure")
SOON = 8192  # bytes of the journal: about a hundred tasks


def has_lost_its_process(record):
    return bool(record) and record["status"] == "FAILURE" and \
        record["result"]["exc_type"] == "WorkerLostError"


class Tally:
    """A second run of a task is explained when a process was killed between the two starts; the
    size of the journal is the clock. An early-ack task whose process died has no
    result, or WorkerLostError; that is explained too when the death came soon."""

    def __init__(self, name, load, kills, traces, records):
        self.name = name
        self.kills = collections.Counter(kill.kind for kill in kills)
        deaths = [kill for kill in kills if kill.kind in ("child", "worker")]
        self.tasks = len(load.confirmed)
        self.runs = self.cut = self.twice = self.whole_twice = 0
        self.unexplained, self.not_run, self.no_result = [], [], []
        self.no_result_unexplained = []
        self.unsure = len(load.unsure)
        for id in [*load.confirmed, *load.unsure]:
            starts = [at for mark, at in traces.get(id, ()) if mark == "S"]
            ends = sum(mark == "E" for mark, _ in traces.get(id, ()))
            self.runs += len(starts)
            self.cut += len(starts) - ends
            self.twice += len(starts) > 1
            self.whole_twice += ends > 1
            for first, second in zip(starts, starts[1:]):
                if not any(first <= kill.after and second >= kill.before for kill in deaths):
                    self.unexplained.append(id)
        for id in load.confirmed:
            trace, record = traces.get(id), records.get(id)
            # A child that dies between taking a task and writing its first line is known by this.
            if not trace and not has_lost_its_process(record):
                self.not_run.append(id)
            if not record or record["status"] != "SUCCESS":
                self.no_result.append(id)
                if not has_lost_its_process(record) and not (
                        trace and any(kill.kind == "worker" and trace[0][1] <= kill.after and
                                      kill.before <= trace[-1][1] + SOON for kill in kills)):
                    self.no_result_unexplained.append(id)

    def cells(self):
        kills = " ".join(f"{kind}:{count}" for kind, count in sorted(self.kills.items()))
        return (self.name, kills, self.tasks, self.runs, self.cut, self.twice, self.whole_twice,
                len(self.unexplained), len(self.not_run), len(self.no_result), self.unsure)

    def as_json(self):
        return json.dumps(dict(zip(HEAD, self.cells())))


def table(rows):
    lines = [HEAD, *rows]
    total = ["all", sum(int(kill.split(":")[1]) for row in rows for kill in row[1].split())]
    total += [sum(row[column] for row in rows) for column in range(2, len(HEAD))]
    lines.append(total)
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(str(cell).ljust(width) if column < 2 else str(cell).rjust(width)
                               for column, (cell, width) in enumerate(zip(line, widths)))
                     for line in lines) + "\n"
