"""The body of a PUT: every constraint of the Update API page, and the whitelist rules that are stricter."""

from __future__ import annotations

import base64
import ipaddress
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.notebook import Endpoint, Image, Notebook, Status, Volume
from fleet.core.patch import (
    DESCRIPTION_FORBIDDEN,
    FIELD_TABLE,
    Hook,
    Hooks,
    HookType,
    InvalidField,
    NotebookPatch,
    When,
    check_whitelist,
    endpoints_json,
    from_body,
    opens_to_world,
    read_field,
    readable,
    require_uuid,
    to_body,
    with_patch,
)
from fleet.core.whitelist import Breadth, documentation_address

UUID = "f9937afa-4451-42db-a76b-72d624749f66"
LETTERS = string.ascii_letters + string.digits + "-_"

# Ranges in which no client of the internet can live, and those that only examples use.
NOT_PUBLIC = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
]  # fmt: skip
DOCUMENTATION = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]


def _addresses(*networks: str) -> st.SearchStrategy[str]:
    return st.one_of([st.ip_addresses(v=4, network=network).map(str) for network in networks])


PUBLIC = _addresses("1.0.0.0/8", "8.0.0.0/7", "11.0.0.0/8", "172.32.0.0/11", "193.0.0.0/8", *DOCUMENTATION)
WHITELISTS = st.lists(PUBLIC, min_size=1, max_size=5, unique=True).map(tuple)
ENDPOINTS = st.builds(
    Endpoint,
    service=st.sampled_from(["NOTEBOOK", "SSH"]),
    key_pair_names=st.none() | st.lists(st.text(LETTERS, min_size=1), max_size=3).map(tuple),
    allowed_access_ips=st.none() | WHITELISTS,
)
HOOKS = st.builds(Hook, st.text(LETTERS).map(lambda path: f"/{path}")) | st.binary(min_size=1).map(
    lambda script: Hook(base64.b64encode(script).decode(), HookType.COMMAND)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text(LETTERS, min_size=1, max_size=128),
    "description": st.text(st.characters(exclude_characters=DESCRIPTION_FORBIDDEN), max_size=512),
    "flavor": st.text(min_size=1),
    "image_id": st.uuids().map(str),
    "storage_new_size": st.integers(1, 4096),
    "endpoints": st.lists(ENDPOINTS, min_size=1, max_size=3).map(tuple),
    "hooks": st.builds(Hooks, HOOKS, st.none() | HOOKS),
}
PATCHES = st.fixed_dictionaries({}, optional=VALUES).map(lambda values: NotebookPatch(**values))


@given(PATCHES)
def test_a_valid_patch_survives_its_body(patch: NotebookPatch) -> None:
    body = to_body(patch)
    assert from_body(body) == patch
    assert tuple(body) == patch.fields()
    assert bool(patch) is bool(body)


@given(PATCHES, st.sets(st.sampled_from(sorted(VALUES))))
def test_a_patch_falls_into_parts_that_make_it_up_again(patch: NotebookPatch, names: set[str]) -> None:
    one, other = patch.only(names), patch.only(set(VALUES) - names)
    assert set(one.fields()) == set(patch.fields()) & names
    assert to_body(one) | to_body(other) == to_body(patch)


@given(PATCHES)
def test_no_body_holds_an_empty_whitelist(patch: NotebookPatch) -> None:
    for row in to_body(patch).get("endpoints", ()):
        assert "allowed_access_ips" not in row or row["allowed_access_ips"]


def _refused(**values: Any) -> str:
    with pytest.raises(InvalidField) as caught:
        NotebookPatch(**values)
    (name,) = values
    assert caught.value.field.partition(".")[0] == name
    assert isinstance(caught.value, UsageError)
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "ü", "a.b", "a/b", "a\n", "x" * 129])
def test_a_name_has_1_to_128_letters_digits_hyphens_underscores(name: str) -> None:
    _refused(name=name)
    assert NotebookPatch(name="x" * 128).name == "x" * 128


