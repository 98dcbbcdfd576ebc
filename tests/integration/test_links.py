"""Links, chains and errbacks of single tasks: tasks.md section 9, lines 120 to 133, 154 and 172."""
import datetime
import json
import signal

import pytest
from celery import chain, chord, group

import messages
from messages import new_id
from services.keeper import wait_until
from signatures import queue, sig  # noqa: F401 (fixtures)


def embed_of(message):
    return json.loads(message.body)[2]


class TestLinks:
    def test_a_link_gets_the_result_first(self, queue, worker, results, sig):
        """T-120"""
        worker()
        link = sig("add", 10)
        after = link.freeze()
        sent = sig("add", 1, 2).apply_async(link=link)
        assert results.value(after.id) == 13
        assert results.value(sent.id) == 3

    def test_an_immutable_link_gets_nothing(self, queue, worker, results, sig):
        """T-120"""
        worker()
        link = sig("add", 5, 6).set(immutable=True)
        after = link.freeze()
        sig("add", 1, 2).apply_async(link=link)
        assert results.value(after.id) == 11

    def test_any_result_arrives_as_it_was(self, queue, worker, results, sig):
        """T-120"""
        worker()
        value = {"text": "Zażółć 😀 \"'", "list": [1, 2.5, None, True, 10 ** 30], "when":
                 datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)}
        link = sig("echo", other=[1.5])
        after = link.freeze()
        sent = sig("echo", value).apply_async(link=link)
        assert after.get(timeout=15) == value == sent.get(timeout=15)

    def test_ids_of_a_link(self, queue, worker, results, sig):
        """T-122 T-154"""
        worker()
        link = sig("add", 10).set(queue="later")
        sent = sig("add", 1, 2).apply_async(link=link, root_id="the-root", parent_id="the-parent")
        record = results.wait(sent.id)
        message = queue.get("later")
        headers = message.headers
        assert record["children"] == [[[headers["id"], None], None]]
        assert record["parent_id"] == "the-parent"
        assert headers["parent_id"] == sent.id and headers["root_id"] == "the-root"
        assert headers["group"] is None and headers["group_index"] is None
        assert message.properties["correlation_id"] == headers["id"]

    def test_two_links_arrive_as_one_group(self, queue, worker, results, sig):
        """T-121 T-122 T-109"""
        worker()
        links = [sig("add", 10).set(queue="later"), sig("noop").set(queue="later", immutable=True)]
        sent = sig("add", 1, 2).apply_async(link=links)
        record = results.wait(sent.id)
        first, second = queue.get("later"), queue.get("later")
        gid = first.headers["group"]
        assert gid and gid == second.headers["group"]
        assert [m.headers["group_index"] for m in (first, second)] == [0, 1]
        assert [json.loads(m.body)[0] for m in (first, second)] == [[3, 10], []]
        assert record["children"] == [[[gid, None], [[[m.headers["id"], None], None]
                                                     for m in (first, second)]]]

    def test_the_options_of_a_link_count(self, queue, worker, results, sig):
        """T-123"""
        worker()
        link = sig("echo").set(queue="later", countdown=60, expires=120, priority=5, time_limit=9,
                               soft_time_limit=7, headers={"tenant": "acme"}, shadow="shady",
                               reply_to="me", ignore_result=True)
        link.stamp(visitor=None, mark="x1")
        sig("add", 1, 2).apply_async(link=link)
        message = queue.get("later")
        headers = message.headers
        for name, seconds in (("eta", 60), ("expires", 120)):
            at = datetime.datetime.fromisoformat(headers[name])
            left = (at - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
            assert seconds - 15 < left <= seconds, name
        assert 100000 < int(message.properties["expiration"]) <= 120000
        assert message.properties["priority"] == 5
        assert headers["timelimit"] == [9, 7]
        assert headers["tenant"] == "acme" and headers["shadow"] == "shady"
        assert message.properties["reply_to"] == "me"
        assert headers["ignore_result"] is True
        assert headers["stamps"]["mark"] and "mark" in headers["stamped_headers"]

    def test_nothing_of_the_task_leaks_into_its_link(self, queue, worker, results, sig):
        """T-152"""
        worker()
        parent = sig("add", 1, 2)
        parent.stamp(visitor=None, mark="x1")
        link = sig("echo").set(queue="later")
        parent.apply_async(link=link, priority=7, expires=60, time_limit=50, shadow="shady",
                           headers={"tenant": "acme"})
        message = queue.get("later")
        headers = message.headers
        assert headers["stamps"] == {} and not headers["stamped_headers"]
        assert headers["expires"] is None and headers["timelimit"] == [None, None]
        assert headers["shadow"] is None and "tenant" not in headers
        assert not message.properties.get("priority")
        assert "expiration" not in message.properties

    @pytest.mark.deviates("Celery knows no secret parameters and shows them")
    def test_a_link_does_not_show_secret_arguments(self, queue, worker, results, sig):
        worker()
        sig("echo", "s3cret").apply_async(link=sig("retry_secret").set(queue="later"))
        message = queue.get("later")
        assert json.loads(message.body)[0] == ["s3cret"]
        assert (message.headers["argsrepr"], message.headers["kwargsrepr"]) == ("***", "***")
        chain(sig("echo", "s3cret"), sig("retry_secret").set(queue="later")).apply_async()
        assert queue.get("later").headers["argsrepr"] == "***"

    def test_a_link_is_a_well_formed_message(self, queue, worker, sig):
        """T-155 T-158"""
        worker()
        link = sig("add", y=[1, "two", {"k": None}]).set(queue="later")
        sig("add", 1, 2).apply_async(link=link)
        message = queue.get("later")
        assert set(messages.headers("x", "y")) == set(message.headers)
        assert message.headers["argsrepr"] == "(3,)"
        assert message.headers["kwargsrepr"] == "{'y': [1, 'two', {'k': None}]}"
        assert message.headers["origin"].startswith("gen")
        assert message.body == json.dumps([[3], {"y": [1, "two", {"k": None}]}, messages.EMBED])
        assert message.properties["content_type"] == "application/json"
        assert message.properties["delivery_mode"] == 2

    def test_a_link_of_a_link_goes_along(self, queue, worker, results, sig):
        """T-120"""
        worker()
        last = sig("add", 100)
        after = last.freeze()
        middle = sig("add", 10)
        middle.link(last)
        sig("add", 1, 2).apply_async(link=middle)
        assert results.value(after.id) == 113

    def test_a_link_of_an_ignored_result_runs(self, queue, worker, results, sig):
        """T-120"""
        worker()
        link = sig("add", 10)
        after = link.freeze()
        sig("ignored", 3).apply_async(link=link)
        assert results.value(after.id) == 13

    def test_a_failed_task_calls_no_link(self, queue, worker, results, sig):
        """T-120"""
        worker()
        sent = sig("raise_", "ValueError", "x").apply_async(
            link=sig("noop").set(queue="later", immutable=True))
        assert results.error(sent.id)[0] == "ValueError"
        queue.wait_empty()
        assert queue.peek("later") is None

    def test_the_queue_of_a_link_is_declared(self, queue, worker, results, sig):
        """T-123"""
        worker()
        sent = sig("add", 1, 2).apply_async(link=sig("echo").set(queue="fresh"))
        assert results.value(sent.id) == 3
        assert json.loads(queue.get("fresh").body)[0] == [3]
        queue.declare("fresh")  # the same arguments

    @pytest.mark.parametrize("options,is_later", [
        ({"exchange": "later", "routing_key": "later"}, True),
        ({"queue": "later", "routing_key": "elsewhere"}, True),
        ({"exchange": "later"}, False), ({"routing_key": "later"}, False)])
    def test_a_link_is_routed_as_celery_routes(self, queue, worker, results, sig, options,
                                               is_later):
        """T-123"""
        worker()
        link = sig("add", 10).set(**options)
        after = link.freeze()
        sig("add", 1, 2).apply_async(link=link)
        if is_later:
            assert queue.get("later").headers["id"] == after.id
        else:
            assert results.value(after.id) == 13

    def test_a_link_goes_to_the_default_queue_of_the_worker(self, queue, worker, results, sig):
        """T-123"""
        queue.declare("mine")
        worker(queues="mine,celery")
        link = sig("add", 10)
        after = link.freeze()
        sig("add", 1, 2).apply_async(link=link, queue="mine")
        assert results.value(after.id) == 13

    @pytest.mark.smallage_only("Celery publishes without confirms by default")
    def test_a_link_is_confirmed_before_its_task_is_acked(self, queue, worker, results, sig):
        """T-172"""
        worker(concurrency=2, settings={"task_acks_late": True})
        links = [sig("add", 10) for _ in range(50)]
        afters = [link.freeze().id for link in links]
        for link in links:
            sig("add", 1, 2).apply_async(link=link)
        queue.server_closes()
        assert {r["result"] for r in results.wait_all(afters, 60).values()} == {13}

    @pytest.mark.brokers("rabbitmq", why="it can refuse single messages")
    def test_a_link_the_broker_refuses_fails_the_task(self, queue, worker, results, sig):
        """T-172"""
        queue.declare("full")
        queue.rabbit.api("PUT", f"/policies/{queue.vhost}/full", {
            "pattern": "^full$", "apply-to": "queues",
            "definition": {"max-length": 1, "overflow": "reject-publish"}})
        queue.publish("x", queue="full")

        def is_full():
            try:
                queue.publish("x", queue="full")
                return False
            except Exception:  # nacked
                return True
        wait_until(is_full, 10, "a full queue")
        one = worker(settings={"broker_transport_options": {"confirm_publish": True},
                               "task_acks_late": True})
        sent = sig("add", 1, 2).apply_async(link=sig("echo").set(queue="full"))
        kind, _, module = results.error(sent.id)
        assert kind == "OperationalError" and module == "kombu.exceptions"
        one.wait_log("Retrying refused callback publish", count=3)
        queue.wait_empty()
        assert results.value(sig("add", 1, 2).apply_async().id) == 3


class TestChains:
    def test_three_steps(self, queue, worker, results, sig):
        """T-125 T-126"""
        worker()
        last = chain(sig("add", 1, 2), sig("add", 10), sig("add", 100)).apply_async()
        assert last.get(timeout=15) == 113
        middle, first = last.parent, last.parent.parent
        assert results.value(middle.id) == 13 and results.value(first.id) == 3
        assert results.record(first.id)["children"] == [[[middle.id, None], None]]
        assert results.record(middle.id)["children"] == [[[last.id, None], None]]
        assert results.record(middle.id)["parent_id"] == first.id
        assert results.record(last.id)["parent_id"] == middle.id

    def test_the_chain_shrinks_from_its_end(self, queue, worker, results, sig):
        """T-125 T-126"""
        worker()
        steps = chain(sig("add", 1, 2), sig("add", 10), sig("add", 100).set(queue="later"))
        last = steps.apply_async()
        message = queue.get("later")
        first, middle = last.parent.parent.id, last.parent.id
        assert message.headers["id"] == last.id
        assert message.headers["root_id"] == first
        assert message.headers["parent_id"] == middle
        assert embed_of(message)["chain"] == []
        assert json.loads(message.body)[0] == [13, 100]
        assert message.properties["reply_to"]

    def test_the_rest_of_the_chain_goes_along_as_it_came(self, queue, worker, sig):
        """T-125"""
        worker()
        rest = [dict(sig("echo", "é", k=1.0)), dict(sig("echo").set(queue="later"))]
        rest = json.loads(json.dumps(rest))
        queue.send("add", (1, 2), embed={**messages.EMBED, "chain": rest})
        assert embed_of(queue.get("later"))["chain"] == rest[:1]

    def test_an_immutable_step(self, queue, worker, sig):
        """T-127"""
        worker()
        last = chain(sig("add", 1, 2), sig("add", 3, 4).set(immutable=True),
                     sig("add", 100)).apply_async()
        assert last.get(timeout=15) == 107

    def test_links_go_before_the_next_step(self, queue, worker, results, sig):
        """T-122"""
        worker()
        first = sig("add", 1, 2)
        first.link(sig("echo").set(queue="later"))
        last = chain(first, sig("echo").set(queue="later")).apply_async()
        link, step = queue.get("later"), queue.get("later")
        assert step.headers["id"] == last.id
        assert results.wait(last.parent.id)["children"] == [
            [[link.headers["id"], None], None], [[last.id, None], None]]

    def test_a_failure_in_the_middle_fails_the_rest(self, queue, worker, results, sig):
        """T-128"""
        worker()
        steps = chain(sig("add", 1, 2), sig("raise_", "ValueError", "boom").set(immutable=True),
                      sig("add", 10), sig("add", 100))
        steps.tasks[1].link_error(sig("echo").set(queue="errors"))
        last = steps.apply_async()
        with pytest.raises(ValueError, match="boom"):
            last.get(timeout=15)
        failed = last.parent.parent
        records = [results.wait(r.id) for r in (failed, last.parent, last)]
        assert [r["status"] for r in records] == ["FAILURE"] * 3
        assert records[0]["result"] == records[1]["result"] == records[2]["result"]
        assert records[0]["traceback"] == records[2]["traceback"]
        assert records[2]["date_done"] and records[2]["children"] == []
        assert results.value(failed.parent.id) == 3
        assert json.loads(queue.get("errors").body)[0] == [failed.id]
        queue.wait_empty()
        assert queue.peek("errors") is None

    def test_a_step_of_a_group_fails_with_its_group(self, queue, worker, results, sig):
        """T-128"""
        worker()
        last = new_id()
        step = {**dict(sig("echo")), "options": {"task_id": last, "group_id": "gid"}}
        id = queue.send("raise_", ("KeyError", "k"), embed={**messages.EMBED, "chain": [step]})
        assert results.error(last) == results.error(id)
        assert results.record(last)["group_id"] == "gid"

    def test_an_expired_step_fails_nobody(self, queue, worker, results, sig):
        """T-129 T-133"""
        worker()
        last, step = new_id(), dict(sig("echo").set(queue="later"))
        step["options"]["task_id"] = last
        id = queue.send("add", (1, 2), expires=messages.now(-5), embed={
            **messages.EMBED, "chain": [step], "errbacks": [step], "callbacks": [step]})
        assert results.wait(id)["status"] == "REVOKED"
        queue.wait_empty()
        assert queue.peek("later") is None and results.record(last) is None

    def test_a_step_may_run_elsewhere(self, queue, worker, results, sig):
        """T-155"""
        worker()
        queue.declare("python")
        worker(judge=True, queues="python", concurrency=1)
        last = chain(sig("add", 1, 2), sig("add", 10).set(queue="python"),
                     sig("add", 100)).apply_async()
        assert last.get(timeout=30) == 113
        assert results.value(last.parent.id) == 13

    def test_a_chain_on_one_queue_with_a_python_worker(self, queue, worker, results, sig):
        """T-155"""
        worker(concurrency=1)
        worker(judge=True, concurrency=1)
        lasts = [chain(*[sig("add", 1, 2)] + [sig("add", 1)] * 7).apply_async() for _ in range(10)]
        assert {r["result"] for r in results.wait_all([r.id for r in lasts]).values()} == {10}

    def test_a_late_ack_chain_survives_lost_connections(self, queue, worker, results, sig):
        """T-125"""
        worker(settings={"task_acks_late": True})
        lasts = [chain(*[sig("add", 1, 2)] + [sig("add", 1)] * 5).apply_async() for _ in range(20)]
        queue.server_closes()
        assert {r["result"] for r in results.wait_all([r.id for r in lasts], 60).values()} == {8}


class TestGroups:
    def test_a_group_of_plain_tasks(self, queue, worker, results, sig):
        """T-134"""
        worker()
        sent = group(sig("add", i, i) for i in range(8)).apply_async()
        assert sent.get(timeout=15) == [2 * i for i in range(8)]
        assert {results.record(r.id)["group_id"] for r in sent.results} == {sent.id}


class TestErrbacks:
    def errback(self, queue, results, sent):
        assert results.wait(sent.id)["status"] == "FAILURE"
        message = queue.get("errors")
        assert json.loads(message.body)[0] == [sent.id]
        return message

    def test_old_style(self, queue, worker, results, sig):
        """T-130 T-132"""
        worker()
        sent = sig("raise_", "ValueError", "x").apply_async(
            root_id="the-root", link_error=[sig("add", "own").set(queue="errors"),
                                            sig("nobody.knows").set(queue="errors")])
        assert results.wait(sent.id)["status"] == "FAILURE"
        first, second = queue.get("errors"), queue.get("errors")
        assert json.loads(first.body)[:2] == [[sent.id, "own"], {}]
        assert second.headers["task"] == "testtasks.nobody.knows"
        assert json.loads(second.body)[0] == [sent.id]
        for index, message in enumerate((first, second)):
            assert message.headers["parent_id"] == sent.id
            assert message.headers["root_id"] == "the-root"
            assert message.headers["group"] == first.headers["group"] != None
            assert message.headers["group_index"] == index
        assert results.record(sent.id)["children"] == []

    def test_immutable(self, queue, worker, results, sig):
        """T-131"""
        worker()
        errback = sig("echo", 7).set(immutable=True)
        after = errback.freeze()
        sig("raise_", "ValueError", "x").apply_async(link_error=errback)
        assert results.value(after.id) == 7

    def test_the_failure_is_stored_before_the_errback_runs(self, queue, worker, results, sig):
        """T-130"""
        worker(concurrency=2)
        for _ in range(20):
            errback = sig("echo")
            after = errback.freeze()
            sent = sig("raise_", "ValueError", "x").apply_async(link_error=errback)
            assert results.value(after.id) == sent.id
            assert results.record(sent.id)["status"] == "FAILURE"

    def test_after_the_last_retry(self, queue, worker, results, sig):
        """T-133"""
        worker()
        sent = sig("retry_limited", 0).apply_async(link_error=sig("echo").set(queue="errors"))
        self.errback(queue, results, sent)
        assert queue.peek("errors") is None

    @pytest.mark.deviates("Celery's prefork pool calls them twice")
    def test_on_the_hard_limit_once(self, queue, worker, results, sig):
        """T-77 T-133"""
        worker()
        sent = sig("sleep", 30).apply_async(time_limit=1,
                                            link_error=sig("echo").set(queue="errors"))
        self.errback(queue, results, sent)
        assert results.error(sent.id)[0] == "TimeLimitExceeded"
        results.value(sig("add", 1, 2).apply_async().id)
        assert queue.peek("errors") is None

    def test_on_a_lost_process(self, queue, worker, results, sig):
        """T-133 T-128"""
        worker()
        last = chain(sig("crash", int(signal.SIGKILL)), sig("echo"))
        last.tasks[0].link_error(sig("echo").set(queue="errors"))
        last = last.apply_async()
        self.errback(queue, results, last.parent)
        assert results.error(last.id)[0] == "WorkerLostError"

    @pytest.mark.parametrize("name", ["reject", "early_reject"])
    def test_on_a_reject_for_good(self, queue, worker, results, sig, name):
        """T-61"""
        worker()
        first = sig(name).set(link_error=sig("echo").set(queue="errors"))
        last = chain(first, sig("echo")).apply_async()
        self.errback(queue, results, last.parent)
        assert results.error(last.id)[0] == "Reject"
        queue.wait_empty()

    def test_not_on_ignore_or_a_requeue(self, queue, worker, results, sig):
        """T-133"""
        worker(concurrency=1)
        errback = sig("echo").set(queue="errors")
        sig("ignore").apply_async(link_error=errback)
        sig("early_reject", True).apply_async(link_error=errback)
        results.value(sig("add", 1, 2).apply_async().id)
        queue.wait_empty()
        assert queue.peek("errors") is None

    @pytest.mark.brokers("rabbitmq", why="it can refuse single messages")
    def test_an_errback_nobody_can_send_does_not_stop_the_worker(self, queue, worker, results,
                                                                 sig):
        """T-172"""
        queue.channel.queue_declare("odd", durable=False, auto_delete=False)
        worker(settings={"task_acks_late": True})
        sent = sig("raise_", "ValueError", "x").apply_async(
            link_error=sig("echo").set(queue="odd"))
        assert results.error(sent.id)[0] == "ValueError"
        assert results.value(sig("add", 1, 2).apply_async().id) == 3
        queue.wait_empty()


@pytest.mark.smallage_only("this version reports no parts of chords; Celery runs the task first")
class TestRefused:
    @pytest.mark.parametrize("bad", [
        5, "x", [5], [{}], {"task": 5}, [{"task": "t", "args": 5}],
        [{"task": "t", "kwargs": []}], [{"task": "t", "options": {"countdown": "soon"}}],
        [{"task": "t", "options": {"eta": "soon"}}], [{"task": "t", "options": {"queue": {}}}]])
    @pytest.mark.parametrize("member", ["callbacks", "errbacks", "chain"])
    def test_what_cannot_be_read(self, queue, worker, results, member, bad):
        worker()
        id = queue.send("add", (1, 2), embed={**messages.EMBED, member: bad})
        if bad == 5:
            assert results.value(id) == 3
        else:
            assert results.error(id)[0] == "ValueError"
