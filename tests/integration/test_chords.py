"""Chords on Redis, from the side of the tasks in their headers: tasks.md section 9, lines 135 to
148, 159 to 165, 177 and 178."""
import datetime
import json
import signal
import uuid

import pytest
from celery import chain, chord, group

from services.keeper import wait_until
from signatures import queue, sig  # noqa: F401 (fixtures)


@pytest.fixture
def keys(results):
    """keys(gid) are what is left of a chord: {".c": 299}: seconds to live."""
    def find(gid):
        start = f"celery-taskset-meta-{gid}"
        return {key.decode()[len(start):]: results.client.ttl(key)
                for key in results.client.keys(start + "*")}
    return find


def dependency(results, body, timeout=15):
    """What the body of a failed chord says: the part's id, and the exception it raised."""
    type_, args, module = results.error(body.id, timeout)
    assert (type_, module, len(args)) == ("ChordError", "celery.exceptions", 1)
    first, id, raised, text = args[0].split(" ", 3)
    assert (first, raised) == ("Dependency", "raised")
    return id, text


class TestBody:
    def test_results_come_in_order_and_the_keys_go(self, queue, worker, results, sig, keys):
        """T-135 T-137 T-139 T-140"""
        worker(settings={"result_chord_expires": 700})
        body = chord([sig("add", i, i) for i in range(500)])(sig("echo"))
        small = chord([sig("retry", 1, countdown=0.1), sig("ignored", {"é": [1.5, None]}),
                       sig("add", 2, 3)])(sig("echo"))
        one = chord([sig("noop")])(sig("echo"))
        assert body.get(timeout=30) == [2 * i for i in range(500)]
        assert small.get(timeout=10) == [1, {"é": [1.5, None]}, 5]
        assert one.get(timeout=10) == [None]
        assert results.record(small.parent.results[1].id) is None
        for result in (body, small, one):
            wait_until(lambda: list(keys(result.parent.id)) == [".c"], 5, "end")
            assert 290 < keys(result.parent.id)[".c"] <= 300
            assert results.client.get(f"celery-taskset-meta-{result.parent.id}.c") == b"done"
        record = results.record(body.id)
        assert record["parent_id"] in {part.id for part in body.parent.results}

    def test_the_body_is_sent_once_by_two_kinds_of_worker(self, queue, worker, results, sig):
        """T-136 T-161"""
        worker()
        worker(judge=True)
        bodies = [chord([sig("echo", [n, i]) for i in range(20)])(sig("echo").set(queue="later"))
                  for n in range(10)]
        found = [json.loads(queue.get("later", timeout=30).body)[0][0] for _ in bodies]
        assert sorted(found) == [[[n, i] for i in range(20)] for n in range(10)]
        assert queue.counts("later")[0] == 0

    def test_the_message_of_the_body(self, queue, worker, results, sig):
        """T-135 T-143"""
        worker()
        body = chord([sig("add", 1, 1), sig("add", 2, 2)], root_id="the-root")(
            sig("add", 10).set(queue="later"))
        message = queue.get("later")
        assert message.headers["id"] == body.id
        assert message.headers["group"] is None or message.headers["group"] == body.parent.id
        assert message.headers["parent_id"] in {part.id for part in body.parent.results}
        assert json.loads(message.body)[0] == [[2, 4], 10]

    def test_bodies_of_every_kind(self, queue, worker, results, sig):
        """T-143 T-144 T-146"""
        worker()
        header = [sig("add", 1, 1), chain(sig("add", 2, 2), sig("add", 3))]
        one = chord(header)(chain(sig("echo"), sig("echo")))
        many = chord(header)(group(sig("echo"), sig("echo", other=1)))
        more = chord(header)(chord([sig("echo"), sig("echo")], sig("echo")))
        among = (sig("add", 1, 1) | group(sig("add", 1), sig("add", 2)) | sig("echo")
                 | sig("echo")).delay()
        assert one.get(timeout=10) == [2, 7]
        assert many.get(timeout=10) == [[2, 7], [2, 7]]
        assert more.get(timeout=10) == [[2, 7], [2, 7]]
        assert among.get(timeout=10) == [3, 4]

    def test_where_a_chord_may_stand(self, queue, worker, results, sig):
        """T-145"""
        worker()
        bodies = [sig("echo").set(task_id=f"body{n}") for n in range(2)]
        links = [chord([sig("add", 1), sig("add", 2)], bodies[0]), chord([], bodies[1])]
        sig("add", 1, 1).apply_async(link=links)
        inner = chord([sig("add", 1, 1), sig("add", 2, 2)], sig("echo"))
        among = chord([sig("echo", 1), inner, sig("echo", 3)])(sig("echo"))
        assert results.value("body0") == [3, 4]
        assert results.value("body1") == []
        assert among.get(timeout=10) == [1, [2, 4], 3]

    def test_groups_in_the_header_stay_groups(self, queue, worker, results, sig):
        """In a list of its own each."""
        worker()
        boom = sig("raise_", "ValueError", "boom").set(immutable=True)
        body = chord([sig("add", 1, 1), sig("add", 2, 2) | group(sig("add", 1), sig("add", 2)),
                      sig("add", 3, 3)])(sig("echo"))
        failed = chord([sig("add", 2, 2) | group(sig("add", 1), boom)])(sig("echo"))
        assert body.get(timeout=10) == [2, [5, 6], 6]
        assert results.error(failed.id)[1] == ["Join error: ValueError('boom')"]


