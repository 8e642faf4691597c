"""fleet recover: what a run left behind, where its journal is lost or damaged."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import typer

from fleet.cli.files import read_file
from fleet.cli.output import cleaned, folded, say_lines, write
from fleet.cli.pages import PageProgress
from fleet.cli.reporting import RunArgument, run_folder
from fleet.cli.session import CLOCK, ConfigOption, RunDirOption, completer, limit_memory, settings_for
from fleet.core.changing.recovery import Finding, Holds, exit_code
from fleet.core.errors import FleetError, UsageError
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import load_plan
from fleet.core.text import clean
from fleet.journal.errors import JournalError, OtherFormat
from fleet.journal.lock import is_locked
from fleet.journal.runs import PLAN
from fleet.report.aligned import aligned
from fleet.service.recovering import Remains, remains
from fleet.service.recovering import recover as read_cloud
from fleet.service.running import require_same_scopes


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found of the run in `folder`, which can go on if it is `sound`. `whole` completes commands."""

    folder: Path
    job: str
    found: tuple[Finding, ...]
    sound: bool
    whole: Callable[[str], str]

    @property
    def run(self) -> str:
        return self.folder.name


def recover(
    context: typer.Context,
    run: RunArgument,
    output: Annotated[str, typer.Option("-o", "--output", help="table, json or jsonl.")] = "table",
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> int:
    """Tell what a run left behind whose journal is lost or damaged.

    Reads the plan in the run's folder and each planned notebook in the cloud; writes nothing to either. A row
    for each: whether it holds the new or the old value, its status and the one it was to come back to, and
    for one that ran and is stopped the command that starts it. Those of which a damaged journal still proves
    that nothing is owed are left out. Exits with 7 when one that ran does not run or could not be seen, with
    5 when one is gone or holds neither value.
    """
    if output not in RENDERERS:
        raise UsageError(f"--output: {output!r} is none of {', '.join(RENDERERS)}")
    folder = Path(os.path.abspath(run_folder(context, config, run_dir, run)))
    name, whole = folder.name, completer(context, config, folder)
    if is_locked(folder):
        raise FleetError(f"{name}: goes on, and brings its notebooks home itself; see: fleet status {name}")
    left = _remains(folder)
    plan, sound = left.plan if left else _planned(folder), left is not None and not left.damage
    specs = settings_for(context, config).scopes(scope.name for scope in plan.scopes)
    require_same_scopes(plan, specs)
    if left is not None:
        say_lines([whole(_told_by_journal(name, left))])

    async def read(pages: PageProgress) -> tuple[Finding, ...]:
        return await read_cloud(plan, specs, CLOCK, memory=limit_memory(), on_read=pages)

    with PageProgress(CLOCK.monotonic) as pages:
        found = anyio.run(read, pages)
    write(RENDERERS[output](Recovery(folder, plan.job, found, sound, whole)))
    return exit_code(found)


def _remains(folder: Path) -> Remains | None:
    """What the journal still tells; None where that is nothing."""
    try:
        return remains(folder)
    except OtherFormat as other:
        say_lines([str(other)])
    except JournalError:
        pass
    return None


def _planned(folder: Path) -> Plan:
    return load_plan(read_file(folder / PLAN, "plan"), str(folder / PLAN))


def _told_by_journal(run: str, left: Remains) -> str:
    if not left.damage:
        return f"its journal is not lost; these know more: fleet report {run}; fleet resume {run}"
    told = f"{left.ended} of which it proves that nothing is owed are left out: fleet report {run}"
    return f"its journal is damaged ({left.damage}); {told}"


# --- forms -----------------------------------------------------------------------------------------------


def _table(recovery: Recovery) -> str:
    columns = ("scope", "name", "id", "holds", "run state", "reason")
    rows = aligned(columns, map(_cells, recovery.found))
    # The summary names commands: they stay whole.
    return cleaned(folded(rows, sys.stdout)) + "\n" + "".join(f"{line}\n" for line in _summary(recovery))


def _cells(one: Finding) -> tuple[str, ...]:
    change, now = one.change, one.status or "?"
    run_state = now if now == change.run_state else f"{change.run_state} > {now}"
    return change.scope, change.name, change.id, one.holds, run_state, clean(one.reason)


def _summary(recovery: Recovery) -> Iterator[str]:
    found, counts = recovery.found, _counts(recovery.found)
    parts = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    planned = f"{len(found)} planned: {parts}" if parts else "0 planned"
    yield f"run {recovery.run}, job {clean(recovery.job)}, as the cloud shows it now"
    yield planned
    away, fixes = sum(one.away for one in found), [one for one in found if one.fix]
    if away:
        yield f"{away} ran when the plan was made and do not now; by whose hand, nobody can tell"
    if fixes:
        yield f"{len(fixes)} of them stopped; each is brought back by its command:"
        yield from (f"  {clean(one.change.name)}: {recovery.whole(one.fix)}" for one in fixes)
    if not recovery.sound:
        off = "it keeps other runs off what its last process was still to change"
        yield f"once nothing is owed remove {recovery.folder}: {off}"


def _counts(found: tuple[Finding, ...]) -> dict[str, int]:
    counted = Counter(one.holds for one in found)
    return {holds.value: counted[holds] for holds in Holds}


def _json(recovery: Recovery) -> str:
    document = {
        "run": recovery.run,
        "job": recovery.job,
        "exit": int(exit_code(recovery.found)),
        "counts": _counts(recovery.found),
        "rows": [_object(recovery, one) for one in recovery.found],
    }
    return json.dumps(document, indent=1) + "\n"


def _jsonl(recovery: Recovery) -> str:
    return "".join(json.dumps(_object(recovery, one)) + "\n" for one in recovery.found)


def _object(recovery: Recovery, one: Finding) -> dict[str, object]:
    change = one.change
    return {
        "run": recovery.run,
        "scope": change.scope,
        "id": change.id,
        "name": change.name,
        "owner": change.owner,
        "wave": change.wave,
        "holds": one.holds.value,
        "reason": one.reason,
        "before": dict(change.before),
        "planned": dict(change.after),
        "after": dict(one.values),
        "run_state": {"before": change.run_state.value, "after": one.status or None},
        "fix": recovery.whole(one.fix),
    }


RENDERERS: dict[str, Callable[[Recovery], str]] = {"table": _table, "json": _json, "jsonl": _jsonl}
