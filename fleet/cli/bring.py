"""fleet start and stop: the commands that a report names to pay a debt."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from typing import Annotated

import anyio
import typer

from fleet.cli.output import say_lines, write
from fleet.cli.session import CLOCK, ConfigOption, settings_for
from fleet.core.changing.life import LEASE_MAX_MS, LEASE_MIN_MS
from fleet.core.errors import Exit, FleetError, UsageError
from fleet.core.jobfiles.job_values import parse_duration
from fleet.core.notebook import LeaseType, Notebook
from fleet.core.text import clean
from fleet.service.bringing import bring_running, bring_stopped
from fleet.settings import claims_file


class BroughtHalfway(FleetError):
    """We stopped waiting; the same command takes it up again."""

    exit = Exit.INTERRUPTED


OFF = -1  # as a lease: no auto stop

NotebookArgument = Annotated[str, typer.Argument(metavar="NOTEBOOK", help="The notebook's id.")]
ScopeOption = Annotated[str, typer.Option("--scope", metavar="NAME", help="The scope that holds it.")]


def start(
    context: typer.Context,
    notebook: NotebookArgument,
    scope: ScopeOption,
    duration: Annotated[
        str, typer.Option(help="Lease such as 1h30m, from 1h to 3d, or in ms; -1 switches auto stop off.")
    ],
    type: Annotated[LeaseType, typer.Option(help="Auto stop type.")] = LeaseType.TIMING,
    config: ConfigOption = None,
) -> None:
    """Start one notebook with the lease it should have.

    Sends the start unless it runs already, and waits until it does; writes nothing else. Refused while a run
    works on the notebook. Reports name this command, filled in, for each one that could not be brought back.
    """
    left = _lease(duration)
    lease = {"duration": left} if left == OFF else {"duration": left, "type": type.value}
    (spec,) = settings_for(context, config).scopes([scope])

    async def bring() -> Notebook:
        return await bring_running(spec, notebook, lease, CLOCK, claims_file(os.environ), _say)

    _tell(bring, notebook)


def stop(
    context: typer.Context, notebook: NotebookArgument, scope: ScopeOption, config: ConfigOption = None
) -> None:
    """Stop one notebook and leave it stopped.

    Sends the stop unless it is stopped already, and waits until it is; writes nothing else. Refused while a
    run works on the notebook.
    """
    (spec,) = settings_for(context, config).scopes([scope])

    async def bring() -> Notebook:
        return await bring_stopped(spec, notebook, CLOCK, claims_file(os.environ), _say)

    _tell(bring, notebook)


def _lease(text: str) -> int:
    """The milliseconds of a lease, or OFF. Raises UsageError for what the cloud would refuse."""
    try:
        lease = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else int(parse_duration(text) * 1000)
    except ValueError as error:
        raise UsageError(f"--duration: {error}, nor milliseconds") from None
    if lease != OFF and not LEASE_MIN_MS <= lease <= LEASE_MAX_MS:
        raise UsageError(
            f"--duration: {text} is neither {OFF} nor from 1h to 3d ({LEASE_MIN_MS} to {LEASE_MAX_MS} ms)"
        )
    return lease


def _say(text: str) -> None:
    say_lines([text])


def _tell(bring: Callable[[], Awaitable[Notebook]], notebook: str) -> None:
    """Waits for the notebook and says where it is."""
    try:
        found = anyio.run(bring)
    except KeyboardInterrupt:
        raise BroughtHalfway(
            f"interrupted; what was sent goes on, look with: fleet ls -s 'id == \"{notebook}\"'"
        ) from None
    write(f"{clean(found.name) or notebook} is {found.status}\n")
