"""The part of the benchmark with compositions of tasks."""
from canvas_measures import CanvasBench
from kinds import Kind
from tables import median_rows, prefetch_options, ratio, show, table

PREFETCH = 64


def canvas(bench, rounds, quick):
    """Chains, groups and chords, many at once; then one large chord beside a group of that size."""
    own = CanvasBench(bench.rabbit, bench.redis)
    options = prefetch_options(PREFETCH)
    mine = Kind("smallage -c 2", *options)
    celery = Kind("celery prefork -c 2", *options, celery=True,
                  env={"BENCH_MULTIPLIER": str(PREFETCH // 2)})
    own.load(0)  # declares the queue
    forms = {"chain of 3": (own.chain_of(3), 5000, 500), "group of 100": (own.group_of(100), 200, 20),
             "chord of 100": (own.chord_of(100), 200, 20)}
    lines = []
    for name, (template, fast, slow) in forms.items():
        if quick:
            fast, slow = fast // 4, slow // 4
        rows = median_rows([mine, celery], rounds, lambda kind: own.compositions(
            kind, template, slow if kind.celery else fast))  # noqa: B023
        us = rows[mine.name]
        lines += [[name, kind, show(r["rate"]), show(r["cpu_ms"], 3), ratio(us["rate"], r["rate"])]
                  for kind, r in rows.items()]
    return ("## Compositions: no-op tasks, results in Redis\n\n" + table(
        ["composition", "worker", "of them a second", "CPU ms each", "smallage is ×"], lines)
        + "\n\n" + large(own, rounds, [mine, celery], 1000 if quick else 10000))


def large(own, rounds, kinds, size):
    lines = []
    for name, template in (("group", own.group_of(size)), ("chord", own.chord_of(size))):
        rows = median_rows(kinds, rounds, lambda kind: own.large(kind, template))  # noqa: B023
        us = rows[kinds[0].name]
        lines += [[f"{name} of {size:,}", kind, show(r["seconds"], 3), show(r["grown"], 3),
                   show(r["peak"], 3), show(r["cpu_s"], 3), ratio(r["seconds"], us["seconds"])]
                  for kind, r in rows.items()]
    return "One large one, sent to a worker that waits (sending takes part of the time):\n\n" + table(
        ["composition", "worker", "done after s", "MiB more than idle", "peak PSS MiB",
         "worker CPU s", "smallage is ×"], lines)
