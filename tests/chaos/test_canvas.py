"""Workers killed at random while they run chords, with late acks.

CANVAS_KILLS: how many (default 8 on each broker; the long form 200). CHAOS_SEED: to repeat a run.
"""
import os

import pytest

from canvases import Canvases
from composition_list import NOT_YET
from integration.conftest import broker_maker
from worker import JUDGE

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("CANVAS_KILLS") or 8)


@pytest.mark.skipif("chord" in NOT_YET, reason="this version refuses chords")
@pytest.mark.parametrize("kind", ["rabbitmq", "redis"])
def test_no_chord_hangs_and_no_body_is_called_with_different_results(request, results, tmp_path,
                                                                     kind):
    """T-56 T-135 T-159 T-163"""
    with broker_maker(request, tmp_path, kind)() as broker:
        one = Canvases(f"{os.environ['CHAOS_SEED']} {kind}", broker, results, tmp_path, NOT_YET)
        try:
            one.run(KILLS)
            try:
                print(one.check())
            except AssertionError as error:
                if not JUDGE:
                    raise
                print(one.kills, error)
        finally:
            one.close()
