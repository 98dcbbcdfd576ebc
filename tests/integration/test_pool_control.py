"""The pool by remote control: control.md 2.3, C-27, C-28. The same replies from Celery's worker."""
import os
import subprocess
import sys
import time

import pytest

from services import keeper


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.fixture
def call(app):
    """call(worker, command, **arguments): its reply."""
    def ask(one, method, **arguments):
        replies = app.control.broadcast(method, arguments=arguments, destination=[one.node],
                                        reply=True, timeout=10, limit=1)
        assert [list(reply) for reply in replies] == [[one.node]]
        return replies[0][one.node]
    return ask


def wait_pool(call, one, count):
    """The pool's part of stats, once so many processes are there."""
    def stats():
        found = call(one, "stats")
        return found if len(found["pool"]["processes"]) == count else None
    keeper.wait_until(stats, 20, f"{count} processes", 0.2)
    return call(one, "stats")


def shape(value):
    """The keys and types of a reply."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [type(item).__name__ for item in value[:1]]
    return type(value).__name__


def test_processes_and_prefetch_follow_grow_and_shrink(queue, worker, results, call):
    """C-27"""
    one = worker(concurrency=2)
    assert wait_pool(call, one, 2)["prefetch_count"] == 8
    assert call(one, "pool_grow", n=2) == {"ok": "pool will grow"}
    stats = wait_pool(call, one, 4)
    assert stats["prefetch_count"] == 16 and stats["pool"]["max-concurrency"] == 2
    ids = queue.send_many("sleep", 4, (2,))
    started = time.monotonic()
    assert len(results.wait_all(ids, 20)) == 4 and time.monotonic() - started < 6
    time.sleep(0.5)
    assert call(one, "pool_shrink", n=1) == {"ok": "pool will shrink"}
    assert wait_pool(call, one, 3)["prefetch_count"] == 12
    assert call(one, "pool_shrink", other=1) == {"ok": "pool will shrink"}
    assert wait_pool(call, one, 2)["prefetch_count"] == 8
    assert results.value(queue.send("add", (1, 2))) == 3
    assert one.stop() == 0


def test_a_busy_pool_does_not_shrink(queue, worker, results, call):
    """C-27"""
    one = worker(concurrency=2)
    wait_pool(call, one, 2)
    ids = queue.send_many("sleep", 2, (3,))
    keeper.wait_until(lambda: len(call(one, "active")) == 2, 10, "active", 0.1)
    assert call(one, "pool_shrink", n=1) == {
        "error": "ValueError(\"Can't shrink pool. All processes busy!\")"}
    assert len(wait_pool(call, one, 2)["pool"]["processes"]) == 2
    assert {r["status"] for r in results.wait_all(ids, 20).values()} == {"SUCCESS"}
    assert one.stop() == 0


def test_autoscale_is_asked_and_changed(queue, worker, results, call):
    """C-27"""
    one = worker("--autoscale", "3,1", concurrency=None)
    stats = wait_pool(call, one, 1)
    assert stats["autoscaler"] == {"max": 3, "min": 1, "current": 1, "qty": 0}
    assert stats["prefetch_count"] == 12 and stats["pool"]["max-concurrency"] == 1
    for verb in ("grow", "shrink"):
        assert call(one, f"pool_{verb}", n=1) == {
            "error": f"pool_{verb} is not supported with autoscale. "
                     "Adjust autoscale range instead."}
    assert call(one, "autoscale", max=4, min=2) == {"ok": "autoscale now max=4 min=2"}
    stats = wait_pool(call, one, 2)
    assert stats["prefetch_count"] == 16 and stats["pool"]["max-concurrency"] == 1
    assert call(one, "autoscale", max=None, min=1) == {"ok": "autoscale now max=4 min=1"}
    assert call(one, "autoscale", size=1) == {
        "error": "TypeError(\"autoscale() got an unexpected keyword argument 'size'\")"}
    assert one.stop() == 0


def test_what_is_not_enabled_says_so(queue, worker, call):
    """C-27 C-28"""
    one = worker(concurrency=1)
    assert call(one, "autoscale", max=4, min=2) == {
        "error": "ValueError('Autoscale not enabled')"}
    assert call(one, "pool_restart", reload=False) == {
        "error": "ValueError('Pool restarts not enabled')"}
    assert "autoscaler" not in call(one, "stats")
    assert one.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools_cannot_change_their_size(queue, worker, call, pool):
    """C-27"""
    one = worker(concurrency=2, pool=pool)
    for verb in ("grow", "shrink"):
        assert call(one, f"pool_{verb}", n=1) == {
            "error": f"AttributeError(\"'TaskPool' object has no attribute '{verb}'\")"}
    assert one.stop() == 0


def test_a_restarted_pool_goes_on(queue, worker, results, call):
    """C-28"""
    one = worker(concurrency=2, settings={"worker_pool_restarts": True})
    before = wait_pool(call, one, 2)["pool"]["processes"]
    ids = queue.send_many("sleep", 1, (2,))
    keeper.wait_until(lambda: len(call(one, "active")) == 1, 10, "active", 0.1)
    assert call(one, "pool_restart", reload=False) == {"ok": "reload started"}
    assert len(results.wait_all(ids, 20)) == 1
    if not one.judge:  # Celery does not say what becomes of them
        keeper.wait_until(lambda: not set(before) & set(
            call(one, "stats")["pool"]["processes"]), 20, "new processes", 0.2)
        one.wait_log("pool restarted: 2 processes replaced")
    assert results.value(queue.send("add", (1, 2))) == 3
    assert one.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_the_pool_in_stats(queue, worker, results, call, pool):
    """All keys of 2.3, by kind of pool."""
    one = worker("--time-limit", 30, "--soft-time-limit", 2.5, concurrency=2, pool=pool)
    for _ in range(4):
        results.value(queue.send("sleep", (0.05,)))
    found = call(one, "stats")["pool"]
    name = {"threads": "thread"}.get(pool, pool)
    assert found.pop("implementation") == f"celery.concurrency.{name}:TaskPool"
    if pool == "prefork":
        assert shape(found) == {
            "max-concurrency": "int", "processes": ["int"], "max-tasks-per-child": "str",
            "put-guarded-by-semaphore": "bool", "timeouts": ["float"],
            "writes": {"total": "int", "avg": "str", "all": "str", "raw": "str",
                       "strategy": "str", "inqueues": {"total": "int", "active": "int"}}}
        writes = found["writes"]
        assert writes["total"] == 4 == sum(map(int, writes["raw"].split(", ")))
        assert sum(map(float, writes["all"].split(", "))) == pytest.approx(1)
        assert writes["inqueues"] == {"total": 2, "active": 0}
        assert found["timeouts"] == [2.5, 30] and found["max-tasks-per-child"] == "N/A"
    elif pool == "threads":
        assert shape(found) == {"max-concurrency": "int", "threads": "int"}
        assert found["max-concurrency"] == 2
    else:
        assert found == {"max-concurrency": 1, "processes": [one.pid],
                         "max-tasks-per-child": None, "put-guarded-by-semaphore": True,
                         "timeouts": []}
    assert one.stop() == 0


def test_celerys_own_command_line(queue, worker, broker, call):
    """C-27"""
    one = worker(concurrency=1)
    wait_pool(call, one, 1)
    for command, said in ((("pool_grow", "2"), "pool will grow"),
                          (("pool_shrink", "1"), "pool will shrink")):
        done = subprocess.run([sys.executable, "-m", "celery", "-b", broker.url, "control", "-t",
                               "10", "-d", one.node, *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
                              env={**os.environ, "C_FORCE_ROOT": "1"})
        assert done.returncode == 0 and said in done.stdout, done.stdout
        if command[0] == "pool_grow":
            wait_pool(call, one, 3)
    wait_pool(call, one, 2)
    assert one.stop() == 0


@pytest.mark.smallage_only("Celery may lose what runs there")
def test_no_task_is_lost_while_the_pool_is_resized(queue, worker, results, call, tmp_path):
    """C-27 C-28"""
    out = tmp_path / "out"
    one = worker(concurrency=3, settings={"worker_pool_restarts": True})
    ids = queue.send_many("append", 300, lambda n: (str(out), str(n)))
    for n in range(60):
        call(one, ("pool_grow", "pool_shrink")[n % 2], n=1 + n % 3)
        if n % 10 == 0:
            call(one, "pool_restart")
    call(one, "pool_grow", n=2)
    assert len(results.wait_all(ids, 60)) == 300
    assert sorted(out.read_text().splitlines()) == sorted(
        f"{mark} {n}" for mark in "SE" for n in range(300))
    queue.wait_empty()
    assert one.stop() == 0
