"""Celery's own commands towards a worker: their texts and exit codes, as with Celery's worker."""
import json
import os
import re
import subprocess
import sys

import pytest

from pair import NODE
from pythons import python_of
from services.keeper import wait_until

GONE = "e0000000-0000-4000-8000-000000000001"
FOLDER = os.path.dirname(__file__)


def celery(python, broker, *args, timeout=30, env=None):
    """(exit code, output) of Celery's command."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "SMALLAGE_"))}
    done = subprocess.run([python, "-m", "celery", "-b", broker.url, *args],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, check=False, cwd="/tmp",
                          env={**clean, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200",
                               **(env or {})})
    return done.returncode, done.stdout


# What differs between any two workers.
VAGUE = [(r"'?[\"]?(clock|uptime|pid|prefetch_count|port|time_start|worker_pid)[\"']?: [\"']?[\d.]+[\"']?",
          r"\1: N"),
         (r"\d+\.\d+", "F"), (r"t\d+", "VHOST")]


def plain(text):
    for pattern, better in VAGUE:
        text = re.sub(pattern, better, text)
    return text


# (arguments, exit code). With a destination the client waits no longer than for the answer.
HERE = ["-d", NODE]
COMMANDS = [
    (["status"], 0), (["status", "-d", "nobody@x", "-t", "0.3"], 69), (["status", "-j"], 0),
    (["inspect", "ping"], 0), (["inspect", "ping", *HERE, "-j"], 0),
    (["inspect", "ping", "-d", "nobody@x", "-t", "0.3"], 69),
    (["inspect", "active", *HERE], 0), (["inspect", "reserved", *HERE], 0),
    (["inspect", "scheduled", *HERE], 0), (["inspect", "revoked", *HERE], 0),
    (["inspect", "active_queues", *HERE], 0), (["inspect", "query_task", *HERE, GONE], 0),
    (["inspect", "nosuch", *HERE], 2),
    (["control", "revoke", *HERE, GONE], 0), (["inspect", "revoked", *HERE, "-j"], 0),
    (["control", "rate_limit", *HERE, "testtasks.add", "12/m"], 0),
    (["control", "rate_limit", *HERE, "no.such", "12/m"], 0),
    (["control", "rate_limit", *HERE, "testtasks.add", "bad"], 0),
    (["control", "time_limit", *HERE, "testtasks.add", "5", "10"], 0),
    (["control", "enable_events", *HERE], 0), (["control", "disable_events", *HERE], 0),
    (["control", "add_consumer", *HERE, "more"], 0),
    (["control", "cancel_consumer", *HERE, "more"], 0),
    (["control", "pool_grow", *HERE, "1"], 0), (["control", "pool_shrink", *HERE, "1"], 0),
    (["control", "autoscale", *HERE, "4", "2"], 0), (["control", "pool_restart", *HERE], 0),
    (["control", "terminate", *HERE, "KILL", GONE], 0), (["control", "heartbeat", *HERE], 0),
    (["control", "revoke_by_stamped_headers", *HERE, "m=a"], 0),
]
# Not known to 4.4, or with other options there.
NEWER = [["status", "-d"], ["status", "-j"], ["inspect", "nosuch"],
         ["control", "revoke_by_stamped_headers"], ["control", "pool_restart"]]


def run_all(python, side, commands):
    done = subprocess.run([python, f"{FOLDER}/celery_commands.py", side.broker.url],
                          input=json.dumps(commands), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=110, check=False,
                          env={**os.environ, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["5.7", "5.2", "4.4"])
def test_celerys_commands_say_the_same(pair, test_home, version):
    """C-1 C-2 C-18 C-20 C-24 C-27 C-28"""
    python = python_of(version, test_home)
    commands = [each for each in COMMANDS if version == "5.7" or each[0][:2] not in NEWER]
    answers = pair(concurrency=2).both(
        lambda side: run_all(python, side, [arguments for arguments, _ in commands]))
    wrong = []
    for (arguments, code), judge, other in zip(commands, *answers):
        # The node names of both are the same, and so are their clusters.
        judge, other = [(code, plain(text)) for code, text in (judge, other)]
        if judge != other or judge[0] != code:
            wrong.append(f"{' '.join(arguments)}: {other}\n        in Celery: {judge}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("version", ["5.7", "5.2", "4.4"])
def test_inspect_gives_json_of_each_kind(broker, worker, results, test_home, version):
    """C-14 C-17 C-18 C-19"""
    python = python_of(version, test_home)
    broker.declare()
    one = worker()
    results.value(broker.send("add", (1, 2)))
    for command, kind in (("stats", dict), ("registered", list), ("conf", dict), ("report", dict)):
        if version == "4.4" and command == "report":
            continue  # its own text, never JSON
        code, text = celery(python, broker, "inspect", command, "-j")
        assert code == 0, text
        value = json.loads(text)[one.node]
        assert type(value) is kind, (command, value)
        if command == "stats":
            assert value["total"] == {"testtasks.add": 1} and type(value["clock"]) is str


@pytest.mark.parametrize("version", ["5.7", "5.2"])
def test_celery_control_shutdown_is_a_warm_one(broker, worker, results, test_home, version):
    """C-30"""
    broker.declare()
    one = worker()
    id = broker.send("sleep", (2,))
    wait_until(lambda: "received" in one.log, 10, "the task")
    code, text = celery(python_of(version, test_home), broker, "control", "shutdown")
    assert code == 69 and "No nodes replied within time constraint" in text
    assert one.wait_end() == 0
    assert results.value(id) == 2


def test_nobody_answers_where_no_worker_is(broker):
    """C-2"""
    for arguments in (["status"], ["inspect", "ping"], ["control", "enable_events"]):
        assert celery(sys.executable, broker, *arguments, "-t", "0.3")[0] == 69
