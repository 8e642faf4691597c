"""What it costs to ask a selector about a notebook, beside the same question written by hand in Python.

Reading the notebook from its JSON is measured in the same rounds: every listed row pays for that anyway, so
it is the measure for what selecting adds. The notebooks are those of a simulated fleet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.harness import (
    SEED,
    Client,
    Result,
    Sample,
    Stopwatch,
    at_most,
    conditions,
    interleave,
    summarize,
)
from fleet.client import rows
from fleet.client.wire import parse_object
from fleet.core.notebook import Notebook, Status
from fleet.core.selecting.selector import Selector
from fleet.simulator.seed import make_cloud
from fleet.simulator.views import render

NOW = 1_767_225_600.0  # wall second of the simulated cloud
NOW_MS = int(NOW * 1000)
SIX_HOURS_MS = 6 * 3_600_000

READ, PARSE = "reading a row", "parsing the three"


@dataclass(frozen=True, slots=True)
class Question:
    """A selector, and what somebody without one would write."""

    text: str
    by_hand: Callable[[Notebook], bool]


def _migrates(notebook: Notebook) -> bool:
    return notebook.image.name.startswith("pytorch1.8") and notebook.status in (
        Status.RUNNING,
        Status.STOPPED,
    )


def _expires(notebook: Notebook) -> bool:
    lease = notebook.lease
    return (
        lease is not None
        and lease.enable
        and lease.left(NOW_MS) < SIX_HOURS_MS
        and "keep" not in notebook.tags
    )


def _listed(notebook: Notebook) -> bool:
    addresses = [
        address
        for endpoint in notebook.endpoints
        if endpoint.service == "SSH"
        for address in endpoint.allowed_access_ips or ()
    ]
    return notebook.owner != "ana" and any(address.startswith("203.0.113.1") for address in addresses)


QUESTIONS: Mapping[str, Question] = {
    "image": Question(
        'image.name.startsWith("pytorch1.8") && status in ["RUNNING", "STOPPED"]',
        _migrates,
    ),
    "lease": Question(
        'lease.enabled && lease.left < duration("6h") && !has(tags.keep)',
        _expires,
    ),
    "whitelist": Question(
        'owner != "ana" && ssh.whitelist.exists(address, address.startsWith("203.0.113.1"))',
        _listed,
    ),
}


def run(*, quick: bool) -> Result:
    """Asks every question of every notebook."""
    rounds, size, parses = (2, 300, 5) if quick else (9, 10_000, 100)
    bodies = listed_rows(size)
    notebooks = [rows.notebook(parse_object(body)) for body in bodies]
    selectors = {name: Selector.parse(question.text) for name, question in QUESTIONS.items()}
    clients: dict[str, Client] = {READ: partial(read, bodies), PARSE: partial(parse, parses)}
    for name, question in QUESTIONS.items():
        clients[name] = partial(select, selectors[name], notebooks)
        clients[by_hand(name)] = partial(select_by_hand, question, notebooks)
    samples = interleave(clients, rounds)
    table = [summarize(name, samples, [READ, by_hand(name)]) for name in QUESTIONS]
    table += [summarize(by_hand(name), samples, [READ]) for name in QUESTIONS]
    table += [summarize(PARSE, samples, [READ]), summarize(READ, samples)]
    matched = {name: sum(map(question.by_hand, notebooks)) for name, question in QUESTIONS.items()}
    wrong = sum(disagreements(selectors[name], question, notebooks) for name, question in QUESTIONS.items())
    dearest = max(1 / row.ratios[READ] for row in table[: len(QUESTIONS)])
    checks = [
        at_most("answers that differ from those by hand", wrong, 0),
        at_most("CPU of the dearest selector over that of reading the row", dearest, 1.0),
    ]
    facts = conditions(
        ["notebook-fleet", "cel-expr-python", "pydantic"],
        rounds=rounds,
        quick=quick,
        notebooks=size,
        matched=matched,
    )
    return Result("selector", facts, table, checks)


def by_hand(name: str) -> str:
    return f"{name}, by hand"


def listed_rows(count: int) -> Sequence[bytes]:
    """The rows of a simulated fleet as a list call sends them."""
    world = make_cloud(notebooks=count, seed=SEED, now=NOW).world
    return [render(world, notebook) for notebook in world.notebooks.values()]


def disagreements(selector: Selector, question: Question, notebooks: Sequence[Notebook]) -> int:
    return sum(selector.matches(one, "lab-a", NOW_MS) is not question.by_hand(one) for one in notebooks)


def select(selector: Selector, notebooks: Sequence[Notebook]) -> Sample:
    watch = Stopwatch()
    for notebook in notebooks:
        selector.matches(notebook, "lab-a", NOW_MS)
    return watch.stop(len(notebooks))


def select_by_hand(question: Question, notebooks: Sequence[Notebook]) -> Sample:
    watch = Stopwatch()
    for notebook in notebooks:
        question.by_hand(notebook)
    return watch.stop(len(notebooks))


def read(bodies: Sequence[bytes]) -> Sample:
    watch = Stopwatch()
    for body in bodies:
        rows.notebook(parse_object(body))
    return watch.stop(len(bodies))


def parse(times: int) -> Sample:
    """Checks and compiles each selector `times` times."""
    watch = Stopwatch()
    for _ in range(times):
        for question in QUESTIONS.values():
            Selector.parse(question.text)
    return watch.stop(times * len(QUESTIONS))
