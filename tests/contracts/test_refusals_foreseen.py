"""The plan against the cloud: each refusal is foreseen, and nothing is called refused that the cloud takes.

Every case is a notebook and a patch for it. The planner is asked first, about rows that the client read; then
the very calls of such a change are sent to the simulator: stop, PUT, start. Cases are made as data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Any

import pytest

from fleet.client import rows
from fleet.core.catalog import Catalog
from fleet.core.events import Outcome
from fleet.core.job import Context, Facts, JobSpec
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch, to_body
from fleet.core.planning.one_notebook import Target, plan_one
from fleet.core.planning.plan import Change, Settled
from fleet.core.rollout import Disruption, Rollout
from fleet.simulator.messages import Request
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status
from fleet.simulator.world import CUSTOM_FLAVOR
from fleet.simulator.world import Notebook as Row

NOW = 1_764_000_000.0
WAIT = 1800.0  # s, longer than any stop or start
NOWHERE = "00000000-0000-4000-a000-000000000000"
RESEARCH = "7" * 32
GPU_ONLY = "00000000-0000-4000-a000-000000000001"
RESTARTS = Rollout(disruption=Disruption.RESTART)

SERVICES: tuple[tuple[str, ...], ...] = ((), ("NOTEBOOK",), ("SSH",), ("NOTEBOOK", "SSH"))
MACHINES = (
    "modelarts.vm.cpu.2u",
    "modelarts.vm.cpu.64u",  # sold out
    "modelarts.vm.gpu.t4",
    "modelarts.vm.gpu.a100",  # sold out
    "modelarts.vm.arm.cpu.4u",
    "modelarts.vm.ascend.snt9.1",
    "modelarts.vm.ascend.snt9b.1",
    "modelarts.vm.free.cpu.2u",
    "modelarts.pool.cpu.12u",
    "custom x86_64 CPU",
    "custom x86_64 GPU",
    "custom aarch64 ASCEND",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A notebook in words, and what it is to get. Images are meant by their names."""

    machine: str
    image: str
    to_image: str = ""
    to_flavor: str = ""
    services: tuple[str, ...] = ("NOTEBOOK", "SSH")
    disk: str = "EVS"
    status: Status = Status.RUNNING
    pool: bool = False
    workspace: str = "0"


class Fixed(JobSpec):
    """Proposes what it was given."""

    patch: Any

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch:
        found: NotebookPatch = self.patch
        return found


