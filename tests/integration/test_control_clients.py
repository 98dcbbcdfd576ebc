"""Celery's clients of three generations steer the worker."""
import json
import os
import subprocess

import pytest

from pythons import python_of

HERE = os.path.dirname(__file__)
KINDS = {"stats": dict, "conf": dict, "active": list, "reserved": list, "scheduled": list,
         "revoked": list, "registered": list, "active_queues": list, "query_task": dict}
TEXTS = {"ping": {"ok": "pong"}, "add_consumer": {"ok": "add consumer q"},
         "cancel_consumer": {"ok": "no longer consuming from q"}, "heartbeat": None,
         "enable_events": {"ok": "task events enabled"},
         "disable_events": {"ok": "task events disabled"},
         "rate_limit": {"error": "unknown task"},
         "revoke": {"ok": "tasks {'x'} flagged as revoked"},
         "pool_grow": {"ok": "pool will grow"}, "pool_shrink": {"ok": "pool will shrink"},
         "nosuch": {"error": "KeyError('nosuch')"}}


@pytest.mark.parametrize("version", ["5.7", "5.2", "4.4"])
def test_clients_of_each_generation_are_answered(broker, worker, test_home, version):
    """C-1 C-14"""
    broker.declare()
    one = worker(settings={"worker_send_task_events": False})
    done = subprocess.run([python_of(version, test_home), f"{HERE}/control_client.py", broker.url,
                           one.node], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert answer["celery"].startswith(version)
    found = answer["found"]
    assert {name: found[name] for name in TEXTS} == TEXTS
    assert {name: type(found[name]) for name in KINDS} == KINDS
    assert isinstance(found["clock"]["clock"], int) and found["report"]["ok"].startswith("\n")