@given(st.text(max_size=140))
def test_names_are_judged_by_length_and_letters_alone(name: str) -> None:
    if 1 <= len(name) <= 128 and set(name) <= set(LETTERS):
        assert to_body(NotebookPatch(name=name)) == {"name": name}
    else:
        _refused(name=name)


@pytest.mark.parametrize("char", DESCRIPTION_FORBIDDEN)
def test_a_description_has_none_of_the_special_characters(char: str) -> None:
    assert f"the characters {char} are not allowed" in _refused(description=f"a{char}b")


def test_the_special_characters_are_those_of_the_page() -> None:
    assert set(DESCRIPTION_FORBIDDEN) == set("""&<>"'/""")


def test_a_description_has_up_to_512_characters_and_may_be_empty() -> None:
    assert "513 characters, at most 512 are allowed" in _refused(description="x" * 513)
    assert to_body(NotebookPatch(description="")) == {"description": ""}
    assert NotebookPatch(description="图" * 512)


@given(st.integers())
def test_storage_is_1_to_4096_gb(size: int) -> None:
    if 1 <= size <= 4096:
        assert NotebookPatch(storage_new_size=size).storage_new_size == size
    else:
        assert f"{size} GB is outside 1 to 4096" in _refused(storage_new_size=size)


def test_a_flavor_is_not_empty() -> None:
    assert "is empty" in _refused(flavor="")


@pytest.mark.parametrize(
    "text", ["", "x", UUID[:-1], UUID + "0", UUID + "/stop", UUID.replace("-", ""), f"{UUID}\n", f"../{UUID}"]
)
def test_an_id_is_a_uuid(text: str) -> None:
    _refused(image_id=text)
    with pytest.raises(InvalidField, match=r"^id: "):
        require_uuid("id", text)


@given(st.uuids())
def test_every_uuid_is_an_id_in_either_case(uuid: object) -> None:
    for text in (str(uuid), str(uuid).upper()):
        assert require_uuid("id", text) == text
        assert NotebookPatch(image_id=text).image_id == text


def test_an_overlong_id_is_not_repeated_in_full() -> None:
    with pytest.raises(InvalidField) as caught:
        require_uuid("id", "x" * 10_000)
    assert len(str(caught.value)) < 200


@given(WHITELISTS)
def test_one_to_five_public_addresses_are_kept_as_given(addresses: tuple[str, ...]) -> None:
    assert check_whitelist(addresses) == addresses
    assert check_whitelist(iter(addresses)) == addresses


@given(_addresses(*NOT_PUBLIC))
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(InvalidField, match=f"{address} is not a public address"):
        check_whitelist(["8.8.8.8", address])


@given(st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n))))
def test_every_address_is_either_kept_or_of_a_special_range(address: str) -> None:
    try:
        kept = check_whitelist([address]) == (address,)
    except InvalidField:
        kept = False
    special = [*NOT_PUBLIC, "192.0.0.0/24", "192.88.99.0/24", "192.31.196.0/24", "192.52.193.0/24"]
    assert kept or any(ipaddress.IPv4Address(address) in ipaddress.IPv4Network(net) for net in special)


@pytest.mark.parametrize(
    "text",
    [
        "", "0.0.0.0/0", "8.8.8.8/32", "8.8.8.0/24", "8.8.8", "8.8.8.8.8", "8.8.8.256", "08.8.8.8",
        "8.8.8.8 ", "8.8.8.8\n", "::1", "2001:db8::1", "example.com", "８.8.8.8", "1347440722",
    ],
)  # fmt: skip
def test_only_single_ipv4_addresses_are_taken(text: str) -> None:
    with pytest.raises(InvalidField, match="is not a single public IPv4 address"):
        check_whitelist([text])


BOTH = (Breadth.CIDR, Breadth.IPV6)


