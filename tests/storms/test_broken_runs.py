"""What `fleet resume` says to a run that it must not take up. Spoilt journals are the business of `kills`."""

from __future__ import annotations

from functools import partial

import pytest

from tests.storms.commands import in_lanes
from tests.storms.damage import changed_plan, other_version, second_process

pytestmark = [pytest.mark.timeout(300), pytest.mark.processes]

SEED = 1


def test_a_run_whose_plan_file_was_changed_is_refused() -> None:
    (aftermath,) = in_lanes([partial(changed_plan, SEED)], lanes=1)
    assert aftermath.refused, aftermath
    assert "plan.json: has digest" in aftermath.said.err


def test_a_run_of_another_version_is_refused() -> None:
    (aftermath,) = in_lanes([partial(other_version, SEED)], lanes=1)
    assert aftermath.refused, aftermath
    assert "begun by version 0.0.1" in aftermath.said.err


def test_a_run_that_goes_on_gets_no_second_process() -> None:
    ((first, second),) = in_lanes([partial(second_process, SEED)], lanes=1)
    assert (first.code, second.said.code) == (0, 0)
    assert "goes on and is not paused; nothing to do" in second.said.err
    assert not second.complaints
