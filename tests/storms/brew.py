"""What a seed decides: the fleet, the switches of the cloud, the job, the rollout, and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from pydantic import Field

from fleet.client.clock import Clock
from fleet.core.events import Event
from fleet.core.fold import RunState, fold
from fleet.core.guards import Guards
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook
from fleet.core.pace import Rate
from fleet.core.patch import NotebookPatch, from_body
from fleet.core.plan import Plan
from fleet.core.rollout import EVERYTHING, Disruption, Rollout, Share
from fleet.core.scope import AkSkKeys, ScopeSpec
from fleet.core.selector import Selector
from fleet.core.timing import Moment, Otherwise
from fleet.service.planning import Order
from fleet.simulator.audit import Snapshot
from fleet.simulator.cloud import Cloud
from fleet.simulator.faults import load_faults
from fleet.simulator.rules import load_rules
from fleet.simulator.seed import make_cloud

EPOCH = 1_764_000_000.0
HOUR = 3600.0
CALM_AFTER = 1500.0  # s: from then on nothing goes wrong any more
RATE = Rate(20, 1.0)


def wall() -> float:
    """Wall seconds in the storm."""
    return EPOCH + asyncio.get_running_loop().time()


CLOCK = Clock(lambda: asyncio.get_running_loop().time(), wall)


@dataclass
class Storm:
    """Everything that a seed decides, and what became of it."""

    seed: int
    draw: Random
    cloud: Cloud
    specs: list[ScopeSpec]
    plan: Plan | None = None
    before: Snapshot | None = None
    after: Snapshot | None = None
    events: list[Event] = field(default_factory=list)
    began: list[int] = field(default_factory=list)  # for each process, the length of the cloud's log then
    deaths: int = 0
    acts: list[str] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    by_hand: set[str] = field(default_factory=set)  # request ids of what others sent
    shown: dict[str, str] = field(default_factory=dict)  # by request id the status that a look showed us

    @property
    def runs(self) -> int:
        """How many processes have worked on the plan."""
        return len(self.began)

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return asyncio.get_running_loop().time() > CALM_AFTER

    @property
    def outcomes(self) -> list[str]:
        """What became of every row so far."""
        return [f"{row.outcome} {row.debt}" for row in self.state.rows(over=True)]

    @property
    def state(self) -> RunState:
        assert self.plan is not None
        return fold(self.plan, self.events)


class Edit(JobSpec):
    """Sends these fields; a whitelist goes to every closed endpoint, with everything else as it was."""

    body: dict[str, Any] = Field(default_factory=dict)
    addresses: tuple[str, ...] = ()

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        patch = from_body(self.body)
        if "storage_new_size" in self.body and notebook.volume is not None:
            patch = replace(patch, storage_new_size=notebook.volume.capacity + 10)
        if not self.addresses or not notebook.endpoints:
            return patch or Skip("nothing to change")
        items = tuple(
            replace(item, allowed_access_ips=None if item.open else self.addresses)
            for item in notebook.endpoints
        )
        return replace(patch, endpoints=items)


def brew(seed: int) -> Storm:
    """The world of a seed."""
    draw = Random(f"storm/{seed}")
    rules = load_rules(_yaml_of_rules(draw))
    cloud = make_cloud(
        notebooks=draw.randint(3, 14),
        seed=seed,
        now=EPOCH,
        projects=draw.choice((1, 1, 2)),
        time_scale=draw.choice((1.0, 4.0)),
        rules=rules,
        faults=load_faults(_yaml_of_faults(draw)),
    )
    return Storm(seed, draw, cloud, scopes(cloud, lambda: draw.choice((2.0, 10.0))))


def scopes(cloud: Cloud, poll: Callable[[], float]) -> list[ScopeSpec]:
    """A scope for each project of the cloud; `poll` gives its seconds between list polls."""
    identity = cloud.identity
    return [
        ScopeSpec(
            name=f"lab-{number}",
            region=identity.region,
            project_id=project.id,
            endpoint="http://cloud.test",
            iam_endpoint="http://cloud.test",
            credential=AkSkKeys(identity.access_key, identity.secret_key),
            rate=RATE,
            poll=poll(),
        )
        for number, project in enumerate(identity.projects)
    ]


def _yaml_of_rules(draw: Random) -> str:
    choices = {
        "rules": ("seed", "observed"),
        "endpoints": ("replace", "merge"),
        "omitted_keys": ("clear", "keep"),
        "omitted_ips": ("clear", "keep"),
        "duration_minus_one": ("accept", "refuse"),
        "missing": (400, 404),
        "start_failed": ("stopped", "stuck"),
        "same_value": ("ignore", "touch"),
    }
    return "\n".join(f"{name}: {draw.choice(values)}" for name, values in choices.items())


_OPERATIONS = ("StopNotebook", "UpdateNotebook", "StartNotebook", "ShowNotebook", "ListAllNotebooks")


def _yaml_of_faults(draw: Random) -> str:
    """Up to six faults, all over before calm weather begins."""
    lines = []
    for _ in range(draw.randint(0, 6)):
        after = draw.uniform(5, CALM_AFTER / 2)
        until = min(CALM_AFTER, after + draw.uniform(5, 600))
        when = f"after: {after:.0f}, until: {until:.0f}"
        which = f"match: {{operation: {draw.choice(_OPERATIONS)}}}, probability: {draw.uniform(0.1, 1):.2f}"
        applied = f"applied: {draw.choice(('true', 'false'))}"
        status = draw.choice((500, 502, 504))
        lines.append(
            draw.choice(
                (
                    f"{{kind: throttle, {which}, limit: 5, seconds: 10, {when}}}",
                    f"{{kind: server-error, {which}, status: {status}, {applied}, {when}}}",
                    f"{{kind: lost-answer, {which}, {applied}, {when}}}",
                    f"{{kind: slow-answer, {which}, seconds: {draw.choice((5, 50))}, {when}}}",
                    f"{{kind: slow-start, seconds: {draw.choice((60, 900))}, {when}}}",
                    f"{{kind: failing-start, probability: 0.5, {when}}}",
                    f'{{kind: sold-out, flavor: "*", {when}}}',
                )
            )
        )
    return "\n".join(f"- {line}" for line in lines)


def order(storm: Storm) -> Order:
    """The job of the storm and how it is released."""
    draw = storm.draw
    some = Share(50, percent=True)
    rollout = Rollout(
        waves=draw.choice(((EVERYTHING,), (Share(1), EVERYTHING), (Share(1), some, EVERYTHING))),
        concurrency=draw.choice((1, 3, 20)),
        max_failures=draw.choice((None, None, Share(2))),
        max_unavailable=draw.choice(({}, {"fleet": Share(2)}, {"owner": Share(1)})),
        disruption=Disruption.RESTART if draw.random() < 0.75 else Disruption.NONE,
        change_deadline=draw.choice((900.0, 1800.0)),
        **_timing(Random(f"timing of {storm.seed}")),
    )
    return Order("storm", "edit", Selector.parse("true"), _job(storm), rollout, Guards(max_share=EVERYTHING))


def _timing(draw: Random) -> dict[str, Any]:
    """In some storms persons are waited for, but not for long."""
    if draw.random() < 0.6:
        return {}
    return {
        "when": Moment.NEXT_STOP,
        "patience": draw.choice((60.0, 600.0)),
        "otherwise": draw.choice(list(Otherwise)),
    }


def _job(storm: Storm) -> JobSpec:
    draw, images = storm.draw, sorted(storm.cloud.world.images.values(), key=lambda image: image.id)
    bodies: tuple[dict[str, Any], ...] = (
        {"image_id": draw.choice([image.id for image in images if image.status == "ACTIVE"])},
        {"description": "in the storm"},
        {
            "name": "stormy",
            "image_id": draw.choice([image.id for image in images if image.status == "ACTIVE"]),
        },
        {"storage_new_size": 1},
        {"storage_new_size": 1, "description": "grown"},
        {},
    )
    body = draw.choice(bodies)
    return Edit(body=body, addresses=() if body else ("203.0.113.7", "203.0.113.8"))
