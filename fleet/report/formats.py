"""Picks the form of a report."""

from __future__ import annotations

from enum import StrEnum

from fleet.report.as_csv import csv_text
from fleet.report.as_json import json_text, jsonl_text
from fleet.report.as_table import table_text
from fleet.report.summary import Report


class Format(StrEnum):
    """The forms of a report."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def render(report: Report, form: Format, *, color: bool = False, brief: bool = False) -> str:
    """The report in one form; only the table minds `color`.

    Only a table can be `brief`: what a program reads is whole.
    """
    match form:
        case Format.TABLE:
            return table_text(report, color=color, brief=brief)
        case Format.JSON:
            return json_text(report)
        case Format.JSONL:
            return jsonl_text(report)
        case Format.CSV:
            return csv_text(report)