class Lab:
    """A cloud whose one notebook is made into that of a case, and the plan's view of it."""

    def __init__(self) -> None:
        self.cloud = make_cloud(notebooks=5, seed=3, now=NOW, projects=2, token_seconds=1e12)
        self.world = self.cloud.world
        self.project = self.cloud.identity.projects[0].id
        self.at = NOW
        self._token, _ = self.cloud.access.issue_token(self.project, NOW)
        self._add_an_image_for_gpus_only()
        self.row = next(row for row in self.world.notebooks.values() if row.project == self.project)
        self.images = {image.name: image.id for image in self._images_here()} | {"nowhere": NOWHERE}
        self.catalog = self._catalog()

    def _add_an_image_for_gpus_only(self) -> None:
        model = next(
            image for image in self.world.images.values() if image.name.startswith("pytorch2.6-cuda")
        )
        image = replace(model, id=GPU_ONLY, name="gpu-only", categories=("GPU",))
        self.world.images[image.id] = image

    def _images_here(self) -> Iterator[Any]:
        """This project's images, and as `their …` those of the other one."""
        for image in self.world.images.values():
            if image.project not in (None, self.project):
                image.name = f"their {image.name}"
            yield image

    def ask(self, method: str, path: str, body: object = None, query: str = "") -> tuple[int, Any]:
        sent = b"" if body is None else json.dumps(body).encode()
        call = Request(method, f"/v1/{self.project}/{path}", query, {"x-auth-token": self._token}, sent)
        reply = self.cloud.handle(call, self.at)
        return reply.status, json.loads(reply.body or b"{}")

    def _catalog(self) -> Catalog:
        lists = [
            self.ask("GET", "images", query=f"type={kind}")[1]["data"] for kind in ("BUILD_IN", "DEDICATED")
        ]
        images = [rows.image(row) for found in lists for row in found]
        flavors = [rows.flavor(row) for row in self.ask("GET", "notebooks/flavors")[1]["flavors"]]
        return Catalog({image.id: image for image in images}, {flavor.id: flavor for flavor in flavors})

    def make(self, case: Case) -> Row:
        """The notebook of a case, as if it had always been so."""
        row, world = self.row, self.world
        row.flavor, row.custom_spec = case.machine, None
        if case.machine.startswith("custom"):
            _, arch, category = case.machine.split()
            row.flavor = CUSTOM_FLAVOR
            row.custom_spec = {"cpu": 2.0, "memory": 4096, "arch": arch.upper(), "category": category}
        row.feature = "DEFAULT" if ".free." in case.machine else "NOTEBOOK"
        in_pool = case.pool or case.machine.startswith(("custom", "modelarts.pool"))
        row.pool = {"id": "pool-blue", "name": "blue-pool"} if in_pool else None
        row.image = world.images[self.images[case.image]]
        row.volume = {"category": case.disk, "ownership": "MANAGED", "mount_path": "/home/ma-user/work/"}
        row.endpoints = [{"service": service} for service in case.services]
        row.status, row.workspace_id, row.rendered = case.status, case.workspace, None
        row.timers.clear()
        row.lease.enable, row.lease.duration = False, -1
        return row

    def foreseen(self, case: Case) -> Change | Settled:
        """What the planner says, by what the client reads."""
        path = f"notebooks/{self.row.id}"
        found = rows.notebook(self.ask("GET", path)[1])
        switchable = tuple(rows.flavor(row) for row in self.ask("GET", f"{path}/flavors")[1]["flavors"])
        context = Context("lab", self.catalog, round(self.at * 1000), facts={found.id: Facts(switchable)})
        row = plan_one(Target(found, context), Fixed(patch=self.patch(case)), RESTARTS)
        assert not isinstance(row, tuple)
        return row

    def patch(self, case: Case) -> NotebookPatch:
        image = self.images[case.to_image] if case.to_image else None
        return NotebookPatch(image_id=image, flavor=case.to_flavor or None)

    def refused(self, case: Case) -> str:
        """The code of the first refusal on the way of the change, or how it ends; empty when all is well."""
        path, back = f"notebooks/{self.row.id}", case.status is Status.RUNNING
        calls = [("PUT", path)]
        if back:
            calls = [("POST", f"{path}/stop"), *calls, ("POST", f"{path}/start")]
        for method, where in calls:
            status, reply = self.ask(method, where, to_body(self.patch(case)) if method == "PUT" else None)
            if status != 200:
                return str(reply["error_code"])
            self.at += WAIT
        self.ask("GET", path)
        ended = self.row.status
        return "" if ended is case.status else f"ended {ended}"


def image_cases(images: list[str]) -> Iterator[Case]:
    """Every machine with every way in, to every image."""
    for machine, services, image in product(MACHINES, SERVICES, images):
        yield Case(machine, home(machine), to_image=image, services=services)


def flavor_cases(flavors: list[str]) -> Iterator[Case]:
    """Every machine with several disks, in a pool and outside, to every flavor."""
    for machine, disk, pool, flavor in product(MACHINES, ("EVS", "OBS"), (False, True), flavors):
        yield Case(machine, home(machine), to_flavor=flavor, disk=disk, pool=pool)
    for status, flavor in product((Status.RUNNING, Status.STOPPED), flavors):
        for image in ("snapshot-deleted", "snapshot-active"):
            yield Case("modelarts.vm.cpu.4u", image, to_flavor=flavor, status=status)


def status_cases() -> Iterator[Case]:
    """Every status but those that end by themselves: for their end the engine waits. Failed starts are left
    alone by the plan's own choice."""
    left_out = (Status.INIT, Status.CREATING, Status.STARTING, Status.STOPPING, Status.SNAPSHOTTING)
    for status in Status:
        if status not in (*left_out, Status.START_FAILED):
            for machine in MACHINES:
                yield Case(machine, home(machine), to_image=newer(machine), status=status)
                yield Case(machine, home(machine), to_flavor="modelarts.vm.cpu.8u", status=status)


def workspace_cases(images: list[str]) -> Iterator[Case]:
    """From another workspace than that of the private images, to every image."""
    for machine, image in product(MACHINES, images):
        yield Case(machine, home(machine), to_image=image, workspace=RESEARCH)


