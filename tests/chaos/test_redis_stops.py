"""A worker on a Redis broker that is stopped warmly, again and again.

REDIS_STOPS: how often (default 24; the long form 1000). CHAOS_SEED: to repeat a run.
"""
import json
import os
import signal
import time

import pytest

import messages
from cluster import BACK_S
from pusher import message
from services.keeper import wait_until
from worker import JUDGE

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3600)]

STOPS = int(os.environ.get("REDIS_STOPS") or 24)


@pytest.mark.parametrize("way", ["near", "far"])
def test_a_warm_stop_gives_everything_back(cluster, way):
    """C-47: with pops on their way, tasks that wait for a process and tasks that wait for their
    time; far: an answer takes 30 ms"""
    one = cluster()
    node = one.start_node(concurrency=2)
    # A queue that is never empty, and yet can be emptied in the end.
    one.start_load(rate=(20, 40) if JUDGE else (40, 80) if way == "far" else (100, 200),
                   pause=(0, 0.004), eta_share=0.1, eta_s=(0.5, 4))
    for _ in range(STOPS // 2):
        if way == "far":
            node.relay.delay(0.03)
        time.sleep(one.random.uniform(0, 0.4))
        code = one.stop(node)
        if not JUDGE:
            assert code == 0
            assert one.client.hlen("unacked") == 0 and one.client.zcard("unacked_index") == 0
            assert one.client.zcard("smallage.nodes") == 0
        node = one.start_node(concurrency=2)
        one.runs.wait_ends(one.random.randint(1, 30))
    found = one.settle(60 + STOPS // 10)
    if not JUDGE:
        found.check()
        assert not found.again and not found.cut


def test_a_worker_that_is_killed_while_it_stops_loses_nothing(cluster):
    """C-47 T-56: what it has not given back by then others give back"""
    one = cluster()
    node = one.start_node(concurrency=2)
    one.start_load(rate=(40, 60), pause=(0.01, 0.05), eta_share=0.2)
    for _ in range(max(3, STOPS // 4)):
        time.sleep(one.random.uniform(0.2, 0.6))
        node.relay.delay(0.005)
        node.died = time.monotonic()
        node.worker.signal(signal.SIGTERM)
        time.sleep(one.random.uniform(0, 0.08))
        one.kill(node)
        node = one.start_node(concurrency=2)
        one.runs.wait_ends(5)
    found = one.settle(60)
    if not JUDGE:
        found.check()


def test_what_a_stopped_worker_gives_back_is_served_next_and_marked(cluster):
    """C-47: in the order in which it was taken"""
    one = cluster()
    node = one.start_node(concurrency=1)
    ids = [messages.new_id() for _ in range(6)]
    for at, id in enumerate(ids):
        one.client.lpush("celery", message("append", (str(one.runs.path), id, 0 if at else 1.5),
                                           id))
    # One runs, four wait beside it; the sixth is still in the queue, or not, by then.
    one.runs.wait_started(ids[:1])
    time.sleep(0.3)
    assert one.stop(node) == 0
    left = [raw.decode() for raw in one.client.lrange("celery", 0, -1)]
    order = [next(id for id in ids if id in raw) for raw in reversed(left)]
    assert sorted(order) == sorted(ids[1:])
    if not JUDGE:
        assert order == ids[1:]
    marked = [id for id, raw in zip(order, reversed(left)) if '"redelivered": true' in raw
              or '"redelivered":true' in raw]
    assert set(marked) >= set(ids[1:3])


@pytest.mark.deviates("Celery gives them back one by one, in any order")
def test_ten_thousand_that_were_taken_are_given_back_in_their_order(cluster):
    """C-47: a prefetch count without limit"""
    one = cluster()
    ids = [messages.new_id() for _ in range(10000)]
    pipe = one.client.pipeline(transaction=False)
    for id in ids:
        pipe.lpush("celery", message("append", (str(one.runs.path), id, 0.05), id))
    pipe.execute()
    node = one.start_node(concurrency=1, settings={"worker_prefetch_multiplier": 0})
    wait_until(lambda: not one.client.exists("celery"), 30, "all of them taken")
    time.sleep(1)  # so that they are here
    assert one.stop(node) == 0
    begun = one.runs.read()
    left = [raw.decode() for raw in one.client.lrange("celery", 0, -1)]
    assert one.client.hlen("unacked") == 0 and len(begun) + len(left) == len(ids)
    place = {id: at for at, id in enumerate(ids)}
    order = [place[json.loads(raw)["headers"]["id"]] for raw in reversed(left)]
    assert order == sorted(order), "in another order"


@pytest.mark.smallage_only("Celery hangs")
def test_a_worker_that_is_stopped_while_redis_hangs_leaves_all_to_others(cluster):
    """C-47 C-51: it ends in time; what it held runs elsewhere within 15 s of the end of the hang"""
    one = cluster()
    node = one.start_node(concurrency=2)
    one.start_load(eta_share=0.2)
    time.sleep(1)
    one.redis.pause()
    node.died = time.monotonic()
    node.worker.signal(signal.SIGTERM)
    node.worker.wait_end(60)
    one.redis.resume()
    one.start_node()
    one.load.stop()
    found = one.settle(BACK_S + 10)
    found.check()
