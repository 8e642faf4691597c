"""Reports for programs: one document, or one line a notebook.

Everything outside ASCII is escaped, so that no name can play with a terminal; a parser
gives it back as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fleet.core.rows import LeaseLeft, Row
from fleet.report.makespan import took
from fleet.report.summary import Report, next_steps


def json_text(report: Report) -> str:
    """The whole report as one JSON document."""
    return json.dumps(document(report), indent=1) + "\n"


def jsonl_text(report: Report) -> str:
    """One JSON object a line for every selected notebook."""
    return "".join(json.dumps(row_object(report, row)) + "\n" for row in report.rows)


def document(report: Report) -> dict[str, Any]:
    """The report as JSON values; `rows` are those of the line format."""
    return {
        "run": report.run,
        "job": report.job,
        "state": report.state,
        "reason": report.whole(report.reason),
        "started_at": instant(report.started_at),
        "finished_at": instant(report.finished_at),
        "duration_s": report.duration_s,
        "makespan": None if report.makespan is None else asdict(report.makespan),
        "exit": int(report.exit),
        "counts": dict(report.counts),
        "between_stages": {str(done): number for done, number in report.between_stages.items()},
        "calls": asdict(report.calls),
        "requests": dict(report.requests),
        "requests_known": report.requests_known,
        "costs": {state: asdict(cost) for state, cost in report.costs.items()},
        "longest_away": _pointer(report.longest_away, "away_s", lambda row: row.away_s),
        "slowest": _pointer(report.slowest, "took_s", took),
        "limits": {key: list(named) for key, named in report.limits.items()},
        "throttled": dict(report.throttled),
        "peaks": {
            key: [{**asdict(limit), "most": most} for limit, most in peaks.items()]
            for key, peaks in report.peaks.items()
        },
        "debts": [
            {
                "scope": debt.scope,
                "id": debt.id,
                "name": debt.name,
                "at": instant(debt.at),
                "fix": report.whole(debt.fix),
            }
            for debt in report.debts
        ],
        "overrides": dict(report.overrides),
        "damage": list(report.damage),
        "next": list(next_steps(report)),
        "rows": [row_object(report, row) for row in report.rows],
    }


def row_object(report: Report, row: Row) -> dict[str, Any]:
    """One notebook's row; scripts rely on these keys."""
    return {
        "run": report.run,
        "scope": row.scope,
        "id": row.id,
        "name": row.name,
        "owner": row.owner,
        "wave": row.wave,
        "outcome": row.outcome,
        "reason": report.whole(row.reason),
        "before": dict(row.before),
        "after": dict(row.after),
        "run_state": {"before": row.run_state_before, "after": row.run_state_after or None},
        "lease": {"before": _lease(row.lease_before), "after": _lease(row.lease_after)},
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "away_s": row.away_s,
        "stages_done": row.stages_done,
        "calls": row.calls.by_kind,
        "request_ids": list(row.request_ids),
        "debt": row.debt,
        "fix": report.whole(row.fix),
    }


def instant(at: float | None) -> str | None:
    """Wall seconds as RFC 3339 in UTC with milliseconds; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lease(lease: LeaseLeft | None) -> Mapping[str, Any] | None:
    return None if lease is None else {"enable": lease.enable, "type": lease.type, "left_s": lease.left_s}


def _pointer(row: Row | None, name: str, size: Any) -> dict[str, Any] | None:
    return None if row is None else {"scope": row.scope, "id": row.id, "name": row.name, name: size(row)}