def mixed_cases(images: list[str], flavors: list[str]) -> Iterator[Case]:
    """Image and flavor at once."""
    draw = Random(5)
    for _ in range(2000):
        machine = draw.choice(MACHINES)
        yield Case(
            machine,
            home(machine),
            to_image=draw.choice(images),
            to_flavor=draw.choice(flavors),
            services=draw.choice(SERVICES),
            disk=draw.choice(("EVS", "EFS", "OBS")),
            pool=draw.random() < 0.3,
            status=draw.choice((Status.RUNNING, Status.STOPPED)),
        )


def home(machine: str) -> str:
    """An old image that goes with the machine."""
    arm = "arm" in machine or "ascend" in machine or "aarch64" in machine
    return "pytorch1.8-cann5.1-py3.7-euler2.8.3" if arm else "pytorch1.8-cuda10.2-cudnn7-ubuntu18.04"


def newer(machine: str) -> str:
    return (
        home(machine)
        .replace("1.8-cann5.1-py3.7-euler2.8.3", "2.6-cann8.1-py3.11-hce2.0")
        .replace("1.8-cuda10.2-cudnn7-ubuntu18.04", "2.6-cuda12.4-cudnn9-ubuntu22.04")
    )


def every_case(lab: Lab) -> list[Case]:
    images, flavors = sorted(lab.images), [*sorted(lab.world.flavors), "modelarts.vm.none"]
    return [
        *image_cases(images),
        *flavor_cases(flavors),
        *status_cases(),
        *workspace_cases(images),
        *mixed_cases(images, flavors),
    ]


@pytest.fixture(scope="module")
def judged() -> list[tuple[Case, Change | Settled, str]]:
    """Every case with what the plan says and what the cloud then said."""
    lab = Lab()
    found = []
    for case in every_case(lab):
        lab.make(case)
        row = lab.foreseen(case)
        if isinstance(row, Change) or row.outcome is Outcome.SKIPPED:  # else there is nothing to send
            found.append((case, row, lab.refused(case)))
    return found


Judged = list[tuple[Case, Change | Settled, str]]


def test_no_notebook_is_stopped_for_a_change_that_cannot_succeed(judged: Judged) -> None:
    assert [(case, code) for case, row, code in judged if isinstance(row, Change) and code] == []


def test_nothing_is_called_refused_that_the_cloud_would_take(judged: Judged) -> None:
    alarms = [(case, row.reason) for case, row, code in judged if isinstance(row, Settled) and not code]
    assert [one for one in alarms if not untold(*one)] == []


def untold(case: Case, reason: str) -> bool:
    """A flavor that no list of the cloud has as long as the notebook is on its present image."""
    hidden = f"{case.to_flavor} is not offered to this notebook, and the scope does not list it"
    return bool(case.to_image) and case.to_flavor == "modelarts.pool.cpu.12u" and hidden in reason


def test_a_new_image_brings_flavors_that_the_present_one_hides(judged: Judged) -> None:
    crossing = [
        row
        for case, row, code in judged
        if case.to_image
        and not code
        and "arm" in case.machine
        and case.to_flavor.startswith("modelarts.vm.cpu")
    ]
    assert len(crossing) > 10
    for row in crossing:
        assert isinstance(row, Change)
        assert any("by the catalogue" in note for note in row.notes)


def test_the_matrix_is_large_and_meets_every_documented_refusal(judged: Judged) -> None:
    codes = Counter(code for _, _, code in judged)
    accepted = codes.pop("")
    assert len(judged) >= 300
    assert accepted >= 100
    documented = ("6716", "6792", "6323", "6870", "6797", "6768", "6330", "6326")
    assert {f"ModelArts.{code}" for code in documented} <= codes.keys()


def test_private_images_are_for_their_own_workspace(judged: Judged) -> None:
    private = [
        (row, code)
        for case, row, code in judged
        if case.workspace == RESEARCH and case.to_image.startswith(("team-torch", "snapshot-active"))
    ]
    assert private
    for row, code in private:
        assert isinstance(row, Settled)
        assert f"it is private to workspace 0, the notebook is in {RESEARCH}" in row.reason
        assert code == "ModelArts.6797"
