"""What a selector means, and what a person reads when it means nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.core.catalog import Catalog
from fleet.core.errors import Exit, UsageError
from fleet.core.notebook import Endpoint, Flavor, Image, Lease, LeaseType, Notebook, Status, Volume
from fleet.core.selecting.selector import (
    Selector,
    SelectorError,
    fields,
    parse_ids,
    require_all,
    unmatched,
)

NOW = 1_784_948_034_829
HOUR = 3_600_000
ID = "f9937afa-4451-42db-a76b-72d624749f66"
IMAGE_ID = "e1a07296-22a8-4f05-8bc8-e936c8e54090"

NOTEBOOK = Notebook(
    id=ID,
    status=Status.RUNNING,
    name="vision-train",
    description="api-test",
    feature="NOTEBOOK",
    flavor="modelarts.vm.cpu.2u",
    image=Image(
        id=IMAGE_ID,
        name="pytorch1.8-cuda10.2-cudnn7-ubuntu18.04",
        arch="X86_64",
        status="ACTIVE",
        type="BUILD_IN",
        size=2048,
        create_at=NOW - 400 * 24 * HOUR,
        resource_categories=("GPU", "CPU"),
        dev_services=("NOTEBOOK", "SSH"),
    ),
    lease=Lease(True, LeaseType.TIMING, create_at=NOW - HOUR, duration=3 * HOUR),
    pool_id="pool-1",
    volume=Volume("EVS", 50, "MANAGED", "/home/ma-user/work/"),
    endpoints=(
        Endpoint("NOTEBOOK"),
        Endpoint("SSH", key_pair_names=("kp-ana",), allowed_access_ips=("198.51.100.7",)),
    ),
    workspace_id="0",
    owner="ana",
    owner_id="0123456789abcdef0123456789abcdef",
    tags={"team": "vision", "keep": ""},
    create_at=NOW - 10 * 24 * HOUR,
    update_at=NOW - 5 * HOUR,
)
BARE = Notebook(id=ID, status=Status.STOPPED)


def matches(text: str, notebook: Notebook = NOTEBOOK) -> bool:
    return Selector.parse(text).matches(notebook, "lab-a", NOW)


def refusal(text: str) -> str:
    with pytest.raises(SelectorError) as caught:
        Selector.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "status == status_word && image.id != id",
        f'id == "{ID}"',
        'name.startsWith("vision-")',
        'scope == "lab-a"',
        'status in ["RUNNING", "STOPPED"] && status_word == "RUNNING"',
        'image.name.startsWith("pytorch1.8") && status in ["RUNNING", "STOPPED"]',
        'image.arch == "x86_64"',
        '"GPU" in image.resource_categories && "SSH" in image.dev_services',
        "image.size > 1024",
        'now - image.created > duration("8760h")',
        'owner == "ana" && owner_id.endsWith("cdef") && workspace == "0"',
        'pool.id == "pool-1" && pool.name == ""',
        "has(tags.keep) && !has(tags.drop)",
        'tags["team"] == "vision"',
        'has(tags.gpu) && tags.gpu == "1" || tags.team == "vision"',
        'lease.enabled && lease.type == "TIMING"',
        'lease.left == duration("2h")',
        'volume.category == "EVS" && volume.capacity >= 50 && volume.status == ""',
        '"SSH" in endpoints && !ssh.open',
        'ssh.keys.exists(key, key.startsWith("kp-"))',
        '"198.51.100.7" in ssh.whitelist && size(ssh.whitelist) == 1',
        'now - created > duration("200h") && updated < now',
        'created > timestamp("2020-01-31T00:00:00Z")',
        'name.matches("^vision-[a-z]+$")',
        'flavor.contains(".cpu.") && feature == "NOTEBOOK" && description != "" && fail_reason == ""',
        'status == "RUNNING" // the ones in use',
        'status ==\n  "RUNNING"',
    ],
)
def test_a_true_condition_matches_and_its_negation_does_not(text: str) -> None:
    assert matches(text) is True
    assert matches(f"!({text}\n)") is False


def test_a_notebook_without_optional_parts_has_empty_values() -> None:
    assert matches('lease.type == "" && !lease.enabled && volume.category == "" && image.name == ""', BARE)
    assert matches("size(endpoints) == 0 && !ssh.open && size(ssh.keys) == 0 && size(tags) == 0", BARE)


def test_an_ssh_endpoint_without_a_whitelist_is_open() -> None:
    for addresses in (None, ()):
        assert matches("ssh.open", replace(BARE, endpoints=(Endpoint("SSH", allowed_access_ips=addresses),)))
    assert not matches("ssh.open", replace(BARE, endpoints=(Endpoint("NOTEBOOK"),)))


def test_an_undocumented_status_keeps_its_word_apart() -> None:
    strange = replace(BARE, status=Status.STRANGE, status_word="MIGRATING")
    assert matches('status == "?" && status_word == "MIGRATING"', strange)


def test_times_missing_on_the_notebook_are_taken_from_its_lease() -> None:
    lease = Lease(False, create_at=NOW - 2 * HOUR, update_at=NOW - HOUR)
    assert matches(
        'now - created == duration("2h") && now - updated == duration("1h")', replace(BARE, lease=lease)
    )


def test_the_lease_is_measured_by_the_clouds_clock_when_it_tells_one() -> None:
    ahead = replace(NOTEBOOK, current_time=NOW + HOUR)
    assert matches('lease.left == duration("1h")', ahead)


@given(st.integers(-(10**9), 10**12), st.integers(0, 10**9))
def test_the_time_left_is_exact_to_the_millisecond(duration: int, ago: int) -> None:
    notebook = replace(NOTEBOOK, lease=Lease(True, create_at=NOW - ago, duration=duration))
    assert matches(f'lease.left == duration("{duration - ago}ms")', notebook)


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(_TEXT, _TEXT)
def test_text_is_compared_as_it_is(one: str, other: str) -> None:
    notebook = replace(BARE, description=one, tags={"note": other})
    assert matches("description == tags.note", notebook) is (one == other)


@pytest.mark.parametrize(
    ("text", "sentence", "column"),
    [
        ('imag.name == "x"', "no field 'imag.name'; did you mean image.name?", 1),
        ('true && image.nam == "x"', "no field 'image.nam'; did you mean image.name?", 9),
        ('imag.name.startsWith("x")', "no field 'imag.name'; did you mean image.name?", 1),
        ('zzz == "x"', "no field 'zzz'; see: fleet ls --fields", 1),
        ("status == RUNNING", "no field 'RUNNING'; text goes in quotes: \"RUNNING\"", 11),
        ('pool == "x"', "'pool' is a group of fields: pool.id, pool.name", 1),
        ('name.foo == "x"', "'name' is a string and has no part 'foo'", 1),
        ('endpoints.exists(e, e.svc == "SSH")', "'e' is a string and has no part 'svc'", 21),
        ('name.startswith("x")', "no function 'startswith'; did you mean startsWith?", 16),
        ("ssh.keys.exist(k, true)", "no function 'exist'; did you mean exists?", 15),
        ("exists(x, true)", "exists() is not called like this", 7),
        ("name == 5", "'==' does not go with (string, int)", 6),
        (
            'lease.left < "1h"',
            "'<' does not go with (duration, string); write a duration as duration(\"36h\")",
            12,
        ),
        (
            'created < "2026"',
            "'<' does not go with (timestamp, string); write a time as timestamp(\"2026-01-31T00:00:00Z\")",
            9,
        ),
        (
            "name == null",
            "'==' does not go with (string, null); no field is ever null: compare with \"\"",
            6,
        ),
        ('status in "RUNNING"', "'in' does not go with (string, string)", 8),
        ('status = "x"', "'=' is not understood; write == to compare", 8),
        ("true & true", "'&' is not understood; write &&", 6),
        ("true and true", "'and' is not expected here; write && for and", 6),
        ("not true", "'true' is not expected here; write ! for not", 5),
        ("true &&", "the expression ends too early", 8),
        ("(true", "a ')' is missing", 6),
        ("true)", "')' is not expected here", 5),
        (
            'name == "x',
            r'a text is not closed, or holds an unknown escape (a pattern is best written r"\d")',
            9,
        ),
        ("name", "the result is a string, but a selector must be true or false", 1),
        ("dyn(true)", "the result is a dyn, but a selector must be true or false", 1),
        ('status == "RUNING"', "status is never 'RUNING'; did you mean RUNNING?", 11),
        ('"RUNING" != status', "status is never 'RUNING'; did you mean RUNNING?", 1),
        ('status in ["RUNNING", "Stoped"]', "status is never 'Stoped'; did you mean STOPPED?", 23),
        ('image.arch == "AARCH64"', "image.arch is never 'AARCH64'; did you mean aarch64?", 15),
        ('id == "nb-1"', "id is a UUID, which 'nb-1' is not", 7),
        ('image.id in ["x"]', "image.id is a UUID, which 'x' is not", 14),
        ('lease.type == "FOREVER"', "lease.type is never 'FOREVER'; there are TIMING, IDLE", 15),
        ('false && name.matches("[")', "'[' is no regular expression (RE2 syntax)", 23),
        ('lease.left < duration("1 h")', '\'1 h\' is no duration such as "90m" or "36h"', 23),
        ('now > timestamp("2026")', "'2026' is no time such as \"2026-01-31T00:00:00Z\"", 17),
        (
            "has(lease.left)",
            "has() asks for a tag, such as has(tags.keep): auto stop is off; ask lease.enabled first",
            1,
        ),
        (
            "has(ssh.open)",
            "has() asks for a tag, such as has(tags.keep): every notebook has ssh.open; compare its value",
            1,
        ),
    ],
)
def test_a_wrong_expression_is_shown_with_a_caret_and_a_sentence(
    text: str, sentence: str, column: int
) -> None:
    assert refusal(text) == f"{sentence}\n  {text}\n  {' ' * (column - 1)}^"


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_selector_is_refused_with_the_way_to_select_everything(text: str) -> None:
    assert refusal(text) == "the selector is empty; to select everything write: true"


def test_only_the_wrong_line_of_a_long_expression_is_shown() -> None:
    assert refusal('true &&\n  imag.id == "x" &&\n  true') == (
        "line 2: no field 'imag.id'; did you mean image.id?\n    imag.id == \"x\" &&\n    ^"
    )


def test_the_caret_stands_under_the_place_behind_wide_letters() -> None:
    assert refusal('"日本" == nam').splitlines()[2] == "  " + " " * 10 + "^"


def test_a_very_long_line_is_cut_around_the_caret() -> None:
    message = refusal(f'{"true && " * 100}imag.id == "x"')
    line, caret = message.splitlines()[1:]
    assert len(line) <= 102
    assert line[caret.index("^") :].startswith("imag.id")


@pytest.mark.security("input")
@pytest.mark.parametrize("text", ["(" * 300 + "true" + ")" * 300, "true" + " " * 65_536])
def test_an_expression_beyond_all_measure_is_refused(text: str) -> None:
    assert "too deeply" in refusal(text) or "characters, at most" in refusal(text)


_PIECES = re.findall(
    r"\S+", r"""name status imag.id tags. has( ) ( [ ] { } "x" "x ' == = && & || ! in , . ? : 1u 1.5"""
)


