"""Workers on a Redis broker, killed at random under load.

REDIS_KILLS: kills in the mixed cluster (default 12; the long form 200). CHAOS_SEED: to repeat a
run.
"""
import os
import time

import pytest

import services
from cluster import BACK_S
from worker import JUDGE

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("REDIS_KILLS") or 12)
VISIBILITY_S = 6
LONG_S = 9  # longer than the visibility timeout: Celery runs these again while they run


def test_of_a_mixed_cluster_killed_at_random_smallage_loses_and_doubles_nothing(cluster):
    """C-46 C-48 T-56"""
    one = cluster(visibility_s=VISIBILITY_S)
    for kind in ("smallage", "celery", "smallage"):
        one.start_node(kind)
    one.start_load(long_s=LONG_S)
    pause = (0.5, 3) if KILLS < 50 else (1, 8)
    for _ in range(KILLS):
        time.sleep(one.random.uniform(*pause))
        victim = one.random.choice(one.living)
        one.kill(victim)
        time.sleep(one.random.uniform(0, 0.5))
        one.start_node(victim.kind, ready=False)
    found = one.settle(90)
    if JUDGE:
        return
    found.check("smallage")
    assert found.runs["smallage"] and found.cut["smallage"]


def test_what_a_killed_worker_ran_runs_elsewhere_within_15_s(cluster):
    """C-46 T-56: with Celery's default of an hour for a visibility timeout"""
    one = cluster(visibility_s=20 if JUDGE else 3600)
    for _ in range(2):
        one.start_node(concurrency=8)
    one.start_load(long_s=4, long_every=0.8)
    for _ in range(max(1, KILLS // 6)):
        time.sleep(one.random.uniform(2, 4))
        one.kill(one.random.choice(one.living))
        one.start_node(concurrency=8)
        time.sleep(BACK_S)
    found = one.settle(60)
    if JUDGE:
        return
    found.check()
    assert max(found.back["smallage"]) < BACK_S, found.back


@pytest.mark.smallage_only("the registry is smallage's")
def test_what_a_killed_worker_held_comes_back_though_the_registry_was_lost(cluster):
    """C-46 T-56: once another begins, or within a minute more"""
    one = cluster()
    for _ in range(2):
        one.start_node(concurrency=4)
    one.start_load(long_s=4, long_every=0.4)
    time.sleep(1)
    one.kill(one.living[0])
    one.client.delete("smallage.nodes", "smallage.nodes.pass")
    one.start_node(concurrency=4)
    time.sleep(BACK_S)
    found = one.settle(60)
    found.check()
    assert found.again["smallage"] and max(found.back["smallage"]) < BACK_S, found.back


@pytest.mark.parametrize("killed, heir", [("smallage", "celery"), ("celery", "smallage")])
def test_each_kind_of_worker_gives_back_what_the_other_held(cluster, killed, heir):
    """C-46: after the visibility timeout; what ran, what waited and what had its time to come"""
    one = cluster(visibility_s=3, options={"unacked_restore_interval": 1,
                                           "unacked_restore_throttle": 1})
    node = one.start_node(killed, concurrency=2)
    one.start_load(ends=0, rate=(80, 90), pause=(0.5, 1), eta_share=0.3, eta_s=(8, 10))
    time.sleep(0.5)
    one.load.stop()
    one.runs.wait_ends(1)
    one.kill(node)
    assert one.client.hlen("unacked") > 4
    one.start_node(heir, concurrency=8)
    found = one.settle(90)
    if not JUDGE:
        found.check("smallage")


def test_a_mix_of_kills_stops_cuts_and_restarts_loses_nothing(cluster):
    """T-56 T-70 C-47 C-51"""
    one = cluster()
    ways = {"kill": 4, "stop": 2, "cut": 3, "late cut": 3, "clients": 2, "restart": 2, "hang": 1}
    for _ in range(3):
        one.start_node()
    one.start_load(long_s=3)
    for way in one.random.choices(list(ways), list(ways.values()), k=KILLS):
        time.sleep(one.random.uniform(0.2, 2))
        node = one.random.choice(one.living)
        if way in ("kill", "stop"):
            one.stop(node) if way == "stop" else one.kill(node)
            one.start_node(ready=False)
        elif way == "clients":
            one.kill_clients()
        elif way == "restart":
            one.restart_redis(one.random.uniform(0, 1))
        elif way == "hang":
            one.pause_redis(2)
        else:
            one.cut(node, 0.2 if way == "late cut" else 0)
    # An ack may have waited for the end of an outage when its worker was killed.
    found = one.settle(60, lag=8)
    if not JUDGE:
        found.check()


def test_without_late_acks_nothing_is_lost_that_had_not_begun(cluster):
    """T-55: and what had begun is not begun again, but for acks that were on their way"""
    one = cluster()
    for _ in range(2):
        one.start_node()
    one.start_load("append_early", pause=(0.1, 0.3), rate=(10, 20))
    for _ in range(max(2, KILLS // 6)):
        time.sleep(one.random.uniform(1, 3))
        one.kill(one.random.choice(one.living))
        one.start_node(ready=False)
    found = one.settle(60, early=True)
    if JUDGE:
        return
    found.check()
    for first, *again in one.runs.read().values():
        if again:
            died = found.nodes[first.node].died
            assert died and abs(died - first.start) < 0.5


@pytest.mark.parametrize("way", ["orderly", "killed", "hanging"])
def test_a_fail_over_by_sentinels_costs_nothing(cluster, way):
    """C-51: what a replica has is not lost. Messages that were taken in the last moment of the old
    master are in the queue of the new one as well, as many as were on their way."""
    with services.Sentinels() as sentinels:
        one = cluster(sentinels=sentinels)
        for _ in range(2):
            one.start_node()
        one.start_load(replicas=1, long_s=12)
        old = one.redis
        time.sleep(1)
        if way == "orderly":
            sentinels.fail_over()
        else:
            (old.kill if way == "killed" else old.pause)()
            sentinels.wait_master(sentinels.other(old))
            (old.start if way == "killed" else old.resume)()
        one.follow()
        one.events[way] += 1
        one.runs.wait_ends(100, 40)
        found = one.settle(60)
    if JUDGE:
        return
    assert not found.lost and not found.no_result, found.tell(sum(found.lost.values(), []))
    assert sum(found.again.values()) <= 8
