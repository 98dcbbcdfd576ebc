#!/usr/bin/env python3
"""Records tests/golden/canvas/composed.tsv and polled.tsv (for backends that look for the end of a chord, by celery.chord_unlock):
tests/golden/record_canvas.py (celery 5.7.0). The form of the files is record.py's. Two arguments: how many compositions, where to.

Random compositions are published as a producer does and then lived through: each message ends somehow, and what a worker sends because
of that is one row. A row: what happened, what it needs besides, the task's headers, its embed, the messages, the chords they begin, the
children, and the records of what fails along.
"""
import json
import os
import random
import sys
from unittest import mock

import celery
from celery import chain, chord, group, signature
from celery.app.task import Context
from celery.exceptions import ChordError, Ignore
from celery.result import GroupResult
from celery.utils.saferepr import saferepr
from kombu.utils import json as kombu_json

from record import NOW, app, fresh_ids, write

COMPOSITIONS = 100
MAX_ROW = int(os.environ.get("MAX_ROW", 3000))
KINDS = ("success", "failure", "replace", "add", "body", "chordfail", "apply")

sent, chords, stored = [], [], []
groups, polled = {}, []
task = app.tasks["capp.add"] if "capp.add" in app.tasks else app.task(lambda *a: a, name="capp.add")


def note(body, exchange=None, routing_key=None, headers=None, delivery_mode=None, declare=None, priority=0, reply_to=None,
         correlation_id=None, expiration=None, **more):
    headers = dict(headers)
    body = json.loads(kombu_json.dumps(body))
    if headers["task"].startswith("celery."):  # registered there, so its own setting stands in for "not given"
        headers["ignore_result"] = headers["ignore_result"] or None
    if headers["task"] == "celery.chord_unlock":  # its kwarg is the type of a queue, which only the worker knows
        if "exchange_type" not in body[0][1]["options"]:
            body[1].pop("_chord_unlock_exchange_type", None)
        headers["kwargsrepr"] = saferepr(body[1])
    headers["argsrepr"] = saferepr(tuple(body[0]))
    sent.append({"headers": headers, "body": body, "queue": declare[0].name, "priority": priority, "reply_to": reply_to})


def save_group(header_result_args, body, **more):
    result = GroupResult(*header_result_args, app=app)
    if polled:
        app.backend.fallback_chord_unlock(result, body, **more)
    groups[result.id] = [json.loads(kombu_json.dumps(result.as_tuple())), any(isinstance(r, GroupResult) for r in result.results)]


def save_size(group_id, size):
    """Celery also writes a size for groups whose members report to another one: nobody reads it."""
    if group_id in groups and not polled:
        chords.append({"group_id": group_id, "size": size, "before": len(sent), "group": groups[group_id][0],
                       "keeps_group": groups[group_id][1]})


def save_result(task_id, result, state, **more):
    stored.append([task_id, "member" if isinstance(result, ValueError) else "step"])


