#!/usr/bin/env python3
"""Records the golden files of this folder from a real Celery: tests/golden/record.py (celery 5.7.0).

A file is lines of tab-separated fields; a field that holds anything but printable ASCII is written
as "hex:" and its bytes. An expected field begins with "= " (what Python made of it) or with "! "
(the error it raised).
"""
import datetime
import json
import os
import random
import sys
import types
from unittest import mock

import celery
from celery import Celery
from celery.app.task import Context
from celery.utils.saferepr import saferepr
from celery.worker import request as worker_request
from celery.worker import strategy as worker_strategy
from celery.worker.consumer.consumer import Consumer
from kombu.message import Message
from kombu.transport.virtual.exchange import TopicExchange
from kombu.utils import json as kombu_json

HERE = os.path.dirname(os.path.abspath(__file__))
app = Celery("golden", broker="memory://", backend="cache+memory://", set_as_current=True)
app.conf.update(enable_utc=True, timezone="UTC", result_extended=False)


def field(value):
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    if all(32 <= b < 127 for b in value) and not value.startswith(b"hex:"):
        return value.decode()
    return "hex:" + value.hex()


def write(path, rows):
    path = os.path.join(HERE, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        for row in rows:
            out.write("\t".join(field(f) for f in row) + "\n")


def outcome(function, *args, **kwargs):
    try:
        return "= " + function(*args, **kwargs)
    except Exception as exc:
        return "! " + str(exc)


# pyjson -------------------------------------------------------------------------------------------

PLAIN = r'''
null|true|false|0|-0|1|-1|007|01|-|-a|1.|1.5|.5|1e5|1E5|1e+5|1e-5|1e|1e+|0.1|1.0|100.0|1e16|1e15|123456789012345678
9223372036854775807|-9223372036854775808|9223372036854775808|123456789012345678901234567890|-99999999999999999999
1e400|-1e400|1e-400|5e-324|1.7976931348623157e308|0.1e1|3.141592653589793|2.5e-8|1e22|1e21|123456.789e3
NaN|Infinity|-Infinity|-NaN|+1|nan|Inf|[NaN, -Infinity]|""|"a"|"a\nb"|"\u00e9"|"\ud83d\ude00"|"\ud800"|"\udc00\ud800"
"\ud800\u0041"|"\ud83d\ud83d\ude00"|"\u0000"|"\x41"|"\u12"|"\u12g4"|"abc|"\|"\"|"\/\b\f\n\r\t\\\""|"\u007f"|'a'
[]|[ ]|[1]|[1,2]|[1 , 2]|[1,]|[,1]|[1 2]|[|]|[1|{}|{ }|{"a":1}|{"a" : 1 , "b":2}|{"a":1,}|{"a"}|{"a":}|{a:1}|{1:2}
{"a":1 "b":2}|{"a":1|{"a"|{"a":1,"a":2}|{"b":1,"a":2,"b":3}|{"":0}|{"\u0000":1}|{"\u00e9":1}|[[[[]]]]|{"a":{"b":{"c":[]}}}
[1] x|nul|tru|True|None|   1   |[1, "two", 3.0, null, true, {"k": [false]}]
[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]
{"__type__": "datetime"}|{"__type__": "datetime", "__value__": "x", "more": 1}|{"__value__": 1}
'''

TAGS = [
    ("datetime", v) for v in (
        "2026-01-02T03:04:05.000678+00:00", "2026-01-02T03:04:05", "2026-01-02", "20260102T030405Z",
        "2026-01-02 03:04", "2026-W01-3", "2025-W53-1", "2026-W53-1", "2026-13-01", "2026-02-30", "2026-01-02T24:00", "", "x", None, 5,
        "2026-01-02T03:04:05+25:00", "2026-01-02T03:04:05.1234567", "2024-02-29", "0000-01-01")
] + [("date", v) for v in ("2026-01-02", "2026-01-02T03:04", "20260102", "x", 1, "2026-1-2")
] + [("time", v) for v in ("03:04:05", "03:04", "T03:04", "03:04:05.5+02:00", "25:00", "", "3:4", 1)
] + [("decimal", v) for v in ("1.50", "-0", "1E+5", "1e5", "NaN", "sNaN12", "-Infinity", "inf", " 1 ", "1_000.5", ".5", "5.",
                              "", ".", "abc", "1e", "0x1", 5, 1.5, True, None, "1E1000000000000000000000", [1])
] + [("uuid", v) for v in ({"hex": "11111111111141118111111111111111"}, {"hex": "{11111111-1111-4111-8111-111111111111}"},
                           {"hex": "urn:uuid:11111111-1111-4111-8111-11111111111A"}, {"hex": "1"}, {"hex": "g" * 32}, {}, "x",
                           {"hex": "1" * 33}, None)
] + [("bytes", v) for v in ("abc", "", "\u00e9", "\ud800", 1, None)
] + [("base64", v) for v in ("//4=", "AA==", "AAA", "A", "", "*/*/4=", 1, "\u00e9")
] + [("nope", "x"), (None, 1), ([], 1), (1, 1)]


TIMES = ["2026-01-02T03:04:05.000678+00:00", "2026W01T03", "2026W013T0304", "2020-W53-7T10", "2026-W01-0000", "20260102T030405.5Z",
         "2026-01-02T03:04:05,123-05:30", "2026-01-02\u00e903:04:05", "030405.25", "03:04:05+05:30:10.5", "034Z", "0001-W01-1", "9999-W52-5"]


def iso_texts():
    """Times with one or two characters changed."""
    texts = list(TIMES)
    for _ in range(600):
        text = list(random.choice(TIMES))
        for _ in range(random.randint(1, 2)):
            at = random.randrange(len(text))
            text[at:at + random.randint(0, 1)] = random.choice(["", "0", "1", "9", "-", ":", "W", ".", "+", "Z", ",", "T", " "])
        texts.append("".join(text))
    return texts


def record_pyjson():
    texts = [t for line in PLAIN.strip("\n").split("\n") for t in line.split("|") if t]
    texts += ['"a\x01b"', '"a\tb"', "[1,\n 2,\n x]", '"\u00e9"', '["\u00e9", x]', '"\U0001f600"', "\ufeff[]", " ", "",
              "1" * 4300, "-" + "1" * 4300, "[\n1\n]\n"]
    random.seed(7)
    texts += [repr(random.uniform(-1, 1) * 10 ** random.randint(-30, 30)) for _ in range(300)]
    rows = [(t, outcome(lambda: kombu_json.dumps(kombu_json.loads(t.encode())))) for t in texts]
    for bad in (b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"'):
        rows.append((bad, outcome(kombu_json.loads, bad)))
    write("pyjson/load.tsv", rows)

    rows = []
    random.seed(7)
    for tag, value in TAGS + [(tag, text) for text in iso_texts() for tag in ("datetime", "time")]:
        for text in (json.dumps({"__type__": tag, "__value__": value}), json.dumps([{"k": {"__value__": value, "__type__": tag}}])):
            try:
                kombu_json.loads(text.encode())
                rows.append((text, "="))
            except Exception:
                rows.append((text, "!"))
    write("pyjson/tags.tsv", rows)


REPRS = [
    None, True, 1, -1.5, 1e100, "", "a'b", 'a"b', "a\nb", "\u00e9", [], {}, [1], [1, 2], [[[[1]]]], [[[[[]]]]], {"a": {"b": {"c": {"d": 1}}}},
    {"k": [1, {"x": None}]}, ["word " * 50], ["x" * 300], [1] * 200, {"key%d" % i: i for i in range(100)}, [["a" * 60, "b" * 60], ["c" * 60]],
    [{"a": ["b" * 20, {"c": "d" * 30}]}] * 5, float("nan"), float("inf"), float("-inf"), 10 ** 30, [True, False, None], "\u65e5\u672c\u8a9e " * 30,
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.timezone.utc), datetime.datetime(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5),
    datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30))),
    datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))),
    datetime.date(2026, 1, 2), datetime.time(3, 4, 5), datetime.time(3, 4), datetime.time(3, 4, 0, 5), b"abc", b"it's", b"\xff\xfe", b"",
    [datetime.date(2026, 1, 2), b"abc" * 20],
]


