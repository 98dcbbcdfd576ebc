"""The parts of the benchmark with Redis as the broker."""
from kinds import Kind
from redis_measures import RedisBench
from tables import median_rows, prefetch_options, ratio, show, table

CELERY = dict(celery=True)
# A batch of the bare client, and what the others may hold.
PREFETCH = 1000


def kinds_of(prefetch):
    multiplier = {"BENCH_MULTIPLIER": str(prefetch // 2)}
    options = prefetch_options(prefetch)
    return (Kind("smallage -c 2", *options), Kind(f"bare, safe pop of {prefetch}", bare=(prefetch,)),
            Kind("celery prefork -c 2", *options, env=multiplier, **CELERY),
            Kind("celery threads -c 2", "-P", "threads", *options, env=multiplier, **CELERY))


def redis(bench, rounds, quick):
    """Beside the bare client and Celery, near and at a distance; memory of held tasks."""
    own = RedisBench(bench.redis)
    fast, slow = (5000, 500) if quick else (40000, 2000)
    parts = []
    for prefetch in (64, PREFETCH):
        mine, bare, *celery = kinds_of(prefetch)
        rows = median_rows([mine, bare, *celery], rounds, lambda kind: own.throughput(
            kind, slow if kind.celery else fast))
        us = rows[mine.name]
        parts.append(f"Prefetch {prefetch}:\n\n" + table(
            ["worker", "tasks/s", "CPU ms per task", "smallage is ×", "its CPU is 1/"],
            [[name, show(r["rate"]), show(r["cpu_ms"], 3), ratio(us["rate"], r["rate"]),
              ratio(r["cpu_ms"], us["cpu_ms"])] for name, r in rows.items()]))
    return ("## Redis as the broker: no-op task, result in the same Redis\n\n"
            + "\n\n".join([*parts, distances(own, rounds, fast, slow), held(own, rounds, quick)]))


def distances(own, rounds, fast, slow):
    mine, bare, celery, _ = kinds_of(PREFETCH)
    rows = {}
    for milliseconds in (0, 1, 2):
        # Celery's rate falls by as much as the distance grows.
        count = slow if milliseconds == 0 else slow // 4
        found = median_rows([mine, bare, celery], rounds, lambda kind: own.throughput_at(
            kind, count if kind.celery else fast, milliseconds))  # noqa: B023
        for name, figures in found.items():
            rows.setdefault(name, []).append(figures["rate"])
    return (f"At a distance, prefetch {PREFETCH}; each way, by a relay (at 0 ms, too):\n\n" + table(
        ["worker", "tasks/s at 0 ms", "1 ms", "2 ms", "of 0 ms at 2 ms", "smallage at 2 ms is ×"],
        [[name, *map(show, rates), ratio(rates[2], rates[0]), ratio(rows[mine.name][2], rates[2])]
         for name, rates in rows.items()]))


def held(own, rounds, quick):
    rows = median_rows(
        [Kind("smallage -c 2", "-c", "2"), Kind("celery prefork -c 2", "-c", "2", **CELERY)],
        1 if quick else min(rounds, 3), lambda kind: own.held(
            kind, (2000 if kind.celery else 20000) if quick else 20000 if kind.celery else 100000))
    return "Tasks due in an hour, held (100,000; by Celery 20,000):\n\n" + table(
        ["worker", "bytes each", "besides the body", "all taken after s", "worker CPU s"],
        [[name, show(r["bytes"]), show(r["beyond_body"]), show(r["taken_s"], 3), show(r["cpu_s"], 3)]
         for name, r in rows.items()])
