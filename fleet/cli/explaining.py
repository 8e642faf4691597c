"""How the answer to --explain looks: each condition, its terms, and the values that they saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from fleet.core.duration import duration
from fleet.core.selecting.explain import Findings, Term
from fleet.core.selecting.fields import Subject
from fleet.core.text import clean


def explanation(subject: Subject, findings: Findings) -> Iterator[str]:
    """The lines: the verdict, then what speaks for the notebook and what against it."""
    notebook = subject.notebook
    verdict = "in" if all(finding.met for finding in findings) else "out"
    yield f"{clean(notebook.name) or 'notebook'} ({subject.scope}, {notebook.id}): {verdict}"
    for finding in findings:
        yield f"{'in' if finding.met else 'out':<5}{finding.what}"
        if finding.term is not None:
            yield from _terms(finding.term, 1)


def _terms(term: Term, depth: int) -> Iterator[str]:
    mark = str(term.verdict).lower() if isinstance(term.verdict, bool) else "?"
    text = {"&&": "all of", "||": "any of"}.get(term.joint) or " ".join(term.text.split())
    values = ", ".join(f"{name} = {_value(value)}" for name, value in term.values.items())
    problem = term.verdict if isinstance(term.verdict, str) and not term.joint else ""
    seen = "; ".join(part for part in (values, problem) if part)
    yield f"{' ' * 5}{mark:<7}{'  ' * (depth - 1)}{text}{f'    [{seen}]' if seen else ''}"
    for part in term.parts:
        yield from _terms(part, depth + 1)


def _value(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}Z"
        case timedelta():
            return duration(value.total_seconds())
        case _:
            return json.dumps(value, ensure_ascii=False)
