"""Children that are replaced: tasks.md section 9, line 96."""
import os
import signal
import time

import pytest


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


def test_children_are_replaced_after_so_many_tasks(queue, worker, results):
    """T-96"""
    one = worker("--max-tasks-per-child", 5, concurrency=2)
    before = set(one.children())
    ids = queue.send_many("leak", 60, (0,))
    pids = {r["result"] for r in results.wait_all(ids).values()}
    assert len(pids) >= 12
    queue.wait_empty()
    assert one.is_alive() and set(one.children()) != before


def test_a_child_above_its_memory_is_replaced(queue, worker, results):
    """T-96"""
    limit = 150000 if one_is_large() else 100000
    one = worker("--max-memory-per-child", limit, concurrency=1)
    pids = [results.value(queue.send("leak", (40,))) for _ in range(8)]
    assert 1 < len(set(pids)) < 8
    if not one.judge:  # Celery tells another logger
        one.wait_log(r"child process exiting after exceeding memory limit \(\d+KiB / \d+KiB\)")
    assert results.value(queue.send("add", (1, 2))) == 3


def one_is_large():
    return "address" in os.environ.get("SMALLAGE_BUILD", "")


@pytest.mark.parametrize("late", [False, True])
def test_recycling_under_load_loses_and_repeats_nothing(queue, worker, results, tmp_path, late):
    """T-96"""
    out = tmp_path / "out"
    worker("--max-tasks-per-child", 3, concurrency=2)
    ids = queue.send_many("append" if late else "append_early", 200, lambda n: (str(out), str(n)))
    assert len(results.wait_all(ids)) == 200
    assert sorted(out.read_text().splitlines()) == sorted(
        f"{mark} {n}" for mark in "SE" for n in range(200))
    queue.wait_empty()


def test_idle_children_that_die_are_replaced(queue, worker, results):
    """T-96"""
    one = worker(concurrency=2)
    assert results.value(queue.send("add", (1, 2))) == 3
    for _ in range(3):
        for pid in one.children():
            try:
                state = open(f"/proc/{pid}/cmdline").read()
            except OSError:
                continue
            # The parent of the children lives on.
            if not is_spawner(one, pid):
                os.kill(pid, signal.SIGKILL)
            del state
        time.sleep(0.3)
    ids = queue.send_many("add", 50, (2, 2))
    assert len(results.wait_all(ids, 30)) == 50


def is_spawner(one, pid):
    """The one below the worker that has children of its own."""
    with open(f"/proc/{pid}/task/{pid}/children") as text:
        return bool(text.read().split())


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_slots_work_side_by_side(queue, worker, results, pool):
    """T-47"""
    worker(concurrency=8, pool=pool)
    ids = queue.send_many("sleep", 8, (1.5,))
    started = time.monotonic()
    results.wait_all(ids)
    assert time.monotonic() - started < 4


def test_a_short_task_does_not_wait_behind_a_long_one(queue, worker, results):
    """T-47"""
    worker(concurrency=2)
    queue.send("sleep", (10,))
    started = time.monotonic()
    results.wait_all(queue.send_many("add", 20, (1, 2)))
    assert time.monotonic() - started < 4
