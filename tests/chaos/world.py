"""Everything a chaos test runs on, and the ways to break it."""
import os
import pathlib
import random
import signal
import time
import types

import services
from load import Journal, Load
from services.keeper import wait_until
from tally import Kill, Tally
from worker import Worker


def is_running(pid):
    """A zombie is not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


class World:
    def __init__(self, name, seed, rabbit, broker, redis, results, folder):
        self.name, self.seed = name, seed
        self.rabbit, self.broker, self.redis, self.results = rabbit, broker, redis, results
        self.folder = folder
        self.random = random.Random(seed)
        self.relay = services.Relay(rabbit.port)
        self.journal = Journal(folder / "journal")
        self.load = self.worker = None
        self.workers, self.kills, self.found = [], [], []
        broker.declare()

    def start(self, task="append", load=Load, **options):
        """A worker behind the relay, and the load."""
        self.options = {"concurrency": 2, **options}
        self.start_worker()
        self.load = load(self.broker, task, self.journal, self.seed)
        self.load.start()
        self.journal.wait_ends(5)

    def start_worker(self):
        self.worker = Worker(self.folder, self.rabbit.url(self.broker.vhost, port=self.relay.port),
                             self.results.url, **self.options)
        self.workers.append(self.worker)

    def close(self):
        if self.load:
            self.load.is_over.set()
        self.redis.resume()  # a test that failed may have left it hanging
        for one in self.workers:
            one.end()
        self.relay.__exit__()
        faults = [line for one in self.workers for line in one.faults()]
        assert not faults, "\n".join(faults)

    # The ways to die

    def pool_processes(self):
        """Those that run tasks: below the spawner, which is no pool process itself."""
        below = self.worker.children()
        if self.worker.judge:
            return below
        return [pid for pid in below if parent_of(pid) not in (self.worker.pid, 0)]

    def kill_child(self):
        pids = wait_until(self.pool_processes, 20, "a pool process")
        os.kill(self.random.choice(pids), signal.SIGKILL)

    def kill_worker(self):
        below = self.worker.children()
        if self.random.random() < 0.5 and not self.worker.judge:
            # Only the master: those below it have to notice.
            os.kill(self.worker.pid, signal.SIGKILL)
            wait_until(lambda: not any(map(is_running, below)), 20, "end of the master's children")
        self.worker.kill()
        self.start_worker()

    def cut_connection(self):
        """Hard, or after a moment in which acks went out and did not arrive, or by the broker."""
        way = self.random.random()
        if way < 0.5:
            wait_until(self.relay.cut, 30, "a connection to cut", 0.05)
        elif way < 0.8:
            self.relay.hang()
            time.sleep(self.random.uniform(0.05, 0.4))
            self.relay.cut()
            self.relay.flow()
        else:
            wait_until(self._broker_closes, 30, "a connection to close", 0.1)

    def _broker_closes(self):
        closed = 0
        for row in self.rabbit.connections(self.broker.vhost):
            if row.get("peer_port") == self.load.port:
                continue
            try:
                self.rabbit.api("DELETE", "/connections/" + row["name"].replace(" ", "%20")
                                .replace(">", "%3E"))
                closed += 1
            except RuntimeError:
                pass  # it was gone already
        return closed

    def restart_broker(self):
        if self.random.random() < 0.5:
            self.rabbit.kill()
        else:
            self.rabbit.stop()
        self.broker.close()
        self.rabbit.start()

    def restart_redis(self):
        if self.random.random() < 0.5:
            # It dies with results that were sent and not yet stored.
            self.redis.pause()
            time.sleep(self.random.uniform(0.05, 0.3))
        self.redis.kill()
        time.sleep(self.random.uniform(0, 0.7))
        self.redis.start()

    def pause_redis(self):
        self.redis.pause()
        time.sleep(self.random.uniform(1, 3))
        self.redis.resume()

    def kill_child_while_away(self):
        """The broker, Redis or both cannot be reached, then a child dies, then they are back."""
        away = self.random.choice(["broker", "redis", "broker redis"])
        before = self.journal.size()
        if "redis" in away:
            self.redis.pause()
        if "broker" in away:
            self.relay.refuse()
            self.relay.cut()
        time.sleep(self.random.uniform(0, 0.5))
        self.kill_child()
        self.kills.append(Kill("child", before, self.journal.size()))
        time.sleep(self.random.uniform(0, 0.5))
        self.relay.refuse(False)
        self.redis.resume()
        self.journal.wait_ends(self.random.randint(5, 30))

    WAYS = {
        # kind: how, and how many tasks have to end before the next
        "child": (kill_child, (3, 12)),
        "worker": (kill_worker, (5, 15)),
        "connection": (cut_connection, (5, 30)),
        "broker": (restart_broker, (20, 60)),
        "redis": (restart_redis, (10, 40)),
        "pause": (pause_redis, (10, 40)),
    }

    def kill(self, kind):
        how, (least, most) = self.WAYS[kind]
        time.sleep(self.random.uniform(0, 0.1))
        before = self.journal.size()
        how(self)
        self.kills.append(Kill(kind, before, self.journal.size()))
        if not self.worker.is_alive():
            raise AssertionError(f"the worker ended after {kind}:\n{self.worker.log[-4000:]}")
        self.journal.wait_ends(self.random.randint(least, most))

    def kill_all(self, **counts):
        """So many of each kind, in random order."""
        kinds = [kind for kind, count in counts.items() for _ in range(count)]
        self.random.shuffle(kinds)
        for kind in kinds:
            self.kill(kind)

    # The end

    def _end(self, timeout):
        """The load ends, the queue runs empty. Every task's record."""
        self.load.stop()
        self.broker.wait_empty(timeout=timeout)
        # With its end the worker has stored what it had. Celery was seen to hang here.
        self.worker.kill() if self.worker.judge else self.worker.stop(60)
        return {id: self.results.record(id) for id in self.load.confirmed}

    def settle(self, timeout=120):
        """What became of every task."""
        found = self._end(timeout)
        self.found.append(Tally(self.name, self.load, self.kills, self.journal.read(), found))
        return self.found[-1]

    def settle_tries(self, timeout=120):
        """The same of a load of Tries, where every try counts as a task. Also the ids of those
        that did not end with their last try."""
        found = self._end(timeout)
        load = self.load
        badly = [id for id in load.confirmed if not load.has_ended_well(id, found[id])]
        tries = types.SimpleNamespace(confirmed=load.tries(load.confirmed),
                                      unsure=load.tries(load.unsure))
        # A record tells of the task, not of its tries.
        records = dict.fromkeys(tries.confirmed, {"status": "SUCCESS"})
        traces = self.journal.read()
        beyond = set(traces) - set(tries.confirmed) - set(tries.unsure)
        self.found.append(Tally(self.name, tries, self.kills, traces, records))
        return self.found[-1], badly, beyond
