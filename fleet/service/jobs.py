"""Finds job types by entry point, so that a job can come from anybody's package."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import entry_points

from fleet.core.errors import UsageError
from fleet.core.job import JobSpec

GROUP = "fleet.jobs"


def job_types() -> Mapping[str, type[JobSpec]]:
    """Every installed job type by name. Raises UsageError for one that cannot be loaded."""
    return {point.name: job_type(point.name) for point in entry_points(group=GROUP)}


def job_type(name: str) -> type[JobSpec]:
    """The job type of that name. Raises UsageError when there is none, or when it cannot be loaded."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"did you mean {near[0]}?" if near else f"installed are: {', '.join(sorted(points))}"
        raise UsageError(f"job: there is no job type {name!r}; {hint}")
    try:
        found = points[name].load()
    except Exception as error:  # foreign code: whatever it raises, a person needs one line
        raise UsageError(f"job: the job type {name!r} cannot be loaded: {type(error).__name__}") from error
    if not (isinstance(found, type) and issubclass(found, JobSpec)):
        raise UsageError(f"job: the entry point {name!r} is no JobSpec")
    return found