@given(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(_PIECES), max_size=12).map(" ".join)))
def test_any_text_is_either_a_selector_or_a_plain_refusal(text: str) -> None:
    message = ""
    try:
        Selector.parse(text)
    except SelectorError as error:
        message = str(error)
    assert not any(word in message for word in ("INVALID_ARGUMENT", "<input>", "overload", "undeclared"))


def test_a_selector_error_is_a_usage_error() -> None:
    assert issubclass(SelectorError, UsageError)
    assert SelectorError("x").exit is Exit.USAGE


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('tags.gpu == "1"', "it has no tag 'gpu'; ask has(tags.gpu) first"),
        ('lease.left < duration("1h")', "lease.left has no value, auto stop is off; ask lease.enabled first"),
        ("created < now", "created has no value, the cloud's answer carries no such time"),
        ("volume.capacity > 5", "volume.capacity has no value, it has no volume"),
        ('endpoints[0] == "SSH"', "Index error: index=0 size=0"),
    ],
)
def test_what_cannot_be_decided_names_notebook_scope_and_expression(text: str, why: str) -> None:
    selector = Selector.parse(text)
    with pytest.raises(SelectorError) as caught:
        selector.matches(replace(BARE, name="nb\x1b[2J"), "lab-a", NOW)
    assert str(caught.value) == f"cannot be decided for nb\\x1b[2J (lab-a, {ID}): {why}\n  {text}"