class Living:
    """One workflow. `pending` are messages that wait for a worker."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pending, self.rows, self.parts = [], [], {}
        self.ids = fresh_ids()

    # compositions

    def options(self):
        pick = self.random.random
        return {name: value for name, value, chance in (
            ("queue", "other", .06), ("priority", 4, .04), ("countdown", 5, .04), ("time_limit", 9, .03), ("link", self.far(), .05),
            ("link_error", [self.far()], .07), ("headers", {"tenant": "acme"}, .02), ("ignore_result", True, .03),
            ("stamped_headers", ["st"], .04)) if pick() < chance}

    def far(self):
        sig = app.signature("capp.far%d" % self.random.randrange(10), args=[self.random.randrange(99)], immutable=self.random.random() < .15)
        return sig

    def leaf(self):
        sig = self.far()
        sig.set(**self.options())
        if "stamped_headers" in sig.options:
            sig.set(st=["x"])
        return sig

    def compose(self, depth):
        kind = self.random.choice(("leaf", "chain", "group", "chord", "chain")) if depth else "leaf"
        some = [self.compose(depth - 1) for _ in range(self.random.choice((1, 2, 2, 3)))] if kind != "leaf" else []
        if kind == "leaf":
            return self.leaf()
        if kind == "chain":
            made = chain(*some, self.compose(depth - 1))
        elif kind == "group":
            return group(some)
        else:
            made = chord(some, self.compose(depth - 1))
        if self.random.random() < .15:
            made.link(self.compose(min(1, depth - 1)))
        if self.random.random() < .15:
            made.link_error(self.far())
        return made

    # life

    def live(self):
        groups.clear()
        try:
            with patched(self.ids, None):
                sig = self.compose(3)
                extra = json.loads(kombu_json.dumps(sig))
                self.publish(lambda: signature(json.loads(json.dumps(extra)), app=app).apply_async() and None, "apply", extra)
        except Exception:  # Celery itself refuses it
            return []
        for _ in range(60):
            if not self.pending:
                break
            self.end(self.pending.pop(self.random.randrange(len(self.pending))))
        return self.rows

    def publish(self, call, kind, extra=None, message=None):
        del sent[:], chords[:], stored[:]
        children = call() or []
        self.pending += sent
        if kind:
            headers, embed = ({}, {}) if message is None else (message["headers"], message["body"][2])
            row = [kind, json.dumps(extra), json.dumps(headers), json.dumps(embed), json.dumps(sent), json.dumps(chords),
                   kombu_json.dumps(children), json.dumps(stored)]
            if sum(map(len, row)) < MAX_ROW and (sent or stored or kind == "replace"):
                self.rows.append(row)

    def context(self, message):
        headers = message["headers"]
        return Context(id=headers["id"], root_id=headers["root_id"], parent_id=headers["parent_id"], group=headers["group"],
                       group_index=headers["group_index"], replaced_task_nesting=headers["replaced_task_nesting"], args=[], kwargs={},
                       children=[], delivery_info={}, **message["body"][2])

    def inside(self, message, call):
        def run():
            context = self.context(message)
            task.push_request(**context.__dict__)
            try:
                with patched(self.ids, task):
                    call(context)
                return [child.as_tuple() for child in task.request.children or ()]
            finally:
                task.pop_request()
        return run

    def end(self, message):
        embed, roll = message["body"][2], self.random.random()
        if roll < .1:
            self.fail(message)
        elif roll < .2 and message["headers"]["replaced_task_nesting"] < 2:
            self.replace(message)
            return
        else:
            if embed["chord"] and roll < .25:
                self.add(message)
            result = self.random.randrange(1000)
            self.publish(self.inside(message, lambda context: dispatch(result, context)), "success", result, message)
        if embed["chord"]:
            self.part(message, roll < .1)

    def fail(self, message):
        def call(context):
            if context.errbacks:
                app.backend._call_task_errbacks(context, ValueError("x"), None)
            task.request.children[:] = []
            app.backend._fail_chain(context.chain, ChordError("x"))
        self.publish(self.inside(message, call), "failure", None, message)

    def replace(self, message):
        sig = self.compose(self.random.choice((0, 1, 2)))
        extra = json.loads(kombu_json.dumps(sig))

        def call(context):
            try:
                task.replace(signature(json.loads(json.dumps(extra)), app=app))
            except Ignore:
                task.request.children[:] = []
        before = len(self.pending)
        try:
            self.publish(self.inside(message, call), "replace", extra, message)
        except Exception:  # refused by Celery
            del self.pending[before:]

    def add(self, message):
        sig = self.leaf()
        sig.set(task_id="added-%d" % self.random.randrange(10**9))
        extra = json.loads(kombu_json.dumps(sig))
        self.parts.setdefault(message["headers"]["group"], [0, 0, False])[0] -= 1
        self.publish(self.inside(message, lambda context: task.add_to_chord(signature(json.loads(json.dumps(extra)), app=app))), "add",
                     extra, message)

    def part(self, message, failed):
        """As on_chord_part_return: counted by us."""
        gid = message["headers"]["group"]
        part = self.parts.setdefault(gid, [0, 0, False])
        part[0] += 1
        part[2] |= failed
        size = self.sizes().get(gid)
        if size is None or part[0] < size:
            return
        body = message["body"][2]["chord"]

        def call(context):
            callback = signature(json.loads(json.dumps(body)), app=app)
            if part[2]:
                try:
                    raise ChordError("x") from ValueError("x")
                except ChordError as error:
                    app.backend.chord_error_from_stack(callback, error)
            else:
                callback.delay([1, 2])
            task.request.children[:] = []
        if not part[2] or body["subtask_type"] != "chord":  # Celery does not look into the chord
            self.publish(self.inside(message, call), "chordfail" if part[2] else "body", body, message)

    def sizes(self):
        return {gid: len(tuples[0][1]) for gid, tuples in groups.items()}


def patched(ids, current):
    sender = mock.MagicMock()
    sender.publish = note
    patches = (
        mock.patch("celery.canvas.uuid", ids), mock.patch("celery.app.base.uuid", ids), mock.patch("kombu.utils.uuid.uuid", ids),
        mock.patch.object(app, "now", lambda: NOW), mock.patch.object(app.amqp, "_event_dispatcher", None),
        mock.patch.object(type(app), "thread_oid", ""), mock.patch("celery.app.amqp.anon_nodename", lambda: "gen1@host"),
        mock.patch.object(app, "producer_or_acquire", lambda producer=None: mock.MagicMock(__enter__=lambda s: sender)),
        mock.patch.object(type(app), "current_worker_task", current), mock.patch.object(type(app), "producer_pool", mock.MagicMock()),
        mock.patch.object(app.backend, "apply_chord", save_group), mock.patch.object(app.backend, "set_chord_size", save_size),
        mock.patch.object(app.backend, "add_to_chord", lambda *args: None), mock.patch.object(app.backend, "store_result", save_result),
        mock.patch.object(app.backend, "get_state", lambda id: "PENDING"), mock.patch.object(GroupResult, "revoke", lambda self: None),
        mock.patch.object(app.backend, "on_chord_part_return", lambda *args, **more: None))
    stack = __import__("contextlib").ExitStack()
    for patch in patches:
        stack.enter_context(patch)
    return stack


def dispatch(result, context):
    """As celery.app.trace, _dispatch_callbacks_and_chain, which is a closure there."""
    more = {"parent_id": context.id, "root_id": context.root_id or context.id, "priority": None}
    callbacks = [signature(one, app=app) for one in context.callbacks or ()]
    others = [one for one in callbacks if not isinstance(one, group)]
    if len(callbacks) > 1:
        for one in callbacks:
            if isinstance(one, group):
                one.apply_async((result,), **more)
        if others:
            group(others, app=app).apply_async((result,), **more)
    elif callbacks:
        callbacks[0].apply_async((result,), **more)
    if context.chain:
        signature(context.chain[-1], app=app).apply_async((result,), chain=context.chain[:-1], **more)


def record(path, compositions, kinds=KINDS):
    rows = [row for seed in range(compositions) for row in Living(seed).live() if row[0] in kinds]
    unique = list({json.dumps(row): row for row in rows}.values())
    write(path, unique)
    print(path, {kind: sum(row[0] == kind for row in unique) for kind in KINDS})


if __name__ == "__main__":
    assert celery.__version__ == "5.7.0", "celery 5.7.0 decides"
    if len(sys.argv) > 1:
        record(sys.argv[2], int(sys.argv[1]))
    else:
        record("canvas/composed.tsv", COMPOSITIONS)
        polled.append(True)
        record("canvas/polled.tsv", COMPOSITIONS // 4, ("apply", "replace"))
