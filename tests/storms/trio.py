"""The smallest fleet in which a death can come at every kind of moment: three notebooks and calm weather.

One runs with a lease, one is stopped, and one runs without auto stop and gets two PUTs: its disk grows while
it runs, its image is changed while it is stopped.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from fleet.core.changing.saved_image import image_path
from fleet.core.job import Context, JobSpec
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch, from_body
from fleet.core.planning.guards import Guards
from fleet.core.rollout import EVERYTHING, Disruption, Rollout, Share
from fleet.core.selecting.selector import Selector
from fleet.service.planning import Order
from fleet.simulator.faults import load_faults
from fleet.simulator.rules import Rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status
from tests.storms.brew import EPOCH, Storm, scopes

SEED = 858  # of a fleet as told above
POLL = 10.0  # s
MOVED = "pytorch2.6-cuda12.4-cudnn9-ubuntu22.04"
OTHER = "tensorflow2.1-cuda10.1-cudnn7-ubuntu18.04"


class Move(JobSpec):
    """Another image for all, and perhaps a larger disk for one; perhaps environments are saved first."""

    image: str
    grows: str = ""
    save_to: str = ""

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch:
        patch = from_body({"image_id": self.image})
        if notebook.id != self.grows or notebook.volume is None:
            return patch
        return replace(patch, storage_new_size=notebook.volume.capacity + 10)

    def saves(self, notebook: Notebook, context: Context) -> str:
        return image_path(self.save_to, notebook, context.now) if self.save_to else ""


def trio(faults: str = "[]") -> Storm:
    """The three notebooks, with every way of asking the cloud told by the same seed; `faults` as YAML."""
    rules = Rules(rules="observed")
    cloud = make_cloud(notebooks=3, seed=SEED, now=EPOCH, projects=1, rules=rules, faults=load_faults(faults))
    two_phases, stopped, leased = sorted(cloud.world.notebooks.values(), key=lambda row: row.id)
    assert (two_phases.status, two_phases.lease.enable) == (Status.RUNNING, False)
    assert stopped.status is Status.STOPPED
    assert (leased.status, leased.lease.enable) == (Status.RUNNING, True)
    return Storm(SEED, Random(SEED), cloud, scopes(cloud, lambda: POLL))


def image_id(storm: Storm, name: str) -> str:
    """The id of the image with this name."""
    return next(image.id for image in storm.cloud.world.images.values() if image.name == name)


def order(storm: Storm) -> Order:
    """All three at once, with a restart."""
    return _ordered(Move(image=image_id(storm, MOVED), grows=min(storm.cloud.world.notebooks)), EVERYTHING)


def saves_first(storm: Storm) -> Order:
    """As `order`, with the environments of those that run saved first."""
    move = Move(image=image_id(storm, MOVED), grows=min(storm.cloud.world.notebooks), save_to="lab")
    return _ordered(move, EVERYTHING)


def one_goes_first(storm: Storm) -> Order:
    """All three get one PUT, with a restart, and two of them wait for the first."""
    return _ordered(Move(image=image_id(storm, MOVED)), Share(1), EVERYTHING)


def _ordered(job: Move, *waves: Share) -> Order:
    rollout = Rollout(waves, disruption=Disruption.RESTART, concurrency=3)
    return Order("trio", "move", Selector.parse("true"), job, rollout, Guards())
