"""fleet ls: which notebooks a selector picks."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import anyio
import typer

from fleet.cli.choosing import (
    ExcludeOption,
    ExplainOption,
    IdsOption,
    LimitOption,
    SeedOption,
    choice_of,
)
from fleet.cli.explaining import explanation
from fleet.cli.output import cleaned, folded, say, write, write_lines
from fleet.cli.pages import PageProgress
from fleet.cli.session import CLOCK, ConfigOption, ScopesOption, settings_for
from fleet.core.duration import duration
from fleet.core.errors import UsageError
from fleet.core.selecting.explain import why
from fleet.core.selecting.fields import FIELDS, Subject
from fleet.core.selecting.sampling import sampled
from fleet.core.selecting.selection import Selection
from fleet.core.selecting.selector import Selector, Unheld, parse_ids
from fleet.core.spelling import nearest
from fleet.report.aligned import aligned
from fleet.report.as_csv import safe_text
from fleet.report.as_json import instant
from fleet.service.explaining import find
from fleet.service.survey import survey_scopes

DEFAULT_COLUMNS = "scope,name,id,status,owner,flavor,image.name"
EVERYTHING = "true"

Row = Mapping[str, Any]
Renderer = Callable[[Sequence[Row]], str]


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
    ids: IdsOption = None,
    exclude: ExcludeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    explain: ExplainOption = None,
    fields: Annotated[bool, typer.Option("--fields", help="The fields that a selector may use.")] = False,
    accept_churn: Annotated[
        bool, typer.Option("--accept-churn", help="Leave out what changes while it is read.")
    ] = False,
    scope: ScopesOption = None,
    config: ConfigOption = None,
) -> None:
    """Show the notebooks that a selector picks.

    Reads only, writes nothing to the cloud. The list is read until two passes agree, so that no row is
    missed. What is asked of flavors, and of images beyond id and name, is looked up in the scope's catalogue.
    """
    if fields:
        meanings = [(field.name, field.type, field.meaning) for field in FIELDS.values()]
        write_lines(folded(aligned(("field", "type", "meaning"), meanings), sys.stdout))
        return
    names = _columns("id" if output == "id" else columns)
    render = _renderer(output, names)
    selector = Selector.parse(select)
    choice = choice_of(ids, exclude, limit, seed)
    picker, sample = choice.narrow(selector), choice.sample()
    named = () if explain is None else parse_ids([explain])
    specs = settings_for(context, config).scopes(scope or None)
    now = int(CLOCK.wall() * 1000)
    offers = {offer for name in names if (offer := FIELDS[name].offer) is not None}

    async def survey(pages: PageProgress) -> list[Selection]:
        return await survey_scopes(
            specs,
            picker,
            CLOCK,
            named=named,
            offers=offers,
            accept_churn=accept_churn or explain is not None,
            on_read=pages,
        )

    try:
        with PageProgress(CLOCK.monotonic) as pages:
            selected = anyio.run(survey, pages)
    except Unheld as missing:
        raise Unheld(missing.ids, scope or ()) from None
    if explain is not None:
        subject = find(selected, named[0], now)
        write_lines(folded(explanation(subject, why(picker, sample, selected, subject)), sys.stdout))
        return
    selections = sampled(selected, sample)
    if count:
        write(f"{sum(len(found.matched) for found in selections)}\n")
        return
    subjects = [
        Subject(row, found.scope, now, found.catalog) for found in selections for row in found.matched
    ]
    write(render([{name: FIELDS[name].read(subject) for name in names} for subject in subjects]))
    listed = sum(len(found.rows) for found in selections)
    say(f"{len(subjects)} of {listed} notebooks in {len(selections)} scopes\n")


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in FIELDS:
            advice = nearest(name, FIELDS) or "; see: fleet ls --fields"
            raise UsageError(f"--columns: there is no field {name!r}{advice}")
    return names


def _renderer(output: str, names: Sequence[str]) -> Renderer:
    renderers: dict[str, Renderer] = {
        "table": lambda rows: _table(rows, names),
        "json": lambda rows: json.dumps(list(rows), default=_plain, indent=1) + "\n",
        "jsonl": lambda rows: "".join(json.dumps(row, default=_plain) + "\n" for row in rows),
        "csv": lambda rows: _csv(rows, names),
        "id": lambda rows: "".join(f"{row['id']}\n" for row in rows),
    }
    if output not in renderers:
        raise UsageError(f"--output: {output!r} is none of {', '.join(renderers)}")
    return renderers[output]


def _plain(value: datetime | timedelta) -> object:
    """What JSON has no form for: an instant as text (RFC 3339), a time span in seconds."""
    return instant(value.timestamp()) if isinstance(value, datetime) else value.total_seconds()


def _table(rows: Sequence[Row], names: Sequence[str]) -> str:
    lines = aligned(names, [[_cell(row[name]) for name in names] for row in rows])
    return cleaned(folded(lines, sys.stdout))


def _csv(rows: Sequence[Row], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([safe_text(_cell(row[name])) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dict():
            return ", ".join(f"{key}={word}" for key, word in value.items())
        case list():
            return ", ".join(value)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}Z"
        case timedelta():
            return duration(max(0.0, value.total_seconds()))
        case _:
            return str(value)
