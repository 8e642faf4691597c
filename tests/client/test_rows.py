"""Rows into values of the core: lenient about what is missing or new, strict about what is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.client import rows
from fleet.core.errors import CallError, Meaning
from fleet.core.notebook import Endpoint, Flavor, Lease, LeaseType, Notebook, Status, Volume

ID = "f9937afa-4451-42db-a76b-72d624749f66"


def read(**fields: object) -> Notebook:
    return rows.notebook({"id": ID, **fields})


def test_a_recorded_list(sample: Callable[[str], bytes]) -> None:
    page = rows.page(json.loads(sample("list.200")), "data")
    notebook = rows.notebook(page.rows[0])
    assert page.total == 1
    assert (notebook.id, notebook.status, notebook.name) == (ID, Status.RUNNING, "notebooks_test")
    assert notebook.image.name == "notebook2.0-mul-kernel-cpu-cp36"
    assert notebook.lease == Lease(True, LeaseType.TIMING, 1638841744515, 3600000, 1638841744515)
    assert notebook.volume == Volume("EVS", 50, "MANAGED", "/home/ma-user/work/")
    assert notebook.endpoints == (Endpoint("SSH", ("kp",), ("1.1.1.1",), "ssh://ma-user@host:30001"),)


def test_what_many_notebooks_have_alike_is_kept_once(sample: Callable[[str], bytes]) -> None:
    one, other = (rows.notebook(json.loads(sample("list.200"))["data"][0]) for _ in range(2))
    for name in ("image", "volume", "flavor", "workspace_id"):
        assert getattr(one, name)
        assert getattr(one, name) is getattr(other, name)
    assert one.endpoints[0].allowed_access_ips is other.endpoints[0].allowed_access_ips


def test_a_custom_specification_tells_the_machine() -> None:
    spec = {"arch": "AARCH64", "category": "ASCEND", "cpu": 2.0, "memory": 4096, "gpu": None}
    found = read(flavor="custom.flavor.spec.code", custom_spec=spec)
    assert found.custom_spec == Flavor("custom.flavor.spec.code", arch="AARCH64", category="ASCEND")
    assert read(flavor="modelarts.vm.cpu.2u", custom_spec=None).custom_spec is None


@pytest.mark.security("secrets")
def test_the_login_token_of_a_notebook_goes_nowhere(sample: Callable[[str], bytes]) -> None:
    row = json.loads(sample("list.200"))["data"][0]
    assert row["token"] not in repr(rows.notebook(row))


def test_recorded_flavors_stand_in_two_lists_and_state_kib(sample: Callable[[str], bytes]) -> None:
    payload = json.loads(sample("switchable-flavors.200"))
    expected = Flavor(
        "modelarts.vm.cpu.2u", "CPU: 2 vCPUs 8 GB", "x86_64", "CPU", 2, 8192, storages=("EVS", "EFS")
    )
    for kept in (("data", "flavors"), ("data",), ("flavors",)):
        page = rows.page({name: payload[name] for name in kept}, "flavors", "data")
        assert [rows.flavor(row) for row in page.rows] == [expected]


def test_an_empty_list_beside_a_full_one_is_passed_over() -> None:
    assert rows.page({"flavors": [], "data": [1]}, "flavors", "data").rows == [1]


def test_a_recorded_image(sample: Callable[[str], bytes]) -> None:
    image = rows.image(json.loads(sample("image.200")))
    assert (image.status, image.arch, image.resource_categories) == ("ACTIVE", "x86_64", ("GPU", "CPU"))
    assert image.dev_services == ("NOTEBOOK", "SSH")


def test_show_names_an_images_categories_differently() -> None:
    assert rows.image({"id": ID, "support_res_categories": ["GPU"]}).resource_categories == ("GPU",)


def test_the_architecture_stays_as_sent() -> None:
    assert rows.image({"id": ID, "arch": "AARCH64"}).arch == "AARCH64"


@pytest.mark.parametrize(
    ("fields", "accelerators", "kind"),
    [
        ({"gpu": {"gpu": 8, "type": "V100"}}, 8, "V100"),
        ({"ascend": {"npu": 4, "type": "snt9b"}}, 4, "snt9b"),
        ({"gpu": None, "ascend": None}, 0, ""),
    ],
)
def test_accelerators_of_a_flavor(fields: Mapping[str, object], accelerators: int, kind: str) -> None:
    flavor = rows.flavor({"id": "f", **fields})
    assert (flavor.accelerators, flavor.accelerator_type) == (accelerators, kind)


@pytest.mark.row(28)
def test_a_row_of_nothing_but_an_id_is_never_safe() -> None:
    notebook = read()
    assert (notebook.status, notebook.status_word) == (Status.STRANGE, "no status")
    assert (notebook.lease, notebook.volume, notebook.endpoints) == (None, None, ())


def test_a_new_status_is_kept_as_a_word() -> None:
    notebook = read(status="MIGRATING\x1b")
    assert (notebook.status, notebook.status_word) == (Status.STRANGE, "MIGRATING\\x1b")


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.STRANGE])
def test_documented_statuses_carry_no_word(status: Status) -> None:
    notebook = read(status=status.value)
    assert (notebook.status, notebook.status_word) == (status, "")


def test_a_lease_that_could_not_be_given_back_makes_a_notebook_strange() -> None:
    notebook = read(status="RUNNING", lease={"enable": True, "type": "WEEKLY"})
    assert notebook.status is Status.STRANGE
    assert notebook.status_word == "RUNNING with lease type WEEKLY"


@pytest.mark.parametrize(
    ("row", "endpoint"),
    [
        ({"service": "SSH", "key_pair_names": ["k"]}, Endpoint("SSH", ("k",))),
        ({"dev_service": "SSH", "ssh_keys": ["k"]}, Endpoint("SSH", ("k",))),
        ({"service": "SSH", "key_pair_names": [], "ssh_keys": ["k"]}, Endpoint("SSH", ("k",))),
        ({"service": "SSH", "key_pair_names": []}, Endpoint("SSH", ())),
        ({"service": "SSH", "key_pair_names": None, "ssh_keys": None}, Endpoint("SSH")),
        ({"service": "SSH", "allowed_access_ips": []}, Endpoint("SSH", None, ())),
        ({"service": "SSH", "allowed_access_ips": None}, Endpoint("SSH")),
        ({"allowed_access_ips": ["1.1.1.1"]}, Endpoint("", None, ("1.1.1.1",))),
    ],
)
def test_endpoints_in_both_spellings(row: Mapping[str, object], endpoint: Endpoint) -> None:
    assert read(endpoints=[row]).endpoints == (endpoint,)


def test_owner_pool_and_tags() -> None:
    notebook = read(
        user={"id": "u1", "name": "ana", "domain": {"id": "d"}},
        pool={"id": "p1", "name": "blue"},
        tags=[{"key": "env", "value": "prod"}, {"key": "keep"}],
    )
    assert (notebook.owner, notebook.owner_id) == ("ana", "u1")
    assert (notebook.pool_id, notebook.pool_name) == ("p1", "blue")
    assert notebook.tags == {"env": "prod", "keep": ""}
    assert read(user_id="u2").owner_id == "u2"


def test_times_may_be_text() -> None:
    notebook = read(create_at="1638841744515", current_time=1638841744516)
    assert (notebook.create_at, notebook.current_time) == (1638841744515, 1638841744516)


def test_null_means_absent_everywhere() -> None:
    names = [field for field in rows._Notebook.model_fields if field != "id"]
    assert read(**dict.fromkeys(names)) == read()


def test_values_that_may_be_written_back_are_not_cleaned() -> None:
    notebook = read(name="a\u200bb", description="line\nbreak", fail_reason="line\nbreak")
    assert (notebook.name, notebook.description) == ("a\u200bb", "line\nbreak")
    assert notebook.fail_reason == "line\\x0abreak"


@pytest.mark.row(28)
@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        "row",
        {},
        {"id": None},
        {"id": ID, "endpoints": {}},
        {"id": ID, "endpoints": "SSH"},
        {"id": ID, "endpoints": [None]},
        {"id": ID, "endpoints": [{"service": "SSH", "allowed_access_ips": "1.1.1.1"}]},
        {"id": ID, "image": "canary"},
        {"id": ID, "lease": [1]},
        {"id": ID, "tags": {"env": "canary"}},
        {"id": ID, "create_at": 1e999},
        {"id": ID, "create_at": 10**30},
        {"id": ID, "name": {"canary": 1}},
    ],
)
def test_a_row_of_the_wrong_shape_is_odd_and_not_repeated(row: object) -> None:
    with pytest.raises(CallError) as caught:
        rows.notebook(row)
    assert caught.value.meaning is Meaning.ODD
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": "x"},
        {"data": [], "total": "1"},
        {"data": [], "total": -1},
        {"data": [], "total": True},
    ],
)
def test_a_page_of_the_wrong_shape_is_odd(payload: Mapping[str, Any]) -> None:
    with pytest.raises(CallError) as caught:
        rows.page(payload, "data")
    assert caught.value.meaning is Meaning.ODD


def test_pages_count_in_two_ways() -> None:
    assert rows.page({"data": [], "total": 7}, "data").total == 7
    assert rows.page({"data": [], "total_count": 8}, "data").total == 8
    assert rows.page({"data": []}, "data").total is None


def test_a_row_seen_twice_counts_once() -> None:
    found = [{"id": "a", "name": "first"}, {"id": "b"}, {"id": "a", "name": "later"}]
    assert [w.name for w in rows.unique(map(rows.workspace, found), lambda w: w.id)] == ["first", ""]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda deeper: (
        st.dictionaries(st.sampled_from(sorted(rows._Notebook.model_fields)), deeper) | st.lists(deeper)
    ),
    max_leaves=8,
)


@pytest.mark.row(28)
@pytest.mark.security("json")
@given(JSON)
def test_any_json_is_a_notebook_or_odd(row: object) -> None:
    try:
        value: object = rows.notebook(row)
    except CallError as error:
        value = error.meaning
    assert value is Meaning.ODD or isinstance(value, Notebook)