class TestParts:
    def test_one_that_is_delivered_twice_counts_once(self, queue, worker, results, sig, app):
        """T-159 T-160"""
        worker()
        gid, body = str(uuid.uuid4()), sig("echo")
        body.freeze()
        app.backend.set_chord_size(gid, 3)

        def send(id, index, value):
            sig("echo", value).apply_async(task_id=id, group_id=gid, group_index=index, chord=body)
        send("a", 0, "first")
        results.wait("a")
        send("a", 0, "second")
        send("b", 1, "b")
        send("c", 2, "c")
        assert results.value(body.id) == ["first", "b", "c"]
        send("c", 2, "again")
        send("d", 3, "late")
        results.wait("d")
        wait_until(lambda: len(results.client.keys(f"celery-taskset-meta-{gid}*")) == 1, 5, "end")

    def test_before_the_size(self, queue, worker, results, sig, app):
        """T-138"""
        worker()
        gid, body = str(uuid.uuid4()), sig("echo")
        body.freeze()
        for index in range(2):
            if index == 1:
                results.wait("part0")
                app.backend.set_chord_size(gid, 2)
            sig("echo", index).apply_async(task_id=f"part{index}", group_id=gid,
                                           group_index=index, chord=body)
        assert results.value(body.id) == [0, 1]

    @pytest.mark.deviates("Celery since 5.1 does not look for the size there")
    def test_from_clients_up_to_5_0(self, queue, worker, results, sig):
        """T-138"""
        worker()
        gid, body = str(uuid.uuid4()), sig("echo")
        body.freeze()
        for index in range(2):
            sig("echo", index).apply_async(group_id=gid, group_index=index,
                                           chord={**body, "chord_size": 2})
        assert results.value(body.id) == [0, 1]

    def test_the_same_chord_twice(self, queue, worker, results, sig):
        """T-162"""
        worker()
        for run in range(2):
            # Later than what Celery sends before the last part: the size.
            header = [sig("echo", n).set(task_id=f"part{n}", countdown=0.5) for n in (1, 2)]
            chord(header, sig("echo").set(task_id=f"body{run}"), task_id="the-chord").apply_async()
            assert results.value(f"body{run}") == [1, 2]

    def test_whose_worker_died_with_the_claim(self, queue, worker, results, sig, app):
        """T-163"""
        worker()
        gid, body = str(uuid.uuid4()), sig("echo")
        body.freeze()
        app.backend.set_chord_size(gid, 1)
        claim = f"celery-taskset-meta-{gid}.c"
        results.client.set(claim, "0123456789abcdef0123456789abcdef", ex=2)

        def send():
            sig("echo", 5).apply_async(task_id="part", group_id=gid, group_index=0, chord=body)
        send()
        results.wait("part")
        wait_until(lambda: results.client.get(claim) is None, 5, "end of the claim")
        assert results.record(body.id) is None
        send()
        assert results.value(body.id) == [5]

    def test_without_order(self, queue, worker, results, sig, app, keys):
        """T-148"""
        app.conf.result_backend_transport_options = {"result_chord_ordered": False}
        worker(settings={"result_backend_transport_options": {"result_chord_ordered": False},
                         "result_compression": "gzip"})
        body = chord([sig("add", i, 0) for i in range(10)])(sig("echo"))
        assert sorted(body.get(timeout=10)) == list(range(10))
        wait_until(lambda: list(keys(body.parent.id)) == [".c"], 5, "end")

    def test_time_to_live(self, queue, worker, results, sig, app, keys):
        """T-165"""
        worker(settings={"result_chord_expires": 700})
        gid, body = str(uuid.uuid4()), sig("echo")
        app.backend.set_chord_size(gid, 2)
        sig("echo", 5).apply_async(task_id="part", group_id=gid, group_index=7, chord=body)
        wait_until(lambda: ".j" in keys(gid), 5, "part")
        assert {name: 690 < ttl <= 700 for name, ttl in keys(gid).items()} == {
            ".j": True, ".s": True, ".d": True}
        members = results.client.zrange(f"celery-taskset-meta-{gid}.j", 0, -1, withscores=True)
        assert members == [(b'[1, "part", "SUCCESS", 5]', 7.0)]