def record_repr():
    import decimal
    import uuid
    values = REPRS + [decimal.Decimal("1.50"), uuid.UUID("11111111-1111-4111-8111-111111111111")]
    rows = []
    for value in values:
        text = kombu_json.dumps(value)
        for max_len in (0, 1, 2, 3, 5, 8, 10, 20, 50, 64, 100, 1024):
            for levels in (0, 1, 3):
                for as_tuple in (False, True) if isinstance(value, list) else (False,):
                    shown = saferepr(tuple(value) if as_tuple else value, max_len or None, maxlevels=levels)
                    rows.append((text, str(max_len), str(levels), "t" if as_tuple else "l", "= " + shown))
    write("pyjson/repr.tsv", rows)


# params -------------------------------------------------------------------------------------------

SIGNATURES = ["", "a", "a, b", "a, b, c", "a, b=2", "a=1, b=2", "*, k", "a, *, k", "a, *, k=1", "a, b=2, *, k, m=3, n", "**extra",
              "a, **extra", "a, b, *, k=0, **extra", "a, b, c, d"]
ARGS = [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5]]
KWARGS = [{}, {"a": 9}, {"b": 9}, {"k": 9}, {"z": 9}, {"z": 8, "y": 7}, {"a": 9, "k": 9}, {"b": 8, "c": 9}, {"k": 1, "m": 2, "n": 3}, {"": 1}]