@pytest.mark.parametrize(
    ("text", "allow"),
    [
        ("8.8.8.0/24", (Breadth.CIDR,)),
        ("8.8.8.8/32", (Breadth.CIDR,)),
        ("203.0.113.0/28", (Breadth.CIDR,)),
        ("2600::1", (Breadth.IPV6,)),
        ("2001:db8::1", (Breadth.IPV6,)),
        ("2600:0:0:1::/64", BOTH),
    ],
)
def test_ranges_and_ipv6_are_taken_only_where_they_are_allowed(text: str, allow: tuple[Breadth, ...]) -> None:
    assert check_whitelist([text], allow) == (text,)
    for fewer in (allow[:-1], allow[1:]):
        with pytest.raises(InvalidField, match=r"it needs allow: \[(cidr|ipv6|cidr, ipv6)\]"):
            check_whitelist([text], fewer)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.0.0.0/0", "too wide a range"),
        ("8.8.8.0/23", "too wide a range; the widest allowed is /24"),
        ("::/0", "too wide a range"),
        ("2600::/63", "too wide a range; the widest allowed is /64"),
        ("10.0.0.0/28", "is not a public address"),
        ("192.0.0.0/24", "is not a public address"),
        ("192.0.0.160/27", "is not a public address"),
        ("224.0.0.1/32", "is not a public address"),
        ("::1", "is not a public address"),
        ("fe80::1", "is not a public address"),
        ("fd00::1", "is not a public address"),
        ("ff02::1", "is not a public address"),
        ("2600::1%eth0", "is not a public address"),
        ("::ffff:8.8.8.8", "is not a public address"),
        ("64:ff9b::808:808", "is not a public address"),
        ("2002:0a00:0001::1", "is not a public address"),
        ("2001:0:4136:e378::1", "is not a public address"),
        ("8.8.8.8/28", "is not a single public IPv4 address"),
        ("8.8.8.0/255.255.255.0", "is not a range"),
    ],
)
def test_no_form_of_entry_reaches_further_than_a_site(text: str, reason: str) -> None:
    with pytest.raises(InvalidField, match=reason):
        check_whitelist([text], BOTH)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_range_that_is_taken_holds_no_address_that_is_not(number: int, prefix: int) -> None:
    network = ipaddress.IPv4Network((number >> (32 - prefix) << (32 - prefix), prefix))
    try:
        check_whitelist([str(network)], BOTH)
    except InvalidField:
        return
    assert network.num_addresses <= 256
    for address in network:
        assert check_whitelist([str(address)]) == (str(address),)


def test_a_patch_says_itself_which_forms_it_may_hold() -> None:
    items = (Endpoint("SSH", ("key",), ("8.8.8.0/24",)),)
    patch = NotebookPatch(endpoints=items, allow=(Breadth.CIDR,))
    assert patch.fields() == ("endpoints",)
    assert from_body(to_body(patch), patch.allow) == patch
    with pytest.raises(InvalidField, match="it needs allow"):
        from_body(to_body(patch))


def test_a_notebook_with_a_patch_shows_what_was_patched_and_keeps_the_rest() -> None:
    found = Notebook(UUID, Status.RUNNING, name="old", image=Image(UUID, "x"), volume=Volume("EVS", 50))
    wanted = NotebookPatch(name="new", storage_new_size=80, endpoints=(Endpoint("SSH", (), ("8.8.8.8",)),))
    after = with_patch(found, wanted)
    assert {name: read_field(after, name) for name in wanted.fields()} == to_body(wanted)
    assert after.image == found.image
    other = "00000000-0000-4000-8000-000000000002"
    assert with_patch(found, NotebookPatch(image_id=other)).image.id == other
    assert with_patch(found, NotebookPatch()) == found


def test_a_whitelist_is_never_empty() -> None:
    with pytest.raises(InvalidField, match="an empty list would let every public address in"):
        check_whitelist([])
    _refused(endpoints=(Endpoint("SSH", allowed_access_ips=()),))


