"""Where environments will be saved as images, for the person who has to say yes: whose place, what names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fleet.core.changing.saved_image import organization_of
from fleet.core.planning.plan import Change


def save_remarks(changes: Sequence[Change], why: Mapping[str, str]) -> Iterator[str]:
    """A line for each scope and organization; `why` says by scope what made the job choose it."""
    saved: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        if change.save:
            saved.setdefault((change.scope, organization_of(change.save)), []).append(change.save)
    for (scope, organization), paths in saved.items():
        one = len(paths) == 1
        what = "environment is saved as an image" if one else "environments are saved as images"
        chosen = f" ({why[scope]})" if why.get(scope) else ""
        name = paths[0].removeprefix(f"{organization}/")
        named = f"called {name}" if one else f"with names like {name}"
        where = f"the organization {organization} of scope {scope}{chosen}"
        yield f"{len(paths)} {what} first, in {where}, {named}; that takes minutes, costs space"
