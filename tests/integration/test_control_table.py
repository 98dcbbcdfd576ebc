"""One table of requests: each is sent to Celery's worker and to the worker under test in the same
state, and the replies are compared key by key and type by type."""
import datetime
import re

import pytest

from pair import NODE
from services.keeper import wait_until

IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(40)]
HOUR = "2099-01-01T00:00:00+00:00"


def is_active(side, count):
    wait_until(lambda: len(side.mailbox.ask("active")) == count, 10, f"{count} active tasks", 0.1)


IDLE = [
    ("ping", {}), ("ping", {"bogus": 1}), ("clock", {}), ("clock", {"bogus": 1}),
    ("active", {}), ("dump_active", {}), ("active", {"safe": True, "bogus": 1}),
    ("reserved", {}), ("dump_reserved", {"bogus": 1}), ("scheduled", {}),
    ("dump_schedule", {"bogus": 1}), ("revoked", {}), ("dump_revoked", {"bogus": 1}),
    ("query_task", {"ids": []}), ("query_task", {"ids": "x"}), ("query_task", {"ids": ["x", "y"]}),
    ("query_task", {"ids": None}), ("query_task", {}), ("query_task", {"ids": ["x"], "bogus": 1}),
    ("active_queues", {}), ("active_queues", {"bogus": 1}),
    ("report", {"bogus": 1}), ("objgraph", {"bogus": 1}),
    ("hello", {}), ("hello", {"from_node": NODE}), ("hello", {"from_node": "other@test"}),
    ("hello", {"from_node": "other@test", "revoked": ["h1"], "bogus": 1}),
    ("hello", {"from_node": "other@test", "revoked": {"h2": 12.5, "h3": [3.5, "h3"], "h4": 7}}),
    ("revoked", {}), ("hello", {"from_node": "other@test", "revoked": []}),
    ("nosuch", {}), ("nosuch", {"x": 1}), ("", {}), ("Ping", {}),
]
EVENTS = [("heartbeat", {}), ("heartbeat", {"bogus": 1}), ("election", {}),
          ("election", {"id": "e1"})]


def test_an_idle_worker_answers_as_celery(pair):
    """C-8 C-15 C-18"""
    pair(settings={"task_track_started": True}).compare(IDLE)


def test_stats_have_celerys_keys_and_types(pair):
    """C-14"""
    both = pair(concurrency=3)
    for side in both.sides:
        side.results.value(side.broker.send("add", (1, 2)))
    both.compare([("stats", {}), ("stats", {"bogus": 1})])
    for side in both.sides:
        stats = side.mailbox.ask("stats")
        assert "password" not in stats["broker"] and "guest" not in str(stats).replace(
            "'userid': 'guest'", "")
        assert len(stats["pool"]["processes"]) == 3
        assert set(stats["pool"]["processes"]) <= set(side.worker.children())
        assert stats["pid"] == side.worker.pid


REGISTERED = [{}, {"taskinfoitems": []}, {"taskinfoitems": ["rate_limit"]},
              {"taskinfoitems": ["max_retries", "serializer"]}, {"taskinfoitems": None},
              {"taskinfoitems": ["_app", "__class__", 5, "max_retries"], "bogus": 1},
              {"taskinfoitems": ["_app"]}, {"taskinfoitems": ["nosuch"]},
              {"taskinfoitems": ["acks_late", "ignore_result", "track_started", "name",
                                 "soft_time_limit", "time_limit", "default_retry_delay",
                                 "send_events", "acks_on_failure_or_timeout",
                                 "reject_on_worker_lost", "store_errors_even_if_ignored"]}]


def test_registered_tasks_are_told_as_celery_does(pair):
    """C-17 C-68"""
    both = pair()
    wrong = []
    for method in ("registered", "dump_tasks"):
        for arguments in REGISTERED:
            rows = [{each.partition(" ")[0]: each for each in side.mailbox.ask(method, arguments)}
                    for side in both.sides]
            assert list(rows[1]) == sorted(rows[1])
            # Those whose options stand elsewhere in Python (retry_kwargs, acks_on_failure) aside.
            names = {name for name in rows[0] if not re.search("tries|autoretry|nofail", name)}
            wrong += [f"{arguments}: {rows[1].get(name)!r}, {rows[0].get(name)!r} in Celery"
                      for name in sorted(names) if rows[0].get(name) != rows[1].get(name)]
    assert not wrong, "\n" + "\n".join(wrong)


