"""The state file: tasks.md 4.8, line 93."""
import json

import pytest

import messages


@pytest.fixture
def queue(broker):
    broker.declare()
    return broker


@pytest.mark.smallage_only("the format is ours")
def test_what_expired_is_still_revoked_after_a_restart(queue, worker, results, tmp_path):
    """T-93: an expired task's id counts as revoked; the file of the first worker tells the second."""
    state = tmp_path / "state"
    first = worker("--statedb", f"{state}-%n", name="keeper@test")
    id = queue.send("add", (1, 2), expires=messages.now(-1))
    results.wait(id, "REVOKED")
    assert first.stop() == 0
    assert [each[0] for each in json.loads((tmp_path / "state-keeper").read_text())["revoked"]] == [id]
    results.client.flushdb()
    worker("-S", f"{state}-keeper", name="other@test")
    queue.send("add", (1, 2), id=id)
    record = results.wait(id, "REVOKED")
    assert record["result"]["exc_message"] == ["revoked"]
    assert results.value(queue.send("add", (1, 2))) == 3


@pytest.mark.smallage_only("the format is ours")
@pytest.mark.parametrize("content, words", [
    (b"\x13\x57\x9a\xce python's", "no state file of smallage"),
    (b'{"format": "smallage-state", "version": 1, "sav', "damaged")])
def test_a_foreign_or_damaged_file_ends_the_start(broker, worker, tmp_path, content, words):
    state = tmp_path / "state"
    state.write_bytes(content)
    one = worker("-S", str(state), ready=False)
    assert one.wait_end() == 1
    assert words in one.log and "name another file with --statedb" in one.log
    assert state.read_bytes() == content