def call_of(signature):
    """A function that gives back what it was called with, by name."""
    def name(part):
        return part.split("=")[0].lstrip("*")
    parts = [part for part in signature.split(", ") if part not in ("", "*", "/")]
    # A list, as JSON would make of the tuple anyway; **extra is merged behind.
    pairs = ", ".join('("%s", %s)' % (name(part), name(part)) for part in parts if not part.startswith("**"))
    rest = "".join(", " + part for part in parts if part.startswith("**"))
    scope = {}
    exec("def send(%s): return dict([%s]%s)" % (signature, pairs, rest), scope)
    return scope["send"]


def random_signature(rnd):
    names = rnd.sample("a b c d e f to body html user_name x y z k m n".split(), 9)
    positional = [names.pop() for _ in range(rnd.choice([0, 1, 1, 2, 2, 3, 4]))]
    named = [names.pop() for _ in range(rnd.choice([0, 0, 0, 1, 2, 3]))]
    plain = rnd.randint(0, len(positional))  # from there on they have defaults
    parts = [name if i < plain else "%s=%d" % (name, i) for i, name in enumerate(positional)]
    has_slash = positional and rnd.random() < 0.3
    if has_slash:
        parts.insert(rnd.randint(1, len(parts)), "/")
    rest = rnd.random() < 0.25
    if rest or named:
        parts.append("*rest" if rest else "*")
    parts += [name if rnd.random() < 0.5 else name + "=7" for name in named]
    if not has_slash and rnd.random() < 0.25:
        parts.append("**extra")
    return ", ".join(parts), positional, named


def random_call(rnd, positional, named):
    values = [None, True, 0, -1.5, "", "w\u00f6rd", [1], {"k": []}]
    args = [rnd.choice(values) for _ in range(max(0, len(positional) + rnd.choice([-2, -1, -1, 0, 0, 0, 1, 2])))]
    left = positional[len(args):]
    keys = rnd.sample(left, rnd.randint(0, len(left))) if rnd.random() < 0.7 else []
    keys += [name for name in named if rnd.random() < 0.7]
    if rnd.random() < 0.2 and positional:
        keys.append(rnd.choice(positional))
    if rnd.random() < 0.15:
        keys.append(rnd.choice(["unknown", "", "zwei W\u00f6rter", "Body"]))
    rnd.shuffle(keys)
    return args, {key: rnd.choice(values) for key in keys}


