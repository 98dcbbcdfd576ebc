"""Runs the measures in interleaved rounds and prints medians and ratios (see `run`)."""
import argparse
import contextlib
import datetime
import pathlib
import platform
import shutil
import socket
import subprocess
import sys

import services
from canvas_parts import canvas
from kinds import BUILD, ROOT, Kind
from measures import Bench
from redis_parts import redis as redis_part
from services import keeper
from tables import median_rows, prefetch_options, ratio, show, table

PAGE = ROOT / "docs/BENCHMARKS.md"
CELERY = dict(celery=True)


def throughput(bench, rounds, quick):
    parts = []
    for prefetch, base_mode in ((8, "each"), (64, "multiple"), (1000, "multiple")):
        fast, slow = (20000, 2000) if not quick else (5000, 1000)
        multiplier = {"BENCH_MULTIPLIER": str(prefetch // 2)}
        bare = Kind(f"bare, ack {base_mode}", bare=(prefetch, base_mode))
        mine = Kind("smallage -c 2", *prefetch_options(prefetch))
        celery = Kind("celery prefork -c 2", *prefetch_options(prefetch), env=multiplier, **CELERY)
        threads = Kind("celery threads -c 2", "-P", "threads", *prefetch_options(prefetch),
                       env=multiplier, **CELERY)
        kinds = [mine, bare, celery] + ([threads] if prefetch == 8 else [])
        rows = median_rows(kinds, rounds, lambda kind: bench.throughput(
            kind, slow if kind.celery else fast))
        us = rows[mine.name]
        parts.append(f"Prefetch {prefetch}:\n\n" + table(
            ["worker", "tasks/s", "CPU ms per task", "smallage is ×", "its CPU is 1/"],
            [[name, show(r["rate"]), show(r["cpu_ms"], 3), ratio(us["rate"], r["rate"]),
              ratio(r["cpu_ms"], us["cpu_ms"])] for name, r in rows.items()]))
    return "## Throughput: no-op task, result in Redis\n\n" + "\n\n".join(parts)


def latency(bench, rounds, quick):
    kinds = [Kind("smallage -c 2", "-c", "2"), Kind("bare", bare=(8, "each")),
             Kind("celery prefork -c 2", "-c", "2", **CELERY)]
    rows = median_rows(kinds, rounds, lambda kind: bench.latency(kind, 200 if quick else 500))
    return "## Latency: publish to result visible, one task at a time, raw sockets\n\n" + table(
        ["worker", "p50 ms", "p99 ms"],
        [[name, show(r["p50"], 3), show(r["p99"], 3)] for name, r in rows.items()])


@contextlib.contextmanager
def smtp_sink():
    port = keeper.free_port()
    sink = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
    process = keeper.start([sink, "-u", "nobody", f"127.0.0.1:{port}", "1000"], log="/dev/null")
    keeper.wait_for_port(port)
    try:
        yield port
    finally:
        keeper.end(process)


def mail(bench, rounds, quick):
    with smtp_sink() as port:
        env = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(port), "EMAIL_ENABLED": "True",
               "EMAIL_USE_TLS": "false", "EMAIL_FROM_ADDRESS": "noreply@example.com"}
        parts, sources = [], []
        for width in (2, 10):
            kinds = [Kind(f"smallage -c {width}", "-c", str(width), env=env),
                     Kind(f"celery -c {width}, smtplib, kept connection", "-c", str(width), env=env,
                          **CELERY)]
            rows = median_rows(kinds, rounds, lambda kind: bench.mail(
                kind, (500 if quick else 1000) if kind.celery else (3000 if quick else 10000), port))
            us = rows[kinds[0].name]
            parts += [[name, show(r["rate"]), show(r["cpu_ms"], 3), ratio(us["rate"], r["rate"])]
                      for name, r in rows.items()]
            sources.append(smtp_source(port, width))
        for width, rate in zip((2, 10), sources):
            parts.append([f"limit: smtp-source, {width} sessions kept", f"{rate:.4g}", "", ""])
    return "## Mail: 4.4 KB, text and HTML, to a local sink\n\n" + table(
        ["worker", "mails/s", "CPU ms per mail", "smallage is ×"], parts)


def smtp_source(port, sessions, count=10000):
    import time
    source = shutil.which("smtp-source") or "/usr/sbin/smtp-source"
    started = time.monotonic()
    subprocess.run([source, "-d", "-s", str(sessions), "-l", "4400", "-m", str(count),
                    f"127.0.0.1:{port}"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return count / (time.monotonic() - started)


def idle(bench, rounds, quick):
    kinds = [Kind("smallage -c 2", "-c", "2"), Kind("smallage -c 10", "-c", "10"),
             Kind("celery prefork -c 2", "-c", "2", **CELERY),
             Kind("celery prefork -c 10", "-c", "10", **CELERY)]
    rows = median_rows(kinds, rounds, bench.idle)
    return "## Idle and start\n\n" + table(
        ["worker", "start to first task done, ms", "PSS idle, MiB", "CPU idle, %"],
        [[name, show(r["first_ms"]), show(r["pss"], 3), show(r["cpu_percent"], 2)]
         for name, r in rows.items()])


def eta(bench, rounds, quick):
    count = 20000 if quick else 100000
    kinds = [Kind("smallage -c 2", "-c", "2"), Kind("celery prefork -c 2", "-c", "2", **CELERY)]
    rows = median_rows(kinds, 1 if quick else min(rounds, 3), lambda kind: bench.eta(
        kind, count, 30 if kind.celery else 120) if not kind.celery or not quick else
        {"due_started_s": None, "pss": 0, "cpu_s": 0})
    return (f"## {count:,} tasks due in an hour, one due task behind them\n\n" + table(
        ["worker", "due task done after s (- = not within 30 s)", "PSS MiB", "worker CPU s"],
        [[name, show(r["due_started_s"]), show(r["pss"]), show(r["cpu_s"], 3)]
         for name, r in rows.items()]))


def scale(bench, rounds, quick):
    small = Kind("smallage -c 2", "-c", "2")
    wide = Kind("smallage -c 200", "-c", "200", "--prefetch-multiplier", "4")
    cases = [("100,000 queued" if quick else "1,000,000 queued", small,
              dict(count=100000 if quick else 1000000)),
             ("20,000 queued", small, dict(count=20000)),
             ("500 bodies of 1 MB", small, dict(count=500, body_bytes=1 << 20,
                                               task="testtasks.echo")),
             ("20,000 queued, -c 200", wide, dict(count=20000))]
    rows = []
    for name, kind, load in cases:
        figures = bench.memory(kind, **load)
        print(f"  {name}: {figures}", flush=True)
        rows.append([name, f"{load['count'] / figures['seconds']:.4g}", f"{figures['peak']:.3g}",
                     f"{figures['after']:.3g}"])
    return "## The ends of the scale (one run each)\n\n" + table(
        ["case", "tasks/s, start included", "peak PSS MiB", "PSS MiB afterwards"], rows)


def loss(with_events, without):
    return f"{100 * (1 - with_events['rate'][0] / without['rate'][0]):.0f} %"


def events(bench, rounds, quick):
    fast, slow = (5000, 1000) if quick else (20000, 2000)
    multiplier = {"BENCH_MULTIPLIER": "32"}
    mine = [Kind("smallage -c 2", *prefetch_options(64)),
            Kind("smallage -c 2 -E", *prefetch_options(64), "-E")]
    celery = [Kind("celery prefork -c 2", *prefetch_options(64), env=multiplier, **CELERY),
              Kind("celery prefork -c 2 -E", *prefetch_options(64), "-E", env=multiplier, **CELERY)]
    rows = median_rows(mine + celery, rounds, lambda kind: bench.events(
        kind, slow if kind.celery else fast))
    lost = {pair[1].name: loss(rows[pair[1].name], rows[pair[0].name]) for pair in (mine, celery)}
    return ("## Events: no-op task, prefetch 64, one monitor's queue bound\n\n" + table(
        ["worker", "tasks/s", "CPU ms per task", "tasks/s lost by -E"],
        [[name, show(r["rate"]), show(r["cpu_ms"], 3), lost.get(name, "")]
         for name, r in rows.items()]))


def control(bench, rounds, quick):
    mine, celery = Kind("smallage -c 2", "-c", "2"), Kind("celery prefork -c 2", "-c", "2", **CELERY)
    parts = []
    for state in ("idle", "busy"):
        rows = median_rows([mine, celery], rounds, lambda kind: bench.ping(
            kind, state == "busy", 50 if quick else 200))
        parts += [[f"{name}, {state}", show(r["p50"], 3), show(r["p99"], 3)]
                  for name, r in rows.items()]
    return "## Remote control: `ping` through the broker\n\n" + table(
        ["worker", "p50 ms", "p99 ms"], parts) + "\n\n" + health_checks(bench, rounds, mine, celery)


def health_checks(bench, rounds, mine, celery):
    """Whole commands, as a container's health check runs them."""
    broker = bench.rabbit.url()
    node = socket.gethostname()
    ours = [BUILD / "bin/smallage"]
    theirs = [sys.executable, "-m", "celery", "-b", broker, "inspect", "ping", "-d",
              f"celery@{node}"]
    cases = {"smallage status": (mine, ours + ["status"]),
             "smallage ping": (mine, ours + ["ping", "-b", broker, "-d", f"celery@{node}"]),
             "celery inspect ping": (celery, theirs)}
    seen = median_rows([Kind(name) for name in cases], rounds,
                       lambda kind: bench.health_check(*cases[kind.name]))
    slow = seen["celery inspect ping"]
    return "Health checks, the whole command:\n\n" + table(
        ["command", "wall ms", "CPU ms", "wall is 1/", "CPU is 1/"],
        [[f"`{name}`", show(r["wall_ms"], 3), show(r["cpu_ms"], 3),
          ratio(slow["wall_ms"], r["wall_ms"]), ratio(slow["cpu_ms"], r["cpu_ms"])]
         for name, r in seen.items()])


PARTS = dict(throughput=throughput, latency=latency, mail=mail, idle=idle, eta=eta, scale=scale, events=events,
             control=control, redis=redis_part, canvas=canvas)


def machine():
    model = next((line.split(":")[1].strip() for line in
                  pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    return (f"{datetime.date.today()}, {model}, {len(list(pathlib.Path('/sys/devices/system/cpu').glob('cpu[0-9]*')))} "
            "cores shared by worker, RabbitMQ, Redis and the bench; loopback")


def write(parts):
    """Replaces the parts that were measured; text between the marks is generated."""
    text = PAGE.read_text()
    for name, body in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + "\n" + body + f"\n\nMeasured {machine()}.\n" + end + rest.split(end)[1]
    PAGE.write_text(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    parts = {}
    with services.RabbitMQ(management=False) as rabbit, services.Redis("--appendonly", "no") as redis:
        bench = Bench(rabbit, redis)
        for name in options.only.split(","):
            print(name, flush=True)
            parts[name] = PARTS[name](bench, options.rounds, options.quick)
            print("\n" + parts[name] + "\n", flush=True)
    if options.write:
        write(parts)


main()
