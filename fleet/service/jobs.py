"""Finds job types by entry point, so that a job can come from anybody's package, and checks jobs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points

from fleet.core.errors import UsageError
from fleet.core.job import Context, JobSpec
from fleet.core.text import at_most

GROUP = "fleet.jobs"
_NEXT_PROBLEM = re.compile(r"\n(?=\S)")  # lines that begin with a space belong to the one above


def job_types() -> Mapping[str, type[JobSpec]]:
    """Every installed job type by name. Raises UsageError for one that cannot be loaded."""
    return {point.name: job_type(point.name) for point in entry_points(group=GROUP)}


def job_type(name: str) -> type[JobSpec]:
    """The job type of that name. Raises UsageError when there is none, or when it cannot be loaded."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f"did you mean {near[0]}?" if near else f"installed are: {', '.join(sorted(points))}"
        raise UsageError(f"there is no job type {name!r}; {hint}")
    try:
        found = points[name].load()
    except Exception as error:  # foreign code: whatever it raises, a person needs one line
        raise UsageError(f"the job type {name!r} cannot be loaded: {type(error).__name__}") from error
    if not (isinstance(found, type) and issubclass(found, JobSpec)):
        raise UsageError(f"the entry point {name!r} is no JobSpec")
    return found


def require_right(job: JobSpec, contexts: Iterable[Context], placed: Callable[[str], str]) -> None:
    """Raises UsageError with what is wrong with the job's parameters in any scope; `placed` says where."""
    problems: dict[str, None] = {}
    for context in contexts:
        try:
            job.check(context)
        except UsageError as error:
            problems |= dict.fromkeys(_NEXT_PROBLEM.split(placed(str(error))))
    if problems:
        raise UsageError(at_most(problems))
