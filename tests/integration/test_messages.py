"""Message intake and serialization: tasks.md section 9, lines 1 to 36 and 182."""
import json
import pickle
import time

import pytest

import messages
from messages import new_id

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def run(broker, worker):
    """A worker of one slot with the queue watched for rejects."""
    broker.declare()
    broker.watch_rejects()
    return worker(concurrency=1)


def works_on(broker, results, run):
    """The worker still takes a good message."""
    assert run.is_alive()
    assert results.value(broker.send("add", (20, 22))) == 42


def drops(broker, results, run, body, dead, headers=None, **properties):
    """Publishes, expects `dead` rejected messages and a worker that goes on."""
    broker.publish(body, headers, **properties)
    broker.wait_empty()
    works_on(broker, results, run)
    broker.dead(dead)


class TestProtocols:
    def test_a_message_with_all_19_headers_runs(self, broker, results, run):
        """T-1"""
        id = broker.send("add", (1,), {"y": 2})
        assert results.wait(id)["result"] == 3

    def test_a_message_of_a_5_7_client_runs(self, app, run):
        """T-1"""
        assert app.send_task("testtasks.add", (1, 2)).get(timeout=10) == 3

    def test_a_message_with_only_task_and_id_runs(self, broker, results, run):
        """T-2"""
        id = new_id()
        broker.publish(messages.body((3, 4)), {"task": "testtasks.add", "id": id},
                       content_type="application/json", content_encoding="utf-8")
        assert results.value(id) == 7

    def test_a_message_of_5_2_with_16_headers_runs(self, broker, results, run):
        """T-3"""
        id = new_id()
        headers = messages.headers("testtasks.add", id, (3, 4))
        for name in ("replaced_task_nesting", "stamped_headers", "stamps"):
            del headers[name]
        broker.publish(messages.body((3, 4)), headers, **messages.properties(id))
        assert results.value(id) == 7

    def test_a_version_1_message_runs(self, broker, results, run):
        """T-4"""
        id = new_id()
        body = {"task": "testtasks.add", "id": id, "args": [5], "kwargs": {"y": 6}, "group": None,
                "group_index": None, "retries": 0, "eta": None, "expires": None, "utc": True,
                "callbacks": None, "errbacks": None, "timelimit": [None, None], "taskset": None,
                "chord": None}
        broker.publish(json.dumps(body), **messages.properties(id))
        assert results.value(id) == 11

    def test_a_minimal_version_1_message_runs(self, broker, results, run):
        """T-4"""
        id = new_id()
        broker.publish(json.dumps({"task": "testtasks.add", "id": id, "args": [5, 7]}),
                       content_type="application/json", content_encoding="utf-8")
        assert results.value(id) == 12

    def test_in_a_hybrid_the_headers_win(self, broker, results, run):
        """T-5"""
        id = new_id()
        body = {"task": "testtasks.noop", "id": "other", "args": [1, 2], "kwargs": {}}
        broker.publish(json.dumps(body), messages.headers("testtasks.add", id),
                       **messages.properties(id))
        assert results.value(id) == 3
        assert results.record("other") is None

    def test_taskset_of_version_1_is_the_group(self, broker, results, run):
        """T-6 T-108"""
        id, group = new_id(), new_id()
        # Without `args`: a body with it is taken for a hybrid by Celery, which then forgets taskset.
        body = {"task": "testtasks.noop", "id": id, "taskset": group}
        broker.publish(json.dumps(body), **messages.properties(id))
        assert results.wait(id)["group_id"] == group

    @pytest.mark.parametrize("embed", [None, {}, messages.EMBED])
    def test_embed_may_be_null_empty_or_full(self, broker, results, run, embed):
        """T-7"""
        assert results.value(broker.send("add", (1, 2), embed=embed)) == 3

    @pytest.mark.brokers("rabbitmq", why="JSON has one kind of integers")
    @pytest.mark.parametrize("three", [b"b\x03", b"B\x03", b"s\x00\x03", b"u\x00\x03",
                                       b"I\x00\x00\x00\x03", b"i\x00\x00\x00\x03",
                                       b"L" + bytes(7) + b"\x03", b"l" + bytes(7) + b"\x03"],
                             ids=lambda raw: raw[:1].decode())
    def test_header_integers_of_any_width_are_taken(self, broker, results, run, three):
        """T-8"""
        id = new_id()
        table = messages.table(task="testtasks.retry", id=id, retries=three, group_index=three,
                               timelimit=b"V", stamps=b"V", parent_id=b"V")
        broker.publish(messages.body((3,)), table=table, **messages.properties(id))
        assert results.value(id) == 3

    def test_unknown_headers_are_custom_headers_of_the_task(self, broker, results, run):
        """T-9"""
        id = broker.send("header", ("tenant",), tenant="acme", n=5)
        assert results.value(id) == "acme"

    def test_another_lang_runs(self, broker, results, run):
        """T-27"""
        assert results.value(broker.send("add", (1, 2), lang="js")) == 3

    def test_a_message_of_beat_shows_its_header_to_the_task(self, broker, results, run):
        """T-182"""
        id = broker.send("header", ("celery_beat_task",), celery_beat_task=True)
        assert results.value(id) is True


