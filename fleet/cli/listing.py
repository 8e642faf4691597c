"""fleet ls: which notebooks a selector picks."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import anyio
import typer

from fleet.cli.session import CLOCK, ConfigOption, ScopesOption, settings_for
from fleet.cli.tables import show_table
from fleet.core.errors import UsageError
from fleet.core.fields import FIELDS, Subject
from fleet.core.selection import Selection
from fleet.core.selector import Selector
from fleet.report.as_csv import safe_text
from fleet.service.survey import survey_scopes

DEFAULT_COLUMNS = "scope,id,name,status,owner,flavor,image.name"
EVERYTHING = "true"

Rows = Sequence[dict[str, Any]]


def ls(
    context: typer.Context,
    select: Annotated[
        str,
        typer.Option("--select", "-s", metavar="CEL", help='Such as: status == "RUNNING"'),
    ] = EVERYTHING,
    columns: Annotated[
        str, typer.Option("--columns", "-c", help="Fields to show, with commas between.")
    ] = DEFAULT_COLUMNS,
    output: Annotated[str, typer.Option("-o", "--output", help="table, json, jsonl, csv or id.")] = "table",
    count: Annotated[bool, typer.Option("--count", help="Only the number of matches.")] = False,
    fields: Annotated[bool, typer.Option("--fields", help="The fields that a selector may use.")] = False,
    accept_churn: Annotated[
        bool, typer.Option("--accept-churn", help="Leave out what changes while it is read.")
    ] = False,
    scope: ScopesOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the notebooks that a selector picks. Reads only.

    The list is read until two passes agree, so that no row is missed.
    """
    if fields:
        show_table(("field", "type", "meaning"), [(f.name, f.type, f.meaning) for f in FIELDS.values()])
        return
    render = _renderer(output)
    names = _columns(columns)
    selector = Selector.parse(select)
    specs = settings_for(context, config).scopes(scope or None)
    now = int(CLOCK.wall() * 1000)

    async def survey() -> list[Selection]:
        return await survey_scopes(specs, selector, CLOCK, accept_churn=accept_churn)

    selections = anyio.run(survey)
    if count:
        print(sum(len(found.matched) for found in selections))
        return
    subjects = [Subject(row, found.scope, now) for found in selections for row in found.matched]
    render([{name: _plain(FIELDS[name].read(subject)) for name in names} for subject in subjects], names)
    listed = sum(len(found.rows) for found in selections)
    print(f"{len(subjects)} of {listed} notebooks in {len(selections)} scopes", file=sys.stderr)


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in FIELDS:
            raise UsageError(f"--columns: there is no field {name!r}; see: fleet ls --fields")
    return names


def _plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    if value is None or isinstance(value, str | int | bool | list | dict):
        return value
    return str(value)


def _renderer(output: str) -> Callable[[Rows, Sequence[str]], None]:
    try:
        return _RENDERERS[output]
    except KeyError:
        raise UsageError(f"--output: {output!r} is none of {', '.join(_RENDERERS)}") from None


def _table(rows: Rows, names: Sequence[str]) -> None:
    show_table(names, [tuple(_cell(row[name]) for name in names) for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={word}" for key, word in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _json(rows: Rows, _: Sequence[str]) -> None:
    print(json.dumps(list(rows), indent=1, ensure_ascii=True))


def _jsonl(rows: Rows, _: Sequence[str]) -> None:
    for row in rows:
        print(json.dumps(row, ensure_ascii=True))


def _csv(rows: Rows, names: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([safe_text(_cell(row[name])) for name in names] for row in rows)
    sys.stdout.write(text.getvalue())


def _ids(rows: Rows, _: Sequence[str]) -> None:
    for row in rows:
        print(row["id"])


_RENDERERS: dict[str, Callable[[Rows, Sequence[str]], None]] = {
    "table": _table,
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "id": _ids,
}
