"""The sealed plan: it comes back as it was written, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When
from fleet.core.planning.plan import FORMAT, Change, Estimate, Phase, Plan, PlanScope, Settled
from fleet.core.planning.plan_file import dump_plan, load_plan, plan_digest, seal
from fleet.core.rollout import Disruption, Rollout, Share

TEXTS = st.text(max_size=12)
NUMBERS = st.integers(-(2**53), 2**53)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
BODIES = st.dictionaries(TEXTS, VALUES, max_size=3)
PUTS = st.fixed_dictionaries(
    {},
    optional={
        "description": st.text("abc äß中", max_size=20),
        "flavor": st.text("abc.", min_size=1, max_size=20),
        "storage_new_size": st.integers(1, 4096),
    },
)
LEASES = st.none() | st.builds(Lease, st.booleans(), st.sampled_from(LeaseType), NUMBERS, NUMBERS, NUMBERS)
SHARES = st.builds(Share, st.integers(0, 100), st.booleans())
SECONDS = st.floats(0, 1e9)

PLANS = st.builds(
    Plan,
    format=st.just(FORMAT),
    job=TEXTS,
    job_type=TEXTS,
    select=TEXTS,
    created_at=SECONDS,
    engine=TEXTS,
    scopes=st.lists(st.builds(PlanScope, TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS, TEXTS, TEXTS), max_size=2).map(
        tuple
    ),
    rollout=st.builds(
        Rollout,
        waves=st.lists(SHARES, max_size=3).map(tuple),
        soak=SECONDS,
        concurrency=st.integers(1, 99),
        max_failures=st.none() | SHARES,
        max_unavailable=st.dictionaries(TEXTS, SHARES, max_size=2),
        disruption=st.sampled_from(Disruption),
        deadline=st.none() | SECONDS,
        change_deadline=SECONDS,
    ),
    changes=st.lists(
        st.builds(
            Change,
            item=NUMBERS,
            scope=TEXTS,
            id=TEXTS,
            name=TEXTS,
            owner=TEXTS,
            pool=TEXTS,
            flavor=TEXTS,
            wave=NUMBERS,
            run_state=st.sampled_from(Status),
            arriving=st.booleans(),
            may_restart=st.booleans(),
            phases=st.lists(st.builds(Phase, st.sampled_from(When), PUTS), max_size=2).map(tuple),
            before=BODIES,
            after=BODIES,
            lease=LEASES,
            notes=st.lists(TEXTS, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    settled=st.lists(
        st.builds(
            Settled,
            item=NUMBERS,
            scope=TEXTS,
            id=TEXTS,
            name=TEXTS,
            owner=TEXTS,
            outcome=st.sampled_from(Outcome),
            reason=TEXTS,
            run_state=TEXTS,
            values=BODIES,
            lease=LEASES,
        ),
        max_size=2,
    ).map(tuple),
    checks=st.lists(TEXTS, max_size=2).map(tuple),
    estimate=st.builds(Estimate, NUMBERS, NUMBERS, SECONDS),
)


@given(PLANS)
def test_a_plan_comes_back_as_it_was_written(plan: Plan) -> None:
    sealed = seal(plan)
    assert load_plan(dump_plan(sealed), "plan.json") == sealed


def test_what_many_changes_have_alike_is_loaded_once() -> None:
    plan = load_plan(dump_plan(seal(replace(SEALED, changes=(CHANGE, replace(CHANGE, item=1))))), "plan.json")
    for name in ("scope", "owner", "flavor", "phases", "before", "after"):
        one, other = (getattr(change, name) for change in plan.changes)
        assert one is other, name


CHANGE = Change(
    item=0,
    scope="lab-a",
    id="f9937afa-4451-42db-a76b-72d624749f66",
    name="nb",
    owner="ada",
    pool="",
    flavor="small",
    wave=1,
    run_state=Status.RUNNING,
    arriving=False,
    may_restart=True,
    phases=(Phase(When.RUNNING, {"storage_new_size": 80}),),
    before={"storage_new_size": 50},
    after={"storage_new_size": 80},
)
SEALED = seal(
    Plan(
        format=FORMAT,
        job="grow",
        job_type="grow",
        select="true",
        created_at=1.5,
        engine="0.1.0",
        scopes=(PlanScope("lab-a", "cn-north-4", "0" * 32, "http://127.0.0.1:9000", 2, "one", "60/min"),),
        rollout=Rollout(max_unavailable={"fleet": Share(5, percent=True)}),
        changes=(CHANGE,),
        settled=(Settled(1, "lab-a", "x", "été", "bob", Outcome.SKIPPED, "status FROZEN"),),
        checks=(),
        estimate=Estimate(3, 3, 180.0),
    )
)


@pytest.mark.row(55)
@given(data=st.data())
def test_an_altered_byte_is_refused_or_means_the_same(data: st.DataObject) -> None:
    """Only blanks between the words may differ: the seal is over the content."""
    written = dump_plan(SEALED)
    place = data.draw(st.integers(0, len(written) - 1))
    byte = data.draw(st.integers(0, 255))
    altered = written[:place] + bytes([byte]) + written[place + 1 :]
    with contextlib.suppress(UsageError):
        assert load_plan(altered, "plan.json") == SEALED


@pytest.mark.row(55)
@pytest.mark.parametrize(
    ("word", "other"),
    [
        ('"storage_new_size":80', '"storage_new_size":81'),
        ('"may_restart":true', '"may_restart":false'),
        ("status FROZEN", "status frozen"),
        ('"concurrency":20', '"concurrency":21'),
        ('"select": "true"', '"select": "false"'),
        ("127.0.0.1", "127.0.0.2"),
    ],
)
def test_a_plan_altered_after_it_was_sealed_is_refused(word: str, other: str) -> None:
    written = dump_plan(SEALED).decode()
    assert word in written
    with pytest.raises(UsageError, match=r"plan\.json: the plan was altered after it was sealed; plan again"):
        load_plan(written.replace(word, other).encode(), "plan.json")


def test_a_plan_that_was_never_sealed_is_refused() -> None:
    with pytest.raises(UsageError, match="altered"):
        load_plan(dump_plan(replace(SEALED, digest="")), "plan.json")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"nonsense", b"[" * 100_000])
def test_what_is_no_json_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"plan\.json: not a plan file"):
        load_plan(data, "plan.json")


@pytest.mark.row(55)
@pytest.mark.parametrize("data", [b"[]", b"null", b"7", b"{}", b'{"format": 99}', b'{"format": "1"}'])
def test_another_format_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"plan\.json: not a plan of format 1"):
        load_plan(data, "plan.json")


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [("changes", 7, "changes.0"), ("changes", [{}], "changes.0.item"), ("created_at", "soon", "created_at")],
)
def test_a_sealed_plan_of_another_shape_is_refused_at_its_place(field: str, value: Any, place: str) -> None:
    """A seal over nonsense: what another version, or a person with a calculator, may write."""
    raw = {**json.loads(dump_plan(SEALED)), field: value}
    with pytest.raises(UsageError, match=rf"plan\.json: {re.escape(place)}: .*; plan again"):
        load_plan(json.dumps({**raw, "digest": digest_of(raw)}).encode(), "plan.json")


def digest_of(raw: dict[str, Any]) -> str:
    """A line for each member but the digest, and for each row."""
    lines = ""
    for key, value in raw.items():
        rows = value if key in ("changes", "settled") and isinstance(value, list) else [value]
        compact = [json.dumps(row, separators=(",", ":")) for row in rows if key != "digest"]
        lines += "".join(f"{json.dumps(key)}: {row}\n" for row in compact)
    return hashlib.sha256(lines.encode()).hexdigest()


def test_a_plan_with_other_blanks_is_the_same() -> None:
    pretty = json.dumps(json.loads(dump_plan(SEALED)), indent=3, ensure_ascii=False)
    assert load_plan(f" {pretty}\r\n".encode(), "plan.json") == SEALED


@pytest.mark.parametrize(
    "alter",
    [
        lambda raw: {**raw, "changes": []},
        lambda raw: {**raw, "changes": raw["changes"] * 2},
        lambda raw: {**raw, "changes": [], "settled": raw["changes"]},
        lambda raw: {**raw, "changes": [{**raw["changes"][0], "more": 1}]},
        lambda raw: {**raw, "changes": [{**raw["changes"][0], "item": "0"}]},
        lambda raw: {**raw, "more": 1},
        lambda raw: {key: raw[key] for key in raw if key != "checks"},
    ],
)
def test_what_is_added_removed_or_moved_is_noticed(alter: Callable[[dict[str, Any]], Any]) -> None:
    raw = json.loads(dump_plan(SEALED))
    with pytest.raises(UsageError, match="altered"):
        load_plan(json.dumps(alter(raw)).encode(), "plan.json")


def test_a_plan_has_a_line_for_each_notebook_and_each_other_member() -> None:
    lines = dump_plan(SEALED).decode().splitlines()
    assert [json.loads(line.removesuffix(",")) for line in lines if line.startswith('{"')] == [
        json.loads(dump_plan(SEALED))["changes"][0],
        json.loads(dump_plan(SEALED))["settled"][0],
    ]
    named = {line.partition(":")[0].strip('"') for line in lines if line.startswith('"')}
    assert named == {member.name for member in fields(Plan)}


def test_the_digest_is_read_without_the_plan_but_not_without_its_seal() -> None:
    written = dump_plan(SEALED)
    assert plan_digest(written, "plan.json") == SEALED.digest
    with pytest.raises(UsageError, match="altered"):
        plan_digest(written.replace(b'"small"', b'"large"'), "plan.json")


def test_equal_ways_of_changes_are_kept_once() -> None:
    """Also when they are read, and never for values that are only equal to Python, such as 1 and True."""

    def change(size: object) -> Change:
        before, after = {"storage_new_size": 0}, {"storage_new_size": size}
        return replace(CHANGE, phases=(Phase(When.RUNNING, {**after}),), before=before, after=after)

    one, other, true = change(1), change(1), change(True)
    read = load_plan(dump_plan(seal(replace(SEALED, changes=(one,)))), "plan.json").changes[0]
    for again in (other, read):
        for name in ("phases", "before", "after"):
            assert getattr(again, name) is getattr(one, name)
    assert true.after["storage_new_size"] is True


def test_a_plan_shows_itself_without_its_rows() -> None:
    """On its way out of the event loop somebody asks for its repr: a gigabyte for a million rows."""
    assert "grow" in repr(SEALED)
    assert len(repr(replace(SEALED, changes=(CHANGE,) * 99, settled=SEALED.settled * 99))) == len(
        repr(SEALED)
    )


def test_waves_are_those_that_hold_changes() -> None:
    first = SEALED.changes[0]
    assert replace(SEALED, changes=(first, replace(first, wave=3))).waves == 2
    assert replace(SEALED, changes=()).waves == 0


@pytest.mark.parametrize(
    "endpoints",
    [[], [{"service": "SSH"}], [{"service": "SSH", "allowed_access_ips": []}], [{"service": "NOTEBOOK"}]],
)
def test_a_plan_file_that_would_open_a_notebook_is_refused_however_well_sealed(
    endpoints: list[dict[str, Any]],
) -> None:
    closed = [{"service": "SSH", "allowed_access_ips": ["8.8.8.8"]}]
    change = replace(
        CHANGE,
        phases=(Phase(When.STOPPED, {"endpoints": endpoints}),),
        before={"endpoints": closed},
        after={"endpoints": endpoints},
    )
    with pytest.raises(UsageError, match="endpoints"):
        load_plan(dump_plan(seal(replace(SEALED, changes=(change,)))), "plan.json")


def test_a_plan_file_that_saves_to_no_image_is_refused_however_well_sealed() -> None:
    saved = seal(replace(SEALED, changes=(replace(CHANGE, save="lab/before-nb-0"),)))
    assert load_plan(dump_plan(saved), "plan.json") == saved
    with pytest.raises(UsageError, match=r"save: '\.\./lab' is no image's organization/name"):
        load_plan(dump_plan(seal(replace(SEALED, changes=(replace(CHANGE, save="../lab"),)))), "plan.json")


def test_a_lease_that_is_none_is_named_with_its_place() -> None:
    wrong: Any = "soon"
    plan = seal(replace(SEALED, changes=(replace(CHANGE, lease=Lease(True, create_at=wrong)),)))
    with pytest.raises(UsageError, match=r"plan\.json: changes\.0\.lease: .*create_at.*; plan again"):
        load_plan(dump_plan(plan), "plan.json")
