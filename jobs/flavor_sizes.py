"""How large flavors are, against limits, needs and one another: the measures of `flavor_rightsizing`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from fleet.core.notebook import Flavor

_EPSILON = 1e-6  # shares are measured, sizes are whole: rounding alone must not ask for a larger flavor


class Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Size(Parameters):
    """The size of a flavor; what is not given is not limited."""

    vcpus: int | None = Field(None, ge=1)
    memory_gb: float | None = Field(None, gt=0)
    accelerators: int | None = Field(None, ge=0)

    def is_ceiling_of(self, flavor: Flavor) -> bool:
        """Whether the flavor exceeds it nowhere."""
        return all(mine >= its for mine, its in self._pairs(flavor))

    def is_floor_of(self, flavor: Flavor) -> bool:
        """Whether the flavor has at least this much of everything."""
        return all(mine <= its for mine, its in self._pairs(flavor))

    def _pairs(self, flavor: Flavor) -> Iterator[tuple[float, float]]:
        for mine, its in (
            (self.vcpus, flavor.vcpus),
            (self.memory_gb, flavor.memory_mib / 1024),
            (self.accelerators, flavor.accelerators),
        ):
            if mine is not None:
                yield mine, its


@dataclass(frozen=True, slots=True)
class Demand:
    """What a flavor must have at least."""

    vcpus: float
    memory_mib: float
    accelerators: float

    def held_by(self, flavor: Flavor) -> bool:
        return (
            self.vcpus <= flavor.vcpus + _EPSILON
            and self.memory_mib <= flavor.memory_mib + _EPSILON
            and self.accelerators <= flavor.accelerators + _EPSILON
        )


def same_kind(one: Flavor, other: Flavor) -> bool:
    return (
        one.arch.lower() == other.arch.lower()
        and one.category.upper() == other.category.upper()
        and one.accelerator_type.upper() == other.accelerator_type.upper()
        and one.free is other.free
    )


def is_larger(one: Flavor, other: Flavor) -> bool:
    """Larger in something and smaller in nothing."""
    sizes = [(flavor.vcpus, flavor.memory_mib, flavor.accelerators) for flavor in (one, other)]
    return sizes[0] != sizes[1] and all(mine >= its for mine, its in zip(*sizes, strict=True))
