"""Several workers, Celery's and smallage, on one Redis as broker, and the ways to break them."""
import collections
import os
import random
import signal
import time

import redis

import services
from pusher import Pusher, Runs, client
from services.keeper import wait_until
from verdict import ACK_LAG, Verdict
from worker import JUDGE, Worker

LEASE_S = 10.0    # in which a smallage that shows no sign of life is dead to the others
BACK_S = 15.0  # in which its tasks run elsewhere


class Node:
    """One life of one worker, behind a relay of its own."""

    def __init__(self, worker, relay, kind):
        self.worker, self.relay, self.kind, self.name = worker, relay, kind, worker.node
        self.died = None
        self.away = []  # [from, to] in which it was held still, to None = still is

    def was_away(self, run, when, lag):
        """Was this worker dead or out of reach before `when`, with the run's ack not yet out?"""
        last = run.end + lag if run.end else float("inf")
        gone = [since for since, _ in self.away] + ([self.died] if self.died else [])
        return any(since <= when and since <= last for since in gone)


class Cluster:
    """sentinels: a service of that kind, already started; then nothing goes through relays."""

    def __init__(self, name, seed, results, folder, visibility_s=3600, server_args=(), options=None,
                 sentinels=None):
        self.name, self.seed, self.results, self.folder = name, seed, results, folder
        self.random = random.Random(seed)
        self.sentinels = sentinels
        # All it has confirmed is on disk, in one file that is never written anew.
        self.redis = sentinels.master if sentinels else services.Redis(
            "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", *server_args).start()
        self.client = client(self.redis.port, timeout=30)
        # A worker that is killed while it looks for overdue messages leaves that lock behind.
        self.transport = {"visibility_timeout": visibility_s, "unacked_mutex_expire": 3,
                          **(sentinels.options() if sentinels else {}), **(options or {})}
        self.runs = Runs(folder / "runs")
        self.nodes, self.events = [], collections.Counter()
        self.load = self.found = None

    def follow(self):
        """After a fail-over."""
        self.redis = self.sentinels.master
        self.client.close()
        self.client = client(self.redis.port, timeout=30)

    # Who works

    def start_node(self, kind="smallage", ready=True, settings=None, **options):
        kind = "celery" if JUDGE else kind
        relay = services.Relay(self.redis.port)
        url = f"redis://127.0.0.1:{relay.port}/0"
        transport = dict(self.transport)
        if kind == "celery":
            # What is overdue is looked for every second, not every hundred.
            transport.update(unacked_restore_interval=1, unacked_restore_throttle=1)
        # Others of the same name may run beside this test.
        name = f"{kind}{len(self.nodes)}-{self.redis.port}@test"
        worker = Worker(self.folder, self.sentinels.url() if self.sentinels else url,
                        self.results.url, name=name, judge=kind == "celery", ready=False,
                        settings={"broker_transport_options": transport, **(settings or {})},
                        env={"CHAOS_NODE": name}, **{"concurrency": 4, **options})
        node = Node(worker, relay, kind)
        self.nodes.append(node)
        if ready:
            worker.wait_ready(60)
        return node

    def start_load(self, task="append", load=Pusher, ends=5, **options):
        self.load = load(lambda: self.redis.port, task, self.runs, self.seed, **options)
        self.load.start()
        self.runs.wait_ends(ends)

    @property
    def living(self):
        return [node for node in self.nodes if not node.died]

    def of_kind(self, kind):
        return [node for node in self.living if node.kind == kind]

    # The ways to die

    def kill(self, node):
        """kill -9: all of it, or of smallage only the master; the rest has to notice."""
        below = node.worker.children()
        node.died = time.monotonic()
        if node.kind == "smallage" and self.random.random() < 0.5:
            os.kill(node.worker.pid, signal.SIGKILL)
            wait_until(lambda: not any(map(is_running, below)), 20, "end of the master's children")
        node.worker.kill()
        node.relay.__exit__()
        self.events[f"kill {node.kind}"] += 1

    def stop(self, node, timeout=60):
        """SIGTERM. Returns the exit code."""
        node.died = time.monotonic()
        try:
            code = node.worker.stop(10 if JUDGE else timeout)
        except AssertionError:
            if not JUDGE:
                raise
            code = node.worker.kill()  # Celery was seen to hang here
            self.events["hangs"] += 1
        node.relay.__exit__()
        self.events["stop"] += 1
        return code

    def freeze(self, node):
        node.away.append([time.monotonic(), None])
        for pid in (node.worker.pid, *node.worker.children()):
            os.kill(pid, signal.SIGSTOP)
        self.events["freeze"] += 1

    def thaw(self, node):
        for pid in (*node.worker.children(), node.worker.pid):
            os.kill(pid, signal.SIGCONT)
        node.away[-1][1] = time.monotonic()

    def restart_redis(self, down_s=0.5, gently=False):
        (self.redis.stop if gently else self.redis.kill)()
        time.sleep(down_s)
        self.redis.start()
        self.events["restart"] += 1

    def pause_redis(self, seconds):
        """It hangs: nothing is answered, no connection breaks."""
        self.redis.pause()
        try:
            time.sleep(seconds)
        finally:
            self.redis.resume()
        self.events["pause"] += 1

    def cut(self, node, swallow_s=0.0):
        """Breaks its connections; with `swallow_s`, after a while in which what it sent arrived
        and no answer came back."""
        if swallow_s:
            node.relay.swallow_answers()
            time.sleep(swallow_s)
        node.relay.cut()
        node.relay.swallow_answers(False)
        self.events["cut"] += 1

    def kill_clients(self, *kinds):
        """CLIENT KILL, of all connections or those of the TYPEs given."""
        for kind in kinds or ("normal", "pubsub"):
            self.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        self.events["client kill"] += 1

    # What is there

    def keys(self, queue="celery"):
        return [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]

    def counts(self, queue="celery"):
        """(waiting, held)"""
        pipe = self.client.pipeline(transaction=True)
        for key in self.keys(queue):
            pipe.llen(key)
        pipe.hlen("unacked")
        *waiting, held = pipe.execute()
        return sum(waiting), held

    def wait_empty(self, timeout, queue="celery"):
        seen = []

        def is_empty():
            try:
                seen[:] = [self.counts(queue)]
            except redis.RedisError:
                return False
            return seen[0] == (0, 0)

        try:
            wait_until(is_empty, timeout, "empty queue", 0.1)
        except AssertionError:
            left = self.client.hgetall("unacked")
            raise AssertionError(f"after {timeout} s (waiting, held) are {seen}; held: "
                                 f"{[key.decode() for key in left][:8]}") from None

    def settle(self, timeout=60, lag=ACK_LAG, early=False):
        """The load ends, the queue runs empty, the workers stop. What became of every task."""
        if self.load.ident and not self.load.is_over.is_set():
            self.load.stop()
        try:
            self.wait_empty(timeout)
        except AssertionError:
            if not JUDGE:
                raise
        left = b"\n".join([*self.client.hvals("unacked"), *self.client.lrange("celery", 0, -1)])
        stuck = {id for id in self.load.confirmed if id.encode() in left}
        for node in self.living:
            if node.kind == "celery":
                node.worker.kill()
            else:
                assert node.worker.stop(60) == 0
        records = {id: self.results.record(id) for id in self.load.confirmed}
        self.found = Verdict(self.name, self.nodes, self.events, self.load, self.runs.read(),
                             records, self.redis, stuck, lag, early)
        print(self.found.as_json())
        return self.found

    def close(self):
        if self.load:
            self.load.is_over.set()
        self.redis.resume()
        for node in self.nodes:
            node.worker.end()
            node.relay.__exit__()
        self.client.close()
        self.redis.close()
        faults = [line for node in self.nodes for line in node.worker.faults()]
        assert not faults, "\n".join(faults)


def is_running(pid):
    """A zombie is not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