@pytest.mark.parametrize(
    "notebook",
    [
        replace(BARE, create_at=10**19),
        replace(BARE, name="\ud800"),
        replace(BARE, name="x\0y"),
        replace(BARE, volume=Volume(capacity=2**70)),
        replace(BARE, lease=Lease(True, duration=10**30)),
    ],
)
def test_a_value_that_makes_no_sense_refuses_instead_of_matching_or_not(notebook: Notebook) -> None:
    text = 'created < now || name == "x" || volume.capacity > 1 || lease.left < duration("1h")'
    with pytest.raises(SelectorError):
        matches(text, notebook)


@pytest.mark.parametrize(
    ("text", "notebook"),
    [
        ('name == "x"', replace(BARE, name="x\0y")),
        ('tags.a == "x"', replace(BARE, tags={"a": "x\0y"})),
        ("has(tags.a)", replace(BARE, tags={"a\0y": "x"})),
        ('"SSH" in endpoints', replace(BARE, endpoints=(Endpoint("SSH\0"),))),
    ],
)
def test_text_that_the_runtime_would_cut_short_refuses_the_selection(text: str, notebook: Notebook) -> None:
    with pytest.raises(SelectorError, match="holds a NUL character"):
        matches(text, notebook)


def test_an_expression_with_a_nul_character_is_refused() -> None:
    assert "NUL" in refusal('name == "x\0y"')


