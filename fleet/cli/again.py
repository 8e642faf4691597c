"""fleet undo and retry: plans that come from an earlier run."""

from __future__ import annotations

from typing import Annotated

import typer

from fleet.cli.planning import AllOption, PlanOption, carry_out, present
from fleet.cli.reporting import RunArgument, run_folder
from fleet.cli.session import ConfigOption, RunDirOption
from fleet.core.events import Outcome
from fleet.service.again import retry_order, undo_order


def undo(
    context: typer.Context,
    run: RunArgument,
    output: PlanOption = None,
    every: AllOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Make the plan that takes a run back.

    Reads only, writes nothing to the cloud; with -o the sealed plan is written to a file. Only notebooks that
    still hold what the run gave them are planned; others are listed as drifted. What cannot be undone is said
    in the plan.
    """
    order, scopes = undo_order(run_folder(context, config, run_dir, run))
    present(carry_out(context, config, order, scopes), output, every)


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
    for the failed, the not started and the drifted notebooks.
    """
    asked = {Outcome.FAILED: failed, Outcome.NOT_STARTED: not_started, Outcome.DRIFTED: drifted}
    outcomes = [outcome for outcome, wanted in asked.items() if wanted or not any(asked.values())]
    order, scopes = retry_order(run_folder(context, config, run_dir, run), outcomes)
    present(carry_out(context, config, order, scopes), output, every)