CONF = {"task_acks_late": True, "worker_prefetch_multiplier": 2, "result_expires": 3600,
        "task_default_queue": "celery", "broker_heartbeat": 33,
        "worker_max_tasks_per_child": 50, "task_soft_time_limit": 7.5,
        "task_default_routing_key": "celery"}


def kind(value):
    """A default of 10.0 may be told as 10."""
    return float if type(value) is int else type(value)


def test_settings_are_shown_and_secrets_hidden(pair):
    """C-19 C-69"""
    both = pair(settings=CONF)
    judge, other = both.both(lambda side: side.mailbox.ask("conf"))
    assert {key: other.get(key) for key in CONF} == {key: judge.get(key) for key in CONF}
    assert "guest:guest" not in str(other)
    judge, other = both.both(lambda side: side.mailbox.ask("dump_conf", {"with_defaults": True}))
    same = set(judge) & set(other)
    assert set(CONF) <= same and len(same) > 50
    wrong = [f"{key}: {other[key]!r}, {judge[key]!r} in Celery" for key in sorted(same)
             if (judge[key] == "********") != (other[key] == "********")
             or kind(judge[key]) is not kind(other[key]) and None not in (judge[key], other[key])]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_report_has_celerys_lines(pair):
    """C-19"""
    for side in pair().sides:
        lines = side.mailbox.ask("report")["ok"].splitlines()
        assert lines[0] == ""
        for start in ("software -> ", "            billiard:", "platform -> system:",
                      "            kernel version:", "loader   -> ", "settings -> transport:"):
            assert [line for line in lines if line.startswith(start)], (start, lines)
        assert not [line for line in lines if "guest:guest" in line]


def busy(side):
    """Two tasks run, three wait for a process, three for their time."""
    send = side.broker.send
    send("sleep", (3600,), id=IDS[0], argsrepr="(an hour,)")
    send("sleep", (), {"seconds": 3600}, id=IDS[1], shadow="a shadow", argsrepr="",
         kwargsrepr="{'seconds': '***'}")
    is_active(side, 2)
    send("add", (1, 2), id=IDS[2])
    send("echo", ({"a": [1, 2.5, None, "ż"]},), {"more": True}, id=IDS[3],
         properties={"priority": 3})
    send("noop", (), id=IDS[4], shadow="shadow too", retries=2)
    send("add", (3, 4), id=IDS[5], eta=HOUR)
    send("add", (), {"x": 5, "y": 6}, id=IDS[6], eta="2099-01-01T12:00:00.250000+02:00",
         shadow="later")
    send("late", (1,), id=IDS[7], eta="2099-06-01T00:00:00Z", properties={"priority": 5})
    wait_until(lambda: len(side.mailbox.ask("scheduled")) == 3
               and len(side.mailbox.ask("reserved")) == 3, 10, "waiting tasks", 0.1)


BUSY = [
    ("active", {}), ("active", {"safe": True}), ("active", {"safe": 0}), ("active", {"safe": 1}),
    ("reserved", {}), ("scheduled", {}), ("query_task", {"ids": IDS[:10]}),
    ("query_task", {"ids": IDS[2]}), ("stats", {}), ("revoked", {}),
]


def test_a_busy_worker_describes_its_tasks_as_celery(pair):
    """C-16"""
    both = pair(concurrency=2)
    both.both(busy)
    both.compare(BUSY)
    etas = [sorted(datetime.datetime.fromisoformat(row["eta"])
                   for row in side.mailbox.ask("scheduled")) for side in both.sides]
    assert etas[0] == etas[1]
    for side in both.sides:
        assert side.mailbox.ask("stats")["prefetch_count"] == 2 * 4 + 3