class TestErrors:
    def test_of_a_part(self, queue, worker, results, sig, keys):
        """T-141 T-164"""
        worker()
        body = chord([sig("add", 1, 1), sig("raise_args", "ValueError", ["boom", 42]),
                      sig("raise_", "KeyError", "second"), sig("add", 2, 2)])(
                          sig("echo").on_error(sig("echo", other=7).set(queue="errors")))
        parts = [part.id for part in body.parent.results]
        assert dependency(results, body) == (parts[1], "ValueError('boom', 42)")
        assert all(results.record(id)["status"] in ("SUCCESS", "FAILURE") for id in parts)
        record = results.record(body.id)
        assert "group_id" not in record and "ValueError" in record["traceback"]
        message = queue.get("errors")
        assert json.loads(message.body)[:2] == [[body.id], {"other": 7}]
        assert message.headers["parent_id"] == message.headers["root_id"] == body.id
        wait_until(lambda: ".s" not in keys(body.parent.id), 5, "end")
        assert ".j" in keys(body.parent.id)

    @pytest.mark.prefork
    def test_of_parts_that_end_otherwise(self, queue, worker, results, sig, app):
        """T-142"""
        one = worker(concurrency=4)
        past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        long_ago = chord([sig("echo", 1).set(expires=past)])(sig("echo"))
        killed = chord([sig("crash", int(signal.SIGKILL))])(sig("echo"))
        slow = chord([sig("sleep", 30).set(time_limit=0.5)])(sig("echo"))
        revoked = chord([sig("echo", 1).set(countdown=2)])(sig("echo"))
        cut = chord([sig("sleep", 30)])(sig("echo"))
        ids = {result: result.parent.results[0].id
               for result in (long_ago, killed, slow, revoked, cut)}
        app.control.revoke(ids[revoked])
        wait_until(lambda: any(t["id"] == ids[cut] for t in next(iter(
            app.control.inspect().active().values()))), 10, "run")
        app.control.revoke(ids[cut], terminate=True)
        texts = {}
        for result, id in ids.items():
            found, texts[result] = dependency(results, result)
            assert found == id
        assert texts[long_ago] == "TaskRevokedError('expired')"
        assert texts[revoked] == "TaskRevokedError('revoked')"
        assert texts[cut] == "TaskRevokedError('terminated')"
        assert texts[slow].startswith("TimeLimitExceeded(0.5")
        assert texts[killed].startswith("WorkerLostError(")
        assert one.is_alive()

    def test_go_on_to_what_follows(self, queue, worker, results, sig):
        """T-147 T-177"""
        worker()
        boom = sig("raise_", "ValueError", "boom").set(immutable=True)
        first = (sig("add", 1, 1) | group(sig("add", 1), boom) | sig("echo") | sig("echo")
                 | group(sig("echo"), sig("echo")) | sig("echo")).delay()
        type_, args, _ = results.error(first.id)
        assert type_ == "ChordError" and "raised ValueError('boom')" in args[0]
        before = (boom | group(sig("add", 1), sig("add", 1)) | sig("echo")).delay()
        assert results.error(before.id)[:2] == ("ValueError", ["boom"])

    def test_of_a_group_body(self, queue, worker, results, sig):
        """T-178"""
        worker()
        members = [sig("echo").on_error(sig("echo", other=n).set(queue="errors")) for n in range(2)]
        body = chord([sig("raise_", "ValueError", "boom"), sig("echo", 1)])(group(members))
        for member in body.results:
            assert results.error(member.id)[:2] == ("ValueError", ["boom"])
        calls = sorted(json.loads(queue.get("errors").body)[:2] for _ in range(2))
        assert calls == sorted([[member.id], {"other": n}]
                               for n, member in enumerate(body.results))
        assert queue.counts("errors")[0] == 0

    @pytest.mark.deviates("in Celery the outer chord waits for ever")
    def test_of_a_chord_in_a_chord(self, queue, worker, results, sig):
        """The outer one fails."""
        worker()
        inner = chord([sig("raise_", "ValueError", "boom"), sig("echo", 1)], sig("echo"))
        outer = chord([sig("echo", 1), inner])(sig("echo"))
        type_, args, _ = results.error(outer.id)
        assert type_ == "ChordError" and "raised ChordError(" in args[0]
