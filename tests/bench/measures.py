"""What is measured, each as a function that returns one figure or a small dict of figures."""
import contextlib
import datetime
import json
import resource
import socket
import statistics
import subprocess
import time
import uuid

import amqp
import redis as redis_client

from kinds import BUILD, cpu_s, pss_mib, stop

QUEUE = "bench"


def children_cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Bench:
    def __init__(self, rabbit, redis):
        self.rabbit, self.redis = rabbit, redis
        self.store = redis_client.Redis(port=redis.port, db=1)
        self.seed = 1
        self.broker_url, self.results_url = rabbit and rabbit.url(), redis.url(1)

    def bare_command(self, queue, prefetch, mode):
        return [BUILD / "bench/bare", self.rabbit.port, "/", queue, self.redis.port, 1, prefetch,
                mode]

    def load(self, count, task="testtasks.noop", body_bytes=0, eta="", args="[]"):
        self.seed += 1
        subprocess.run([BUILD / "bench/load", str(self.rabbit.port), "/", QUEUE, task, str(count),
                        str(body_bytes), eta, str(self.seed), args], check=True)

    def purge(self):
        self.store.flushdb()
        with amqp.Connection(f"127.0.0.1:{self.rabbit.port}") as link:
            channel = link.channel()
            try:
                channel.queue_purge(QUEUE)
            except amqp.exceptions.NotFound:
                pass

    def wait_results(self, count, timeout=300):
        deadline = time.monotonic() + timeout
        while self.store.dbsize() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.store.dbsize()} of {count} results")
            time.sleep(0.005)

    def throughput(self, kind, count, **load):
        """Tasks per second from the first result to the last, and CPU of the worker per 1,000."""
        self.purge()
        self.load(count, **load)
        time.sleep(1)  # let the broker write its pages
        worker = kind.start(self, QUEUE)
        try:
            self.wait_results(1, 60)
            first, at = time.monotonic(), self.store.dbsize()
            cpu = cpu_s(worker.pid)
            self.wait_results(count)
            seconds = time.monotonic() - first
            return {"rate": (count - at) / seconds,
                    "cpu_ms": (cpu_s(worker.pid) - cpu) * 1000 / (count - at)}
        finally:
            stop(worker)

    def latency(self, kind, rounds=500):
        """Publish to PUBLISH, one task at a time, over raw sockets: milliseconds."""
        self.purge()
        self.load(1)
        worker = kind.start(self, QUEUE)
        try:
            self.wait_results(1, 60)
            time.sleep(0.5)
            return self._round_trips(rounds)
        finally:
            stop(worker)

    def _round_trips(self, rounds):
        heads = {"lang": "py", "task": "testtasks.noop", "shadow": None, "eta": None,
                 "expires": None, "group": None, "group_index": None, "retries": 0,
                 "timelimit": [None, None], "parent_id": None, "argsrepr": "()", "kwargsrepr": "{}",
                 "origin": "gen1@host", "ignore_result": None, "replaced_task_nesting": 0,
                 "stamped_headers": None, "stamps": {}}
        body = '[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
        link = amqp.Connection(f"127.0.0.1:{self.rabbit.port}")
        link.connect()
        channel = link.channel()
        listener = socket.create_connection(("127.0.0.1", self.redis.port))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.sendall(b"PSUBSCRIBE celery-task-meta-*\r\n")
        listener.recv(4096)
        times = []
        for i in range(rounds + 50):
            name = f"aaaaaaaa-0000-4000-8000-{i:012d}"
            message = amqp.Message(body, content_type="application/json",
                                   content_encoding="utf-8", delivery_mode=2, priority=0,
                                   correlation_id=name, reply_to="x",
                                   application_headers={**heads, "id": name, "root_id": name})
            started = time.perf_counter()
            channel.basic_publish(message, exchange="", routing_key=QUEUE)
            seen = b""
            while name.encode() not in seen or b"SUCCESS" not in seen:
                seen += listener.recv(65536)
            times.append((time.perf_counter() - started) * 1000)
        link.close()
        listener.close()
        times = sorted(times[50:])
        return {"p50": statistics.median(times), "p99": times[int(len(times) * 0.99)]}

    def mail(self, kind, count, sink_port):
        args = json.dumps(["someone@example.com", "Subject of a usual length", "text " * 400,
                           "<p>html</p> " * 200])
        return self.throughput(kind, count, task="app.tasks.notifications.send_email_task", args=args)

    def idle(self, kind):
        """Start to first result done, then PSS once it is idle."""
        self.purge()
        self.load(1)
        started = time.monotonic()
        worker = kind.start(self, QUEUE)
        try:
            self.wait_results(1, 60)
            first_s = time.monotonic() - started
        finally:
            stop(worker)
        self.purge()
        worker = kind.start(self, QUEUE)
        try:
            time.sleep(4)
            before = cpu_s(worker.pid)
            time.sleep(5)
            return {"first_ms": first_s * 1000, "pss": pss_mib(worker.pid),
                    "cpu_percent": (cpu_s(worker.pid) - before) / 5 * 100}
        finally:
            stop(worker)

    def eta(self, kind, count, patience=120):
        """`count` tasks due in an hour, one due task behind them."""
        self.purge()
        due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        self.load(count, eta=due.isoformat())
        self.load(1)
        time.sleep(1)
        worker = kind.start(self, QUEUE)
        started = time.monotonic()
        try:
            try:
                self.wait_results(1, patience)
                taken_s = time.monotonic() - started
            except TimeoutError:
                taken_s = None
            return {"due_started_s": taken_s, "pss": pss_mib(worker.pid), "cpu_s": cpu_s(worker.pid)}
        finally:
            stop(worker)

    def memory(self, kind, count, **load):
        """Peak PSS while the queue is worked off, beside the idle one."""
        self.purge()
        self.load(count, **load)
        worker = kind.start(self, QUEUE)
        peak, started = 0, time.monotonic()
        try:
            while self.store.dbsize() < count:
                peak = max(peak, pss_mib(worker.pid))
                time.sleep(0.5)
                if time.monotonic() - started > 400:
                    raise TimeoutError(f"{self.store.dbsize()} of {count}")
            return {"seconds": time.monotonic() - started, "peak": peak,
                    "after": pss_mib(worker.pid)}
        finally:
            stop(worker)

    @contextlib.contextmanager
    def monitor(self):
        """A queue that takes all events, as Flower's does, and that nobody empties."""
        with amqp.Connection(f"127.0.0.1:{self.rabbit.port}") as link:
            channel = link.channel()
            channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
            name = channel.queue_declare("", exclusive=True, arguments={"x-message-ttl": 5000}).queue
            channel.queue_bind(name, "celeryev", "#")
            yield

    def events(self, kind, count):
        with self.monitor():
            return self.throughput(kind, count)

    def ping(self, kind, is_busy, rounds=200):
        """Request to reply through the broker, milliseconds; busy: all slots sleep."""
        self.purge()
        self.load(1)
        worker = kind.start(self, QUEUE)
        try:
            self.wait_results(1, 60)
            if is_busy:
                self.load(8, task="testtasks.sleep", args="[60]")
            time.sleep(1)
            with amqp.Connection(f"127.0.0.1:{self.rabbit.port}") as link:
                times = self._pings(link, rounds)
            return {"p50": statistics.median(times), "p99": times[int(len(times) * 0.99)]}
        finally:
            stop(worker)

    def _pings(self, link, rounds):
        channel, seen = link.channel(), []
        channel.exchange_declare("reply.celery.pidbox", "direct", durable=False, auto_delete=False)
        name = channel.queue_declare("", exclusive=True).queue
        channel.queue_bind(name, "reply.celery.pidbox", name)
        channel.basic_consume(name, no_ack=True, callback=lambda m: seen.append(m.headers["ticket"]))
        times = []
        for _ in range(rounds + 20):
            ticket = str(uuid.uuid4())
            body = json.dumps({"method": "ping", "arguments": {}, "destination": None,
                               "ticket": ticket, "reply_to": {"exchange": "reply.celery.pidbox",
                                                              "routing_key": name}})
            started = time.perf_counter()
            channel.basic_publish(
                amqp.Message(body, content_type="application/json", content_encoding="utf-8",
                             application_headers={"clock": 1, "expires": 0}),
                exchange="celery.pidbox", routing_key="")
            while ticket not in seen:
                link.drain_events(timeout=5)
            times.append((time.perf_counter() - started) * 1000)
        return sorted(times[20:])

    def health_check(self, kind, command, rounds=11):
        """One whole command against an idle worker: wall and CPU milliseconds."""
        self.purge()
        self.load(1)
        worker = kind.start(self, QUEUE)
        walls, cpus = [], []
        try:
            self.wait_results(1, 60)
            time.sleep(2)
            for _ in range(rounds):
                started, before = time.perf_counter(), children_cpu_s()
                subprocess.run([str(part) for part in command], check=True, cwd="/tmp",
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                walls.append((time.perf_counter() - started) * 1000)
                cpus.append((children_cpu_s() - before) * 1000)
            return {"wall_ms": statistics.median(walls), "cpu_ms": statistics.median(cpus)}
        finally:
            stop(worker)
