"""A job file means what it says, or is refused with the place and what to do."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from fleet.core.errors import UsageError
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.jobfiles.job_models import MaxUnavailable, RolloutModel
from fleet.core.jobfiles.jobfile import JobFile, read_job, schema
from fleet.core.jobfiles.strict_yaml import read_yaml
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch, check_whitelist
from fleet.core.planning.guards import Guards
from fleet.core.rollout import GROUPS, Disruption, ReleaseOrder, Rollout, Share
from fleet.core.selecting.sampling import Sample
from fleet.core.selecting.selector import Selector
from tests.plans import Anything

WHOLE = """\
job: image-migration
name: torch-2026-11
scopes: [lab-a]
select: image.name.startsWith("pytorch1.8") && status in ["RUNNING", "STOPPED"]
with: {to: {name: pytorch2.6}}
rollout:
  waves: [1, 5%, 100%]
  soak: 10m
  concurrency: 20
  max_failures: 3
  max_unavailable: {fleet: 20, owner: 2}
  disruption: restart
  deadline: 6h
  change_deadline: 30m
guards: {max_targets: 500, protect: 'has(tags.keep)'}
"""
KEYS = "job, name, scopes, select, ids, exclude, limit, seed, with, rollout, schedule, guards"
LEAST = "job: rename\nname: least\nselect: 'true'\n"


class Item(BaseModel, extra="forbid"):
    label: str


class Rename(JobSpec):
    """A job type for these tests."""

    to: str
    password: Annotated[str, Field(max_length=3)] = ""
    items: tuple[Item, ...] = ()
    nested: Item | None = None
    whitelist: tuple[str, ...] | None = None
    count: int = Field(0, alias="from")

    def model_post_init(self, context: Any, /) -> None:
        if self.whitelist is not None:
            check_whitelist(self.whitelist)

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        return NotebookPatch(name=self.to)


def parsed(text: str, where: str) -> JobFile:
    """The file, whatever its parameters are."""
    return read_job(text, where, lambda _: Anything)[0]


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parsed(text, "torch.yaml")
    return str(caught.value)


def bind_refusal(parameters: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_job(f"{LEAST}with:\n{parameters}", "torch.yaml", lambda _: Rename)
    return str(caught.value)


def test_every_key_is_read() -> None:
    job = parsed(WHOLE, "torch.yaml")
    assert (job.job, job.name, job.scopes) == ("image-migration", "torch-2026-11", ("lab-a",))
    assert job.select.text.startswith("image.name.startsWith")
    assert job.document.data["with"] == {"to": {"name": "pytorch2.6"}}
    assert job.rollout == Rollout(
        waves=(Share(1), Share(5, percent=True), Share(100, percent=True)),
        soak=600.0,
        concurrency=20,
        max_failures=Share(3),
        max_unavailable={"fleet": Share(20), "owner": Share(2)},
        disruption=Disruption.RESTART,
        deadline=21_600.0,
        change_deadline=1_800.0,
    )
    assert job.guards.max_targets == 500
    assert job.guards.protect is not None
    assert job.guards.protect.text == "has(tags.keep)"


def test_what_is_left_out_has_the_default_of_the_rollout() -> None:
    job = parsed(LEAST, "least.yaml")
    assert job.scopes is None
    assert job.rollout == Rollout()
    assert (job.ids, job.exclude, job.sample) == (None, None, None)
    assert job.guards == Guards(500, Share(50, percent=True), None, 20)
    assert parsed(f"{LEAST}rollout: {{soak: 1m}}", "x").rollout == Rollout(soak=60.0)


def test_the_selection_can_be_narrowed_and_every_guard_be_set() -> None:
    job = parsed(
        f"{LEAST}ids: some/ids.txt\nexclude: has(tags.keep)\nlimit: 10%\nseed: 7\n"
        "rollout: {order: by-owner}\nguards: {max_targets: 9, max_share: 100%, confirm_over: 3}\n",
        "x",
    )
    assert (job.ids, job.exclude) == ("some/ids.txt", Selector.parse("has(tags.keep)"))
    assert job.sample == Sample(Share(10, percent=True), 7)
    assert job.rollout.order is ReleaseOrder.BY_OWNER
    assert job.guards == Guards(9, Share(100, percent=True), None, 3)
    assert parsed(f"{LEAST}limit: 3\n", "x").sample == Sample(Share(3), 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: 7", "4: seed: chooses a sample; give its limit too, such as limit: 10%"),
        ("limit: 0", "4: limit: 0 would let nothing happen"),
        ("ids: ''", "4: ids: must not be empty"),
        ("exclude: nam == 'x'", "4: exclude: no field 'nam'; did you mean name?"),
        ("guards: {max_share: 50}", "4: guards.max_share: 50 is no percentage such as 50%"),
        ("guards: {confirm_over: 0}", "4: guards.confirm_over: must be greater than or equal to 1"),
        ("rollout: {order: random}", "4: rollout.order: must be 'longest-first', 'by-owner'"),
    ],
)
def test_what_is_wrong_with_a_narrowed_selection_is_told_with_its_place(line: str, message: str) -> None:
    assert refusal(f"{LEAST}{line}\n").startswith(f"torch.yaml:{message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("5%,", "5 %,", "7: rollout.waves: '5 %' is neither a number nor a percentage such as 5%"),
        ("5%,", "true,", "7: rollout.waves: True is neither a number nor a percentage such as 5%"),
        ("5%,", "150%,", "7: rollout.waves: 150% is more than everything; give at most 100%"),
        ("[1,", "[0,", "7: rollout.waves: 0 would let nothing happen; give at least 1 or 1%"),
        ("[1, 5%, 100%]", "[]", "7: rollout.waves: must be a list of running totals such as [1, 5%, 100%]"),
        ("[1, 5%, 100%]", "5", "7: rollout.waves: must be a list of running totals such as [1, 5%, 100%]"),
        (
            "[1, 5%",
            "[5, 3",
            "7: rollout.waves: 3 does not follow after 5; each wave is a larger running total",
        ),
        (
            "5%, 100%",
            "9%, 9%",
            "7: rollout.waves: 9% does not follow after 9%; each wave is a larger running total",
        ),
        ("100%]", "100%, 9]", "7: rollout.waves: 100% is everything; nothing can follow after it"),
        ("waves", "wave", "7: rollout.wave: unknown key; did you mean waves?"),
        ("10m", "10", "8: rollout.soak: 10 is not a duration such as 90s, 10m or 1h30m"),
        ("10m", "00:10:00", "8: rollout.soak: '00:10:00' is not a duration such as 90s, 10m or 1h30m"),
        ("soak: 10m", "soak:", "8: rollout.soak: is empty; give a value or leave the key out"),
        ("20\n", "0\n", "9: rollout.concurrency: must be greater than or equal to 1"),
        ("20\n", "1001\n", "9: rollout.concurrency: must be less than or equal to 1000"),
        ("20\n", "'20'\n", "9: rollout.concurrency: must be a whole number"),
        ("3\n", "0\n", "10: rollout.max_failures: 0 would let nothing happen; give at least 1 or 1%"),
        ("fleet: 20", "flet: 20", "11: rollout.max_unavailable.flet: unknown key; did you mean fleet?"),
        (
            "{fleet: 20, owner: 2}",
            "20",
            "11: rollout.max_unavailable: must be a mapping such as {key: value}",
        ),
        (
            "owner: 2",
            "owner: two",
            "11: rollout.max_unavailable.owner: 'two' is neither a number nor a percentage",
        ),
        ("restart", "stop", "12: rollout.disruption: must be 'none' or 'restart'"),
        ("6h", "0h", "13: rollout.deadline: must be longer than nothing, such as 30m"),
        ("500", "0", "15: guards.max_targets: must be greater than or equal to 1"),
        ("500", "yes", "15: guards.max_targets: must be a whole number"),
        ("max_targets", "max_target", "15: guards.max_target: unknown key; did you mean max_targets?"),
        ("torch-2026-11", "2026", "2: name: must be text; put it in quotes"),
        (
            "torch-2026-11",
            "a b",
            "2: name: must be 1 to 100 letters, digits, '.', '-' or '_', the first a letter or digit",
        ),
        ("[lab-a]", "lab-a", "3: scopes: must be a list such as [a, b]"),
        ("[lab-a]", "[]", "3: scopes: must not be empty"),
        ("[lab-a]", "[5]", "3: scopes[0]: must be text; put it in quotes"),
        ("[lab-a]", "[lab-a, lab-a]", "3: scopes: a name is listed twice"),
        ("{to: {name: pytorch2.6}}", "[to]", "5: with: must be a mapping such as {key: value}"),
        ("job: image-migration\n", "", "1: job: is missing"),
        ("name: torch-2026-11\n", "nam: x\n", "2: nam: unknown key; did you mean name?"),
        ("guards:", "when: now\nguards:", f"15: when: unknown key; known are {KEYS}"),
        ("guards:", "gate: x\nguards:", f"15: gate: unknown key; known are {KEYS}"),
        ("guards:", "blackouts: x\nguards:", f"15: blackouts: unknown key; known are {KEYS}"),
        (
            "image.name.",
            "imag.name.",
            "4: select: no field 'imag.name'; did you mean image.name?\n  imag.name.",
        ),
        ("has(tags.keep)", "", "15: guards.protect: the selector is empty; to select everything write: true"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, message: str) -> None:
    assert WHOLE.count(old) >= 1
    told = refusal(WHOLE.replace(old, new, 1))
    assert told.startswith(f"torch.yaml:{message}")


@pytest.mark.parametrize("word", ["true", "false"])
def test_a_selector_may_be_a_yaml_boolean_and_the_schema_knows(word: str) -> None:
    text = f"job: rename\nname: all\nselect: {word}\nwith: {{to: x}}\nguards: {{protect: {word}}}\n"
    job = parsed(text, "all.yaml")
    assert job.guards.protect is not None
    assert (job.select.text, job.guards.protect.text) == (word, word)
    Draft202012Validator(SCHEMA).validate(job.document.data)


@pytest.mark.parametrize("word", ["5", "1.5", "[true]", "{a: b}"])
def test_nothing_else_than_text_or_a_boolean_is_a_selector(word: str) -> None:
    told = refusal(f"job: rename\nname: all\nselect: {word}\n")
    assert told == "torch.yaml:3: select: must be text; put it in quotes"


def test_a_selector_of_several_lines_is_read_and_complained_about_by_line() -> None:
    text = LEAST.replace("'true'", '|\n  true &&\n  status == "STOPED"')
    assert refusal(text).startswith(
        "torch.yaml:3: select: line 2: status is never 'STOPED'; did you mean STOPPED?"
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("  too: x", "5: with.too: unknown key; did you mean to?"),
        ("  items: []", "4: with.to: is missing"),
        ("  to: 5", "5: with.to: must be text; put it in quotes"),
        (
            "  to: x\n  items:\n    - {label: a}\n    - {lable: b}",
            "8: with.items[1].lable: unknown key; did you mean label?",
        ),
        (
            "  to: x\n  items:\n    - {label: a}\n    - {label: 5}",
            "8: with.items[1].label: must be text; put it in quotes",
        ),
        ("  to: x\n  nested: {}", "6: with.nested.label: is missing"),
        ("  to: x\n  nested: {lable: a}", "6: with.nested.lable: unknown key; did you mean label?"),
        (
            "  to: x\n  count: 5",
            "6: with.count: unknown key; known are to, password, items, nested, whitelist, from",
        ),
        ("  to: x\n  from: '5'", "6: with.from: must be a whole number"),
        (
            "  to: x\n  whitelist: [10.0.0.1]",
            "4: with: endpoints.allowed_access_ips: 10.0.0.1 is not a public address; ",
        ),
    ],
)
def test_a_wrong_parameter_of_the_job_type_is_told_with_its_place(parameters: str, message: str) -> None:
    assert bind_refusal(parameters).startswith(f"torch.yaml:{message}")


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_lines() -> None:
    text = (
        "guards: {max_targets: 0}\njob: rename\nselect: nam\nexclude: 5\nseed: 7\nids:\n"
        "with: {too: x, count: a, items: [{}, {lable: b}]}\nrollout: {soak: 10, wavs: [1], deadline: 0s}\n"
    )
    with pytest.raises(UsageError) as caught:
        read_job(text, "x.yaml", lambda _: Rename)
    assert [line for line in str(caught.value).splitlines() if not line.startswith(" ")] == [
        "x.yaml:1: name: is missing",
        "x.yaml:1: guards.max_targets: must be greater than or equal to 1",
        "x.yaml:3: select: no field 'nam'; did you mean name?",
        "x.yaml:4: exclude: must be text; put it in quotes",
        "x.yaml:5: seed: chooses a sample; give its limit too, such as limit: 10%",
        "x.yaml:6: ids: is empty; give a value or leave the key out",
        "x.yaml:7: with.items[1].lable: unknown key; did you mean label?",
        "x.yaml:7: with.too: unknown key; did you mean to?",
        "x.yaml:7: with.count: unknown key; known are to, password, items, nested, whitelist, from",
        "x.yaml:7: with.items[0].label: is missing",
        "x.yaml:8: rollout.wavs: unknown key; did you mean waves?",
        "x.yaml:8: rollout.soak: 10 is not a duration such as 90s, 10m or 1h30m",
        "x.yaml:8: rollout.deadline: must be longer than nothing, such as 30m",
    ]


def test_a_misspelt_key_hides_nothing_that_is_wrong_under_its_right_name() -> None:
    told = refusal(f"{LEAST}nme: x\nrollout: {{max_failures: -1, max_failure: 5}}\n")
    assert told.splitlines() == [
        "torch.yaml:4: nme: unknown key; did you mean name?",
        "torch.yaml:5: rollout.max_failure: unknown key; did you mean max_failures?",
        "torch.yaml:5: rollout.max_failures: -1 would let nothing happen; give at least 1 or 1%",
    ]


def test_what_is_wrong_with_a_key_hides_nothing_that_is_wrong_with_values() -> None:
    told = refusal(f"? [a, b]\n: 1\n{LEAST}exclude: 5\nexclude: x\n? {{c: d}}\n: 2\n")
    assert told.splitlines() == [
        "torch.yaml:1: a key must be a plain word",
        "torch.yaml:6: exclude: must be text; put it in quotes",
        "torch.yaml:7: exclude: is given twice, first in line 6",
        "torch.yaml:8: a key must be a plain word",
    ]


def test_an_unknown_job_type_is_told_beside_the_rest_and_its_parameters_are_not_judged() -> None:
    def unknown(name: str) -> type[JobSpec]:
        raise UsageError(f"there is no job type {name}")

    with pytest.raises(UsageError) as caught:
        read_job("job: a\nname: 5\nselect: true\nwith: {x: y}\n", "x.yaml", unknown)
    assert str(caught.value) == (
        "x.yaml:1: job: there is no job type a\nx.yaml:2: name: must be text; put it in quotes"
    )


@pytest.mark.security("secrets")
def test_a_refused_parameter_is_not_repeated() -> None:
    told = bind_refusal("  to: x\n  password: hunter2")
    assert told.startswith("torch.yaml:6: with.password: ")
    assert "hunter2" not in told
    assert "hunter2" not in repr(parsed(f"{LEAST}with: {{password: hunter2}}", "x"))


def test_parameters_become_the_job_types_own_values() -> None:
    text = f"{LEAST}with: {{to: no, from: 7, items: [{{label: on}}]}}"
    _, spec = read_job(text, "x.yaml", lambda _: Rename)
    assert spec == Rename.model_validate({"to": "no", "from": 7, "items": ({"label": "on"},)})


def test_the_models_know_every_field_of_the_rollout_and_every_group() -> None:
    written = {"windows", "blackouts"}  # the two parts of the calendar
    assert set(RolloutModel.model_fields) - written == set(Rollout.__dataclass_fields__) - {"calendar"}
    assert tuple(MaxUnavailable.model_fields) == GROUPS


SCHEMA = schema({"rename": Rename, "other": Rename})


def test_the_schema_itself_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


_GOOD: tuple[str, ...] = (
    f"{LEAST}with: {{to: x}}",
    f"{LEAST}with: {{to: x, nested: {{label: a}}, from: 3}}",
    WHOLE.replace("image-migration", "other").replace("{to: {name: pytorch2.6}}", "{to: x}"),
    f"{LEAST}with: {{to: x}}\nrollout: {{waves: [5%], max_failures: 10%}}",
)
_BAD: tuple[str, ...] = (
    LEAST,
    f"{LEAST}with: {{}}",
    f"{LEAST}with: {{too: x}}",
    f"{LEAST}with: {{to: 5}}",
    f"{LEAST}with: {{to: x, nested: {{lable: a}}}}",
    f"{LEAST}with: {{to: x}}\nwhen: now",
    f"{LEAST}with: {{to: x}}\nrollout: {{wave: [1]}}",
    f"{LEAST}with: {{to: x}}\nrollout: {{waves: ['5 %']}}",
    f"{LEAST}with: {{to: x}}\nrollout: {{waves: [0]}}",
    f"{LEAST}with: {{to: x}}\nrollout: {{soak: 10}}",
    f"{LEAST}with: {{to: x}}\nrollout: {{soak: 1w}}",
    f"{LEAST}with: {{to: x}}\nrollout: {{concurrency: 1001}}",
    f"{LEAST}with: {{to: x}}\nrollout: {{max_unavailable: 5}}",
    f"{LEAST}with: {{to: x}}\nrollout: {{max_failures: 101%}}",
    f"{LEAST}with: {{to: x}}\nscopes: []",
    f"{LEAST}with: {{to: x}}\nscopes: [a, a]",
    f"{LEAST}with: {{to: x}}\nguards: {{max_targets: 0}}",
    LEAST.replace("least", "a b") + "with: {to: x}",
)


@pytest.mark.parametrize("text", _GOOD)
def test_the_schema_accepts_what_the_reader_accepts(text: str) -> None:
    job, _ = read_job(text, "x.yaml", lambda _: Rename)
    Draft202012Validator(SCHEMA).validate(job.document.data)


@pytest.mark.parametrize("text", _BAD)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        read_job(text, "x.yaml", lambda _: Rename)
    assert not Draft202012Validator(SCHEMA).is_valid(read_yaml(text, "x.yaml").data)


def test_the_schema_refuses_an_unknown_job_type_and_null() -> None:
    validator = Draft202012Validator(SCHEMA)
    good = parsed(_GOOD[0], "x").document.data
    assert not validator.is_valid(good | {"job": "renam"})
    assert not validator.is_valid(good | {"scopes": None})
    assert not validator.is_valid(good | {"rollout": {"soak": None}})
