"""JSON log lines through structlog, without secrets and without a way to stop the run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from math import isfinite
from typing import Any, Literal, TextIO, cast
from urllib.parse import quote

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

from fleet.telemetry.quiet import QuietStream

Level = Literal["debug", "info", "warning", "error"]

HIDDEN = "[hidden]"
_SECRET_KEY = re.compile(
    r"authorization|cookie|password|passwd|secret|token|signature|credential|private.?key", re.I
)
_SIGNATURE = re.compile(r"(Signature=)[0-9a-fA-F]+")
_DEEPEST = 12


class Redactor:
    """The last belt: hides the values of telling keys, and registered secrets wherever they stand.

    What it returns is plain JSON: text, numbers, lists and objects; anything else as its repr.
    """

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def add(self, *secrets: str) -> None:
        """Registers secrets; those under four characters would blot out ordinary text and are left out."""
        known = {*self._secrets}
        for secret in secrets:
            if len(secret) >= 4:
                known |= {secret, quote(secret, safe="")}
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        return {self._text(str(key)): self._under(str(key), value, 0) for key, value in event.items()}

    def _under(self, key: str, value: Any, depth: int) -> Any:
        return HIDDEN if value and _SECRET_KEY.search(key) else self._plain(value, depth)

    def _plain(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
            return value
        if depth >= _DEEPEST:
            return "..."
        if isinstance(value, Mapping):
            return {
                self._text(_show(key)): self._under(_show(key), item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray):
            return [self._plain(item, depth + 1) for item in value]
        return self._text(_show(value))

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return _SIGNATURE.sub(rf"\1{HIDDEN}", text) if "Signature=" in text else text


def configure_logging(log_file: TextIO | None, level: Level = "info") -> Redactor:
    """Sends structlog's lines from `level` on to `log_file`, a JSON object each; None sends them nowhere.

    Returns the redactor, to register secrets with as they become known. The file stays the caller's.
    """
    redactor = Redactor()
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        redactor,
        structlog.processors.JSONRenderer(_to_json),
    ]
    structlog.configure(
        processors=processors if log_file is not None else [_drop],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(
            cast(TextIO, QuietStream(log_file)) if log_file is not None else None
        ),
        cache_logger_on_first_use=False,  # a process may perform one run after another
    )
    return redactor


def _to_json(event: EventDict, **_: Any) -> str:
    try:
        return json.dumps(event, ensure_ascii=True, allow_nan=False)
    except (ValueError, RecursionError):  # such as an int of more digits than Python prints
        return json.dumps({"event": "a log line that cannot be shown", "level": event.get("level")})


def _drop(_logger: Any, _method: str, _event: EventDict) -> EventDict:
    raise structlog.DropEvent


def _show(value: Any) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:  # a foreign repr may fail in any way
        return f"<{type(value).__name__}>"