def test_guarded_questions_need_no_value() -> None:
    assert not matches('lease.enabled && lease.left < duration("1h")', BARE)
    assert not matches('has(tags.gpu) && tags.gpu == "1"', BARE)


@pytest.mark.parametrize("one", ["true", "false", "true // why", '"//" != ""', "false || true"])
@pytest.mark.parametrize("other", ["true", "false // why", "true || false"])
def test_two_selectors_joined_mean_what_both_mean(one: str, other: str) -> None:
    both = Selector.parse(one) & Selector.parse(other)
    assert both.matches(BARE, "lab-a", NOW) is (matches(one, BARE) and matches(other, BARE))
    assert both == Selector.parse(one).both(Selector.parse(other))


def test_a_loop_variable_may_have_the_name_of_a_field() -> None:
    assert matches('ssh.keys.exists(status, status == "kp-ana") && ssh.keys.exists(id, id != "kp-bo")')
    assert matches('endpoints.exists(endpoints, endpoints == "SSH")')
    assert matches('["x"].exists(e, endpoints.exists(e, e == "SSH") && e == "x")')


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("true", ()),
        (f'id == "{ID}"', (ID,)),
        (f'name == "x" || id in ["{IMAGE_ID}", "{ID}"]', (IMAGE_ID, ID)),
        (f'image.id == "{ID}"', ()),
    ],
)
def test_ids_that_an_expression_names_are_known(text: str, ids: tuple[str, ...]) -> None:
    assert Selector.parse(text).ids() == ids


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ('status == "RUNNING"', {"status": "RUNNING"}),
        ('"RUNNING" == status && name != ""', {"status": "RUNNING"}),
        (
            f'(image.id == "{IMAGE_ID}" && pool.id == "pool-1") && true',
            {"image_id": IMAGE_ID, "pool_id": "pool-1"},
        ),
        ('owner_id == "0123456789abcdef0123456789abcdef"', {"owner": "0123456789abcdef0123456789abcdef"}),
        ('workspace == "0"', {"workspace_id": "0"}),
        ('status == "RUNNING" && status == "STOPPED"', {"status": "RUNNING"}),
        ('status == "RUNNING" || true', {}),
        ('!(status == "RUNNING")', {}),
        ('status != "RUNNING"', {}),
        ('status == "RUNNING" ? true : false', {}),
        ('status in ["RUNNING"]', {}),
        ('name == "x" && flavor == "y"', {}),
        ('owner_id == "0123456789abcdef0123456789abcde" + "f"', {}),
        ('status == "?"', {}),
        ('pool.id == ""', {}),
        ('["RUNNING"].exists(status, status == "RUNNING")', {}),
        ("pool.id == pool.name", {}),
    ],
)
def test_only_what_is_certainly_implied_is_asked_of_the_server(text: str, filters: dict[str, str]) -> None:
    assert Selector.parse(text).pushdown() == filters


