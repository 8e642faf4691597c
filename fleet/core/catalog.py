"""Images and flavors on offer in one scope, and what fits what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.core.notebook import Flavor, Image


@dataclass(frozen=True, slots=True)
class Catalog:
    """The images (built-in and own) and flavors that one scope offers, by id."""

    images: Mapping[str, Image] = field(default_factory=dict)
    flavors: Mapping[str, Flavor] = field(default_factory=dict)
