"""Killed at random under load: nothing is lost, nothing runs twice that did not have to.

CHAOS_KILLS: kills in all (default 200), shared out over the tests. CHAOS_SEED: to repeat a run.
"""
import os

import pytest

from load import Tries
from worker import JUDGE

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]

SHARES = {"child": 48, "child_threads": 10, "worker": 24, "connection": 16,
          "connection_threads": 8, "redis": 12, "redis_threads": 6, "pause": 5, "broker": 3,
          "apart": 4, "mixed": 28, "early": 16, "retries": 20}
# Drawn from in the tests that mix.
WEIGHTS = {"child": 8, "worker": 5, "connection": 8, "redis": 4, "pause": 1}


def kills(kind):
    total = sum(SHARES.values())
    return max(1, round(SHARES[kind] * int(os.environ.get("CHAOS_KILLS") or total) / total))


def draw(world, count):
    kinds = world.random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
    return {kind: kinds.count(kind) for kind in WEIGHTS}


def check(world):
    """Late acks: every task ran and has its result; runs beyond the first had a death between."""
    found = world.settle()
    print(found.as_json())
    if JUDGE:
        return found
    assert found.not_run == [], f"{len(found.not_run)} tasks never ran"
    assert found.no_result == [], f"{len(found.no_result)} results are missing"
    assert found.unexplained == [], f"{len(found.unexplained)} tasks ran again without a death"
    return found


def check_once(world):
    """No process died, so nothing ran twice and nothing was cut off."""
    found = check(world)
    if not JUDGE:
        assert (found.twice, found.cut, found.runs - found.tasks <= found.unsure) == (0, 0, True)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_children_killed_at_random_cost_only_the_tasks_they_ran(world, pool):
    """T-59: late acks, task_reject_on_worker_lost"""
    count = kills("child" if pool == "prefork" else "child_threads")
    world.start(pool=pool)
    world.kill_all(child=count)
    found = check(world)
    if not JUDGE:
        # The process of the threads pool runs as many tasks as there are threads.
        at_once = 1 if pool == "prefork" else world.options["concurrency"]
        assert found.runs - found.tasks <= count * at_once + found.unsure


def test_children_killed_while_the_servers_are_away_cost_no_more(world):
    """T-59 T-70 T-71"""
    world.start()
    for _ in range(kills("apart")):
        world.kill_child_while_away()
    check(world)


def test_workers_killed_at_random_lose_nothing(world):
    """T-56"""
    world.start()
    world.kill_all(worker=kills("worker"))
    check(world)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_broken_connections_make_nothing_run_twice(world, pool):
    """T-70"""
    world.start(pool=pool)
    world.kill_all(connection=kills("connection" if pool == "prefork" else "connection_threads"))
    check_once(world)


def test_broken_connections_repeat_and_lose_no_try_of_a_retried_task(world):
    """T-70 T-79 T-84: early and late acks; each task ends with its last try"""
    world.start("append_tries", Tries)
    world.kill_all(connection=kills("retries"))
    found, badly, beyond = world.settle_tries()
    print(found.as_json())
    if JUDGE:
        return
    assert badly == [], f"{len(badly)} tasks did not end with their last try"
    assert found.not_run == [], f"{len(found.not_run)} tries never ran"
    assert (found.twice, found.cut) == (0, 0), "a try ran twice, or was cut off"
    assert not beyond, f"{len(beyond)} tries more than were wanted"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_restarts_of_redis_lose_no_result(world, pool):
    """T-71"""
    world.start(pool=pool)
    world.kill_all(redis=kills("redis" if pool == "prefork" else "redis_threads"))
    check_once(world)


def test_a_redis_that_hangs_loses_no_result(world):
    """T-71"""
    world.start()
    world.kill_all(pause=kills("pause"))
    check_once(world)


def test_restarts_of_the_broker_lose_nothing_and_make_nothing_run_twice(world):
    """T-70 C-59"""
    world.start()
    world.kill_all(broker=kills("broker"))
    check_once(world)


def test_a_mix_of_everything_loses_nothing(world):
    """T-56 T-59 T-70 T-71"""
    world.start()
    world.kill_all(**draw(world, kills("mixed") - 1), broker=1)
    check(world)


def test_without_late_acks_nothing_is_lost_that_had_not_begun(world):
    """T-55"""
    world.start("append_early")
    world.kill_all(**draw(world, kills("early") - 1), broker=1)
    found = world.settle()
    print(found.as_json())
    if not JUDGE:
        assert found.not_run == [], f"{len(found.not_run)} tasks never ran"
        assert found.unexplained == [], f"{len(found.unexplained)} tasks ran again without a death"
        assert found.no_result_unexplained == [], f"{len(found.no_result_unexplained)} results"