def test_a_whitelist_has_five_addresses_at_most_and_each_once() -> None:
    six = [f"8.8.8.{n}" for n in range(1, 7)]
    assert check_whitelist(six[:5]) == tuple(six[:5])
    with pytest.raises(InvalidField, match="6 addresses, at most 5 are allowed"):
        check_whitelist(six)
    with pytest.raises(InvalidField, match="listed twice"):
        check_whitelist(["8.8.8.8", "8.8.8.8"])


@given(
    _addresses(*DOCUMENTATION),
    PUBLIC.filter(lambda a: not a.startswith(("192.0.2.", "198.51.100.", "203.0.113."))),
)
def test_addresses_of_examples_are_known_as_such(example: str, real: str) -> None:
    assert documentation_address(example)
    assert not documentation_address(real)


@pytest.mark.parametrize("service", ["", "ssh", "VNC"])
def test_a_service_is_one_of_the_two(service: str) -> None:
    assert f"{service!r} is neither NOTEBOOK nor SSH" in _refused(endpoints=(Endpoint(service),))


def test_the_whitelist_of_every_endpoint_is_checked() -> None:
    good = Endpoint("NOTEBOOK", allowed_access_ips=("8.8.8.8",))
    _refused(endpoints=(good, Endpoint("SSH", allowed_access_ips=("10.0.0.1",))))


def test_a_closed_endpoint_may_neither_open_nor_vanish() -> None:
    closed = Endpoint("SSH", ("kp",), ("8.8.8.8",))
    other = Endpoint("SSH", ("kp",), ("9.9.9.9",))
    assert opens_to_world([closed], [other]) is None
    for opened in (Endpoint("SSH", ("kp",)), Endpoint("SSH", ("kp",), ())):
        told = opens_to_world([closed], [opened])
        assert told == "the SSH endpoint would have no whitelist and be open to the world"
    assert opens_to_world([closed], []) == "the SSH endpoint would be left out of the list"
    assert opens_to_world([closed], iter([Endpoint("NOTEBOOK")])) is not None


def test_a_new_endpoint_must_bring_a_whitelist() -> None:
    there = Endpoint("NOTEBOOK", allowed_access_ips=("8.8.8.8",))
    assert opens_to_world([there], [there, Endpoint("SSH", ("kp",), ("9.9.9.9",))]) is None
    told = opens_to_world([there], [there, Endpoint("SSH", ("kp",))])
    assert told == "the SSH endpoint would have no whitelist and be open to the world"


def test_of_two_endpoints_of_one_service_the_closed_one_stays_closed() -> None:
    closed, open_ = Endpoint("SSH", ("a",), ("8.8.8.8",)), Endpoint("SSH", ("b",))
    assert opens_to_world([closed, open_], [closed, open_]) is None
    assert opens_to_world([closed, open_], [Endpoint("SSH", ("a",)), open_]) is not None


def test_an_open_endpoint_may_stay_open_or_be_closed() -> None:
    was_open = Endpoint("SSH", ("kp",))
    assert opens_to_world([was_open], [was_open]) is None
    assert opens_to_world([was_open], [Endpoint("SSH", ("kp",), ("8.8.8.8",))]) is None


@given(st.lists(ENDPOINTS, max_size=2, unique_by=lambda e: e.service))
def test_an_unchanged_list_never_opens_anything(endpoints: list[Endpoint]) -> None:
    assert opens_to_world(endpoints, endpoints) is None


@given(ENDPOINTS, ENDPOINTS)
def test_replacing_an_endpoint_is_refused_exactly_when_it_opens_or_vanishes(
    before: Endpoint, after: Endpoint
) -> None:
    lost = after.service != before.service or (after.open and not before.open)
    assert (opens_to_world([before], [after]) is not None) is lost


