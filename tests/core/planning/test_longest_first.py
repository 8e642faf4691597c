"""Within a wave the longest goes first, by what was learned of its flavor."""

from __future__ import annotations

from collections.abc import Sequence

from fleet.core.catalog import Catalog
from fleet.core.job import Context, JobSpec
from fleet.core.notebook import Image, Notebook, Status
from fleet.core.patch import NotebookPatch
from fleet.core.planning.estimate import Times
from fleet.core.planning.one_notebook import Target
from fleet.core.planning.plan import Change, Took
from fleet.core.planning.planner import plan_changes
from fleet.core.rollout import Disruption, Rollout

NEW_IMAGE = "aea35d44-9443-4048-a94e-f5fadc394935"
LEARNED = {"small": Took(10.0, 20.0, 20.0, 40.0, 50), "large": Took(60.0, 600.0, 90.0, 900.0, 50)}


class Move(JobSpec):
    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch:
        return NotebookPatch(image_id=NEW_IMAGE)


def test_flavors_that_took_longer_are_released_before_those_that_took_less() -> None:
    flavors = ["small", "other", "large", "small", "large", "other"]
    targets = [
        Target(
            Notebook(
                f"f9937afa-4451-42db-a76b-{number:012d}",
                Status.RUNNING,
                flavor=flavor,
                image=Image("4c1832fa-c9e7-496d-af9c-bed944e52a93"),
            ),
            Context("lab-a", Catalog(), 0),
        )
        for number, flavor in enumerate(flavors)
    ]
    asked: list[Change] = []

    def learn(changes: Sequence[Change]) -> Times:
        asked.extend(changes)
        return LEARNED

    changes, _ = plan_changes(targets, Move(), Rollout(disruption=Disruption.RESTART), learn)
    assert len(asked) == 6
    first, *others = [change.flavor for change in changes]
    assert first == "small"  # the first of its kind leads, whatever it takes
    assert others == ["large", "large", "other", "other", "small"]
    assert [change.item for change in changes] == list(range(6))