def record_params(path="params/bind.tsv", signatures=150):
    rows = [(signature, args, kwargs) for signature in SIGNATURES for args in ARGS for kwargs in KWARGS]
    rnd = random.Random(26)
    for _ in range(signatures):
        signature, positional, named = random_signature(rnd)
        rows += [(signature, *random_call(rnd, positional, named)) for _ in range(12)]
    write(path, [(signature, json.dumps(args), json.dumps(kwargs),
                  outcome(lambda: json.dumps(call_of(signature)(*args, **kwargs))))
                 for signature, args, kwargs in rows])


# task_message -------------------------------------------------------------------------------------

def record_messages():
    """What a producer sends: reading and writing it again must give the same bytes."""
    now = datetime.datetime(2026, 11, 21, 4, 35, 1, 651532, tzinfo=datetime.timezone.utc)
    sig = app.signature("capp.cb", args=(1,), options={"task_id": "cb-1"})
    calls = [
        {},
        {"args": (1, 2)},
        {"args": ("\u00e9\U0001f600\ud800", None, 1.5, [1, {"a": float("nan")}]), "kwargs": {"y": '\u00e9"', "n": 10 ** 30}},
        {"args": (datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), b"\xff\xfe", b"abc")},
        {"countdown": 10, "now": now, "expires": 60},
        {"retries": 3, "time_limit": 10, "soft_time_limit": 5.5},
        {"group_id": "g-1", "group_index": 7, "root_id": "r-1", "parent_id": "p-1", "shadow": "shadowname"},
        {"callbacks": [sig], "errbacks": [sig], "chain": [sig, sig], "chord": sig},
        {"chain": []},
        {"ignore_result": True, "replaced_task_nesting": 2, "argsrepr": "(...)", "kwargsrepr": "{...}"},
        {"ignore_result": None, "stamped_headers": ["st"], "st": ["abc", 1]},
    ]
    rows = []
    for call in calls:
        message = app.amqp.as_task_v2("t-1", "capp.add", origin="gen1@host", timezone=datetime.timezone.utc, **call)
        rows.append((kombu_json.dumps(message.headers), kombu_json.dumps(message.body)))
    write("task_message/v2.tsv", rows)


V2 = {"lang": "py", "task": "capp.add", "id": "t-1"}
TRIPLE = '[[1, 2], {"k": "v"}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
V1 = {"task": "capp.add", "id": "t-1", "args": [1, 2]}


