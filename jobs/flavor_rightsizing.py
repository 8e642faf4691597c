"""Puts notebooks on the flavor that their usage asks for: larger where it is short, smaller where it idles.

What counts is a percentile over a window, with headroom on top. A notebook grows when it is close to what its
flavor has, and shrinks only when a smaller flavor holds its usage and the headroom: between the two it stays,
so that it does not swing. After a change it rests; what it used on an earlier flavor is not counted. Known
are only the changes of runs whose folders are on this machine: what a person changed at the console, or a run
elsewhere, is taken for what the notebook has always been on. The notebooks of a run whose journal cannot be
read are left alone.

Never changed are the processor architecture, the category and the kind of accelerator. Fewer accelerators
are given only where their own usage was measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from fleet.core.catalog import mismatches
from fleet.core.duration import duration
from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.job import Context, Facts, JobSpec, Resize, Skip, Wants
from fleet.core.jobfiles.job_values import Duration, PositiveDuration
from fleet.core.notebook import Flavor, Notebook
from fleet.core.patch import NotebookPatch
from fleet.core.spelling import nearest
from fleet.core.usage import Level, Resource, Usage, UsageWanted
from jobs.flavor_sizes import Demand, Parameters, Size, is_larger, same_kind

DAY = 86_400.0
WEEK = 7 * DAY
_PERCENT = re.compile(r"(0|[1-9]\d{0,2})%", re.ASCII)


def _percent(value: object) -> float:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a percentage such as 25%")
    return int(match[1]) / 100.0


def _part(value: object) -> float:
    share = _percent(value)
    if not 0.0 < share <= 1.0:
        raise ValueError("must be a percentage from 1% to 100%")
    return share


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Percent = Annotated[float, PlainValidator(_percent), _schema("^(0|[1-9][0-9]{0,2})%$", "25%")]
PartOf = Annotated[float, PlainValidator(_part), _schema("^([1-9][0-9]?|100)%$", "20%")]


class Measured(Parameters):
    """What is looked at, and how much of it there must be."""

    window: PositiveDuration = Field(14 * DAY, description="How far back usage counts.")
    percentile: float = Field(95.0, ge=50.0, le=100.0, description="Which percentile of it.")
    min_share: PartOf = Field(0.2, description="The part of the window that must have been measured.")
    file: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="A file with samples, in the place of the configured source."
    )


class Headroom(Parameters):
    """What a flavor must have above the measured usage."""

    cpu: Percent = 0.25
    memory: Percent = 0.30
    accelerators: Percent = 0.25


class Direction(StrEnum):
    """Which way flavors may be changed."""

    BOTH = "both"
    DOWN = "down"
    UP = "up"


@dataclass(frozen=True, slots=True)
class _Case:
    """A notebook whose usage is known well enough, and which way it should go."""

    notebook: Notebook
    present: Flavor
    usage: Usage
    demand: Demand
    short: tuple[str, ...]  # what it is short of

    @property
    def way(self) -> Direction:
        return Direction.UP if self.short else Direction.DOWN


class FlavorRightsizing(JobSpec):
    """Put notebooks on the flavor that their usage asks for."""

    usage: Measured = Field(default_factory=Measured)
    headroom: Headroom = Field(default_factory=Headroom)
    raise_above: PartOf = Field(0.9, description="A notebook is short of what it uses more of than this.")
    cooldown: Duration = Field(WEEK, description="How long a notebook rests after a change of its flavor.")
    ladder: Annotated[tuple[str, ...], Field(min_length=2)] | None = Field(
        None, description="The only flavors to go to, from small to large; default: what fits."
    )
    floor: Size | None = Field(None, description="Nothing smaller than this.")
    ceiling: Size | None = Field(None, description="Nothing larger than this.")
    direction: Direction = Direction.BOTH

    @model_validator(mode="after")
    def _consistent(self) -> FlavorRightsizing:
        if self.ladder is not None and len(set(self.ladder)) < len(self.ladder):
            raise ValueError("ladder: a flavor is listed twice")
        # What was chosen with headroom may be used up to here; short below that, it would come back.
        least = min(self.headroom.cpu, self.headroom.memory, self.headroom.accelerators)
        if self.raise_above * (1.0 + least) < 1.0:
            raise ValueError(
                f"raise_above {self.raise_above:.0%} is less than the {1.0 / (1.0 + least):.0%} that a "
                f"flavor chosen with a headroom of {least:.0%} may be used: notebooks would swing"
            )
        return self

    def wants(self) -> Wants:
        """Usage, what runs did to the flavor lately, and where each notebook can go."""
        resources = tuple(resource for resource in Resource if resource is not Resource.NETWORK_RECEIVE)
        measured = self.usage
        return Wants(
            switchable=True,
            usage=UsageWanted(measured.window, measured.percentile, resources, measured.file or ""),
            resized=max(self.cooldown, WEEK, measured.window),
        )

    def check(self, context: Context) -> None:
        """Raises UsageError for a ladder of which the scope knows no flavor at all."""
        known = context.catalog.flavors
        if self.ladder is not None and known and known.keys().isdisjoint(self.ladder):
            first = self.ladder[0]
            raise UsageError(
                f"with.ladder: scope {context.scope} has none of these flavors; {first} is not known"
                f"{nearest(first, known)}"
            )

    def needs_switchable(self, notebook: Notebook, context: Context) -> bool:
        """Only where there is somewhere to go; pools have flavors that no catalogue lists."""
        case = self._case(notebook, context)
        if isinstance(case, Skip):
            return False
        offered = context.catalog.flavors.values()
        return bool(case.short or notebook.pool_id or any(self._candidates(case, offered, context)))

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        """The smallest flavor that holds what was used and the headroom; nothing where that makes none."""
        case = self._case(notebook, context)
        if isinstance(case, Skip):
            return case
        switchable = _facts(notebook, context).switchable
        if switchable is None and self.needs_switchable(notebook, context):
            return Skip(f"should go {case.way.value}, but which flavors it can be switched to is not known")
        target = self._target(case, switchable or (), context)
        return NotebookPatch(flavor=target.id) if isinstance(target, Flavor) else target

    def reason(self, notebook: Notebook, context: Context) -> str:
        """The way, and the usage that asks for it."""
        case = self._case(notebook, context)
        if isinstance(case, Skip):
            return ""
        present, usage = case.present, case.usage
        words = [
            _told(Resource.CPU, usage, f"{present.vcpus} vCPUs"),
            _told(Resource.MEMORY, usage, f"{present.memory_mib / 1024:g} GB"),
        ]
        chips = [name for name in _chips(present) if name in usage.levels]
        words += [_told(name, usage, f"{present.accelerators}") for name in chips]
        share = min(usage.share(Resource.CPU), usage.share(Resource.MEMORY))
        window = f"{_days(usage.window)}, {share:.0%} measured"
        return f"{case.way.value}: {', '.join(words)} in {window}"

    def remarks(self, notebook: Notebook, context: Context) -> tuple[str, ...]:
        """Says when memory was short for a moment on less than the new flavor has."""
        case = self._case(notebook, context)
        target = self.propose(notebook, context)
        if isinstance(case, Skip) or isinstance(target, Skip):
            return ()
        offered = {flavor.id: flavor for flavor in _facts(notebook, context).switchable or ()}
        flavor, level = offered.get(target.flavor or ""), case.usage.levels[Resource.MEMORY]
        if flavor is None or level.peak / 100.0 * case.present.memory_mib <= flavor.memory_mib:
            return ()
        return ("its memory use once peaked above what the new flavor has",)

    # --- what was used ---

    def _case(self, notebook: Notebook, context: Context) -> _Case | Skip:
        """What its usage says of the notebook, or why nothing can be said."""
        facts = _facts(notebook, context)
        offered = {flavor.id: flavor for flavor in facts.switchable or ()}
        present = offered.get(notebook.flavor) or context.catalog.flavors.get(notebook.flavor)
        if present is None or not present.vcpus or not present.memory_mib:
            return Skip(f"the size of its flavor {notebook.flavor or '(none)'} is not known")
        if self.ladder is not None and present.id not in self.ladder:
            return Skip(f"its flavor {present.id} is not on the ladder")
        usage = facts.usage or Usage(self.usage.window, self.usage.percentile, {})
        now = context.now / 1000
        if facts.untold:
            return Skip(f"run {facts.untold} may have changed its flavor, but its journal cannot be read")
        if resting := self._resting(facts.resized, now):
            return Skip(resting)
        if too_little := self._too_little(usage):
            return Skip(too_little)
        case = _Case(notebook, present, usage, self._demand(present, usage), self._short_of(present, usage))
        if self.direction not in (Direction.BOTH, case.way):
            return Skip(_short(case) if case.short else "is not short of anything", Outcome.UNCHANGED)
        if turned := _turned(facts.resized, case.way, context, now):
            return Skip(turned)
        return case

    def _resting(self, resized: Iterable[Resize], now: float) -> str:
        ages = [now - resize.at for resize in resized]
        if not ages or min(ages) >= self.cooldown:
            return ""
        return f"its flavor was changed {_days(min(ages))} ago, it rests for {_days(self.cooldown)}"

    def _too_little(self, usage: Usage) -> str:
        """Why the measured part of the window is too small; empty when it is not."""
        shares = {name: usage.share(name) for name in (Resource.CPU, Resource.MEMORY)}
        if min(shares.values()) >= self.usage.min_share:
            return ""
        told = ", ".join(f"{name} {_floored(100 * share):g}%" for name, share in shares.items())
        return f"too little data: {told} of {_days(usage.window)}, {100 * self.usage.min_share:g}% are needed"

    def _enough(self, level: Level | None) -> bool:
        return level is not None and level.share >= self.usage.min_share

    def _demand(self, present: Flavor, usage: Usage) -> Demand:
        room, levels = self.headroom, usage.levels
        told_by = [level for name in _chips(present) if self._enough(level := levels.get(name))]
        busiest = max((level.usual for level in told_by if level is not None), default=0.0) / 100.0
        # Fewer only where both their work and their memory were measured, and never none.
        fewest = 1.0 if len(told_by) == 2 else float(present.accelerators)
        chips = max(fewest, busiest * present.accelerators * (1.0 + room.accelerators))
        return Demand(
            vcpus=levels[Resource.CPU].usual / 100.0 * present.vcpus * (1.0 + room.cpu),
            memory_mib=levels[Resource.MEMORY].usual / 100.0 * present.memory_mib * (1.0 + room.memory),
            accelerators=chips if present.accelerators else 0.0,
        )

    def _short_of(self, present: Flavor, usage: Usage) -> tuple[str, ...]:
        limit = 100.0 * self.raise_above
        looked_at = (Resource.CPU, Resource.MEMORY, *_chips(present))
        return tuple(
            f"{name} p{usage.percentile:g} {level.usual:.0f}%"
            for name in looked_at
            if (level := usage.levels.get(name)) is not None and self._enough(level) and level.usual > limit
        )

    # --- where to go ---

    def _target(self, case: _Case, switchable: Iterable[Flavor], context: Context) -> Flavor | Skip:
        sold_out = []
        for flavor in self._candidates(case, switchable, context):
            listed = context.catalog.flavors.get(flavor.id, flavor)
            if not flavor.sold_out and not listed.sold_out:
                return flavor
            sold_out.append(flavor.id)
        if sold_out:
            return Skip(f"should go {case.way.value}, but {', '.join(sorted(sold_out))}: sold out")
        if case.short:
            return Skip(f"{_short(case)}, and no flavor that it can be switched to is large enough")
        return Skip("its flavor is right", Outcome.UNCHANGED)

    def _candidates(self, case: _Case, offered: Iterable[Flavor], context: Context) -> list[Flavor]:
        """Where the notebook could go, the best first, whether there is stock or not."""
        image = context.catalog.images.get(case.notebook.image.id, case.notebook.image)
        return sorted(
            (
                flavor
                for flavor in offered
                if same_kind(flavor, case.present)
                and self._is_on_the_way(flavor, case)
                and case.demand.held_by(flavor)
                and self._within_limits(flavor, case.way)
                and not mismatches(image, flavor)
            ),
            key=self._order,
        )

    def _is_on_the_way(self, flavor: Flavor, case: _Case) -> bool:
        """Smaller in something and larger in nothing, or the other way round; a ladder says it itself."""
        if self.ladder is not None:
            if flavor.id not in self.ladder:
                return False
            here, there = self.ladder.index(case.present.id), self.ladder.index(flavor.id)
            return there > here if case.short else there < here
        return is_larger(flavor, case.present) if case.short else is_larger(case.present, flavor)

    def _within_limits(self, flavor: Flavor, way: Direction) -> bool:
        if way is Direction.UP:
            return self.ceiling is None or self.ceiling.is_ceiling_of(flavor)
        return self.floor is None or self.floor.is_floor_of(flavor)

    def _order(self, flavor: Flavor) -> tuple[float | str, ...]:
        if self.ladder is not None:
            return (float(self.ladder.index(flavor.id)),)
        return (flavor.accelerators, flavor.vcpus, flavor.memory_mib, flavor.id)


def _facts(notebook: Notebook, context: Context) -> Facts:
    return context.facts.get(notebook.id, Facts())


def _chips(flavor: Flavor) -> tuple[Resource, ...]:
    """What tells how much of its accelerators is used."""
    if not flavor.accelerators:
        return ()
    if flavor.category.upper() == "ASCEND":
        return Resource.NPU, Resource.NPU_MEMORY
    return Resource.GPU, Resource.GPU_MEMORY


def _turned(resized: Iterable[Resize], way: Direction, context: Context, now: float) -> str:
    """Why a notebook must not turn round: within a week it never goes both up and down."""
    flavors = context.catalog.flavors
    for resize in resized:
        if now - resize.at >= WEEK:
            continue
        before, after = flavors.get(resize.before), flavors.get(resize.after)
        if before is None or after is None:
            return f"its flavor was changed {_days(now - resize.at)} ago, to or from one that is not known"
        same = is_larger(after, before) if way is Direction.UP else is_larger(before, after)
        if not same:
            return f"would go {way.value}, {_days(now - resize.at)} after it went the other way"
    return ""


def _short(case: _Case) -> str:
    return f"is short of {' and '.join(case.short)}"


def _told(name: Resource, usage: Usage, of: str) -> str:
    return f"{name} p{usage.percentile:g} {usage.levels[name].usual:.0f}% of {of}"


def _days(seconds: float) -> str:
    return f"{_floored(seconds / DAY):g}d" if seconds >= DAY else duration(max(0.0, seconds))


def _floored(value: float) -> float:
    """To a tenth, and down: what is too little must not look like enough."""
    return math.floor(round(10 * value, 6)) / 10
