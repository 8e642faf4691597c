"""What commands share: the options that mean the same everywhere, settings, clock."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.cli.files import require_target
from fleet.client.clock import Clock, boottime
from fleet.core.commands import whole
from fleet.core.errors import FleetError, UsageError
from fleet.journal.filesystem import unfit
from fleet.settings import (
    Settings,
    claims_file,
    find_config,
    limits_file,
    load_settings,
    state_dir,
    times_file,
)

if TYPE_CHECKING:
    from fleet.client.memory import LimitFile
    from fleet.service.times import TimeFile

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Configuration; default: fleet.toml here, else the user's."
    ),
]
ScopesOption = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="NAME", help="Only this scope; may be given several times."),
]
RunDirOption = Annotated[
    Path | None, typer.Option("--run-dir", metavar="FOLDER", help="Folder that holds the run folders.")
]

NOWHERE = Path(os.devnull)  # a working folder that holds nothing

CLOCK = Clock(time.monotonic, time.time, boottime)


def limit_memory() -> LimitFile:
    """What gateways taught earlier commands of this user."""
    from fleet.client.memory import LimitFile  # here, as most commands remember nothing

    return LimitFile(limits_file(os.environ), CLOCK.wall)


def time_memory() -> TimeFile:
    """How long stops and starts took in earlier runs of this user."""
    from fleet.service.times import TimeFile  # likewise

    return TimeFile(times_file(os.environ), CLOCK.wall)


def settings_for(context: typer.Context, config: Path | None) -> Settings:
    """The settings that options and environment name. Raises UsageError."""
    given = config or context.obj
    return load_settings(given, environ=os.environ, home=Path.home(), cwd=Path.cwd())


def runs_folder(context: typer.Context, config: Path | None, run_dir: Path | None) -> Path:
    """Where runs live: --run-dir, else [run] dir, else the user's state folder. Needs no credentials."""
    if run_dir is not None:
        return run_dir
    given = config or context.obj
    found = find_config(given, environ=os.environ, home=Path.home(), cwd=Path.cwd())
    return state_dir(settings_for(context, config) if found else None, os.environ)


ELSEWHERE = "choose another place with --run-dir"
HERE = "the run lives there; put that right, then resume it"


def require_places(base: Path, log_file: Path | None = None, *, advice: str = ELSEWHERE) -> None:
    """Raises UsageError or FleetError where a run in `base` could not write, with all such places at once.

    `advice` is what to do about `base`.
    """
    shared = claims_file(os.environ).parent
    places = {base: advice}
    places |= {shared: "all runs keep their claims there; set XDG_STATE_HOME to another place"}
    problems = [f"{place}: {why}; {remedy}" for place, remedy in places.items() if (why := unfit(place))]
    if log_file is not None:
        try:
            require_target(log_file, "log", appended=True)
        except UsageError as error:
            if not problems:
                raise
            problems.append(str(error))
    if problems:
        raise FleetError("\n".join(problems))


def config_option(context: typer.Context, config: Path | None) -> str:
    """What a printed command must end with to find this configuration from any working folder."""
    given, home = config or context.obj, Path.home()
    found = find_config(given, environ=os.environ, home=home, cwd=Path.cwd())
    own = find_config(None, environ=os.environ, home=home, cwd=NOWHERE)
    if found is None or (given is None and found == own):
        return ""
    return f" --config {shlex.quote(os.path.abspath(found))}"


def run_dir_option(context: typer.Context, config: Path | None, folder: Path) -> str:
    """What a printed command must end with, besides the configuration, to find the run in `folder` again."""
    base = os.path.dirname(os.path.abspath(folder))
    with suppress(UsageError):  # a report needs no configuration that is right
        if base == os.path.abspath(runs_folder(context, config, None)):
            return ""
    return f" --run-dir {shlex.quote(base)}"


def completer(context: typer.Context, config: Path | None, folder: Path | None) -> Callable[[str], str]:
    """Makes the commands in a text whole; those about a run find it in `folder`, or else where runs are."""
    run_dir = "" if folder is None else run_dir_option(context, config, folder)
    return partial(whole, config=config_option(context, config), run_dir=run_dir)


def run_options(context: typer.Context, config: Path | None, folder: Path) -> str:
    """What a printed command about the run in `folder` must end with."""
    return config_option(context, config) + run_dir_option(context, config, folder)
