"""Belts that are on by default: how many notebooks a job may change, and when a person must say the number.

A limit can be raised in the job file, where a reviewer sees it, or for one plan by an override whose reason
is sealed with the plan. What is protected, by the job or by the configuration, no override sets free.
Neighbours: `jobfile` reads the limits, `plan` keeps the overrides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fleet.core.errors import GuardError, UsageError
from fleet.core.rollout import Share
from fleet.core.selecting.selector import Selector
from fleet.core.spelling import nearest
from fleet.core.text import clean

CONFIRM_OVER = 20
SMALL = 20  # so many notebooks may be any share of a fleet
LIMITS = ("max_targets", "max_share", "quota")
_WAY_OUT = "narrow the selector, raise the limit in the job file"
_WAYS_OUT = {"quota": "delete instances that nobody needs, have the quota raised"}
_HALF = Share(50, percent=True)


@dataclass(frozen=True, slots=True)
class Guards:
    """What a run must never do, unless the job file says otherwise.

    It changes at most `max_targets` notebooks, and more than SMALL only up to `max_share` of all that its
    scopes hold. It leaves alone what `protect` matches. More than `confirm_over` changes need their number.
    """

    max_targets: int = 500
    max_share: Share = _HALF
    protect: Selector | None = None
    confirm_over: int = CONFIRM_OVER


def exceeded(guards: Guards, count: int, listed: int) -> Iterator[tuple[str, str]]:
    """The limits that `count` notebooks of `listed` ones would break: name, and what is wrong."""
    if count > guards.max_targets:
        yield "max_targets", f"{count} notebooks would change, guards.max_targets is {guards.max_targets}"
    if count > SMALL and count > guards.max_share.of(listed):
        share = f"{count} of all {listed} notebooks would change"
        yield "max_share", f"{share}, guards.max_share is {guards.max_share}"


def lifted(exceeded: Iterable[tuple[str, str]], overrides: Mapping[str, str]) -> dict[str, str]:
    """The limits that are broken, each with the reason for which that is allowed.

    The quota of instances is no limit of ours, but what would break it is refused and lifted alike.

    Raises GuardError for one that no override allows to be broken.
    """
    reasons = {}
    for name, problem in exceeded:
        if name not in overrides:
            raise GuardError(
                f"{problem}: {_WAYS_OUT.get(name, _WAY_OUT)}, or for this plan alone: "
                f'--override {name} --reason "WHY"'
            )
        reasons[name] = f"{problem}; overridden: {overrides[name]}"
    return reasons


def parse_overrides(names: Iterable[str], reason: str) -> dict[str, str]:
    """The reason by limit. Raises UsageError for an unknown limit, and without a reason."""
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in LIMITS:
            advice = nearest(name, LIMITS) or f"; there are {', '.join(LIMITS)}"
            raise UsageError(f"--override: no limit {clean(name, 40)!r}{advice}")
    said = " ".join(reason.split())
    if chosen and not said:
        raise UsageError(f'--override {chosen[0]}: say why, for those who read the plan: --reason "WHY"')
    if said and not chosen:
        raise UsageError(f"--reason: explains an override; name the limit: --override {' or '.join(LIMITS)}")
    return dict.fromkeys(chosen, clean(said))


def confirmed(count: int, confirm_over: int, *, yes: bool, said: int | None) -> bool:
    """Whether `count` notebooks may be changed without asking anybody.

    `said` is the number given with --confirm. Raises GuardError when it is not the count.
    """
    if said is not None and said != count:
        raise GuardError(f"{count} notebooks would change, --confirm says {said}; nothing was sent")
    return not count or said is not None or (yes and count <= confirm_over)


def unconfirmed(count: int, confirm_over: int) -> GuardError:
    """The refusal where --yes is not enough and nobody is there to be asked."""
    return GuardError(
        f"{count} notebooks would change, more than guards.confirm_over ({confirm_over}), so --yes is not "
        f"enough; repeat with --confirm {count}, or raise the limit in the job file"
    )
