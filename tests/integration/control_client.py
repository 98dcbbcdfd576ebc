"""A monitor as an application has it. Runs under Celery 4.4, 5.2 and 5.7, and prints as JSON what
each request gave: control_client.py BROKER NODE."""
import json
import sys

import celery
from celery import Celery

broker, node = sys.argv[1:3]
app = Celery("monitor", broker=broker)
inspect = app.control.inspect([node], timeout=10)
found = {name: getattr(inspect, name)() for name in (
    "ping", "clock", "stats", "report", "conf", "active", "reserved", "scheduled", "revoked",
    "registered", "active_queues", "memsample", "memdump")}
found["query_task"] = inspect.query_task("x")
for name, arguments in (
        ("add_consumer", {"queue": "q"}), ("cancel_consumer", {"queue": "q"}),
        ("enable_events", {}), ("disable_events", {}), ("heartbeat", {}),
        ("rate_limit", {"task_name": "no.such", "rate_limit": "1/s"}),
        ("revoke", {"task_id": ["x"], "terminate": False}), ("pool_grow", {"n": 1}),
        ("pool_shrink", {"n": 1}), ("nosuch", {})):
    reply, = app.control.broadcast(name, arguments, destination=[node], reply=True, timeout=10)
    found[name] = reply
print(json.dumps({"celery": celery.__version__,
                  "found": {name: reply[node] for name, reply in found.items()}}))