class TestDropped:
    @pytest.mark.parametrize("body", ["[[], {}, {}]", '{"args": []}', "[]", "{}", "3"])
    def test_no_headers_and_no_task_in_the_body_is_rejected(self, broker, results, run, body):
        """T-10"""
        drops(broker, results, run, body, 1, **messages.properties(new_id()))
        run.wait_log("unknown message")

    @pytest.mark.parametrize("body", ["{", "[1, 2", "\x00\x01", "nul"])
    def test_invalid_json_is_acked_and_logged(self, broker, results, run, body):
        """T-11"""
        id = new_id()
        drops(broker, results, run, body, 0, messages.headers("testtasks.add", id),
              **messages.properties(id))
        run.wait_log("[Cc]an't decode message body")
        assert results.record(id) is None

    def test_a_disallowed_content_type_with_task_is_rejected(self, broker, results, run):
        """T-12 T-36"""
        id = new_id()
        drops(broker, results, run, pickle.dumps(((1, 2), {}, None)), 1,
              messages.headers("testtasks.add", id),
              **messages.properties(id, content_type="application/x-python-serialize",
                                    content_encoding="binary"))
        run.wait_log("Refusing to deserialize untrusted content of type pickle "
                     r"\(application/x-python-serialize\)")
        assert results.record(id) is None

    def test_an_unknown_content_type_with_task_is_rejected(self, broker, results, run):
        """T-12"""
        id = new_id()
        drops(broker, results, run, "x", 1, messages.headers("testtasks.add", id),
              **messages.properties(id, content_type="text/plain"))

    def test_a_disallowed_content_type_without_headers_is_acked(self, broker, results, run):
        """T-13"""
        drops(broker, results, run, pickle.dumps({"task": "testtasks.noop", "id": "x"}), 0,
              **messages.properties(new_id(), content_type="application/x-python-serialize",
                                    content_encoding="binary"))
        run.wait_log("[Cc]an't decode message body")

    @pytest.mark.deviates("Celery crashes")
    def test_a_missing_content_type_does_not_stop_the_worker(self, broker, results, run):
        """T-14"""
        id = new_id()
        broker.publish(messages.body((1, 2)), messages.headers("testtasks.add", id))
        broker.wait_empty()
        works_on(broker, results, run)

    @pytest.mark.deviates("Celery crashes")
    def test_a_missing_id_is_rejected(self, broker, results, run):
        """T-15"""
        drops(broker, results, run, messages.body((1, 2)), 1, {"task": "testtasks.add"},
              content_type="application/json")

    @pytest.mark.deviates("Celery crashes")
    @pytest.mark.parametrize("body", ["[]", "[[]]", "[[], {}]", "[[], {}, {}, {}]", "7", "null",
                                      '"text"', "true", ""])
    def test_a_body_of_another_shape_is_rejected(self, broker, results, run, body):
        """T-16"""
        id = new_id()
        drops(broker, results, run, body, 1, messages.headers("testtasks.add", id),
              **messages.properties(id))

    @pytest.mark.parametrize("kwargs", [[], "text", 3])
    def test_version_1_kwargs_that_are_no_mapping_are_rejected(self, broker, results, run, kwargs):
        """T-17"""
        id = new_id()
        drops(broker, results, run,
              json.dumps({"task": "testtasks.add", "id": id, "args": [1, 2],
                          "kwargs": kwargs or "x"}), 1, **messages.properties(id))
        run.wait_log("must be a mapping")

    @pytest.mark.deviates("Celery loses it without a trace")
    @pytest.mark.parametrize("kwargs", [[], "text", 3])
    def test_version_2_kwargs_that_are_no_mapping_are_never_lost(self, broker, results, run,
                                                                 kwargs):
        """T-17"""
        id = new_id()
        broker.publish(json.dumps([[1, 2], kwargs, None]), messages.headers("testtasks.add", id),
                       **messages.properties(id))
        broker.wait_empty()
        works_on(broker, results, run)
        if broker.peek("dead") is None:
            assert results.error(id)[0] == "InvalidTaskError"

    @pytest.mark.parametrize("ignored", [False, True, None])
    def test_an_unknown_task_is_rejected_and_fails(self, broker, results, run, ignored):
        """T-18"""
        id = broker.send("nope.nope", ignore_result=ignored)
        assert results.error(id) == ("NotRegistered", ["nope.nope"], "celery.exceptions")
        assert results.record(id)["traceback"] is None
        broker.dead(1)
        run.wait_log("Received unregistered task of type .{0,2}nope.nope")

    def test_an_unknown_task_calls_no_errback_and_no_chord(self, broker, results, run):
        """T-19"""
        broker.declare("errors")
        errback = {"task": "testtasks.echo", "args": [], "kwargs": {}, "options":
                   {"queue": "errors", "task_id": new_id()}, "subtask_type": None,
                   "immutable": False}
        id = broker.send("nope.nope", embed={**messages.EMBED, "errbacks": [errback],
                                             "chord": errback}, group=new_id())
        results.error(id)
        works_on(broker, results, run)
        assert broker.peek("errors") is None
        assert not results.client.keys("celery-taskset-meta*")

    @pytest.mark.parametrize("bad", [{"eta": "yesterday"}, {"expires": "x"}, {"eta": 17},
                                     {"expires": 5}, {"eta": "2020-13-01T00:00:00"}], ids=str)
    def test_a_bad_eta_or_expires_is_rejected(self, broker, results, run, bad):
        """T-20"""
        id = broker.send("add", (1, 2), **bad)
        broker.dead(1)
        run.wait_log("invalid (ETA|expires) value")
        works_on(broker, results, run)
        assert results.record(id) is None

    @pytest.mark.deviates("Celery crashes")
    @pytest.mark.parametrize("empty", ["eta", "expires"])
    def test_an_empty_eta_or_expires_does_not_stop_the_worker(self, broker, results, run, empty):
        """T-21"""
        broker.send("add", (1, 2), **{empty: ""})
        broker.wait_empty()
        works_on(broker, results, run)

    @pytest.mark.deviates("Celery crashes")
    @pytest.mark.parametrize("limit", [[], [1], [1, 2, 3], 5, "ab", [None, "x"]], ids=str)
    def test_a_timelimit_of_another_shape_does_not_stop_the_worker(self, broker, results, run,
                                                                   limit):
        """T-22"""
        broker.send("add", (1, 2), timelimit=limit)
        broker.wait_empty()
        works_on(broker, results, run)

    def test_a_wrong_number_of_arguments_is_a_type_error(self, broker, results, run):
        """T-26 T-111"""
        kind, message, module = results.error(broker.send("add", (1, 2, 3)))
        assert (kind, module) == ("TypeError", "builtins")
        assert "takes 2 positional arguments but 3 were given" in message[0]
        kind, message, module = results.error(broker.send("add", (1,)))
        assert "missing 1 required positional argument: 'y'" in message[0]
        kind, message, module = results.error(broker.send("add", (1, 2), {"z": 3}))
        assert "got an unexpected keyword argument 'z'" in message[0]
        works_on(broker, results, run)


