"""fleet start and stop: the commands that a report names to pay a debt."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from fleet.cli.session import CLOCK, ConfigOption, settings_for
from fleet.core.errors import UsageError
from fleet.core.life import LEASE_MAX_MS, LEASE_MIN_MS
from fleet.core.notebook import LeaseType, Notebook
from fleet.service.bringing import bring_running, bring_stopped

NotebookArgument = Annotated[str, typer.Argument(metavar="NOTEBOOK", help="The notebook's id.")]
ScopeOption = Annotated[str, typer.Option("--scope", help="The scope that holds it.")]


def start(
    context: typer.Context,
    notebook: NotebookArgument,
    scope: ScopeOption,
    duration: Annotated[
        int, typer.Option(help="Lease in ms, 3600000 to 259200000; -1 switches auto stop off.")
    ],
    type: Annotated[LeaseType, typer.Option(help="Auto stop type.")] = LeaseType.TIMING,
    config: ConfigOption = None,
) -> None:
    """Start one notebook with the lease it should have, and wait until it runs.

    Reports name this command, filled in, for each notebook that could not be brought back.
    """
    if duration != -1 and not LEASE_MIN_MS <= duration <= LEASE_MAX_MS:
        raise UsageError(f"--duration: {duration} is neither -1 nor from {LEASE_MIN_MS} to {LEASE_MAX_MS} ms")
    lease = {"duration": duration} if duration == -1 else {"duration": duration, "type": type.value}
    (spec,) = settings_for(context, config).scopes([scope])

    async def bring() -> Notebook:
        return await bring_running(spec, notebook, lease, CLOCK)

    print(f"{anyio.run(bring).name or notebook} is RUNNING")


def stop(
    context: typer.Context, notebook: NotebookArgument, scope: ScopeOption, config: ConfigOption = None
) -> None:
    """Stop one notebook, and wait until it is stopped."""
    (spec,) = settings_for(context, config).scopes([scope])

    async def bring() -> Notebook:
        return await bring_stopped(spec, notebook, CLOCK)

    print(f"{anyio.run(bring).name or notebook} is STOPPED")
