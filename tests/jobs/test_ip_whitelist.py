"""The whitelist rotation: cases as data, its parameters, and that nothing it proposes lets everybody in."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from msgspec import structs

from fleet.core.catalog import Catalog
from fleet.core.errors import UsageError
from fleet.core.job import Context, Skip, Staged
from fleet.core.jobfiles.jobfile import read_job, schema
from fleet.core.notebook import Endpoint, Notebook, Status
from fleet.core.patch import InvalidField, NotebookPatch, endpoints_of, with_patch
from fleet.core.planning.one_notebook import Target, plan_one
from fleet.core.planning.plan import Change, Settled
from fleet.core.rollout import Disruption, Rollout
from jobs.ip_whitelist import IpWhitelist

CASES = yaml.safe_load(Path(__file__).with_name("ip_whitelist.yaml").read_text())
FILES = {"new.txt": "# the new office\n8.8.8.2  # its gateway\n\n8.8.8.3\n8.8.8.2\n"}
CONTEXT = Context("lab-a", Catalog(), now=0, files=FILES)
RESTARTS = Rollout(disruption=Disruption.RESTART)
ID = "f9937afa-4451-42db-a76b-72d624749f66"


def notebook(*endpoints: Endpoint, status: Status = Status.STOPPED) -> Notebook:
    return Notebook(ID, status, name="nb", endpoints=endpoints)


def endpoints(told: dict[str, Any]) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(
            service,
            (f"key-{service}", "other"),
            None if addresses == "open" else tuple(addresses),
            f"{service}://host",
        )
        for service, addresses in told.items()
    )


def rotation(**parameters: Any) -> IpWhitelist:
    """The job with these parameters, as a job file gives them."""
    text = yaml.safe_dump({"job": "ip-whitelist", "name": "n", "select": True, "with": parameters})
    return read_job(text, "job.yaml", lambda _: IpWhitelist)[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_case(case: dict[str, Any]) -> None:
    job, found = rotation(**case["with"]), notebook(*endpoints(case["notebook"]))
    job.check(CONTEXT)
    if "refused" in case:
        with pytest.raises(InvalidField, match=case["refused"]):
            job.propose(found, CONTEXT)
        return
    proposal = job.propose(found, CONTEXT)
    if "skip" in case:
        assert isinstance(proposal, Skip)
        assert proposal.reason.startswith(case["skip"])
        return
    patches = [
        NotebookPatch(endpoints=endpoints(one) or None, allow=job.allow)
        for one in case.get("stages", [case.get("one")])
    ]
    if "one" in case:
        assert proposal == patches[0]
    else:
        assert proposal == Staged(tuple(replace(one, allow=one.allow if one else ()) for one in patches))


def test_the_cases_are_many() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) > 80


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({}, "with: give add, remove or both, or replace"),
        ({"add": ["8.8.8.1"], "replace": ["8.8.8.2"]}, "with: give replace alone, or add and remove"),
        ({"remove": ["8.8.8.1"], "close_open": True}, "with: there is nothing to add; give add or replace"),
        ({"remove": ["8.8.8.1"], "phases": "add"}, "with: there is nothing to add"),
        ({"add": ["8.8.8.1"], "phases": "remove"}, "with: there is nothing to remove"),
        ({"add": []}, "with.add: must not be empty"),
        ({"add": "8.8.8.1"}, "with.add: must be a list of addresses, or {file: PATH}"),
        ({"add": [8]}, "with.add: must be a list of addresses"),
        ({"add": {"path": "x"}}, "with.add: must be a list of addresses"),
        ({"add": ["office"]}, "with.add: 'office' is not an address such as 203.0.113.9"),
        ({"add": ["8.8.8.8/28"]}, "with.add: '8.8.8.8/28' is not an address"),
        ({"add": ["0.0.0.0/0"]}, "with: '0.0.0.0/0' is not a single public IPv4 address; it needs allow"),
        ({"add": ["0.0.0.0/0"], "allow": ["cidr"]}, "with: 0.0.0.0/0 is too wide a range"),
        ({"add": ["8.8.8.0/28"]}, r"with: '8.8.8.0/28' .* it needs allow: \[cidr\]"),
        ({"replace": ["2600::1"]}, r"with: '2600::1' .* it needs allow: \[ipv6\]"),
        ({"add": ["192.168.0.1"]}, "with: 192.168.0.1 is not a public address"),
        ({"add": ["8.8.8.1"], "own_address": "8.8.8.0/24"}, "with.own_address: must be one address"),
        ({"add": ["8.8.8.1"], "soak": "soon"}, "with.soak: 'soon' is not a duration"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        rotation(**parameters)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"add": ["8.8.8.1"], "remove": ["8.8.8.1"]}, "with: 8.8.8.1 cannot be both added and removed"),
        ({"add": [f"8.8.8.{n}" for n in range(6)]}, "with.add: 6 addresses, a list holds at most 5"),
        ({"replace": [f"8.8.8.{n}" for n in range(6)]}, "with.replace: 6 addresses"),
        ({"add": {"file": "bad.txt"}}, "bad.txt, line 2: 'x' is not an address"),
        ({"add": {"file": "empty.txt"}}, "empty.txt: holds no address"),
        ({"add": {"file": "world.txt"}}, "with.add: '0.0.0.0/0' is not a single public"),
        ({"remove": ["8.8.8.1"], "own_address": "8.8.8.1"}, "with.own_address: 8.8.8.1 would not be in any"),
        ({"replace": ["8.8.8.2"], "own_address": "8.8.8.1"}, "with.own_address: 8.8.8.1 would not be in any"),
    ],
)
def test_addresses_that_no_list_could_hold_are_refused_before_any_notebook(
    parameters: dict[str, Any], complaint: str
) -> None:
    files = {"bad.txt": "8.8.8.1\nx", "empty.txt": "# none\n", "world.txt": "0.0.0.0/0"}
    with pytest.raises(UsageError, match=complaint):
        rotation(**parameters).check(replace(CONTEXT, files=files))


@pytest.mark.parametrize(
    "parameters",
    [
        {"replace": ["8.8.8.2"], "own_address": "8.8.8.2"},
        {"replace": ["8.8.8.2"], "own_address": "8.8.8.1", "phases": "add"},
        {"add": ["8.8.8.0/28"], "remove": ["8.8.8.1"], "own_address": "8.8.8.1", "allow": ["cidr"]},
    ],
)
def test_an_own_address_that_stays_in_is_no_problem(parameters: dict[str, Any]) -> None:
    rotation(**parameters).check(CONTEXT)


def test_the_files_that_it_wants_are_those_that_it_names() -> None:
    assert rotation(add={"file": "a"}, remove={"file": "b"}).wants().files == ("a", "b")
    assert rotation(add=["8.8.8.8"]).wants().files == ()


def test_the_soak_is_the_pause_between_the_stages() -> None:
    assert rotation(add=["8.8.8.8"]).pause() == 86_400.0
    assert rotation(add=["8.8.8.8"], soak="90m").pause() == 5400.0


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"add": ["8.8.8.2"], "remove": ["8.8.8.1"]}, ("adds 8.8.8.2", "removes 8.8.8.1")),
        ({"replace": ["8.8.8.2"]}, ("adds 8.8.8.2", "removes all others")),
        (
            {"add": ["8.8.8.9"], "remove": [f"8.8.8.{n}" for n in range(7)]},
            ("adds 8.8.8.9", "removes 8.8.8.0, 8.8.8.1, 8.8.8.2, 8.8.8.3, 8.8.8.4 and 2 more"),
        ),
        ({"add": ["8.8.8.2"]}, ()),
        ({"remove": ["8.8.8.2"]}, ()),
        ({"replace": ["8.8.8.2"], "phases": "add"}, ()),
    ],
)
def test_the_stages_are_told_in_words(parameters: dict[str, Any], words: tuple[str, ...]) -> None:
    assert rotation(**parameters).stages(CONTEXT) == words


def test_a_change_says_which_addresses_come_and_which_go() -> None:
    found = notebook(*endpoints({"SSH": ["8.8.8.1", "8.8.8.3"]}))
    assert rotation(add=["8.8.8.2"], remove=["8.8.8.1"]).reason(found, CONTEXT) == (
        "adds 8.8.8.2, removes 8.8.8.1"
    )
    assert rotation(replace=["8.8.8.2"], phases="add").reason(found, CONTEXT) == "adds 8.8.8.2"


def test_what_becomes_of_open_endpoints_is_remarked() -> None:
    both = notebook(Endpoint("SSH", ("k",)), *endpoints({"SSH": ["8.8.8.1"]}))
    told = "its SSH endpoint is open to every address and"
    assert rotation(add=["8.8.8.2"]).remarks(both, CONTEXT) == (
        f"{told} stays so; close_open: true would give it the list",
    )
    assert rotation(add=["8.8.8.2"], close_open=True).remarks(both, CONTEXT) == (f"{told} is closed",)
    assert rotation(add=["8.8.8.2"]).remarks(notebook(*endpoints({"SSH": ["8.8.8.1"]})), CONTEXT) == ()


def test_one_step_is_remarked() -> None:
    full = notebook(*endpoints({"SSH": [f"8.8.8.{n}" for n in range(1, 6)]}))
    job = rotation(replace=["9.9.9.9"], overflow="one-step")
    assert job.remarks(full, CONTEXT) == (
        "old and new addresses are too many together: they are exchanged in one step",
    )


def test_a_notebook_that_runs_is_restarted_for_each_stage_and_the_plan_says_so() -> None:
    found = notebook(*endpoints({"SSH": ["8.8.8.1"]}), status=Status.RUNNING)
    job = rotation(add=["8.8.8.2"], remove=["8.8.8.1"])
    row = plan_one(Target(found, CONTEXT), job, RESTARTS)
    assert isinstance(row, tuple)
    assert "is stopped and started 2 times, once for each stage" in row[0].notes
    left = plan_one(Target(found, CONTEXT), job, Rollout())
    assert isinstance(left, Settled)
    assert "rollout.disruption is none" in left.reason


def test_the_schema_takes_what_the_job_takes() -> None:
    validator = Draft202012Validator(schema({"ip-whitelist": IpWhitelist}))
    head = {"job": "ip-whitelist", "name": "n", "select": "true"}
    good: list[dict[str, Any]] = [
        {"add": ["8.8.8.1"], "soak": "24h"},
        {"replace": {"file": "x"}, "allow": ["cidr"]},
    ]
    bad: list[dict[str, Any]] = [{"add": []}, {"add": {"path": "x"}}, {"phases": "none"}, {"other": 1}]
    for parameters in good:
        assert list(validator.iter_errors({**head, "with": parameters})) == []
    for parameters in bad:
        assert list(validator.iter_errors({**head, "with": parameters})) != []


def test_the_job_is_found_by_its_name() -> None:
    (point,) = entry_points(group="fleet.jobs", name="ip-whitelist")
    assert point.load() is IpWhitelist


# --- nothing lets everybody in ----------------------------------------------------------------------------

POOL = [
    *(f"8.8.8.{n}" for n in range(1, 8)), "203.0.113.9", "10.0.0.1", "127.0.0.1", "0.0.0.0", "0.0.0.0/0",
    "255.255.255.255", "8.8.8.0/24", "8.8.0.0/16", "0.0.0.0/1", "128.0.0.0/1", "2600::1", "2600:0::1", "::/0",
    "::", "::1", "fd00::1", "2600::/64", "::ffff:8.8.8.8", "", "*", "any", "0", "0.0.0.0/00", "8.8.8.08",
]  # fmt: skip
PLAIN = POOL[:7]


def fuzzed_spec(draw: random.Random) -> IpWhitelist | None:
    """A job of parameters that may be right or wrong; None when they are refused."""

    def addresses() -> list[str]:
        return draw.sample(PLAIN if draw.random() < 0.9 else POOL, draw.choice([1, 1, 1, 2, 3, 5, 6]))

    parameters: dict[str, Any] = {}
    for name, chance in (("add", 0.7), ("remove", 0.7), ("replace", 0.2)):
        if draw.random() < chance:
            parameters[name] = addresses()
    if "replace" in parameters and draw.random() < 0.9:
        parameters = {"replace": parameters["replace"]}
    parameters |= {
        "service": draw.choice(["SSH", "SSH", "NOTEBOOK"]),
        "phases": draw.choice(["both", "both", "add", "remove"]),
        "overflow": draw.choice(["skip", "one-step"]),
        "close_open": draw.random() < 0.3,
        "allow": draw.choice([(), (), ("cidr",), ("ipv6",), ("cidr", "ipv6")]),
    }
    if draw.random() < 0.1:
        parameters["own_address"] = draw.choice(POOL)
    try:
        job = IpWhitelist.model_validate(parameters)
        job.check(CONTEXT)
    except (ValueError, UsageError):
        return None
    return job


def fuzzed_endpoints(draw: random.Random) -> tuple[Endpoint, ...]:
    def one() -> Endpoint:
        listed = draw.sample(PLAIN if draw.random() < 0.9 else POOL, draw.choice([0, 1, 1, 2, 2, 3, 4, 5]))
        return Endpoint(
            draw.choice(["SSH", "SSH", "SSH", "NOTEBOOK"]),
            draw.choice([None, (), ("kp-a",), ("kp-b", "kp-c")]),
            None if draw.random() < 0.15 else tuple(listed),
            draw.choice(["", "ssh://host:30001"]),
        )

    return tuple(one() for _ in range(draw.choice([0, 1, 1, 1, 2, 3])))


def lets_everybody_in(item: Endpoint) -> bool:
    """Judged on its own: no list, or one with an entry that is not a small range of public addresses."""
    if not item.allowed_access_ips:
        return True
    for text in item.allowed_access_ips:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            return True
        if network.num_addresses > (256 if network.version == 4 else 2**64):
            return True
        if network.is_private and not text.startswith("203.0.113."):
            return True
    return False


def findings(job: IpWhitelist, found: Notebook, changes: Sequence[Change]) -> list[str]:
    """What is wrong with what would be sent to this notebook; every stage is looked at."""
    wrong, before = [], found.endpoints
    for change in changes:
        (phase,) = change.phases
        assert set(phase.body) == {"endpoints"}
        sent = endpoints_of(phase.body["endpoints"])
        if len(sent) != len(before):
            wrong.append("an endpoint comes or goes")
        for was, will in zip(before, sent, strict=False):
            if (was.service, was.key_pair_names) != (will.service, will.key_pair_names):
                wrong.append(f"{was} became {will}")
            if not was.open and lets_everybody_in(will):
                wrong.append(f"{will} lets everybody in")
            if was.service != job.service and (was.allowed_access_ips or None) != will.allowed_access_ips:
                wrong.append(f"{was} is none of its business")
        before = sent
    bodies = [item for change in changes for phase in change.phases for item in phase.body["endpoints"]]
    return wrong + [f"{item} has an empty list" for item in bodies if item.get("allowed_access_ips") == []]


def fuzz(seed: int, cases: int) -> tuple[int, int]:
    """How many of so many cases had a proposal, and how many of those were in stages."""
    draw, proposed, staged, done = random.Random(seed), 0, 0, 0
    while done < cases:
        job = fuzzed_spec(draw)
        for _ in range(5 if job is not None else 0):
            assert job is not None
            done += 1
            found = notebook(*fuzzed_endpoints(draw), status=draw.choice([Status.RUNNING, Status.STOPPED]))
            row = plan_one(Target(found, CONTEXT), job, RESTARTS)
            changes = () if isinstance(row, Settled) else row if isinstance(row, tuple) else (row,)
            wrong = findings(job, found, changes)
            assert wrong == [], (seed, done, job, found.endpoints, wrong)
            proposed += bool(changes)
            staged += len(changes) > 1
    return proposed, staged


def test_nothing_that_is_proposed_lets_everybody_in() -> None:
    proposed, staged = fuzz(1, 2000)
    assert proposed > 300
    assert staged > 50


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_of_a_hundred_thousand_cases_none_lets_everybody_in(seed: int) -> None:
    proposed, staged = fuzz(seed, 10_000)
    assert proposed > 1500
    assert staged > 300


def test_a_patch_leads_to_the_notebook_that_it_says() -> None:
    found = notebook(*endpoints({"NOTEBOOK": "open", "SSH": ["8.8.8.1"]}))
    patch = rotation(add=["8.8.8.2"]).propose(found, CONTEXT)
    assert isinstance(patch, NotebookPatch)
    jupyter, ssh = with_patch(found, patch).endpoints
    assert jupyter == found.endpoints[0]
    assert structs.replace(ssh, allowed_access_ips=("8.8.8.1",)) == found.endpoints[1]