_TERMS = st.sampled_from(
    ['status == "RUNNING"', 'status == "STOPPED"', 'pool.id == "pool-1"', 'name == "a"', "true"]
)
_EXPRESSIONS = st.recursive(
    _TERMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"!({text})"),
    ),
    max_leaves=8,
)


@given(
    _EXPRESSIONS,
    st.sampled_from([Status.RUNNING, Status.STOPPED]),
    st.sampled_from(["pool-1", ""]),
    st.sampled_from(["a", "b"]),
)
def test_no_filter_loses_a_notebook_that_matches(text: str, status: Status, pool: str, name: str) -> None:
    selector = Selector.parse(text)
    if selector.matches(Notebook(ID, status, name, pool_id=pool), "lab-a", NOW):
        shown = {"status": status.value, "pool_id": pool}
        assert all(shown[query] == value for query, value in selector.pushdown().items())


def test_every_field_has_a_meaning_and_a_type_that_its_value_has() -> None:
    probes = {
        "string": "size({0}) >= 0",
        "int": "{0} >= 0 || {0} < 0",
        "bool": "{0} || !{0}",
        "duration": '{0} < duration("1h") || {0} >= duration("1h")',
        "timestamp": "{0} <= now || {0} > now",
        "list(string)": "size({0}) >= 0 && {0}.all(x, x != '')",
        "map(string, string)": "size({0}) >= 0",
    }
    whole = replace(NOTEBOOK, image=replace(NOTEBOOK.image, update_at=NOW))
    catalog = Catalog(flavors={whole.flavor: Flavor(whole.flavor)})
    for field in fields():
        selector = Selector.parse(probes[field.type].format(field.name))
        assert field.meaning
        assert selector.matches(whole, "lab-a", NOW, catalog), field.name


def test_a_part_that_a_field_with_parts_lacks_gets_spelling_advice() -> None:
    assert refusal('flavor.catgory == "GPU"').startswith(
        "no field 'flavor.catgory'; did you mean flavor.category?"
    )
    assert refusal('name.first == "x"').startswith("'name' is a string and has no part 'first'")


def test_ids_are_taken_once_and_blank_lines_skipped() -> None:
    assert parse_ids([f" {ID}\n", "", IMAGE_ID, ID]) == (ID, IMAGE_ID)


@pytest.mark.row(42)
@pytest.mark.security("ids")
@pytest.mark.parametrize("text", ["nb-1", ID[:-1], ID + "/stop", "g" + ID[1:]])
def test_an_id_that_is_no_uuid_is_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ids([ID, text])
    assert repr(text) in str(caught.value)


def test_ids_that_no_scope_holds_are_named() -> None:
    assert unmatched([ID, IMAGE_ID], [NOTEBOOK]) == (IMAGE_ID,)
    require_all([ID], [NOTEBOOK])
    with pytest.raises(UsageError, match=f"no scope holds a notebook with id {IMAGE_ID}; correct the id"):
        require_all([ID, IMAGE_ID], [NOTEBOOK])


def test_of_many_lost_ids_three_are_named_and_the_rest_counted() -> None:
    lost = [f"{ID[:-1]}{n}" for n in range(5)]
    with pytest.raises(UsageError, match=f"{lost[2]} and 2 more"):
        require_all(lost, [])
