"""What a seed decides: the fleet, the switches of the cloud, the job, the rollout, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from msgspec import structs
from pydantic import Field, TypeAdapter

from fleet.client.clock import Clock
from fleet.core.changing.saved_image import image_path
from fleet.core.events import Event
from fleet.core.fold import RunState, fold
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook
from fleet.core.pacing.limits import Rate
from fleet.core.patch import NotebookPatch, from_body
from fleet.core.planning.guards import Guards
from fleet.core.planning.plan import Plan
from fleet.core.rollout import EVERYTHING, Disruption, GateCommand, Rollout, Share
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.core.scheduling.timing import Moment, Otherwise
from fleet.core.scope import AkSkKeys, Credential, PasswordLogin, ScopeSpec
from fleet.core.selecting.selector import Selector
from fleet.service.planning import Order
from fleet.simulator.audit import Snapshot
from fleet.simulator.cloud import Cloud
from fleet.simulator.faults import Breakdown, Fault, Freeze
from fleet.simulator.rules import load_rules
from fleet.simulator.seed import make_cloud

EPOCH = 1_764_000_000.0
HOUR = 3600.0
CALM_AFTER = 1500.0  # s: from then on nothing goes wrong any more
RATE = Rate(20, 1.0)
PERIOD, OPEN = 1800.0, 1200.0  # s: how often a window opens, and for how long
WINDOWS = Calendar((Window("*/30 * * * *", OPEN),))


def wall() -> float:
    """Wall seconds in the storm."""
    return EPOCH + asyncio.get_running_loop().time()


CLOCK = Clock(lambda: asyncio.get_running_loop().time(), wall)


class Said(NamedTuple):
    """What the gate's program, or a person, said after a wave, and when (wall s)."""

    who: Literal["gate", "person"]
    wave: int
    at: float
    go: bool


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
    times: list[float] = field(default_factory=list)  # and the wall second
    deaths: int = 0
    acts: list[str] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    befallen: set[str] = field(default_factory=set)  # by what is nobody's act
    by_hand: set[str] = field(default_factory=set)  # request ids of what others sent
    shown: dict[str, str] = field(default_factory=dict)  # by request id the status that a look showed us
    arrived: dict[str, float] = field(default_factory=dict)  # and when (wall s)
    said: list[Said] = field(default_factory=list)

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
    """Sends these fields; a whitelist goes to every closed endpoint, with everything else as it was.

    With an organization to save to, environments are saved before a stop.
    """

    body: dict[str, Any] = Field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    save_to: str = ""

    def saves(self, notebook: Notebook, context: Context) -> str:
        return image_path(self.save_to, notebook, context.now) if self.save_to else ""

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        patch = from_body(self.body)
        if "storage_new_size" in self.body and notebook.volume is not None:
            patch = replace(patch, storage_new_size=notebook.volume.capacity + 10)
        if not self.addresses or not notebook.endpoints:
            return patch or Skip("nothing to change")
        items = tuple(
            structs.replace(item, allowed_access_ips=None if item.open else self.addresses)
            for item in notebook.endpoints
        )
        return replace(patch, endpoints=items)


def brew(seed: int) -> Storm:
    """The world of a seed."""
    draw, also = Random(f"storm/{seed}"), Random(f"more of {seed}")
    rules = load_rules(_yaml_of_rules(draw))
    cloud = make_cloud(
        notebooks=draw.randint(3, 14),
        seed=seed,
        now=EPOCH,
        projects=draw.choice((1, 1, 2)),
        time_scale=draw.choice((1.0, 4.0)),
        rules=rules,
        faults=_faults(
            _yaml_of_faults(draw)
            + _faults_of_saves(seed)
            + _faults_of_credentials(also)
            + _busy_gateway(also)
        ),
        lease_hours=also.choice(((2.0, 24.0), (2.0, 24.0), (0.1, 3.0))),
    )
    logs_in = also.random() < 0.3
    rate = also.choice((RATE, RATE, Rate(1, 2.0)))
    storm = Storm(seed, draw, cloud, scopes(cloud, lambda: draw.choice((2.0, 10.0)), rate, logs_in=logs_in))
    if also.random() < 0.15:
        _befall(storm, also)
    return storm