REVOKES = [
    ("revoke", {"task_id": "r1"}), ("revoke", {"task_id": ["r2", "r3"]}),
    ("revoke", {"task_id": None}), ("revoke", {"task_id": []}), ("revoke", {"task_id": "r1"}),
    ("revoke", {}), ("revoke", {"task_id": "r4", "bogus": 1}),
    ("revoke", {"task_id": "r5", "terminate": True}),
    ("revoke", {"task_id": "r6", "terminate": 1, "signal": "TERM"}),
    ("revoke", {"task_id": "r7", "terminate": True, "signal": "SIGBAD"}),
    ("revoke", {"task_id": "r8", "terminate": True, "signal": "term"}),
    ("revoke", {"task_id": "r9", "terminate": False, "signal": "NONSENSE"}),
    ("revoke", {"task_id": "r10", "terminate": 0, "signal": "SIGTERM"}),
    ("terminate", {"task_id": "t1"}), ("terminate", {"signal": "KILL"}), ("terminate", {}),
    ("terminate", {"task_id": "t2", "signal": "KILL"}),
    ("terminate", {"task_id": ["t3"], "signal": 15, "bogus": 1}),
    ("terminate", {"task_id": "t4", "signal": "HUP1"}),
    ("revoke_by_stamped_headers", {}), ("revoke_by_stamped_headers", {"headers": {}}),
    ("revoke_by_stamped_headers", {"headers": {"m": ["a", "b"]}}),
    ("revoke_by_stamped_headers", {"headers": {"m": "c"}}),
    ("revoke_by_stamped_headers", {"headers": ["k=v"]}),
    ("revoke_by_stamped_headers", {"headers": ["k=v", "l=w"], "bogus": 1}),
    ("revoke_by_stamped_headers", {"headers": ["novalue"]}),
    ("revoke_by_stamped_headers", {"headers": {"m": ["z"]}, "terminate": True}),
    ("revoke_by_stamped_headers", {"headers": {"m": "q"}, "terminate": True, "signal": "KILL"}),
    ("revoke_by_stamped_headers", {"headers": {"m": "q"}, "signal": "BAD"}),
]
AFTER = [("revoke", {"task_id": [IDS[5]]}),
         ("terminate", {"task_id": [IDS[6]], "signal": "TERM"}),
         ("terminate", {"task_id": IDS[2], "signal": "SIGKILL"}),
         ("revoke", {"task_id": IDS[1], "terminate": True, "signal": "SIGKILL"})]


def test_revokes_are_answered_as_celery(pair):
    """C-20 C-22 C-23 C-67"""
    both = pair(concurrency=2)
    both.compare(REVOKES)
    revoked = [sorted(side.mailbox.ask("revoked")) for side in both.sides]
    assert revoked[0] == revoked[1]
    both.both(busy)
    both.compare(AFTER)
    for side in both.sides:
        assert side.results.wait(IDS[1])["status"] == "REVOKED"
        assert side.results.wait(IDS[5])["status"] == "REVOKED"


def test_stamped_tasks_are_terminated_as_celery(pair):
    """C-23"""
    both = pair(concurrency=2)
    for side in both.sides:
        for id, stamp in ((IDS[0], "a"), (IDS[1], ["b", "c"])):
            side.broker.send("sleep", (3600,), id=id, stamped_headers=["m"], stamps={"m": stamp},
                             m=stamp)
        is_active(side, 2)
    both.compare([
        ("revoke_by_stamped_headers", {"headers": {"m": ["x"], "n": "a"}, "terminate": True}),
        ("revoke_by_stamped_headers", {"headers": {"m": ["a", "x"]}, "terminate": True,
                                       "signal": "SIGKILL"}),
        ("revoke_by_stamped_headers", {"headers": ["m=c"], "terminate": True})])
    for side in both.sides:
        assert side.results.wait(IDS[0])["status"] == "REVOKED"
        assert side.results.wait(IDS[1])["status"] == "REVOKED"


LIMITS = [("rate_limit", {"task_name": "testtasks.add", "rate_limit": each})
          for each in ("12/m", "200", 0, None, "", "0", 5, 2.5, "1.5/h", "3/s", "10/x", "x/s", "ab",
                       "5/", "/s", "5/m/s", "0/m", " 5/m", "5 / m")] + [
    ("rate_limit", {"task_name": "no.such.task", "rate_limit": "1/s"}),
    ("rate_limit", {"task_name": "no.such.task", "rate_limit": "bad"}),
    ("rate_limit", {"task_name": "testtasks.add"}), ("rate_limit", {"rate_limit": "1/s"}),
    ("rate_limit", {}), ("rate_limit", {"task_name": "testtasks.add", "rate_limit": 1, "b": 2}),
    ("time_limit", {"task_name": "testtasks.add", "soft": 5, "hard": 10}),
    ("time_limit", {"task_name": "testtasks.add", "soft": 2.5, "hard": None}),
    ("time_limit", {"task_name": "testtasks.add"}), ("time_limit", {}),
    ("time_limit", {"task_name": "no.such.task", "hard": 1}), ("time_limit", {"soft": 1}),
    ("time_limit", {"task_name": "testtasks.add", "bogus": 1}),
]


def test_limits_are_set_as_celery(pair):
    """C-24"""
    both = pair()
    both.compare(LIMITS)
    both.compare([("rate_limit", {"task_name": "testtasks.echo", "rate_limit": "7/m"})])
    for side in both.sides:
        assert "testtasks.echo [rate_limit=7/m]" in side.mailbox.ask("registered")