class TestTimes:
    def test_a_naive_eta_is_utc_in_any_zone_of_the_host(self, broker, results, worker):
        """T-23"""
        broker.declare()
        worker(concurrency=1, env={"TZ": "Asia/Kolkata"})
        eta = messages.now(2)[:19]
        started = time.monotonic()
        results.value(broker.send("add", (1, 2), eta=eta))
        assert 0.8 < time.monotonic() - started < 3

    @pytest.mark.parametrize("form", ["offset", "z", "fraction1", "fraction6", "compact"])
    def test_an_eta_may_have_any_iso_form(self, broker, results, run, form):
        """T-24"""
        import datetime
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
        text = {
            "offset": at.astimezone(datetime.timezone(datetime.timedelta(hours=2))).isoformat(),
            "z": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "fraction1": at.strftime("%Y-%m-%dT%H:%M:%S.5+00:00"),
            "fraction6": at.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
            "compact": at.strftime("%Y%m%dT%H%M%SZ"),
        }[form]
        started = time.monotonic()
        results.value(broker.send("add", (1, 2), eta=text))
        assert 0.9 < time.monotonic() - started < 3.4, text

    @pytest.mark.parametrize("text", ["2020-01-02", "20200102", "2020-01-02T03:04:05",
                                      "2020-01-02T03:04:05.678+05:30", "2020-01-02T03:04",
                                      "2020-01-02T03:04:05+02"])
    def test_an_eta_in_the_past_runs_at_once(self, broker, results, run, text):
        """T-24 T-25"""
        started = time.monotonic()
        assert results.value(broker.send("add", (1, 2), eta=text)) == 3
        assert time.monotonic() - started < 3


