"""Kills children, the worker, its broker connection, the broker and Redis at random under load, and
counts what was lost and what ran twice.

    tests/chaos/run [--kills 200] [--seed 1] [--mode late|early|both] [--worker smallage|celery]

Late acks: every task is executed, every result stored; a task runs twice only where a process died
in the middle of it. Early acks: nothing that was not started is lost. The same seed gives the same
sequence of kills; when exactly they hit is up to the machine.
"""
import argparse
import collections
import contextlib
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "integration")]

import services  # noqa: E402
from broker import Broker  # noqa: E402
from results import Results  # noqa: E402
from worker import Worker  # noqa: E402

# Of 100 kills; the slow ones are fewer.
MIX = {"child": 48, "connection": 26, "worker": 18, "redis": 6, "broker": 2}
SLOTS = 4
QUEUED = 150  # tasks that wait, at least, whenever something is killed
# So many lines may lie between the start of a task and a kill that makes it run again: what the
# worker may hold unacked. After a lost connection that is counted from the loss; and a broker that
# was killed forgets acks of its last moments, which the worker knows better until it dies too.
HELD = 2 * (SLOTS * 4 + SLOTS * 8)
FORGOTTEN = 4 * HELD


class Chaos:
    def __init__(self, options, mode, folder):
        self.options, self.mode, self.folder = options, mode, pathlib.Path(folder)
        self.random = random.Random(f"{options.seed} {mode}")
        self.path = self.folder / "out"
        self.path.touch()
        self.ids, self.deaths, self.losses, self.events = [], [], [], []
        self.killed = collections.Counter()
        self.exits = collections.Counter()
        self.notes = []

    def start_worker(self):
        self.worker = Worker(self.folder, self.rabbit.url("chaos", port=self.relay.port),
                             self.results.url, concurrency=SLOTS, level="WARNING", ready=False,
                             judge=self.options.worker == "celery",
                             settings={"broker_heartbeat": 10,
                                       "broker_connection_max_retries": 1000})

    def top_up(self):
        """Between two kills, so that every publish is confirmed and known to have arrived once."""
        ready = self.broker.counts()[0] or 0
        task = "append" if self.mode == "late" else "append_early"
        if ready >= QUEUED:
            return
        first = len(self.ids)
        self.ids += self.broker.send_many(
            task, 2 * QUEUED - ready,
            lambda n: (str(self.path), str(first + n), self.random.choice((0, 0.005, 0.02, 0.05))))

    def lines(self):
        return self.path.read_text().splitlines()

    def note_death(self, kind):
        """Where in the log of the tasks a process died."""
        self.deaths.append((len(self.lines()), kind))

    def kill_child(self):
        parents = set()
        pids = self.worker.children()
        for pid in pids:
            with contextlib.suppress(OSError):
                text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
                parents |= {pid} if text.split() else set()
        leaves = [pid for pid in pids if pid not in parents]
        if leaves:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(leaves), signal.SIGKILL)
            self.note_death("child")

    def kill_worker(self):
        self.worker.kill()
        self.note_death("worker")
        self.start_worker()

    def kill_connection(self):
        self.losses.append((len(self.lines()), HELD))
        self.relay.cut()

    def kill_redis(self):
        self.redis.kill()
        time.sleep(self.random.uniform(0, 1.0))
        self.redis.start()

    def kill_broker(self):
        self.losses.append((len(self.lines()), FORGOTTEN))
        self.broker.close()
        self.rabbit.kill()
        self.rabbit.start()

    def check_worker(self):
        """It must not end by itself."""
        if not self.worker.is_alive():
            code = self.worker.wait_end(1)
            self.exits[code] += 1
            self.notes.append(f"the worker ended by itself with {code}:\n"
                              + self.worker.log[-2000:])
            self.note_death("worker")
            self.start_worker()

    def run(self):
        kinds = self.random.choices(list(MIX), weights=MIX.values(), k=self.options.kills)
        with services.RabbitMQ() as self.rabbit, services.Redis() as self.redis, \
                services.Relay(self.rabbit.port) as self.relay:
            self.rabbit.add_vhost("chaos")
            self.broker = Broker(self.rabbit, "chaos")
            self.broker.declare()
            self.results = Results(self.redis.port, 0)
            self.start_worker()
            try:
                for kind in kinds:
                    self.top_up()
                    time.sleep(self.random.uniform(0.05, 0.5))
                    self.check_worker()
                    self.events.append((len(self.lines()), kind))
                    getattr(self, f"kill_{kind}")()
                    self.killed[kind] += 1
                return self.judge()
            finally:
                self.worker.end()
                self.broker.close()
                self.results.close()

    def settle(self):
        """Waits until nothing is left to do, or nothing changes any more."""
        last, since = None, time.monotonic()
        while time.monotonic() - since < self.options.patience:
            self.check_worker()
            now = (self.broker.counts(), len(self.lines()), self.results.client.dbsize())
            if now[0] == (0, 0) and now[2] >= len(self.ids):
                return
            if now != last:
                last, since = now, time.monotonic()
            if self.mode == "early" and now[0] == (0, 0) and time.monotonic() - since > 5:
                return
            time.sleep(0.2)

    def unacked_since(self, death):
        """The first line whose task may have been unacked for the broker at this death."""
        since = death - HELD
        for loss, reach in sorted(self.losses, reverse=True):
            if since <= loss <= death:
                since = min(since, loss - reach)
        return since

    def twice(self):
        """(ids run more than once, those of them that no death of a process explains)."""
        starts = collections.defaultdict(list)
        for at, line in enumerate(self.lines()):
            if line.startswith("S "):
                starts[line[2:]].append(at)
        unexplained, doubled = [], 0
        for text, places in starts.items():
            if len(places) < 2:
                continue
            doubled += 1
            for first, second in zip(places, places[1:]):
                if not any(first < death <= second and first >= self.unacked_since(death)
                           for death, _ in self.deaths):
                    unexplained.append((text, first, second))
        return doubled, unexplained

    def judge(self):
        started = time.monotonic()
        self.settle()
        count = len(self.ids)
        lines = set(self.lines())
        begun = sum(f"S {n}" in lines for n in range(count))
        ended = sum(f"E {n}" in lines for n in range(count))
        stored = sum(bool(self.results.raw(id)) for id in self.ids)
        states = collections.Counter(
            (self.results.record(id) or {"status": "none"})["status"] for id in self.ids)
        doubled, unexplained = self.twice()
        code = self.worker.stop()
        faults = self.worker.faults()
        print(f"{self.mode} acks, {self.options.worker}, seed {self.options.seed}: "
              f"{sum(self.killed.values())} kills "
              f"({', '.join(f'{n} {kind}' for kind, n in sorted(self.killed.items()))}), "
              f"{count} tasks")
        print(f"  begun {begun}, ended {ended}, results {stored} ({dict(states)})")
        print(f"  run twice {doubled}, not explained by a death {len(unexplained)}; "
              f"settled in {time.monotonic() - started:.1f} s, warm stop {code}")
        checks = {"every task was begun": begun == count,
                  "the queue is empty": self.broker.counts() == (0, 0),
                  "the worker never ended by itself": not self.exits,
                  "the worker stopped with 0": code == 0 and not faults,
                  "nothing ran twice without a death": not unexplained}
        if self.mode == "late":
            checks["every task ended"] = ended == count
            checks["every result is stored"] = states == {"SUCCESS": count}
        for note in self.notes[:3] + [f"task {n} at lines {first} and {second}; kills: "
                                      f"{[e for e in self.events if first - 60 < e[0] <= second]}"
                                      for n, first, second in unexplained[:5]] + faults[:5]:
            print("  " + note)
        for what, is_so in checks.items():
            print(f"  {'ok    ' if is_so else 'FAILED'} {what}")
        return checks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SMALLAGE_SEED", "1")))
    parser.add_argument("--mode", choices=("late", "early", "both"), default="both")
    parser.add_argument("--worker", choices=("smallage", "celery"), default="smallage")
    parser.add_argument("--patience", type=float, default=45,
                        help="seconds without any progress after which the rest counts as lost")
    options = parser.parse_args()
    passed = failed = 0
    for mode in ("late", "early") if options.mode == "both" else (options.mode,):
        own = argparse.Namespace(**vars(options))
        if options.mode == "both" and mode == "early":
            own.kills = max(1, options.kills // 3)
        with tempfile.TemporaryDirectory(prefix="smallage-chaos-") as folder:
            checks = Chaos(own, mode, folder).run()
        passed += sum(checks.values())
        failed += len(checks) - sum(checks.values())
    print(f"chaos: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
