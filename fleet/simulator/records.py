"""The request log: the ground truth about what was sent to the cloud and what became of it.

Append-only. Checks of a client are made on it, never on the client's own report. Credentials,
passwords and tokens are not in it: headers are left out, and so are the bodies of IAM calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One request. ``status`` is what was answered, 0 when it never got to answering; ``answered``
    whether all of the answer was sent; ``applied`` whether a write took effect.

    ``user`` is the id of the user who called: the account's own for a client (``Identity.user_id``),
    ``SOMEBODY`` for people of a faults file, and empty when nobody was let in or for a login. Calls
    of people went past gateway and faults.

    ``before`` and ``after`` show the notebook of an applied write: status, and for lease and run
    state the milliseconds that were left of the lease.
    """

    at: float
    project: str
    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None
    notebook: str
    user: str
    status: int
    code: str
    applied: bool
    answered: bool
    request_id: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None

    def to_line(self) -> str:
        """The record as one line of JSON."""
        view = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(view, separators=(",", ":"), ensure_ascii=False) + "\n"
