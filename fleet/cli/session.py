"""What commands share: the options that mean the same everywhere, settings, clock."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.client.clock import Clock
from fleet.client.memory import LimitFile
from fleet.settings import Settings, find_config, limits_file, load_settings, state_dir

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

CLOCK = Clock(time.monotonic, time.time)


def limit_memory() -> LimitFile:
    """What gateways taught earlier commands of this user."""
    return LimitFile(limits_file(os.environ), CLOCK.wall)


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
