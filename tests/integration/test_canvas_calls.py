"""What a worker makes of composed signatures, message by message: tasks.md section 9, lines 121, 124, 131, 153, 176 and 179."""
import datetime
import json

import pytest
from celery import chain, chord, group

from signatures import queue, sig  # noqa: F401 (fixtures)


def test_links_of_every_kind_run(queue, worker, results, sig):
    """T-121 T-124"""
    worker()
    members = group(sig("add", 10), sig("add", 20))
    steps = chain(sig("add", 100), sig("add", 1000))
    single = sig("add", 5)
    ids = [member.freeze().id for member in members.tasks] + [steps.freeze().id, single.freeze().id]
    sent = sig("add", 1, 2).apply_async(link=[steps, members, single])
    assert [results.value(id) for id in ids] == [13, 23, 1103, 8]
    record = results.wait(sent.id)
    # The group by itself and first, the other two in a group of their own.
    groups = [[child[0][0] for child in entry[1]] for entry in record["children"]]
    assert groups == [ids[:2], ids[2:]]
    # A chain is known there by its last step, with the one before it as its parent.
    assert record["children"][1][1][0][0][1] is not None


def test_a_chain_goes_on_in_a_group(queue, worker, results, sig):
    """T-124"""
    worker()
    steps = chain(sig("add", 1, 2), chain(sig("add", 10), group(sig("add", 100), sig("add", 200))))
    assert steps.apply_async().get(timeout=15) == [113, 213]


def test_a_group_as_errback(queue, worker, results, sig):
    """T-131"""
    worker()
    errbacks = [group(sig("add", "a").set(queue="later"), sig("echo", "b").set(queue="later", immutable=True)),
                sig("add", "c").set(queue="later")]
    sent = sig("raise_", "ValueError", "x").apply_async(link_error=errbacks)
    messages = [queue.get("later") for _ in range(3)]
    assert [json.loads(message.body)[0] for message in messages] == [[sent.id, "a"], ["b"], [sent.id, "c"]]
    assert {message.headers["parent_id"] for message in messages} == {sent.id}
    assert len({message.headers["group"] for message in messages}) == 1


@pytest.mark.parametrize("inherits", [False, True])
def test_a_priority_is_inherited_when_asked_for(queue, worker, results, sig, inherits):
    """T-153"""
    worker(settings={"task_inherit_parent_priority": inherits})
    sig("add", 1, 2).apply_async(link=sig("echo").set(queue="later"), priority=4)
    assert (queue.get("later").properties.get("priority") or 0) == (4 if inherits else 0)


def test_a_chord_of_a_link_delays_its_header(queue, worker, results, sig):
    """T-179"""
    worker()
    link = chord([sig("add", 1).set(queue="later"), sig("add", 2).set(queue="later")], sig("echo").set(queue="later"))
    link.set(countdown=60)
    sig("add", 1, 2).apply_async(link=link)
    for place in range(2):
        message = queue.get("later")
        eta = datetime.datetime.fromisoformat(message.headers["eta"])
        assert 45 < (eta - datetime.datetime.now(datetime.timezone.utc)).total_seconds() <= 60
        body = json.loads(message.body)[2]["chord"]
        assert "countdown" not in body["options"] and message.headers["group_index"] == place
        assert message.headers["group"] == body["options"]["group_id"]


def test_chords_behind_chords_in_a_chain(queue, worker, results, sig):
    """T-176 T-144"""
    worker()
    steps = chain(group(sig("add", 1, 1), sig("add", 2, 2)), sig("echo"), group(sig("echo"), sig("echo")), sig("echo"), sig("echo"))
    last = steps.apply_async()
    assert last.get(timeout=20) == [[2, 4], [2, 4]]
    # Every result stands under the id that the producer froze.
    seen = []
    while last:
        seen.append([child.get(timeout=5) for child in last.results] if hasattr(last, "results") else last.get(timeout=5))
        last = last.parent
    assert seen == [[[2, 4], [2, 4]], [[2, 4], [2, 4]], [[2, 4], [2, 4]], [2, 4], [2, 4]]
