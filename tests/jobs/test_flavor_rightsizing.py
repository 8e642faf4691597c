"""The rightsizing: cases as data, what holds for every proposal, and weeks of runs without a swing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise, product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from msgspec.structs import replace
from pydantic import ValidationError

from fleet.core.catalog import Catalog, mismatches
from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.job import Context, Facts, Resize, Skip
from fleet.core.jobfiles.jobfile import read_job, schema
from fleet.core.notebook import Flavor, Image, Notebook, Status
from fleet.core.patch import NotebookPatch
from fleet.core.usage import Book, Level, Resource, Usage
from jobs.flavor_rightsizing import FlavorRightsizing

DATA = yaml.safe_load(Path(__file__).with_name("flavor_rightsizing.yaml").read_text())
DAY = 86_400.0
NOW = 1_764_000_000.0
NB = "00000000-0000-4000-8000-000000000099"


def flavor(id: str, arch: str, category: str, vcpus: int, gb: int, chips: int = 0, kind: str = "") -> Flavor:
    return Flavor(id, id, arch, category, vcpus, gb * 1024, chips, kind, free=id == "free")


FLAVORS = {id: flavor(id, *facts) for id, facts in DATA["flavors"].items()}
EXCLUSIVE = {"xs": flavor("xs", "x86_64", "CPU", 1, 2)}
IMAGES = {
    name: Image(name, name, arch, status="ACTIVE", resource_categories=categories, dev_services=("NOTEBOOK",))
    for name, arch, categories in (
        ("x86_64", "x86_64", ("CPU", "GPU")),
        ("aarch64", "aarch64", ("CPU", "ASCEND")),
        ("gpu-only", "x86_64", ("GPU",)),
    )
}
CATALOG = Catalog(IMAGES, FLAVORS)


def usage_of(used: Mapping[str, float], measured: float = 100.0) -> Usage:
    levels = {
        Resource(name): Level(value, value, measured / 100, 0.0, NOW, 0.0) for name, value in used.items()
    }
    return Usage(14 * DAY, 95.0, levels)


def notebook(on: str, image: str = "") -> Notebook:
    arch = FLAVORS[on].arch if on in FLAVORS else "x86_64"
    return Notebook(NB, Status.STOPPED, flavor=on, image=Image(image or arch))  # a row names no more


def context(facts: Facts) -> Context:
    return Context("lab-a", CATALOG, int(NOW * 1000), facts={NB: facts})


def offered(ids: Iterable[str], sold_out: Iterable[str] = ()) -> tuple[Flavor, ...]:
    known = {**FLAVORS, **EXCLUSIVE}
    return tuple(replace(known[id], sold_out=id in set(sold_out)) for id in ids)


def facts_of(case: Mapping[str, Any]) -> Facts:
    switchable = case.get("switchable", list(FLAVORS))
    resized = (Resize(NOW - days * DAY, before, after) for days, before, after in case.get("resized", ()))
    return Facts(
        switchable=None if switchable is None else offered(switchable, case.get("sold_out", ())),
        usage=usage_of(case["used"], case.get("measured", 100.0)),
        resized=tuple(resized),
        untold=case.get("untold", ""),
    )


def job(parameters: Any = None) -> FlavorRightsizing:
    text = yaml.safe_dump(
        {"job": "flavor-rightsizing", "name": "x", "select": "true", "with": parameters or {}}
    )
    return read_job(text, "job.yaml", lambda _: FlavorRightsizing)[1]


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda case: case["name"].replace(" ", "-"))
def test_case(case: dict[str, Any]) -> None:
    proposal = job(case.get("with")).propose(
        notebook(case["has"], case.get("image", "")), context(facts_of(case))
    )
    if "to" in case:
        assert proposal == NotebookPatch(flavor=case["to"])
    else:
        assert isinstance(proposal, Skip)
        stays = "unchanged" in case
        assert proposal.outcome is (Outcome.UNCHANGED if stays else Outcome.SKIPPED)
        assert proposal.reason.startswith(case["unchanged" if stays else "skip"])


LEVELS = (0.0, 4.0, 19.0, 38.0, 55.0, 79.0, 89.0, 93.0, 100.0)
GENERATED = [
    (on, cpu, memory, tuple(sold_out))
    for on, cpu, memory, sold_out in product(
        ("c2", "c4", "c8", "c16", "m4", "a4", "a8"), LEVELS, LEVELS, ((), ("c4", "a8"))
    )
]


def test_of_a_thousand_cases_each_goes_to_the_smallest_that_holds_it_or_stays() -> None:
    """By brute force: what holds usage and headroom, of the same kind, in the direction that makes sense."""
    moved = {"up": 0, "down": 0}
    for on, cpu, memory, sold_out in GENERATED:
        switchable = offered(FLAVORS, sold_out)
        facts = Facts(switchable, usage_of({"cpu": cpu, "memory": memory}))
        proposal = job_as_is.propose(notebook(on), context(facts))
        have, short = FLAVORS[on], cpu > 90 or memory > 90
        fitting = [
            one
            for one in switchable
            if (one.arch, one.category, one.free) == (have.arch, have.category, have.free)
            and one.vcpus * 100 >= have.vcpus * cpu * 1.25 - 1e-6
            and one.memory_mib * 100 >= have.memory_mib * memory * 1.3 - 1e-6
            and one.id != on
            and (
                (one.vcpus >= have.vcpus and one.memory_mib >= have.memory_mib)
                if short
                else (one.vcpus <= have.vcpus and one.memory_mib <= have.memory_mib)
            )
        ]
        best = min(
            (one for one in fitting if not one.sold_out), key=lambda o: (o.vcpus, o.memory_mib), default=None
        )
        case = (on, cpu, memory, sold_out)
        if best is None:
            assert isinstance(proposal, Skip), case
            assert (proposal.outcome is Outcome.SKIPPED) == bool(short or fitting), case
        else:
            assert proposal == NotebookPatch(flavor=best.id), case
            moved["up" if short else "down"] += 1
    assert len(GENERATED) > 1000
    assert min(moved.values()) > 50


job_as_is = FlavorRightsizing()


def test_what_is_proposed_always_fits_the_image_and_keeps_the_kind() -> None:
    draw = Random(7)
    changed = 0
    for _ in range(2000):
        on = draw.choice(list(FLAVORS))
        used = {name.value: draw.uniform(0, 100) for name in Resource if draw.random() < 0.9}
        switchable = offered(draw.sample(list(FLAVORS), 9), draw.sample(list(FLAVORS), 2))
        facts = Facts(switchable, usage_of(used, draw.choice((5, 30, 100))))
        row = notebook(on, draw.choice(("", "gpu-only")) if FLAVORS[on].category == "GPU" else "")
        proposal = job_as_is.propose(row, context(facts))
        if isinstance(proposal, Skip):
            continue
        changed += 1
        target = next(one for one in switchable if one.id == proposal.flavor)
        present = FLAVORS[on]
        assert not target.sold_out
        assert (target.arch, target.category, target.accelerator_type) == (
            present.arch,
            present.category,
            present.accelerator_type,
        )
        assert mismatches(IMAGES[row.image.id], target) == ()
        if target.accelerators < present.accelerators:
            kind = "npu" if present.category == "ASCEND" else "gpu"
            assert max(used[kind], used[f"{kind}_memory"]) / 100 * present.accelerators <= target.accelerators
    assert changed > 100


def test_what_only_the_catalogue_knows_to_be_sold_out_is_sold_out() -> None:
    flavors = {**FLAVORS, "c2": replace(FLAVORS["c2"], sold_out=True)}
    facts = Facts(offered(FLAVORS), usage_of({"cpu": 1, "memory": 1}))
    known = Context("lab-a", Catalog(IMAGES, flavors), int(NOW * 1000), facts={NB: facts})
    assert job().propose(notebook("c8"), known) == NotebookPatch(flavor="c4")


def test_the_reason_tells_way_and_numbers() -> None:
    facts = Facts(offered(FLAVORS), usage_of({"cpu": 12, "memory": 31, "gpu": 8, "gpu_memory": 9}, 63))
    assert job().reason(notebook("g2"), context(facts)) == (
        "down: cpu p95 12% of 16 vCPUs, memory p95 31% of 128 GB, gpu p95 8% of 2, gpu_memory p95 9% of 2"
        " in 14d, 63% measured"
    )
    assert job().reason(notebook("g2"), context(Facts())) == ""


def test_a_peak_of_memory_above_the_new_flavor_is_remarked() -> None:
    levels = {
        Resource.CPU: Level(5, 9, 1.0, 0.0, NOW, 0.0),
        Resource.MEMORY: Level(5, 60, 1.0, 0.0, NOW, 0.0),
    }
    facts = Facts(offered(FLAVORS), Usage(14 * DAY, 95.0, levels))
    assert job().propose(notebook("c8"), context(facts)) == NotebookPatch(flavor="c2")
    assert job().remarks(notebook("c8"), context(facts)) == (
        "its memory use once peaked above what the new flavor has",
    )
    calm = Facts(offered(FLAVORS), usage_of({"cpu": 5, "memory": 5}))
    assert job().remarks(notebook("c8"), context(calm)) == ()


@pytest.mark.parametrize(
    ("used", "asked"),
    [
        ({"cpu": 5, "memory": 5}, True),
        ({"cpu": 99, "memory": 5}, True),
        ({"cpu": 70, "memory": 70}, False),
        ({}, False),
    ],
)
def test_where_it_can_go_is_asked_only_of_who_has_somewhere_to_go(
    used: dict[str, float], asked: bool
) -> None:
    facts = Facts(None, usage_of(used))
    assert job().needs_switchable(notebook("c8"), context(facts)) is asked


def test_in_a_pool_there_may_be_flavors_that_no_catalogue_lists() -> None:
    facts = Facts(None, usage_of({"cpu": 5, "memory": 5}))
    row = notebook("c2")
    assert not job().needs_switchable(row, context(facts))
    assert job().needs_switchable(replace(row, pool_id="pool-a"), context(facts))


def test_what_is_wanted() -> None:
    wants = job({"usage": {"window": "30d", "percentile": 99, "file": "u.csv"}, "cooldown": "10d"}).wants()
    assert wants.switchable
    assert wants.usage is not None
    assert (wants.usage.window, wants.usage.percentile, wants.usage.file) == (30 * DAY, 99.0, "u.csv")
    assert Resource.NETWORK_RECEIVE not in wants.usage.resources
    assert wants.resized == 30 * DAY
    assert job({"cooldown": "1h"}).wants().resized == 14 * DAY


def test_a_ladder_that_the_scope_does_not_know_stops_the_job() -> None:
    job({"ladder": ["c4", "exclusive"]}).check(context(Facts()))
    with pytest.raises(UsageError) as caught:
        job({"ladder": ["c44", "c88"]}).check(context(Facts()))
    assert str(caught.value) == (
        "with.ladder: scope lab-a has none of these flavors; c44 is not known; did you mean c4?"
    )


_WRONG: list[Any] = [
    {"usage": {"window": "soon"}},
    {"usage": {"window": "0s"}},
    {"usage": {"percentile": 20}},
    {"usage": {"percentile": 101}},
    {"usage": {"min_share": "0%"}},
    {"usage": {"min_share": 20}},
    {"usage": {"file": ""}},
    {"headroom": "25%"},
    {"headroom": {"cpu": "-5%"}},
    {"headroom": {"disk": "5%"}},
    {"raise_above": "0%"},
    {"raise_above": "101%"},
    {"ladder": ["a"]},
    {"floor": {"vcpus": 0}},
    {"raise_above": "79%"},
    {"headroom": {"accelerators": "11%"}},
    {"direction": "sideways"},
    {"cooldwn": "1d"},
]


_BEYOND_A_SCHEMA = [
    {"usage": {"window": "0s"}},
    {"raise_above": "79%"},
    {"headroom": {"accelerators": "11%"}},
]


@pytest.mark.parametrize("parameters", _WRONG, ids=str)
def test_wrong_parameters_are_refused_by_the_model_and_by_the_schema(parameters: Any) -> None:
    with pytest.raises((UsageError, ValidationError)):
        job(parameters)
    file = {"job": "flavor-rightsizing", "name": "x", "select": "true", "with": parameters}
    if parameters not in _BEYOND_A_SCHEMA:
        assert not Draft202012Validator(schema({"flavor-rightsizing": FlavorRightsizing})).is_valid(file)


def test_limits_between_which_a_notebook_would_swing_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        job({"raise_above": "70%"})
    assert str(caught.value) == (
        "job.yaml:4: with: raise_above 70% is less than the 80% that a flavor chosen with a headroom of 25% "
        "may be used: notebooks would swing"
    )


def test_a_ladder_with_a_rung_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="a flavor is listed twice"):
        job({"ladder": ["c2", "c4", "c2"]})


# --- weeks of runs ---

LADDER = ("c2", "c4", "c8", "c16")
STEP = 3600.0


def demand(draw: Random, hours: int) -> list[float]:
    """vCPUs asked for, hour by hour: days and nights, a slow wave, a jump at some time, noise."""
    base, day, wave = draw.uniform(0.2, 10), draw.uniform(0, 4), draw.uniform(0, 5)
    period, jump_at, jump = draw.uniform(100, 900), draw.randrange(hours), draw.uniform(-6, 8)
    return [
        max(
            0.01,
            base
            + day * max(0.0, math.cos(hour / 12 * math.pi))
            + wave * math.sin(hour / period * 2 * math.pi)
            + (jump if hour > jump_at else 0.0)
            + draw.gauss(0, 0.3),
        )
        for hour in range(hours)
    ]


def play(seed: int, weeks: int, every_days: float, parameters: Any) -> list[Resize]:
    """What runs in so many weeks do to one notebook whose work is seeded."""
    spec, draw = job(parameters), Random(seed)
    asked, on, done = demand(draw, weeks * 168), draw.choice(LADDER), list[Resize]()
    start, flavors = NOW - weeks * 7 * DAY, {0.0: on}
    for run in range(1, int(weeks * 7 / every_days) + 1):
        now = start + run * every_days * DAY
        since = done[-1].at if done else 0.0
        book = Book({NB: since}, window=14 * DAY, until=now, step=STEP)
        until = int((now - start) / STEP)
        for hour in range(max(0, until - 14 * 24), until):
            at, vcpus = start + hour * STEP, asked[hour]
            had = FLAVORS[flavors[max(moment for moment in flavors if moment <= at)]].vcpus
            book.take(NB, Resource.CPU, at, 100 * vcpus / had)
            book.take(NB, Resource.MEMORY, at, 90 * min(1.0, vcpus / had))
        ((_, usage),) = book.usages(95.0)
        facts = Facts(offered(LADDER), usage, tuple(done))
        known = Context("lab-a", CATALOG, int(now * 1000), facts={NB: facts})
        proposal = spec.propose(notebook(on), known)
        if isinstance(proposal, NotebookPatch) and proposal.flavor is not None:
            done.append(Resize(now, on, proposal.flavor))
            flavors[now] = on = proposal.flavor
    return done


@pytest.mark.parametrize(
    ("every_days", "parameters", "rest"),
    [
        (7.0, {}, 7.0),
        (1.0, {}, 7.0),
        (1.0, {"cooldown": "2d", "usage": {"min_share": "5%"}}, 2.0),
        (0.5, {"cooldown": "0s", "usage": {"min_share": "1%"}, "headroom": {"memory": "12%"}}, 0.0),
    ],
)
def test_in_weeks_of_runs_no_notebook_goes_up_and_down_within_a_week(
    every_days: float, parameters: Any, rest: float
) -> None:
    changes, turns = 0, 0
    for seed in range(16):
        done = play(seed, 10, every_days, parameters)
        changes += len(done)
        for one, other in pairwise(done):
            assert other.at - one.at >= rest * DAY - 1
            up = [LADDER.index(step.after) > LADDER.index(step.before) for step in (one, other)]
            turns += up[0] is not up[1]
            assert up[0] is up[1] or other.at - one.at >= 7 * DAY - 1, (seed, one, other)
    assert changes > 10
    assert turns > 0