_FAULTS = TypeAdapter(tuple[Annotated[Fault, Field(discriminator="kind")], ...])


def _faults(text: str) -> tuple[Fault, ...]:
    """As `load_faults` reads them, which makes its reader anew at every call: that takes most of a storm."""
    return _FAULTS.validate_json(json.dumps(yaml.safe_load(text) or []))


def _befall(storm: Storm, draw: Random) -> None:
    """One notebook is frozen for a while, or for good, or breaks down."""
    row = draw.choice(sorted(storm.cloud.world.notebooks.values(), key=lambda row: row.id))
    fault = draw.choice((Freeze(seconds=300.0), Freeze(seconds=300.0), Freeze(), Breakdown()))
    at = draw.uniform(1, 400)
    storm.acts.append(f"{at:.0f} s: {fault.kind} of {row.id}")
    storm.touched.add(row.id)
    storm.befallen.add(row.id)
    storm.cloud.later(EPOCH + at, lambda scene, now: fault.befall(scene, row, now))


def scopes(
    cloud: Cloud, poll: Callable[[], float], rate: Rate = RATE, *, logs_in: bool = False
) -> list[ScopeSpec]:
    """A scope for each project of the cloud; `poll` gives its seconds between list polls."""
    identity = cloud.identity
    credential: Credential = AkSkKeys(identity.access_key, identity.secret_key)
    if logs_in:
        credential = PasswordLogin(identity.user, identity.domain, identity.password)
    return [
        ScopeSpec(
            name=f"lab-{number}",
            region=identity.region,
            project_id=project.id,
            endpoint="http://cloud.test",
            iam_endpoint="http://cloud.test",
            credential=credential,
            rate=rate,
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


_ODD = ("'null'", "missing-fields, fields: [status]", "wrong-types, fields: [status]")
_PASSING = ("STOPPING", "STARTING")
_OPERATIONS = ("StopNotebook", "UpdateNotebook", "StartNotebook", "ShowNotebook", "ListAllNotebooks")


def _saves(seed: int) -> bool:
    """Whether environments are saved before a stop in this storm."""
    return Random(f"saves of {seed}").random() < 0.3


def _faults_of_saves(seed: int) -> str:
    """Up to two faults of saves and of the question for the image, from the end of the planning on."""
    if not _saves(seed):
        return ""
    draw = Random(f"faults of the saves of {seed}")
    lines = []
    for _ in range(draw.randint(0, 2)):
        which = f"match: {{operation: {draw.choice(('CreateImage', 'ListImage'))}}}, after: 2"
        how = f"applied: {draw.choice(('true', 'false'))}, until: {draw.uniform(60, CALM_AFTER):.0f}"
        often = f"probability: {draw.uniform(0.3, 1):.2f}"
        lines.append(
            draw.choice(
                (
                    f"{{kind: lost-answer, {which}, {how}, {often}}}",
                    f"{{kind: server-error, {which}, {how}, {often}}}",
                    f"{{kind: throttle, {which}, limit: 5, seconds: 10, times: 3}}",
                    f"{{kind: refusal, {which}, code: ModelArts.6357, times: 2}}",
                )
            )
        )
    return "".join(f"- {line}\n" for line in lines)


def _faults_of_credentials(draw: Random) -> str:
    """Tokens die now and then; the key is revoked once in a while, and given back."""
    after = draw.uniform(5, 300)
    if draw.random() < 0.3:
        return f"- {{kind: tokens-expire, after: {after:.0f}}}\n"
    if draw.random() < 0.05:
        return f"- {{kind: key-revoked, after: {after:.0f}, until: {after + 60:.0f}}}\n"
    return ""


def _busy_gateway(draw: Random) -> str:
    """Writes that must wait long before they may be sent again: by then what was looked at is old."""
    if draw.random() < 0.6:
        return ""
    which = f"match: {{operation: {draw.choice(('StopNotebook', 'UpdateNotebook'))}}}"
    often = f"probability: {draw.uniform(0.2, 0.7):.2f}, until: {CALM_AFTER / 2:.0f}"
    wait = draw.choice((12, 40))
    return f"- {{kind: throttle, {which}, limit: 600, seconds: 60, retry_after: {wait}, {often}}}\n"


def _yaml_of_faults(draw: Random) -> str:
    """Up to six faults, all over before calm weather begins."""
    lines = []
    for _ in range(draw.randint(0, 6)):
        after = draw.uniform(5, CALM_AFTER / 2)
        until = min(CALM_AFTER, after + draw.uniform(5, 600))
        when = f"after: {after:.0f}, until: {until:.0f}"
        which = f"match: {{operation: {draw.choice(_OPERATIONS)}}}, probability: {draw.uniform(0.1, 1):.2f}"
        applied = f"applied: {draw.choice(('true', 'false'))}"
        status, page = draw.choice((500, 502, 504)), draw.choice((200, 403, 502))
        lines.append(
            draw.choice(
                (
                    f"{{kind: throttle, {which}, limit: 5, seconds: 10, {when}}}",
                    f"{{kind: server-error, {which}, status: {status}, {applied}, {when}}}",
                    f"{{kind: lost-answer, {which}, {applied}, {when}}}",
                    f"{{kind: reset, {which}, {applied}, {when}}}",
                    f"{{kind: half-body, {which}, {when}}}",
                    f"{{kind: drip, {which}, seconds: {draw.choice((5, 50))}, {when}}}",
                    f"{{kind: html-page, {which}, status: {page}, {applied}, {when}}}",
                    f'{{kind: redirect, {which}, to: "http://portal.test/login", {when}}}',
                    f"{{kind: odd-answer, {which}, body: {draw.choice(_ODD)}, {when}}}",
                    f"{{kind: refusal, {which}, code: ModelArts.9999, {when}}}",
                    f"{{kind: refusal, match: {{operation: UpdateNotebook}}, code: ModelArts.9999, {when}}}",
                    f"{{kind: stuck, status: {draw.choice(_PASSING)}, seconds: 400, {when}}}",
                    f"{{kind: quota, {when}}}",
                    f"{{kind: slow-answer, {which}, seconds: {draw.choice((5, 50))}, {when}}}",
                    f"{{kind: slow-start, seconds: {draw.choice((60, 900))}, {when}}}",
                    f"{{kind: failing-start, probability: 0.5, {when}}}",
                    f'{{kind: sold-out, flavor: "*", {when}}}',
                )
            )
        )
    return "".join(f"- {line}\n" for line in lines)


def order(storm: Storm) -> Order:
    """The job of the storm and how it is released."""
    draw = storm.draw
    some = Share(50, percent=True)
    rollout = Rollout(
        waves=draw.choice(((EVERYTHING,), (Share(1), EVERYTHING), (Share(1), some, EVERYTHING))),
        concurrency=draw.choice((1, 3, 20)),
        max_failures=draw.choice((None, Share(1), Share(2), some)),
        max_unavailable=draw.choice(_BUDGETS),
        disruption=Disruption.RESTART if draw.random() < 0.75 else Disruption.NONE,
        change_deadline=draw.choice((900.0, 1800.0)),
        **_timing(Random(f"timing of {storm.seed}")),
        **_release(Random(f"release of {storm.seed}")),
    )
    return Order("storm", "edit", Selector.parse("true"), _job(storm), rollout, Guards(max_share=EVERYTHING))


_BUDGETS: tuple[dict[str, Share], ...] = (
    {},
    {},
    {"fleet": Share(2)},
    {"owner": Share(1)},
    {"scope": Share(1), "flavor": Share(50, percent=True)},
    {"pool": Share(1)},
    {"flavor": Share(1)},
)


def _release(draw: Random) -> dict[str, Any]:
    """What keeps later waves waiting, and all changes outside of windows."""
    return {
        "soak": draw.choice((0.0, 0.0, 30.0, 200.0)),
        "gate": draw.choice((None, None, GateCommand(("check",)))),
        "approve": draw.choice(((), (), (1,))),
        "calendar": draw.choice((Calendar(), Calendar(), Calendar(), WINDOWS)),
    }


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
    saves = _saves(storm.seed)
    if saves and "image_id" not in body:
        body = {}  # only what is stopped is saved
    addresses = () if body else ("203.0.113.7", "203.0.113.8")
    return Edit(body=body, addresses=addresses, save_to="lab" if saves else "")