SWITCH = [("enable_events", {}), ("enable_events", {}), ("disable_events", {}),
          ("disable_events", {}), ("enable_events", {"bogus": 1}), ("disable_events", {"b": 1}),
          ("enable_events", {}), ("heartbeat", {})]


@pytest.mark.parametrize("options", [(), ("-E",)], ids=["plain", "E"])
def test_events_are_switched_as_celery(pair, options):
    """C-26"""
    pair(*options).compare(SWITCH + EVENTS)


# And how many queues there are afterwards.
QUEUES = [
    ("add_consumer", {"queue": "more"}, 2), ("add_consumer", {"queue": "more"}, 2),
    ("add_consumer", {"queue": "other", "exchange": "ex", "exchange_type": "topic",
                      "routing_key": "a.#", "bogusopt": 7}, 3),
    ("add_consumer", {}, 3), ("add_consumer", {"queue": "celery"}, 3),
    ("cancel_consumer", {"queue": "more"}, 2), ("cancel_consumer", {"queue": "never"}, 2),
    ("cancel_consumer", {}, 2), ("cancel_consumer", {"queue": "other", "bogus": 1}, 1),
    ("add_consumer", {"queue": "more"}, 2),
    ("add_consumer", {"queue": "prio", "max_priority": 5, "expires": 60.5, "message_ttl": 7,
                      "max_length": 100}, 3),
    ("add_consumer", {"queue": "args", "queue_arguments": {"x-max-length": 10}}, 4),
    ("add_consumer", {"queue": "shared", "exchange": "", "routing_key": "k"}, 5),
]


def has_queues(side, count):
    wait_until(lambda: len(side.mailbox.ask("active_queues")) == count, 5, f"{count} queues", 0.05)


def test_queues_are_added_and_cancelled_as_celery(pair):
    """C-18 C-29"""
    both = pair()
    wrong = []
    for method, arguments, count in QUEUES:
        for row in ((method, arguments), ("active_queues", {})):
            try:
                both.compare([row])
            except AssertionError as error:
                wrong.append(f"after {method} {arguments}: {error}")
            both.both(lambda side: has_queues(side, count))  # the change comes after the reply
    assert not wrong, "\n".join(wrong)


GROWN = [("pool_grow", {}), ("pool_grow", {"n": 2}), ("pool_shrink", {"n": 1}),
         ("pool_shrink", {}), ("pool_grow", {"n": 1, "bogus": 1}), ("autoscale", {}),
         ("autoscale", {"max": 4, "min": 2}), ("autoscale", {"bogus": 1}),
         ("pool_restart", {}), ("pool_restart", {"reload": False, "bogus": 1})]


def test_the_pool_is_steered_as_celery(pair):
    """C-27 C-28"""
    both = pair(concurrency=2)
    both.compare(GROWN)
    for side in both.sides:
        wait_until(lambda: len(side.mailbox.ask("stats")["pool"]["processes"]) == 4, 10,  # noqa: B023
                   "four processes", 0.1)
        assert side.mailbox.ask("stats")["prefetch_count"] == 16


def test_autoscale_is_steered_as_celery(pair):
    """C-27"""
    both = pair("--autoscale", "4,2", concurrency=None)
    both.compare([("autoscale", {"max": 5, "min": 1}), ("autoscale", {"max": 3}),
                  ("autoscale", {"min": 3}), ("autoscale", {}), ("pool_grow", {}),
                  ("pool_shrink", {"n": 1})])
    both.both(lambda side: wait_until(  # they come a little later
        lambda: len(side.mailbox.ask("stats")["pool"]["processes"]) == 3, 10, "processes", 0.1))
    both.compare([("stats", {}, [r"autoscaler\.current"])])


def test_a_pool_restart_is_answered_as_celery(pair):
    """C-28"""
    both = pair(settings={"worker_pool_restarts": True})
    both.compare([("pool_restart", {}), ("ping", {})])
    for side in both.sides:
        assert side.results.value(side.broker.send("add", (1, 2))) == 3


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools_answer_as_celery(pair, pool):
    both = pair(concurrency=2 if pool == "threads" else 1, pool=pool)
    # Python's threads begin with the first task.
    both.compare([("stats", {}, [r"pool\.threads"]), ("ping", {}), ("active", {})])
    both.compare([("pool_grow", {"n": 1}), ("pool_shrink", {"n": 1})])
