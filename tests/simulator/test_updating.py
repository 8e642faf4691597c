"""UpdateNotebook: every constraint of the page has a row here, every open question both answers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.simulator import validation
from fleet.simulator.cloud import Cloud
from fleet.simulator.refusals import Refusal
from fleet.simulator.rules import Rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import TRANSITIONAL, Status
from fleet.simulator.world import Image, Notebook

Ask = Callable[..., tuple[int, Any]]
Plain = Callable[[Cloud, Status], Notebook]

NOWHERE = "00000000-0000-4000-a000-000000000000"
SCRIPT = base64.b64encode(b"pip list").decode()


def ssh(**said: object) -> dict[str, Any]:
    return {"endpoints": [{"service": "SSH", **said}]}


def hook(**config: object) -> dict[str, Any]:
    return {"hooks": {"container_hooks": {"post_start": config}}}


def image_named(cloud: Cloud, start: str) -> Image:
    return next(image for image in cloud.world.images.values() if image.name.startswith(start))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "ModelArts.0104"),
    ({"name": "n" * 129}, "ModelArts.0104"),
    ({"name": 7}, "ModelArts.0104"),
    ({"name": None}, "ModelArts.0104"),
    ({"name": "with space"}, "ModelArts.6334"),
    ({"name": "dot.ted"}, "ModelArts.6334"),
    ({"name": "newline\n"}, "ModelArts.6334"),
    ({"name": "\u7b14\u8bb0"}, "ModelArts.6334"),
    ({"description": "d" * 513}, "ModelArts.0104"),
    *(({"description": f"a{char}b"}, "ModelArts.6334") for char in "&<>\"'/"),
    ({"flavor": 2}, "ModelArts.0104"),
    ({"flavor": "modelarts.vm.none"}, "ModelArts.6323"),
    ({"flavor": "modelarts.vm.arm.cpu.4u"}, "ModelArts.6792"),
    ({"flavor": "modelarts.pool.cpu.12u"}, "ModelArts.6792"),
    ({"flavor": "modelarts.vm.free.cpu.2u"}, "ModelArts.6870"),
    ({"flavor": "modelarts.vm.cpu.64u"}, "ModelArts.6716"),
    ({"image_id": "pytorch"}, "ModelArts.0104"),
    ({"image_id": NOWHERE}, "ModelArts.6797"),
    ({"storage_new_size": 50}, "ModelArts.6331"),
    ({"storage_new_size": 49}, "ModelArts.6331"),
    ({"storage_new_size": 4097}, "ModelArts.6331"),
    ({"storage_new_size": "60"}, "ModelArts.0104"),
    ({"storage_new_size": True}, "ModelArts.0104"),
    ({"endpoints": {}}, "ModelArts.0104"),
    ({"endpoints": [{"service": "FTP"}]}, "ModelArts.0104"),
    ({"endpoints": [{"service": "SSH"}, {"service": "SSH"}]}, "ModelArts.0104"),
    ({"endpoints": [{"service": "SSH", "port": 22}]}, "ModelArts.0104"),
    (ssh(key_pair_names=["kp-nobody"]), "ModelArts.6789"),
    (ssh(key_pair_names="kp-ana"), "ModelArts.0104"),
    (ssh(allowed_access_ips=[f"203.0.113.{n}" for n in range(1, 7)]), "ModelArts.0104"),
    *(
        (ssh(allowed_access_ips=[address]), "ModelArts.0104")
        for address in (
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "0.0.0.0/0",
            "203.0.113.0/24",
            "2001:db8::1",
            "203.0.113",
            "host.example.com",
            "",
        )
    ),
    ({"hooks": []}, "ModelArts.0104"),
    ({"hooks": {"other": {}}}, "ModelArts.0104"),
    ({"hooks": {"container_hooks": {"pre_stop": {}}}}, "ModelArts.0104"),
    (hook(type="COMMAND"), "ModelArts.0107"),
    (hook(script="not base64!", type="COMMAND"), "ModelArts.0104"),
    (hook(script="", type="COMMAND"), "ModelArts.0104"),
    (hook(script="relative/path.sh", type="SCRIPT"), "ModelArts.0104"),
    (hook(script="relative/path.sh"), "ModelArts.0104"),
    (hook(script="/home/x.sh", type="PYTHON"), "ModelArts.0104"),
    (hook(script="/home/x.sh", mode="LATER"), "ModelArts.0104"),
    ({"custom_spec": {"cpu": 2, "memory": 1024}}, "ModelArts.0104"),
    ({"affinity": {}}, "ModelArts.0104"),
    ({"dew_secret_name": "obs"}, "ModelArts.0104"),
    ({"data_volumes": []}, "ModelArts.0104"),
    ({"public_network_config": {}}, "ModelArts.0104"),
    ({"tags": []}, "ModelArts.0104"),
    ({"name": "fine", "nmae": "typo"}, "ModelArts.0104"),
]

ACCEPTED: list[dict[str, Any]] = [
    {},
    {"name": "n" * 128},
    {"name": "A-z_09"},
    {"description": ""},
    {"description": "d" * 512},
    {"flavor": "modelarts.vm.cpu.4u"},
    {"flavor": "modelarts.vm.gpu.t4"},
    {"storage_new_size": 51},
    {"storage_new_size": 4096},
    ssh(key_pair_names=["kp-bo"], allowed_access_ips=[f"203.0.113.{n}" for n in range(1, 6)]),
    ssh(key_pair_names=["kp-bo"], allowed_access_ips=["8.8.8.8"]),
    {"endpoints": [{"dev_service": "SSH", "ssh_keys": ["kp-bo"]}]},
    hook(script=SCRIPT, type="COMMAND"),
    hook(script="/home/ma-user/x.sh"),
    hook(script="/home/ma-user/x.sh", type="SCRIPT", mode="BLOCK"),
]


@pytest.mark.parametrize(("body", "code"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_the_page_forbids_is_refused_and_changes_nothing(
    cloud: Cloud, ask: Ask, plain: Plain, body: dict[str, Any], code: str
) -> None:
    notebook = plain(cloud, Status.STOPPED)
    _, before = ask("GET", f"notebooks/{notebook.id}")
    status, reply = ask("PUT", f"notebooks/{notebook.id}", body)
    assert (status, reply["error_code"]) == (400, code)
    assert ask("GET", f"notebooks/{notebook.id}")[1] == before
    assert not cloud.log[-2].applied


@pytest.mark.parametrize("body", ACCEPTED, ids=lambda value: str(value)[:60])
def test_what_the_page_allows_is_accepted(cloud: Cloud, ask: Ask, plain: Plain, body: dict[str, Any]) -> None:
    notebook = plain(cloud, Status.STOPPED)
    status, reply = ask("PUT", f"notebooks/{notebook.id}", body)
    assert status == 200
    assert reply.keys() == {"name", "description", "flavor", "endpoints"}
    assert cloud.log[-1].applied


@given(st.text())
def test_a_name_is_accepted_exactly_by_the_words_of_the_page(name: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    try:
        validation.name(name, Rules())
        accepted = True
    except Refusal:
        accepted = False
    assert accepted == (1 <= len(name) <= 128 and set(name) <= allowed)


def test_a_body_that_is_no_json_object_is_refused(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.STOPPED)
    bodies: tuple[object, ...] = ([], "text", 5)
    for body in bodies:
        status, reply = ask("PUT", f"notebooks/{notebook.id}", body)
        assert (status, reply["error_code"]) == (400, "ModelArts.0104")


def test_a_change_moves_update_at_and_the_same_value_does_not(
    cloud: Cloud, ask: Ask, plain: Plain, now: float
) -> None:
    notebook = plain(cloud, Status.STOPPED)
    path = f"notebooks/{notebook.id}"
    ask("PUT", path, {"description": "new"}, at=now + 10)
    assert notebook.update_at == (now + 10) * 1000
    ask("PUT", path, {"description": "new"}, at=now + 20)
    assert notebook.update_at == (now + 10) * 1000


def test_an_image_switch_shows_in_the_notebook(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook, target = plain(cloud, Status.STOPPED), image_named(cloud, "pytorch2.6-cuda12.4")
    assert ask("PUT", f"notebooks/{notebook.id}", {"image_id": target.id})[0] == 200
    assert ask("GET", f"notebooks/{notebook.id}")[1]["image"]["id"] == target.id
    assert [(record.method, record.applied) for record in cloud.log] == [
        ("PUT", True),
        ("GET", False),
    ]


@pytest.mark.parametrize(
    ("start", "code"),
    [
        ("pytorch2.6-cann", "ModelArts.6330"),  # another processor architecture
        ("pytorch2.6-cuda12.6", "ModelArts.6797"),  # still being created
        ("ssh-toolbox", "ModelArts.6768"),  # no way in by HTTPS, and no SSH endpoint here
    ],
)
def test_an_image_that_does_not_go_with_the_notebook_is_refused(
    cloud: Cloud, ask: Ask, plain: Plain, start: str, code: str
) -> None:
    notebook = plain(cloud, Status.STOPPED)
    notebook.endpoints = [{"service": "NOTEBOOK"}]
    body = {"image_id": image_named(cloud, start).id}
    assert ask("PUT", f"notebooks/{notebook.id}", body)[1]["error_code"] == code


@pytest.mark.parametrize("code", ["ModelArts.6716", "ModelArts.6329"])
def test_the_code_of_a_flavor_that_is_sold_out_is_a_rule(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float, code: Any
) -> None:
    cloud = make_cloud(notebooks=20, seed=3, now=now, projects=1, rules=Rules(sold_out=code))
    notebook, ask = plain(cloud, Status.STOPPED), caller_of(cloud)
    body = {"flavor": "modelarts.vm.cpu.64u"}
    assert ask("PUT", f"notebooks/{notebook.id}", body)[1]["error_code"] == code
    notebook.flavor = "modelarts.vm.cpu.64u"
    assert ask("POST", f"notebooks/{notebook.id}/start")[1]["error_code"] == code


def test_a_notebook_does_not_start_from_an_image_that_is_not_active(
    cloud: Cloud, ask: Ask, plain: Plain
) -> None:
    notebook = plain(cloud, Status.STOPPED)
    notebook.image = image_named(cloud, "snapshot-deleted")
    assert ask("POST", f"notebooks/{notebook.id}/start")[1]["error_code"] == "ModelArts.6797"


@pytest.mark.parametrize("service", ["NOTEBOOK", "SSH"])
def test_an_image_must_offer_every_way_in_that_the_notebook_has(
    cloud: Cloud, ask: Ask, plain: Plain, service: str
) -> None:
    notebook, image = plain(cloud, Status.STOPPED), image_named(cloud, "pytorch2.6-cuda12.4")
    image.dev_services = tuple(one for one in image.dev_services if one != service)
    reply = ask("PUT", f"notebooks/{notebook.id}", {"image_id": image.id})[1]
    assert reply["error_code"] == "ModelArts.6768"


def test_an_image_of_another_category_is_refused(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.STOPPED)
    notebook.flavor = "modelarts.vm.gpu.t4"
    body = {"image_id": image_named(cloud, "conda3-ubuntu").id}
    assert ask("PUT", f"notebooks/{notebook.id}", body)[1]["error_code"] == "ModelArts.6330"


def test_image_and_flavor_may_change_together(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.STOPPED)
    target = image_named(cloud, "pytorch2.6-cann")
    body = {"image_id": target.id, "flavor": "modelarts.vm.arm.cpu.4u"}
    assert ask("PUT", f"notebooks/{notebook.id}", body)[0] == 200


def test_a_custom_specification_and_a_flavor_replace_each_other(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.STOPPED)
    notebook.pool = {"id": "pool-blue", "name": "blue-pool"}
    path = f"notebooks/{notebook.id}"
    spec = {"cpu": 3, "memory": 4096, "arch": "AARCH64", "category": "CPU"}
    assert ask("PUT", path, {"custom_spec": spec})[1]["error_code"] == "ModelArts.6330"
    assert ask("PUT", path, {"custom_spec": {**spec, "arch": "X86_64"}})[0] == 200
    assert notebook.flavor == "custom.flavor.spec.code"
    assert ask("PUT", path, {"flavor": "modelarts.pool.cpu.12u"})[0] == 200
    assert notebook.custom_spec is None


def test_only_managed_evs_disks_grow(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.STOPPED)
    notebook.volume["category"] = "EFS"
    body = {"storage_new_size": 100}
    assert ask("PUT", f"notebooks/{notebook.id}", body)[1]["error_code"] == "ModelArts.6324"


def test_a_disk_is_resizing_before_it_is_larger(cloud: Cloud, ask: Ask, plain: Plain, now: float) -> None:
    notebook = plain(cloud, Status.STOPPED)
    path = f"notebooks/{notebook.id}"
    ask("PUT", path, {"storage_new_size": 60})
    volume = ask("GET", path)[1]["volume"]
    assert (volume["status"], volume["capacity"]) == ("RESIZING", 50)
    assert ask("PUT", path, {"storage_new_size": 70})[1]["error_code"] == "ModelArts.6357"
    volume = ask("GET", path, at=now + 3600)[1]["volume"]
    assert (volume["status"], volume["capacity"]) == ("IN_USE", 60)


BODIES: dict[str, dict[str, Any]] = {
    "name": {"name": "renamed"},
    "description": {"description": "new"},
    "flavor": {"flavor": "modelarts.vm.cpu.4u"},
    "image_id": {"image_id": "the newer one"},
    "endpoints": ssh(key_pair_names=["kp-ana"], allowed_access_ips=["203.0.113.9"]),
    "hooks": hook(script="/x.sh"),
    "storage_new_size": {"storage_new_size": 60},
}


@pytest.mark.parametrize("rule", ["seed", "observed"])
@pytest.mark.parametrize("field", BODIES)
@pytest.mark.parametrize("status", list(Status))
def test_every_field_in_every_status(
    caller_of: Callable[[Cloud], Ask],
    plain: Plain,
    rule: Any,
    field: str,
    status: Status,
) -> None:
    cloud = _LARGE[rule]
    if status is Status.DELETED:
        expected = "ModelArts.6309"
    elif status is Status.FROZEN:
        expected = "ModelArts.6326"
    elif rule == "observed" and field in ("name", "description"):
        expected = "ModelArts.6357" if status is Status.DELETING else ""
    elif status is _needed(rule, field) or (
        # A notebook that failed to start holds no machine, as a stopped one.
        status is Status.START_FAILED and _needed(rule, field) is Status.STOPPED
    ):
        expected = ""
    else:
        expected = "ModelArts.6357" if status in TRANSITIONAL else "ModelArts.6347"
    notebook = plain(cloud, status)
    notebook.growing_to = None
    body = dict(BODIES[field])
    if field == "image_id":
        body["image_id"] = image_named(cloud, "pytorch2.6-cuda12.4").id
    _, reply = caller_of(cloud)("PUT", f"notebooks/{notebook.id}", body)
    assert reply.get("error_code", "") == expected


def _needed(rule: str, field: str) -> Status:
    grows_running = rule == "observed" and field == "storage_new_size"
    return Status.RUNNING if grows_running else Status.STOPPED


_LARGE = {
    "seed": make_cloud(notebooks=80, seed=3, now=1_764_000_000.0, projects=1),
    "observed": make_cloud(
        notebooks=80, seed=3, now=1_764_000_000.0, projects=1, rules=Rules(rules="observed")
    ),
}


def test_the_stuck_rule_leaves_no_way_out_of_start_failed(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float
) -> None:
    rules = Rules(start_failed="stuck")
    cloud = make_cloud(notebooks=80, seed=3, now=now, projects=1, rules=rules)
    notebook, ask = plain(cloud, Status.START_FAILED), caller_of(cloud)
    path = f"notebooks/{notebook.id}"
    assert ask("PUT", path, {"name": "new"})[1]["error_code"] == "ModelArts.6347"
    assert ask("POST", f"{path}/start")[1]["error_code"] == "ModelArts.6357"


@pytest.mark.parametrize(
    ("rules", "sent", "expected"),
    [
        (Rules(), {"allowed_access_ips": ["8.8.8.8"]}, {"allowed_access_ips": ["8.8.8.8"]}),
        (
            Rules(omitted_keys="keep"),
            {"allowed_access_ips": ["8.8.8.8"]},
            {"key_pair_names": ["kp-ana"], "allowed_access_ips": ["8.8.8.8"]},
        ),
        (Rules(), {"key_pair_names": ["kp-bo"]}, {"key_pair_names": ["kp-bo"]}),
        (
            Rules(omitted_ips="keep"),
            {"key_pair_names": ["kp-bo"]},
            {"key_pair_names": ["kp-bo"], "allowed_access_ips": ["203.0.113.1"]},
        ),
        (
            Rules(omitted_ips="keep", omitted_keys="keep"),
            {"allowed_access_ips": []},
            {"key_pair_names": ["kp-ana"], "allowed_access_ips": []},
        ),
    ],
)
def test_what_an_omitted_key_means_is_a_rule(
    caller_of: Callable[[Cloud], Ask],
    plain: Plain,
    now: float,
    rules: Rules,
    sent: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    cloud = make_cloud(notebooks=20, seed=3, now=now, projects=1, rules=rules)
    notebook = plain(cloud, Status.STOPPED)
    caller_of(cloud)("PUT", f"notebooks/{notebook.id}", ssh(**sent))
    (endpoint,) = notebook.endpoints
    assert {key: endpoint[key] for key in endpoint if key not in ("service", "uri")} == expected


@pytest.mark.parametrize(("rule", "services"), [("replace", ["SSH"]), ("merge", ["NOTEBOOK", "SSH"])])
def test_whether_a_list_of_endpoints_replaces_or_merges_is_a_rule(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float, rule: Any, services: list[str]
) -> None:
    cloud = make_cloud(notebooks=20, seed=3, now=now, projects=1, rules=Rules(endpoints=rule))
    notebook = plain(cloud, Status.STOPPED)
    caller_of(cloud)("PUT", f"notebooks/{notebook.id}", ssh(key_pair_names=["kp-ana"]))
    assert [endpoint["service"] for endpoint in notebook.endpoints] == services


def test_only_a_new_ssh_endpoint_gets_an_address(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.STOPPED)
    notebook.endpoints = []
    body = {"endpoints": [{"service": "NOTEBOOK"}, {"service": "SSH", "key_pair_names": ["kp-ana"]}]}
    ask("PUT", f"notebooks/{notebook.id}", body)
    assert ["uri" in endpoint for endpoint in notebook.endpoints] == [False, True]


def test_ranges_and_names_of_any_language_are_rules(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float
) -> None:
    rules = Rules(cidr="accept", names="any")
    cloud = make_cloud(notebooks=20, seed=3, now=now, projects=1, rules=rules)
    notebook, ask = plain(cloud, Status.STOPPED), caller_of(cloud)
    body = {"name": "\u7b14\u8bb0-1", **ssh(allowed_access_ips=["203.0.113.0/28"])}
    assert ask("PUT", f"notebooks/{notebook.id}", body)[0] == 200
    body = ssh(allowed_access_ips=["0.0.0.0/0"])
    assert ask("PUT", f"notebooks/{notebook.id}", body)[0] == 400


@pytest.mark.parametrize(
    ("address", "rules", "status"),
    [
        ("2600::1", Rules(), 400),
        ("2600::1", Rules(cidr="accept"), 400),
        ("2600::1", Rules(ipv6="accept"), 200),
        ("2600::/64", Rules(ipv6="accept"), 400),
        ("2600::/64", Rules(ipv6="accept", cidr="accept"), 200),
        ("fd00::1", Rules(ipv6="accept"), 400),
        ("::/0", Rules(ipv6="accept", cidr="accept"), 400),
    ],
)
def test_ipv6_is_a_rule(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float, address: str, rules: Rules, status: int
) -> None:
    cloud = make_cloud(notebooks=20, seed=3, now=now, projects=1, rules=rules)
    notebook, ask = plain(cloud, Status.STOPPED), caller_of(cloud)
    body = ssh(allowed_access_ips=[address])
    assert ask("PUT", f"notebooks/{notebook.id}", body)[0] == status


@pytest.mark.parametrize("status", [400, 404])
def test_the_http_status_of_a_missing_notebook_is_a_rule(
    caller_of: Callable[[Cloud], Ask], now: float, status: Any
) -> None:
    cloud = make_cloud(notebooks=3, seed=3, now=now, rules=Rules(missing=status))
    got, reply = caller_of(cloud)("PUT", f"notebooks/{NOWHERE}", {})
    assert (got, reply["error_code"]) == (status, "ModelArts.6309")
