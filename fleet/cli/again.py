"""fleet undo and retry: plans that come from an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.files import require_plan_target
from fleet.cli.output import say_lines
from fleet.cli.planning import AllOption, PlanOption, carry_out, present
from fleet.cli.reporting import RunArgument, run_folder, told
from fleet.cli.session import ConfigOption, RunDirOption, completer
from fleet.core.events import Outcome
from fleet.core.rows import Row
from fleet.report.summary import Report
from fleet.service.again import PastRun, past_run, retry_order, undo_order

MOST = 5  # commands to show


def undo(
    context: typer.Context,
    run: RunArgument,
    output: PlanOption = None,
    every: AllOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Make the plan that takes a run back.

    Reads only, writes nothing to the cloud; with -o the sealed plan is written to a file. Looks at every
    notebook that the run changed or may have changed, also where it failed or was cut short. Only those that
    still hold what the run gave them are planned; others are listed, as unchanged when they are as before, as
    drifted when somebody changed them. Those that the run left stranded, or stopped as it broke off, must be
    brought back first: they are counted, with the commands that do it. What cannot be undone is said in the
    plan.
    """
    if output is not None:
        require_plan_target(output)
    folder = run_folder(context, config, run_dir, run)
    order, scopes = undo_order(_past(context, config, folder))
    present(carry_out(context, config, order, scopes), output, every, completer(context, config, folder))


def retry(
    context: typer.Context,
    run: RunArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed.")] = False,
    not_started: Annotated[bool, typer.Option("--not-started", help="Those never begun.")] = False,
    drifted: Annotated[bool, typer.Option("--drifted", help="Those that were no longer as planned.")] = False,
    output: PlanOption = None,
    every: AllOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a new plan for what a run did not change.

    Reads only, writes nothing to the cloud; with -o the sealed plan is written to a file. Without an option:
    for the failed, the not started and the drifted notebooks. Those that hold neither what they had before
    nor what the run gave them are listed as drifted and left alone. Those that the run left stranded, or
    stopped as it broke off, are not planned: they are counted, with the commands that bring them home. What
    was to wait between two stages waits on.
    """
    asked = {Outcome.FAILED: failed, Outcome.NOT_STARTED: not_started, Outcome.DRIFTED: drifted}
    outcomes = [outcome for outcome, wanted in asked.items() if wanted or not any(asked.values())]
    if output is not None:
        require_plan_target(output)
    folder = run_folder(context, config, run_dir, run)
    order, scopes = retry_order(_past(context, config, folder), outcomes)
    present(carry_out(context, config, order, scopes), output, every, completer(context, config, folder))


def _past(context: typer.Context, config: Path | None, folder: Path) -> PastRun:
    """The run in `folder`; says first what it left away from home."""
    past = past_run(folder)
    if past.stranded or past.broken_off:
        report = told(context, config, folder)
        say_lines(_left(past.stranded, "stranded", report))
        say_lines(_left(past.broken_off, "stopped, as the run broke off,", report))
        if past.broken_off:
            say_lines(
                [report.whole(f"  or all, and what is left of the run besides: fleet resume {report.run}")]
            )
    return past


def _left(rows: Sequence[Row], how: str, report: Report) -> Iterator[str]:
    """How many are away from home, and the commands that bring them back."""
    if not rows:
        return
    was, one = ("notebook was", "it is") if len(rows) == 1 else ("notebooks were", "they are")
    yield f"{len(rows)} {was} left {how} and will not be planned; unless {one} back by now, first:"
    yield from (report.whole(f"  {row.fix}") for row in rows[:MOST] if row.fix)
    if len(rows) > MOST:
        yield report.whole(f"  and {len(rows) - MOST} more: fleet report {report.run}")
