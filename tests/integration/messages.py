"""Task messages as Celery writes them, part by part, so that a test can bend one."""
import datetime
import json
import struct
import uuid

import amqp
from amqp.serialization import dumps

EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def now(seconds=0):
    """ISO 8601 with offset, `seconds` from now."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat()


def new_id():
    return str(uuid.uuid4())


def headers(task, id, args=(), kwargs=None, **more):
    """All 19 headers of a 5.7 producer; `more` replaces or adds."""
    return {
        "lang": "py", "task": task, "id": id, "shadow": None, "eta": None, "expires": None,
        "group": None, "group_index": None, "retries": 0, "timelimit": [None, None],
        "root_id": id, "parent_id": None, "argsrepr": repr(tuple(args))[:1024],
        "kwargsrepr": repr(kwargs or {})[:1024], "origin": "gen1@test", "ignore_result": False,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {}, **more,
    }


def body(args=(), kwargs=None, embed=EMBED):
    return json.dumps([list(args), {} if kwargs is None else kwargs, embed])


def properties(id, **more):
    return {"content_type": "application/json", "content_encoding": "utf-8", "correlation_id": id,
            "delivery_mode": 2, "priority": 0, "reply_to": new_id(), **more}


class Message(amqp.Message):
    """With `table`, the header table's bytes as they are (to choose the field types)."""

    def __init__(self, body, table=None, headers=None, **properties):
        super().__init__(body, application_headers={} if table is not None else headers,
                         **properties)
        self.table = table

    def _serialize_properties(self):
        raw = super()._serialize_properties()
        if self.table is None:
            return raw
        empty = struct.pack(">I", 0)
        # Property flags (2 bytes), content type and encoding before the table.
        at = raw.index(empty, 2)
        return raw[:at] + struct.pack(">I", len(self.table)) + self.table + raw[at + 4:]


def table(**fields):
    """A header table; a value may be raw bytes of a field with its type octet: b"b\\x01"."""
    out = b""
    for name, value in fields.items():
        key = name.encode()
        if isinstance(value, bytes):
            out += bytes([len(key)]) + key + value
        else:
            out += dumps("F", [{name: value}])[4:]
    return out