class TestSerialization:
    TAGGED = [
        {"__type__": "datetime", "__value__": "2026-01-02T03:04:05.000678+00:00"},
        {"__type__": "date", "__value__": "2026-01-02"},
        {"__type__": "time", "__value__": "03:04:05"},
        {"__type__": "decimal", "__value__": "1.50"},
        {"__type__": "uuid", "__value__": {"hex": "11111111111141118111111111111111"}},
        {"__type__": "bytes", "__value__": "abc"},
        {"__type__": "base64", "__value__": "//4="},
    ]

    @pytest.mark.parametrize("value", TAGGED, ids=lambda tag: tag["__type__"])
    def test_tagged_values_pass_through_a_task(self, broker, results, run, value):
        """T-28 T-31"""
        assert results.value(broker.send("echo", (value,))) == value
        nested = {"deep": [{"er": value}]}
        assert results.value(broker.send("echo", (), {"value": nested})) == nested

    def test_a_python_client_reads_tagged_results(self, app, run):
        """T-31"""
        import datetime
        import decimal
        import uuid
        value = {"at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678, datetime.timezone.utc),
                 "on": datetime.date(2026, 1, 2), "price": decimal.Decimal("1.50"),
                 "id": uuid.UUID("11111111111141118111111111111111"), "raw": b"\xff\xfe"}
        assert app.send_task("testtasks.echo", (value,)).get(timeout=10) == value

    def test_a_tag_with_a_third_key_is_an_ordinary_object(self, broker, results, run):
        """T-29"""
        value = {"__type__": "date", "__value__": "never", "note": 1}
        assert results.value(broker.send("echo", (value,))) == value

    def test_an_unknown_tag_is_a_decode_error_and_acked(self, broker, results, run):
        """T-30"""
        id = new_id()
        drops(broker, results, run, messages.body(({"__type__": "colour", "__value__": "red"},)),
              0, messages.headers("testtasks.echo", id), **messages.properties(id))
        assert results.record(id) is None

    def test_nan_and_infinity_are_taken(self, broker, results, run):
        """T-32"""
        raw = results.wait(broker.send("echo", ([float("inf"), float("-inf")],)))["result"]
        assert raw == [float("inf"), float("-inf")]
        value = results.value(broker.send("echo", (float("nan"),)))
        assert value != value

    @pytest.mark.parametrize("number", [2**63 - 1, -2**63, 2**63, 2**64, 10**40, -10**40])
    def test_integers_of_any_size_do_no_harm(self, broker, results, run, number):
        """T-32"""
        record = results.wait(broker.send("echo", (number,)))
        works_on(broker, results, run)
        if abs(number) < 2**63:
            assert record["result"] == number
        elif record["status"] == "SUCCESS":
            assert record["result"] == number

    @pytest.mark.parametrize("text", ["Zażółć gęślą jaźń", "日本語", "😀🎉", "\u0000\u0001\u001f",
                                      "\"quotes\\", "\u2028", "\ud83d\ude00"])
    def test_any_text_comes_back_as_it_was(self, broker, results, run, text):
        """T-33"""
        assert results.value(broker.send("echo", (text,))) == \
            json.loads(json.dumps(text))

    def test_unescaped_text_comes_back_as_it_was(self, broker, results, run):
        """T-33"""
        id = new_id()
        broker.publish(json.dumps([["zażółć 😀"], {}, None], ensure_ascii=False).encode(),
                       messages.headers("testtasks.echo", id), **messages.properties(id))
        assert results.value(id) == "zażółć 😀"
