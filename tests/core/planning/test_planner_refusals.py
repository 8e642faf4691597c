"""What a plan leaves alone because the cloud would refuse it, or not start the notebook again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from fleet.core.catalog import Catalog
from fleet.core.events import Outcome
from fleet.core.job import Context, Facts, JobSpec
from fleet.core.jobfiles.jobfile import read_job
from fleet.core.notebook import Endpoint, Flavor, Image, Notebook, Status
from fleet.core.patch import Hook, Hooks, NotebookPatch
from fleet.core.planning.one_notebook import Target, plan_one
from fleet.core.planning.plan import Change, Settled
from fleet.core.rollout import Disruption, Rollout
from fleet.core.scheduling.timing import Moment, Otherwise
from tests.plans import Anything

OLD_IMAGE, NEW_IMAGE = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
RESTARTS = Rollout(disruption=Disruption.RESTART)
NOTEBOOK = Notebook(
    "00000000-0000-4000-9000-000000000000",
    Status.RUNNING,
    flavor="small",
    image=Image(OLD_IMAGE),
    endpoints=(Endpoint("SSH"),),
)
IMAGE = NotebookPatch(image_id=NEW_IMAGE)
RENAME = NotebookPatch(name="new")


class Job(JobSpec):
    """Proposes what it was given."""

    proposal: Any

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch:
        found: NotebookPatch = self.proposal
        return found


SMALL = Flavor("small", arch="x86_64", category="CPU")
NEW = Image(
    NEW_IMAGE,
    "new",
    arch="x86_64",
    status="ACTIVE",
    resource_categories=("CPU",),
    dev_services=("NOTEBOOK", "SSH"),
)
OFFER = Catalog({NEW_IMAGE: NEW, OLD_IMAGE: structs.replace(NEW, id=OLD_IMAGE, name="old")}, {"small": SMALL})
SOLD_OUT = replace(OFFER, flavors={"small": structs.replace(SMALL, sold_out=True)})
SCARCE = "its flavor is sold out: a restart may not find a machine"


def judged(
    found: Notebook, patch: NotebookPatch, offer: Catalog, rollout: Rollout = RESTARTS, *flavors: Flavor
) -> Change | Settled:
    context = Context("lab-a", offer, 0, facts={found.id: Facts(flavors)} if flavors else {})
    row = plan_one(Target(found, context), Job(proposal=patch), rollout)
    assert not isinstance(row, tuple)
    return row


@pytest.mark.parametrize("status", [Status.RUNNING, Status.STOPPED])
@pytest.mark.parametrize(
    ("patch", "offer", "reason"),
    [
        (IMAGE, replace(OFFER, images={OLD_IMAGE: NEW}), f"this scope has no image {NEW_IMAGE}"),
        (
            IMAGE,
            replace(OFFER, images={NEW_IMAGE: structs.replace(NEW, status="ERROR")}),
            "new: its status is ERROR, not ACTIVE",
        ),
        (NotebookPatch(flavor="large"), OFFER, "whether the notebook can be switched to large is not known"),
    ],
)
def test_what_the_cloud_would_refuse_is_not_planned_whatever_the_job(
    status: Status, patch: NotebookPatch, offer: Catalog, reason: str
) -> None:
    row = judged(structs.replace(NOTEBOOK, status=status), patch, offer)
    assert isinstance(row, Settled)
    assert (row.outcome, row.reason) == (Outcome.SKIPPED, reason)


def test_a_private_image_is_planned_in_its_own_workspace_with_a_note_and_skipped_in_another() -> None:
    private = structs.replace(NEW, type="DEDICATED", visibility="PRIVATE", workspace_id="0")
    offer = replace(OFFER, images={**OFFER.images, NEW_IMAGE: private})
    here = judged(structs.replace(NOTEBOOK, workspace_id="0"), IMAGE, offer)
    assert isinstance(here, Change)
    note, lost = here.notes
    assert note == "new is private: the cloud does not tell whether the notebook's owner may use it"
    assert lost.startswith("a stop keeps only")
    elsewhere = judged(structs.replace(NOTEBOOK, workspace_id="7"), IMAGE, offer)
    assert isinstance(elsewhere, Settled)
    assert elsewhere.reason == "new: it is private to workspace 0, the notebook is in 7"
    public = replace(OFFER, images={**OFFER.images, NEW_IMAGE: structs.replace(private, visibility="PUBLIC")})
    found = judged(structs.replace(NOTEBOOK, workspace_id="7"), IMAGE, public)
    assert isinstance(found, Change)
    assert found.notes == (lost,)


def test_a_flavor_that_the_notebook_can_be_switched_to_is_planned() -> None:
    large = structs.replace(SMALL, id="large")
    assert isinstance(judged(NOTEBOOK, NotebookPatch(flavor="large"), OFFER, RESTARTS, large), Change)


def test_nobody_is_stopped_whose_machine_may_not_be_there_for_the_start_unless_the_job_says_so() -> None:
    row = judged(NOTEBOOK, IMAGE, SOLD_OUT)
    assert isinstance(row, Settled)
    assert row.reason == f"{SCARCE}; rollout.accept_sold_out is false"
    accepted = judged(NOTEBOOK, IMAGE, SOLD_OUT, replace(RESTARTS, accept_sold_out=True))
    assert isinstance(accepted, Change)
    assert SCARCE in accepted.notes


@pytest.mark.parametrize(
    ("status", "patch", "rollout"),
    [
        (Status.STOPPED, IMAGE, RESTARTS),
        (Status.RUNNING, RENAME, RESTARTS),
        (Status.RUNNING, IMAGE, Rollout(when=Moment.NEXT_STOP, patience=60.0, otherwise=Otherwise.SKIP)),
    ],
)
def test_stock_does_not_matter_where_nothing_is_started(
    status: Status, patch: NotebookPatch, rollout: Rollout
) -> None:
    row = judged(structs.replace(NOTEBOOK, status=status), patch, SOLD_OUT, rollout)
    assert isinstance(row, Change)
    assert SCARCE not in row.notes


def test_nobody_is_stopped_whose_image_could_not_be_started_again() -> None:
    offer = replace(
        OFFER, images={OLD_IMAGE: structs.replace(NEW, id=OLD_IMAGE, name="old", status="DELETED")}
    )
    patch = NotebookPatch(hooks=Hooks(Hook("/start.sh")))
    row = judged(NOTEBOOK, patch, offer)
    assert isinstance(row, Settled)
    assert row.reason == "its image old is DELETED, so it could not be started again"
    assert isinstance(judged(structs.replace(NOTEBOOK, status=Status.STOPPED), patch, offer), Change)


def test_a_job_file_says_whether_sold_out_flavors_are_accepted() -> None:
    text = "job: x\nname: x\nselect: true\n"
    assert read_job(text, "x.yaml", lambda _: Anything)[0].rollout.accept_sold_out is False
    accepted, _ = read_job(f"{text}rollout: {{accept_sold_out: true}}\n", "x.yaml", lambda _: Anything)
    assert accepted.rollout.accept_sold_out is True
