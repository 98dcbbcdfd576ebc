"""What smallage publishes is run by Python workers of other versions, in compositions whose tasks
go to the one and the other in turn."""
import contextlib

import pytest

from canvas_batch import Batch
from composition_list import NOT_YET, PUBLISHED, without
from conftest import broker_maker
from pythons import python_of
from worker import JUDGE

OURS, THEIRS = "celery", "theirs"


def outcomes(batch):
    """{id: (status, result)} of what the producer waits for, and the states of all the rest."""
    records = batch.leavings().records
    known = {id: (record["status"], record["result"]) for id, record in records.items()
             if id.startswith("c0de")}
    return known, sorted(str((record["status"], record["name"])) for id, record in records.items()
                         if id not in known)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:task_allow_error_cb_on_chord_header")
@pytest.mark.parametrize("version", ["5.2", "5.5", "5.7"])
def test_what_smallage_publishes_runs_on_other_versions(request, redis_server, tmp_path, test_home,
                                                        record_property, version):
    """T-155"""
    nodes, left = without(PUBLISHED, NOT_YET)
    record_property("compared", f"{len(nodes)} of {len(PUBLISHED)} compositions; left out: {left}")
    sides = {"one Celery": [{"judge": True, "queues": f"{OURS},{THEIRS}"}],
             "both": [{"queues": OURS}, {"queues": THEIRS, "judge": True,
                                         "python": python_of(version, test_home)}]}
    new_broker = broker_maker(request, tmp_path, "rabbitmq")
    with contextlib.ExitStack() as stack:
        batches = [Batch(stack, new_broker, redis_server, tmp_path / name, workers, (OURS, THEIRS))
                   for name, workers in sides.items()]
        for batch in batches:
            batch.send(nodes)
        found = []
        for batch in batches:
            batch.wait_quiet()
            found.append(outcomes(batch))
        for id in found[0][0].keys() | found[1][0].keys():
            composition = nodes[int(id[4:8], 16)]
            assert found[1][0].get(id) == found[0][0].get(id), (id, str(composition))
        assert found[1][1] == found[0][1]
        assert JUDGE or batches[1].workers[1].log.count("succeeded in") > len(nodes) // 2
