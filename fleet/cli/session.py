"""What commands share: the options that mean the same everywhere, settings, clock."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import reason
from fleet.client.clock import Clock
from fleet.core.errors import UsageError
from fleet.settings import Settings, find_config, load_settings, state_dir

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration; default: fleet.toml here, else the user's.")
]
ScopesOption = Annotated[
    list[str] | None, typer.Option("--scope", help="Only this scope; may be given several times.")
]
RunDirOption = Annotated[Path | None, typer.Option("--run-dir", help="Folder that holds the run folders.")]

CLOCK = Clock(time.monotonic, time.time)


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


def read_file(path: Path, what: str) -> bytes:
    """The file's content. Raises UsageError in words when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read this {what}: {reason(error)}") from None


def read_text(path: Path, what: str) -> str:
    """The file's text. Raises UsageError in words when it cannot be read."""
    try:
        return read_file(path, what).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: this {what} is not UTF-8 text") from None