def intake_cases():
    def v2(body=TRIPLE, content_type="application/json", encoding="utf-8", **headers):
        return {**V2, **headers}, content_type, encoding, body

    def v1(content_type="application/json", headers=None, **fields):
        return headers or {}, content_type, "utf-8", json.dumps({**V1, **fields})

    yield from (v2(), v2(encoding=""), v2(lang="go"), v2(my_header="v", n=1), v2(celery_beat_task=True), v2("[[], {}, null]"), v2("[[], {}, {}]"))
    yield v2(**{"x-death": [{"count": 1}], "x-first-death-queue": "q", "compression": None, "hostname": "h", "more": [1, None]})
    for retries in (0, 3, 2.0, True):
        yield v2(retries=retries)
    for value in (None, 0, 7, 7.0):
        yield v2(group_index=value)
    for value in (None, [None, None], [10, 5], [10.5, None], [0, 0], [], 0):
        yield v2(timelimit=value)
    for value in (None, True, False, 0, 1, "", "x"):
        yield v2(ignore_result=value)
    for text in ("2026-11-21T04:35:11", "2026-11-21T04:35:11.5", "2026-11-21T04:35:11.651532+02:00", "2026-11-21T04:35:11Z", "2026-11-21",
                 "20261121T043511Z", "2026-11-21T04:35:11+02", "2026-11-21T04:35:11-0330", "1999-01-01T00:00:00"):
        yield v2(eta=text)
        yield v2(expires=text)
    for bad in ("x", "now", "2020-13-01", "2020-01-01T25:00", "it's", "a\nb", 5, 5.5, True):
        yield v2(eta=bad)
        yield v2(expires=bad)
    yield v2(eta="9999-12-31T23:59:59-12:00")
    yield v2(shadow="s")
    yield v2(group="g", root_id="r", parent_id="p", origin="o", argsrepr="(1)", kwargsrepr="{}", stamped_headers=["a"], stamps={"a": "b"})
    for body in ("", "[1", "x", '[[], {}, {}', '{"a": 1', "[[], {}, {\"a\": {\"__type__\": \"nope\", \"__value__\": 1}}]", '"\xff'.encode("latin-1")):
        yield v2(body)
        yield {}, "application/json", "utf-8", body
    yield v2('["abc", {}, null]')
    for kind in ("application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "text/plain", "application/JSON"):
        yield v2(content_type=kind)
        yield v1(content_type=kind)
    for body in ("[]", "[[], {}, {}]", "null", "5", '"task"', '{"id": "x"}', "{}"):
        yield {}, "application/json", "utf-8", body
        yield {"id": "x"}, "application/json", "utf-8", body
    yield from (v1(), v1(kwargs={"k": "v"}), v1(group="g"), v1(retries=2, timelimit=[10, 5]))
    yield from (v1(eta="2026-11-21T04:35:11"), v1(eta="2026-11-21T04:35:11", utc=False), v1(expires="2030-11-21T04:35:11+01:00"), v1(eta="bad"))
    for kwargs in (None, [], "x", 5):
        yield v1(kwargs=kwargs)
    yield v1(headers={"my_header": 1}, shadow="s")
    yield v1(callbacks=[{"task": "cb"}], errbacks=None, chord={"task": "body"})
    hybrid = json.dumps({**V1, "kwargs": {"k": 1}, "retries": 5, "eta": "2026-11-21T04:35:11", "origin": "body", "group": "bg"})
    yield v2(hybrid)
    yield v2(hybrid, retries=1, origin="header", eta=None, my=1)
    yield v2(json.dumps({**V1, "kwargs": []}))
    yield v2(json.dumps({"args": [3]}), id="h-1")


@app.task(name="capp.add")
def add(*args, **kwargs):
    pass


def handler(got):
    """Celery's own task handler around a consumer that only takes notes."""
    consumer = mock.MagicMock()
    consumer.app, consumer.event_dispatcher, consumer.disable_rate_limits = app, None, True
    consumer.controller.state.revoked = set()
    consumer.strategies = {}
    for kind, position in (("unknown", None), ("invalid", 2), ("decode", 1)):
        name = {"unknown": "on_unknown_message", "invalid": "on_invalid_task", "decode": "on_decode_error"}[kind]
        setattr(consumer, name, lambda *a, kind=kind, position=position: got.append((kind, a[position] if position is not None else "")))

    class Noted(worker_request.Request):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            got.append(("request", self))

        def revoked(self):
            return True

    add.backend.mark_as_failure = lambda *a, **kw: got.append(("overflow", a[1]))
    with mock.patch.object(worker_strategy, "create_request_cls", lambda *a, **kw: Noted):
        consumer.strategies["capp.add"] = worker_strategy.default(add, app, consumer)
    return Consumer.create_task_handler(consumer, promise=lambda *a, **kw: mock.MagicMock())


def micros(when):
    return when and (when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)


def describe(request):
    context = Context(request.request_dict)
    _, _, embed = request._payload
    custom = {k: v for k, v in (context.headers or {}).items() if not k.startswith("x-") and k != "meth"}
    return {
        "task": request.type, "id": request.id, "args": list(request.args), "kwargs": request.kwargs,
        "eta": micros(request.eta), "expires": micros(request.expires),
        "limits": [limit or None for limit in request.time_limits],
        "retries": int(context.retries), "group": context.group, "group_index": context.group_index,
        "root_id": context.root_id, "parent_id": context.parent_id, "shadow": context.shadow, "origin": context.origin,
        "ignore_result": None if context.__dict__.get("ignore_result") is None else bool(context.ignore_result),
        "embed": {k: (embed or {}).get(k) for k in ("callbacks", "errbacks", "chain", "chord")},
        "custom": custom or None,
    }


def record_intake():
    rows = []
    for headers, content_type, encoding, body in intake_cases():
        got = []
        body = body.encode() if isinstance(body, str) else body
        message = Message(body=body, content_type=content_type, content_encoding=encoding, headers=json.loads(json.dumps(headers)),
                          delivery_tag=1, accept={"application/json"}, channel=mock.MagicMock())
        try:
            handler(got)(message)
        except Exception as exc:
            got.append(("crash", repr(exc)))
        kind, what = got[-1]
        text = json.dumps(describe(what)) if kind == "request" else str(what)
        rows.append((json.dumps(headers), content_type, encoding, body, kind, text))
    write("task_message/intake.tsv", rows)


# canvas -------------------------------------------------------------------------------------------

NOW = datetime.datetime(2026, 11, 21, 4, 35, 1, 651532, tzinfo=datetime.timezone.utc)


def fresh_ids():
    """uuid() as a counter, which the test renames in what it made itself."""
    count = iter(range(1, 1000))
    return lambda: "fresh-%d" % next(count)


def sigs(*given):
    """Signatures of a task this worker does not have, so that nothing but the signature counts."""
    return [{"task": "capp.far", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False, **one} for one in given]


CANVASES = [
    ("1", {"callbacks": sigs({})}),
    ("null", {"callbacks": sigs({"args": [1, "\u00e9", 2.50, None], "kwargs": {"k": [1e300, {}]}})}),
    ('[1, "x"]', {"callbacks": sigs({"args": [9], "immutable": True})}),
    ("1", {"callbacks": sigs({"options": {"task_id": "cb-1", "reply_to": "me", "priority": 4}})}),
    ("1", {"callbacks": sigs({"options": {"queue": "other", "priority": 3, "shadow": "s", "ignore_result": True}})}),
    ("1", {"callbacks": sigs({"options": {"exchange": "ex", "routing_key": "rk"}})}),
    ("1", {"callbacks": sigs({"options": {"exchange": "ex"}})}),
    ("1", {"callbacks": sigs({"options": {"routing_key": "rk"}})}),
    ("1", {"callbacks": sigs({"options": {"queue": "other", "exchange": "ex", "routing_key": "rk", "exchange_type": "topic"}})}),
    ("1", {"callbacks": sigs({"options": {"countdown": 10, "expires": 60.5, "time_limit": 9, "soft_time_limit": 5.5, "delivery_mode": 1}})}),
    ("1", {"callbacks": sigs({"options": {"eta": "2026-11-21T04:35:11.500000+00:00", "expires": "2026-11-22T00:00:00+00:00"}})}),
    ("1", {"callbacks": sigs({"options": {"headers": {"tenant": "acme", "n": 1}, "retries": 2, "origin": "o", "argsrepr": "(...)",
                                          "kwargsrepr": "{...}", "replaced_task_nesting": 1}})}),
    ("1", {"callbacks": sigs({"options": {"stamped_headers": ["a"], "a": ["x"], "b": 1}})}),
    ("1", {"callbacks": sigs({"options": {"group_id": "own", "group_index": 3, "root_id": "other", "parent_id": "other"}})}),
    ("1", {"callbacks": sigs({"options": {"link": sigs({})[0], "link_error": sigs({}, {"args": [1]})}})}),
    ("1", {"callbacks": sigs({"options": {"link": None, "queue": None, "countdown": None, "priority": None}})}),
    ("1", {"callbacks": sigs({"args": [1]}, {"args": [2], "immutable": True}, {"options": {"task_id": "cb-3"}})}),
    ("1", {"callbacks": sigs({"options": {"group_id": "own", "group_index": 9}}, {"kwargs": {"a": 1}})}),
    ("3", {"chain": sigs({"args": [1], "options": {"task_id": "last"}}, {"args": [2], "options": {"task_id": "next", "reply_to": "me"}})}),
    ("3", {"chain": sigs({"options": {"task_id": "last", "chain": sigs({})}})}),
    ("3", {"callbacks": sigs({}), "chain": sigs({"options": {"task_id": "last"}})}),
    ("3", {"callbacks": sigs({}, {}), "chain": sigs({"immutable": True})}),
    (None, {"errbacks": sigs({})}),
    (None, {"errbacks": sigs({"args": ["own"], "kwargs": {"k": 1}, "options": {"queue": "errors"}}, {"immutable": True})}),
]


def record_canvas():
    """What a worker publishes behind a task, and which children it notes."""
    rows = []
    sent = []
    sender = mock.MagicMock()

    def note(body, exchange=None, routing_key=None, headers=None, delivery_mode=None, declare=None, priority=0, reply_to=None,
             correlation_id=None, expiration=None, **more):
        sent.append({"headers": dict(headers), "body": kombu_json.dumps(body), "exchange": exchange, "routing_key": routing_key,
                     "delivery_mode": delivery_mode or 2, "queue": declare[0].name, "priority": priority, "reply_to": reply_to,
                     "correlation_id": correlation_id, "expires_ms": expiration and int(expiration * 1000)})

    sender.publish = note
    task = app.tasks["capp.add"]
    for result, embed in CANVASES:
        embed = json.loads(json.dumps(embed))
        del sent[:]
        context = Context(id="t-1", root_id="r-1", args=[], kwargs={}, children=[], delivery_info={}, **embed)
        ids = fresh_ids()
        task.push_request(**context.__dict__)
        with mock.patch("celery.canvas.uuid", ids), mock.patch("celery.app.base.uuid", ids), \
                mock.patch.object(app, "now", lambda: NOW), mock.patch.object(app.amqp, "_event_dispatcher", None), \
                mock.patch.object(type(app), "thread_oid", ""), mock.patch("celery.app.amqp.anon_nodename", lambda: "gen1@host"), \
                mock.patch.object(app, "producer_or_acquire", lambda producer=None: mock.MagicMock(__enter__=lambda s: sender)), \
                mock.patch.object(type(app), "current_worker_task", task), mock.patch.object(type(app), "producer_pool", mock.MagicMock()):
            if result is None:
                app.backend._call_task_errbacks(context, ValueError("x"), None)
            else:
                dispatch(task, json.loads(result), embed)
        children = [child.as_tuple() for child in task.request.children or ()] if result is not None else []
        task.pop_request()
        rows.append((result or "", json.dumps(embed), json.dumps(sent), json.dumps(children)))
    write("canvas/sent.tsv", rows)


def dispatch(task, result, embed):
    """As celery.app.trace, _dispatch_callbacks_and_chain, which is a closure there."""
    from celery import group, signature
    more = {"parent_id": "t-1", "root_id": "r-1", "priority": None}
    callbacks, chain = embed.get("callbacks"), embed.get("chain")
    if callbacks and len(callbacks) > 1:
        group([signature(one, app=app) for one in callbacks], app=app).apply_async((result,), **more)
    elif callbacks:
        signature(callbacks[0], app=app).apply_async((result,), **more)
    if chain:
        signature(chain[-1], app=app).apply_async((result,), chain=chain[:-1], **more)


# result -------------------------------------------------------------------------------------------

def record_result():
    backend = app.backend
    when = datetime.datetime(2026, 11, 21, 4, 35, 54, 664825, tzinfo=datetime.timezone.utc)
    rows = []

    def record(name, result, state, traceback=None, extended=False, **request):
        app.conf.result_extended = extended
        with mock.patch.object(app, "now", lambda: when):
            meta = backend._get_result_meta(result, state, traceback, Context(request) if request else None)
        meta["task_id"] = "t-1"
        rows.append((name, backend.encode(meta)))

    base = {"id": "t-1", "task": "capp.add", "children": []}
    record("success", 3, "SUCCESS", **base)
    record("started", {"pid": 1532, "hostname": "w2@h"}, "STARTED", **base)
    record("retry", backend.prepare_exception(KeyError("again")), "RETRY", "Traceback (most recent call last):\n x\n", **base)
    record("failure", backend.prepare_exception(ValueError("caf\u00e9", 1, None)), "FAILURE", "Tr\n", **base)
    record("revoked", backend.prepare_exception(celery.exceptions.TaskRevokedError("expired")), "REVOKED", **base)
    record("ids", None, "SUCCESS", group="g-1", parent_id="p-1", **base)
    record("extended", None, "SUCCESS", extended=True, args=[1], kwargs={"k": "v"}, hostname="w@h", retries=2,
           delivery_info={"routing_key": "celery"}, stamped_headers=["st"], stamps={"st": "abc", "other": 1}, **base)
    record("extended_bare", None, "SUCCESS", extended=True, args=[], kwargs={}, hostname="w@h", delivery_info={}, **base)
    when = when.replace(microsecond=0, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    record("offset", None, "FAILURE", **base)
    app.conf.result_extended = False
    write("result/record.tsv", rows)


# topic --------------------------------------------------------------------------------------------

TOPIC_BINDINGS = """#|r.#|a.*.c|a-b.c_d||worker.heartbeat|*|*.*|#.x.#|a|a*|a*.b|a.b*c|a#|#a.b|..|a..b|.|#.|.#|*.|a.#.*|*.#
task.#|worker.#|é*|é.*|a b|a\nb|a+b(c)[d]{e}^f$|a\\b|a/b:c@d|1.2.3|*.orange.*|lazy.#|a.*.*.z|x.*a|b.-*""".split("|")
TOPIC_BINDINGS = [key for line in TOPIC_BINDINGS for key in line.split("\n")]
TOPIC_KEYS = """|a|aa|aaa|ab|a.b|a.b.c|a.b.b.c|a..c|.|..|a.|.a|r|r.|r.x|r.x.y|q.x|worker.heartbeat|worker.|task|tasks.x|é|éé|é.é
x|a.x.b|x.a|.x.|a.x.|quick.orange.rabbit|lazy.orange.male.rabbit|orange|lazy|a b|a-b.c_d|a+b(c)[d]{e}^f$|a\\b|a/b:c@d
1.2.3|1x2x3|a.1.2.z|a.1.z|b|b.-|b.--|a.bbc|a.bc|a.c|xa|x.ba|a#|#a.b""".replace("\n", "|").split("|") + ["a\n", "a\nb", "a.b\n"]


def record_topic():
    topic = TopicExchange(None)
    write("topic/pattern.tsv", [(key, topic.key_to_pattern(key)) for key in TOPIC_BINDINGS])
    rows = []
    # The last one is kombu's before 5.7.
    for topic.wildcards in (TopicExchange.wildcards, {"*": r".*?[^\.]", "#": r".*?"}):
        for binding in TOPIC_BINDINGS:
            pattern = topic.key_to_pattern(binding)
            rows += [(pattern, key, outcome(lambda: str(bool(topic._match(pattern, key))))) for key in TOPIC_KEYS]
    write("topic/match.tsv", [row for i, row in enumerate(rows) if row not in rows[:i]])


if __name__ == "__main__":
    assert isinstance(sys.modules["celery"], types.ModuleType) and celery.__version__ == "5.7.0", "celery 5.7.0 decides"
    record_pyjson()
    record_repr()
    record_params()
    record_messages()
    record_intake()
    record_canvas()
    record_result()
    record_topic()
