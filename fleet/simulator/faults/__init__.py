"""Faults as data: what goes wrong, for which calls or notebooks, how often, and when.

A faults file is a YAML list. Every item has a ``kind``, and may say when it holds: ``after``
(included) and ``until`` (excluded), in seconds since the cloud was made. Nearly all may say what
they hit (``match``: ``operation`` by the vendor's name, ``notebook`` as an id or a pattern of ids or
names, ``method``, ``calls`` as reads, writes or logins), how many (``times``) and with which
``probability``. The same seed and the same order of requests give the same faults.

Faults of calls (``calls``). A storm is one without ``times`` that has an ``until``::

    - {kind: throttle, match: {method: PUT}, times: 5, limit: 60, seconds: 60, retry_after: 30}
    - {kind: throttle, text: false}                    # 429 with an empty body
    - {kind: server-error, match: {operation: UpdateNotebook}, status: 502, applied: true}
    - {kind: server-error, status: 503, after: 60, until: 360}
    - {kind: refusal, match: {notebook: "lab-*"}, status: 403, code: ModelArts.0108}
    - {kind: quota, after: 60}                         # no start and no creation any more

Faults of the wire (``wire``). ``applied`` says whether the call is carried out before it happens;
where there is no such key, it is::

    - {kind: lost-answer, match: {operation: StopNotebook}, probability: 0.1, applied: false}
    - {kind: reset, match: {calls: writes}, times: 3, applied: true}
    - {kind: half-body, match: {method: GET}, chunked: true}
    - {kind: slow-answer, match: {method: GET}, seconds: 5}
    - {kind: slow-headers, seconds: 90}
    - {kind: drip, seconds: 90}

Faults of answers (``answers``)::

    - {kind: html-page, status: 200}                   # or 502 and so on; applied: true
    - {kind: redirect, status: 307, to: "http://portal.example.com/login"}   # never carried out
    - {kind: bomb, megabytes: 200, compressed: true}
    - {kind: odd-answer, body: "null"}                 # deep, huge-numbers, wrong-types, missing-fields
    - {kind: odd-answer, body: missing-fields, fields: [status]}

Faults of lists (``lists``), at the pages behind the first one::

    - {kind: moving-rows, how: created, rows: 2, times: 1}     # or deleted, reordered
    - {kind: repeated-page}
    - {kind: empty-page, times: 1}

Faults of notebooks (``notebooks``). What befalls a notebook does so at the instant ``after`` to all
that match, ``times`` of them; or with ``call: n`` to the one whose n-th matching call was carried
out, ``wait`` seconds later, before any other call::

    - {kind: slow-start, match: {notebook: "lab-*"}, seconds: 600}
    - {kind: failing-start, times: 1, reason: "pull image failed"}
    - {kind: stuck, status: STOPPING, times: 1}        # for ever; or for so many seconds
    - {kind: sold-out, flavor: "modelarts.vm.gpu.*", after: 60, until: 600}
    - {kind: freeze, match: {notebook: "lab-*"}, after: 60, seconds: 600}      # thaws to STOPPED
    - {kind: freeze, match: {operation: StopNotebook}, call: 1, times: 2}      # never thaws
    - {kind: error, match: {calls: writes}, call: 2, reason: "node lost"}

People (``persons``): somebody acts on a notebook, each act as soon as the notebook is not between
two states. They call the cloud's own operations; in the log their ``user`` is ``SOMEBODY``::

    - {kind: person, does: [stop], after: 60, match: {notebook: "lab-*"}, times: 1}
    - {kind: person, does: [start], match: {operation: StopNotebook}, call: 1}         # after our stop
    - {kind: person, does: [stop, start], match: {operation: UpdateNotebook}, call: 1} # restarts
    - {kind: person, does: [update], set: {name: mine}, match: {operation: StopNotebook}, call: 1}
    - {kind: person, does: [delete, create], match: {calls: writes}, call: 2, wait: 5} # same name, new id

Faults of credentials (``credentials``)::

    - {kind: tokens-expire, after: 600}
    - {kind: key-revoked, after: 600}                  # until: 900 gives it back
    - {kind: skewed-clock, seconds: -1200, after: 60}  # Date and checks of signatures

To add a kind: a frozen dataclass with its ``kind`` in the file that it belongs to, under the base
class that says when it is asked, and its name in ``Fault``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fleet.simulator.documents import load_document
from fleet.simulator.faults.answers import Bomb, HtmlPage, OddAnswer, Redirect
from fleet.simulator.faults.calls import QuotaReached, Refused, ServerError, Throttled
from fleet.simulator.faults.credentials import KeyRevoked, SkewedClock, TokensExpire
from fleet.simulator.faults.lists import EmptyPage, MovingRows, RepeatedPage
from fleet.simulator.faults.notebooks import Breakdown, FailingStart, Freeze, SlowStart, SoldOut, Stuck
from fleet.simulator.faults.occasions import Match, Occasion, Verdict
from fleet.simulator.faults.persons import Person
from fleet.simulator.faults.plan import FaultPlan
from fleet.simulator.faults.wire import Drip, HalfBody, LostAnswer, Reset, SlowAnswer, SlowHeaders

__all__ = [
    "Bomb",
    "Breakdown",
    "Drip",
    "EmptyPage",
    "FailingStart",
    "Fault",
    "FaultPlan",
    "Freeze",
    "HalfBody",
    "HtmlPage",
    "KeyRevoked",
    "LostAnswer",
    "Match",
    "MovingRows",
    "Occasion",
    "OddAnswer",
    "Person",
    "QuotaReached",
    "Redirect",
    "Refused",
    "RepeatedPage",
    "Reset",
    "ServerError",
    "SkewedClock",
    "SlowAnswer",
    "SlowHeaders",
    "SlowStart",
    "SoldOut",
    "Stuck",
    "Throttled",
    "TokensExpire",
    "Verdict",
    "load_faults",
]

Fault = (
    Throttled
    | ServerError
    | Refused
    | QuotaReached
    | LostAnswer
    | Reset
    | HalfBody
    | SlowAnswer
    | SlowHeaders
    | Drip
    | HtmlPage
    | Redirect
    | Bomb
    | OddAnswer
    | MovingRows
    | RepeatedPage
    | EmptyPage
    | SlowStart
    | FailingStart
    | Stuck
    | SoldOut
    | Freeze
    | Breakdown
    | Person
    | TokensExpire
    | KeyRevoked
    | SkewedClock
)


_Faults = tuple[Annotated[Fault, Field(discriminator="kind")], ...]


def load_faults(text: str, where: str = "faults") -> tuple[Fault, ...]:
    """Faults from YAML; raises DocumentError with one clear line."""
    return load_document(_Faults, text, where, empty=[])