def test_absent_keys_stay_absent_and_the_uri_is_not_sent() -> None:
    rows = endpoints_json(
        [
            Endpoint("SSH", uri="ssh://h:1"),
            Endpoint("NOTEBOOK", (), ()),
            Endpoint("SSH", ("k",), ("8.8.8.8",)),
        ]
    )
    assert rows == [
        {"service": "SSH"},
        {"service": "NOTEBOOK", "key_pair_names": []},
        {"service": "SSH", "key_pair_names": ["k"], "allowed_access_ips": ["8.8.8.8"]},
    ]


@pytest.mark.parametrize("script", ["", "relative.sh", "~/x.sh"])
def test_a_script_hook_is_an_absolute_path(script: str) -> None:
    with pytest.raises(InvalidField, match=r"^hooks: "):
        Hook(script)


@pytest.mark.parametrize("script", ["", "echo hi", "ZQ", "ZQ==\n", "ü"])
def test_a_command_hook_is_base64_text(script: str) -> None:
    with pytest.raises(InvalidField, match=r"^hooks: "):
        Hook(script, HookType.COMMAND)


def test_hooks_say_at_least_one_thing() -> None:
    assert "neither pre_start nor post_start" in _refused(hooks=Hooks())


def test_hooks_are_sent_in_the_form_of_the_page() -> None:
    hooks = Hooks(pre_start=Hook("ZQ==", HookType.COMMAND), post_start=Hook("/home/ma-user/x.sh"))
    assert to_body(NotebookPatch(hooks=hooks)) == {
        "hooks": {
            "container_hooks": {
                "pre_start": {"script": "ZQ==", "type": "COMMAND"},
                "post_start": {"script": "/home/ma-user/x.sh", "type": "SCRIPT"},
            }
        }
    }


def test_a_body_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(InvalidField, match=r"^token: is not a field of the update; known are "):
        from_body({"name": "x", "token": "y"})


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b"},
        {"name": 5},
        {"storage_new_size": 0},
        {"storage_new_size": True},
        {"endpoints": []},
        {"endpoints": [{}]},
        {"endpoints": [{"service": "SSH", "allowed_access_ips": []}]},
        {"hooks": {}},
        {"hooks": {"container_hooks": {"pre_start": {"script": "/a", "type": "OTHER"}}}},
        {"hooks": {"container_hooks": {"never": {"script": "/a", "type": "SCRIPT"}}}},
    ],
)
def test_a_body_is_held_to_the_same_rules(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidField):
        from_body(body)


def test_the_empty_patch_changes_nothing() -> None:
    assert not NotebookPatch()
    assert to_body(NotebookPatch()) == {}
    assert NotebookPatch(description="")


def test_present_values_have_the_form_of_the_body() -> None:
    notebook = Notebook(
        UUID,
        Status.STOPPED,
        name="nb",
        description="d",
        flavor="f",
        image=Image(UUID),
        volume=Volume(capacity=50),
        endpoints=(Endpoint("SSH", ("kp",), ("8.8.8.8",), "ssh://h:1"),),
    )
    shown = {name: read_field(notebook, name) for name in FIELD_TABLE if readable(name)}
    assert to_body(from_body(shown)) == shown
    assert set(FIELD_TABLE) - set(shown) == {"hooks"}
    assert read_field(notebook, "hooks") is None
    assert read_field(Notebook(UUID, Status.STOPPED), "storage_new_size") == 0


def test_the_field_table_knows_every_field_of_the_patch() -> None:
    assert set(FIELD_TABLE) == set(NotebookPatch.__dataclass_fields__) - {"allow"}


@pytest.mark.parametrize("field", ["image_id", "flavor", "hooks", "endpoints"])
def test_what_changes_the_machine_is_sent_to_a_stopped_notebook_only(field: str) -> None:
    assert [status for status in Status if FIELD_TABLE[field].allows(status)] == [Status.STOPPED]


def test_storage_grows_on_a_running_notebook_and_words_change_on_any() -> None:
    assert FIELD_TABLE["storage_new_size"] is When.RUNNING
    assert FIELD_TABLE["name"] is FIELD_TABLE["description"] is When.ANY
    assert all(When.ANY.allows(status) for status in Status)
