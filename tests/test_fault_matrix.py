"""The fault matrix and the security rules: every row is proven by a marked test, or says why not, or how far.

A test carries `@pytest.mark.row(11)` for the rows, `@pytest.mark.security("redirect")` for the rules that it
proves. The marks are read from the sources, so that nothing has to be imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

ROWS: Mapping[int, str] = {
    1: "429, with or without a hint: not applied, the whole key slows down, no attempt is used up",
    2: "429 that names its limit: the limit is kept from then on",
    3: "500 to a write: a look tells whether it was applied",
    4: "502 or 504 from the gateway: as for a 500",
    5: "a storm of 503: nothing new starts, one probe at a time, then a slow start; nothing fails for it",
    6: "500 to every call for one notebook: it fails alone",
    7: "the budget of failures is used up: nothing new starts, all come home, the run can go on later",
    8: "headers that come too slowly: the attempt has a deadline, a write is in doubt",
    9: "a body that drips: the same",
    10: "half a body, or a broken chunk: a write is in doubt",
    11: "a connection that dies after the write was applied: one send, found by a look",
    12: "a connection that dies before the write was applied: a look, then one more send",
    13: "the server applies, then hangs up: the HTTP library must not send it a second time",
    14: "a shard delivered twice",
    15: "the process stands still between a look and its write: the write comes too late and is not sent",
    16: "a worker that stands still anywhere else, and wakes",
    17: "a token that ends under way: one login for all who wait, each refused call replayed once",
    18: "credentials that are revoked: nothing new starts, every debt is named",
    19: "403 for one notebook fails it alone; twenty alike in a row end the run",
    20: "nobody can log in: the present token serves as long as it lives, logins back off",
    21: "the wall clock jumps: deadlines and leases stay, a refused signature tells the difference",
    22: "the machine stands still and wakes: the run looks before it goes on",
    23: "the name of the cloud cannot be resolved: nothing left, tried again, nothing fails",
    24: "the name leads elsewhere: the certificate must still be for the name",
    25: "a certificate that is not trusted, expired or for another host: the end, without a second try",
    26: "the page of a proxy or a portal: not success, host and type are told, the body is not",
    27: "a web page with status 200: a write is in doubt",
    28: "JSON that is broken, deep, huge or of the wrong shape: refused; a missing status is never safe",
    29: "an answer without measure: cut off at the cap, never unpacked",
    30: "a redirect: not followed, nobody else hears of the call",
    31: "a notebook deleted under way: gone, nothing is owed",
    32: "deleted and made anew under the same name: the new one is not touched",
    33: "stuck between two states: waited for to the deadline, then a debt; never stopped twice",
    34: "a start that fails: the reason is kept, the old value put back once, else a debt",
    35: "a flavor sold out: those that want it take no more changes from then on",
    36: "a quota or the account exhausted: the first few equal causes hold the run, not a thousand",
    37: "growth that was accepted but does not show: waited for, never sent again",
    38: "somebody acts on the notebook meanwhile: never overwritten",
    39: "snapshotting, or busy with something else: waited for, then left alone",
    40: "rows move between the pages of a list: no plan with a hole",
    41: "a list without an end: given up with a text",
    42: "ids and names that are weapons: ids are refused, names are cleaned wherever they are shown",
    43: "a hundred thousand notebooks: flat memory under 300 MB, status in about a second",
    44: "the selector matches nothing, or far too much",
    45: "a full disk: nothing new is sent, debts are paid, later the run goes on and nothing is lost",
    46: "a file system that is read-only or far away: refused before the first write",
    47: "a journal torn or with flipped bits: what is sound is read, the rest is told",
    48: "killed at any moment: after a resume one result each, no write too many, every debt paid",
    49: "power fails: what was acknowledged is on disk",
    50: "one signal: nothing new starts, all come home",
    51: "two signals: the end at once, with what is owed",
    52: "hang-up and broken pipes: the results are in the journal all the same",
    53: "two operators on one machine: the second is told who holds the notebook",
    54: "two operators who share nothing: the later one sees it and leaves the notebook alone",
    55: "the plan was altered, or is of another version: refused",
    56: "the same run taken up twice at once: the second is refused",
    57: "a worker killed and not replaced",
    58: "a worker slow but alive",
    59: "the database restarts",
    60: "the database no longer answers",
    61: "the database is away for minutes",
    62: "the database is full or read-only",
    63: "a worker of an older version",
    64: "a shard that kills its workers",
    65: "the shared rate is lost, or its clock jumps back",
    66: "cancelled from elsewhere: nothing new is touched",
    67: "a foreign page talks to the dashboard",
    68: "the event loop is blocked for long: a watchdog ends the process before others take what it holds",
    69: "a bug in one change: the others come home, the broken one is told and can be resumed",
    70: "the log cannot be written: the run goes on",
}

SECURITY: Mapping[str, str] = {
    "redirect": "no redirect is followed; credentials go to the configured host alone",
    "ids": "an id or a name leads to no other path",
    "cap": "no answer takes more memory than its cap, packed or not",
    "replay": "one write is one send",
    "deadline": "every attempt has an end, however the bytes come",
    "json": "any bytes are an answer or a refusal, never another exception",
    "secrets": "no secret in output, log, journal, report, representation or error",
    "tracebacks": "a traceback shows no local variables",
    "escapes": "no foreign text plays with the terminal",
    "formulas": "no cell of a report begins like a formula",
    "modes": "files are for their owner, links are not followed",
    "yaml": "no tags, no aliases, no surprises",
    "tls": "certificates are verified; there is no way to ask for less",
    "endpoint": "an endpoint is a bare origin over TLS; proxies only when asked for",
    "credentials": "secrets come from the environment or from a file that nobody else reads",
    "clock": "a signature refused for the time says so",
    "input": "files are capped and nothing is waited for",
}

_SHARDS = "concerns several machines; runs are not split into shards yet"

WITHOUT_TEST: Mapping[int, str] = {
    **dict.fromkeys((14, 16, *range(57, 66)), _SHARDS),
    67: "there is no dashboard yet",
}

# Proven as far as the reason says, which names what no test of this suite shows.
IN_PART: Mapping[int, str] = {
    43: "a fleet of that size takes minutes: the tests prove that what one notebook costs does not grow with "
    "their number, that thousands of commits share their syncs, and that status tells from the balance what "
    "all the events tell. The memory of planning and running is measured by `python -m benchmarks "
    "fleet_scale`; the seconds that status takes are measured by nothing yet",
    68: "there is no watchdog and none is needed on one machine: a claim is a lock that a blocked process "
    "keeps, it does not expire. The tests prove that, that the loop never waits for the disk, and that a "
    "write whose look is old by then is not sent. Leases that others could see expire come with several "
    "machines, and the watchdog with them",
}


def marks(kind: str) -> Iterator[tuple[object, str]]:
    """Every argument of a mark of this kind in the test modules, with the place where it stands."""
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)) if f"pytest.mark.{kind}(" in source else ():
            match node:
                case ast.Call(ast.Attribute(ast.Attribute(ast.Name("pytest"), "mark"), attr)) if attr == kind:
                    for argument in node.args:
                        yield ast.literal_eval(argument), f"{path.relative_to(TESTS)}:{node.lineno}"


KNOWN: Mapping[str, Mapping[int, str] | Mapping[str, str]] = {"row": ROWS, "security": SECURITY}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_row_is_proven_by_a_test_or_says_why_not(kind: str) -> None:
    proven = {name for name, _ in marks(kind)}
    bare = {name: words for name, words in KNOWN[kind].items() if name not in proven}
    assert bare.keys() == (WITHOUT_TEST.keys() if kind == "row" else set()), bare


def test_what_is_proven_in_part_has_tests_and_is_not_said_to_have_none() -> None:
    assert IN_PART.keys() <= {name for name, _ in marks("row")}
    assert not IN_PART.keys() & WITHOUT_TEST.keys()


@pytest.mark.parametrize("kind", KNOWN)
def test_no_mark_names_a_row_that_does_not_exist(kind: str) -> None:
    unknown = [f"{where}: {name!r}" for name, where in marks(kind) if name not in KNOWN[kind]]
    assert unknown == []


def test_rows_are_numbered_without_gaps() -> None:
    assert list(ROWS) == list(range(1, len(ROWS) + 1))
