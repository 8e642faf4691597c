"""Who is idle, for a run that waits for it: asked of the metrics that the scope names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from fleet.client.metrics import Idleness, Source
from fleet.core.errors import CallError, UsageError
from fleet.core.notebook import Flavor
from fleet.core.planning.plan import Plan
from fleet.core.rollout import Rollout
from fleet.core.scheduling import timing
from fleet.core.scheduling.timing import Moment
from fleet.core.scope import ScopeSpec
from fleet.core.usage import Resource, proves_idle
from fleet.engine.ports import Activity, Clock

BYTES = 125.0  # a second, in a kbit/s


class Measured(Protocol):
    """A scope whose usage may be measured."""

    @property
    def metrics(self) -> Source | None: ...

    async def flavors(self) -> Sequence[Flavor]: ...


def require_metrics(rollout: Rollout, specs: Iterable[ScopeSpec]) -> None:
    """Raises UsageError when a rollout waits for idleness that nobody measures."""
    if rollout.when is not Moment.IDLE:
        return
    for spec in specs:
        if spec.metrics is None:
            raise UsageError(
                f"rollout.when: idle needs metrics, and scope {spec.name} has none: add a table such as "
                '[metrics.aom] with kind = "aom" to fleet.toml, or use when: next-stop'
            )


async def activity_of(plan: Plan, clouds: Mapping[str, Measured], clock: Clock) -> dict[str, Activity]:
    """What knows who is idle, by scope; nothing for a plan that does not ask."""
    if plan.rollout.when is not Moment.IDLE:
        return {}
    found: dict[str, Activity] = {}
    for scope, cloud in clouds.items():
        if cloud.metrics is None:
            continue
        categories = await _categories(cloud)
        needs = {
            change.id: proves_idle(categories.get(change.flavor, ""))
            for change in plan.changes
            if change.scope == scope
        }
        rule = plan.rollout.idle
        found[scope] = Idleness(
            cloud.metrics, needs, clock.wall, minutes=rule.lasting / 60, below=_below(rule)
        )
    return found


async def _categories(cloud: Measured) -> dict[str, str]:
    """What kind of machine each flavor is; where that is not known, everything must be measured as idle."""
    try:
        return {flavor.id: flavor.category for flavor in await cloud.flavors()}
    except CallError:
        return {}


def _below(rule: timing.Idleness) -> dict[Resource, float]:
    return {
        Resource.CPU: rule.cpu,
        Resource.GPU: rule.gpu,
        Resource.NPU: rule.npu,
        Resource.NETWORK_RECEIVE: rule.network_receive * BYTES,
    }
