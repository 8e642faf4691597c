"""The options that choose among the notebooks of a selector or a job file, the same for every command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.files import read_text
from fleet.core.errors import UsageError
from fleet.core.jobfiles.job_values import parse_share
from fleet.core.planning.guards import parse_overrides
from fleet.core.rollout import Share
from fleet.core.selecting.expression import SelectorError
from fleet.core.selecting.selector import Selector, read_ids
from fleet.service.planning import Choice

IdsOption = Annotated[
    Path | None,
    typer.Option(
        "--ids", metavar="FILE", help="Only the notebooks in this file, an id a line; - reads stdin."
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="CEL", help="But not those; may be given several times."),
]
LimitOption = Annotated[
    str | None,
    typer.Option("--limit", metavar="N|P%", help="Only a sample, the same each time: a number or a share."),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Another seed, another sample.")
]
ExplainOption = Annotated[
    str | None,
    typer.Option("--explain", metavar="ID", help="Only say why this notebook is in or out."),
]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--override", metavar="GUARD", help="Lift max_targets, max_share or quota; the plan keeps the reason."
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why a guard is lifted.")]

STDIN = Path("-")


def choice_of(
    ids: Path | None,
    exclude: Sequence[str] | None,
    limit: str | None,
    seed: int | None,
    override: Sequence[str] | None = None,
    reason: str = "",
) -> Choice:
    """What the options ask for. Raises UsageError with the option's name."""
    return Choice(
        listed=None if ids is None else _listed(ids),
        exclude=tuple(map(_excluded, exclude or ())),
        limit=None if limit is None else _limit(limit),
        seed=seed,
        overrides=parse_overrides(override or (), reason),
    )


def listed_in(path: Path) -> tuple[str, ...]:
    """The ids in the file. Raises UsageError with file and line."""
    return read_ids(read_text(path, "list of ids"), str(path))


def _listed(path: Path) -> tuple[str, ...]:
    return read_ids(sys.stdin.read(), "stdin") if path == STDIN else listed_in(path)


def _excluded(text: str) -> Selector:
    try:
        return Selector.parse(text)
    except SelectorError as error:
        raise UsageError(f"--exclude: {error}") from None


def _limit(text: str) -> Share:
    try:
        return parse_share(int(text) if text.isascii() and text.isdigit() else text)
    except ValueError as error:
        raise UsageError(f"--limit: {error}") from None
