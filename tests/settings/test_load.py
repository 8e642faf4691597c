"""Which file is read, what its keys mean, and what the environment says where there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fleet.core.errors import UsageError
from fleet.core.pacing.limits import Rate
from fleet.core.scope import AkSkKeys, ListMode, Proxy, Way
from fleet.settings import state_dir

PROJECT = "0123456789abcdef0123456789abcdef"
KEYS = {"HUAWEICLOUD_SDK_AK": "AK", "HUAWEICLOUD_SDK_SK": "SK"}
NAMED = '[[scope]]\nname = "{}"\nregion = "cn-north-4"\nproject_id = "' + PROJECT + '"\n'


def refusal(machine: Any, config: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        machine.load(config).scopes()
    return str(caught.value)


def test_a_file_here_wins_over_the_users_own(machine: Any) -> None:
    machine.write(NAMED.format("own"), machine.home / ".config" / "notebook-fleet" / "fleet.toml")
    assert machine.load().names == ("own",)
    machine.write(NAMED.format("here"))
    assert machine.load().names == ("here",)


def test_a_file_that_was_named_wins_and_is_relative_to_the_working_folder(machine: Any) -> None:
    machine.write(NAMED.format("here"))
    machine.write(NAMED.format("named"), machine.cwd / "sub" / "other.toml")
    assert machine.load(Path("sub/other.toml")).names == ("named",)


def test_the_users_folder_follows_xdg(machine: Any, tmp_path: Path) -> None:
    machine.environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    machine.write(NAMED.format("xdg"), tmp_path / "xdg" / "notebook-fleet" / "fleet.toml")
    assert machine.load().names == ("xdg",)


def test_a_named_file_that_is_missing_is_said_so(machine: Any) -> None:
    assert refusal(machine, Path("nope.toml")) == "nope.toml: no such file or directory"


def test_a_dangling_link_is_not_passed_over(machine: Any) -> None:
    (machine.cwd / "fleet.toml").symlink_to(machine.cwd / "gone.toml")
    assert refusal(machine) == "fleet.toml: no such file or directory"


def test_links_in_a_circle_are_refused(machine: Any) -> None:
    (machine.cwd / "fleet.toml").symlink_to(machine.cwd / "fleet.toml")
    assert refusal(machine).startswith("fleet.toml: ")


@pytest.mark.security("input")
def test_a_fifo_is_refused_and_never_waited_for(machine: Any) -> None:
    os.mkfifo(machine.cwd / "fleet.toml")
    assert refusal(machine) == "fleet.toml: not a regular file"


def test_a_directory_is_refused(machine: Any) -> None:
    (machine.cwd / "fleet.toml").mkdir()
    assert refusal(machine) == "fleet.toml: is a directory"


def test_every_key_arrives_in_the_scope(machine: Any) -> None:
    (machine.cwd / "ca.pem").write_text("x")
    machine.environ |= {"LAB_AK": "AK", "LAB_SK": "SK"}
    machine.scope(
        extra="""
endpoint = "http://127.0.0.1:9000/"
iam_endpoint = "http://localhost:9001"
list = "own"
workspaces = ["0", "a", "0"]
features = ["NOTEBOOK", "DEFAULT"]
credentials = "lab"
rate = "10/s"
poll = "2m"
ca_file = "ca.pem"
""",
        tables="""
[credentials.lab]
kind = "aksk"
access_key_env = "LAB_AK"
secret_key_env = "LAB_SK"
""",
        mode=0o644,
    )
    (spec,) = machine.load().scopes()
    assert spec.name == "lab-a"
    assert (spec.region, spec.project_id) == ("cn-north-4", PROJECT)
    assert (spec.endpoint, spec.iam_endpoint) == ("http://127.0.0.1:9000", "http://localhost:9001")
    assert (spec.listing, spec.workspaces, spec.features) == (
        ListMode.OWN,
        ("0", "a"),
        ("NOTEBOOK", "DEFAULT"),
    )
    assert (spec.rate, spec.poll) == (Rate(10, 1.0), 120.0)
    assert spec.ca_file == str(machine.cwd / "ca.pem")
    assert spec.credential == AkSkKeys("AK", "SK")


def test_what_is_left_out_has_the_documented_default(machine: Any) -> None:
    machine.environ |= KEYS
    machine.scope()
    (spec,) = machine.load().scopes()
    assert spec.endpoint == "https://modelarts.cn-north-4.myhuaweicloud.com"
    assert spec.iam_endpoint == "https://iam.cn-north-4.myhuaweicloud.com"
    assert (spec.listing, spec.workspaces, spec.features) == (ListMode.ALL, (), ("NOTEBOOK",))
    assert (spec.rate, spec.poll, spec.ca_file) == (None, 10.0, None)


@pytest.mark.parametrize(
    ("first", "own", "proxy"),
    [
        ("", "", Proxy.NONE),
        ('proxy = "environment"', "", Proxy.ENVIRONMENT),
        ("", 'proxy = "environment"', Proxy.ENVIRONMENT),
        ('proxy = "environment"', 'proxy = "none"', Proxy.NONE),
    ],
)
def test_proxies_of_the_environment_are_used_where_the_file_or_the_scope_says_so(
    machine: Any, first: str, own: str, proxy: Proxy
) -> None:
    machine.environ |= KEYS
    machine.write(f"{first}\n{NAMED.format('a')}{own}\n")
    assert machine.load().scopes()[0].proxy is proxy


@pytest.mark.parametrize(("line", "way"), [("", Way.WIRE), ('transport = "session"', Way.SESSION)])
def test_the_transport_is_the_fast_one_unless_the_file_says_otherwise(
    machine: Any, line: str, way: Way
) -> None:
    machine.environ |= KEYS
    machine.write(f"{line}\n{NAMED.format('a')}\n")
    assert machine.load().scopes()[0].transport is way


def test_the_european_region_has_its_own_domain(machine: Any) -> None:
    machine.environ |= KEYS
    machine.write(NAMED.format("eu").replace("cn-north-4", "eu-west-101"))
    assert machine.load().scopes()[0].iam_endpoint == "https://iam.eu-west-101.myhuaweicloud.eu"


def test_only_the_scopes_asked_for_need_credentials(machine: Any) -> None:
    machine.environ |= KEYS
    machine.write(
        NAMED.format("ready") + NAMED.format("locked") + 'credentials = "far"\n'
        '[credentials.far]\nkind = "token"\ntoken_env = "FAR_TOKEN"\n'
    )
    settings = machine.load()
    assert [spec.name for spec in settings.scopes(["ready", "ready"])] == ["ready"]
    with pytest.raises(UsageError, match=r"credentials\.far\.token_env: the environment variable FAR_TOKEN"):
        settings.scopes()


def test_an_unknown_scope_is_told_the_nearest(machine: Any) -> None:
    machine.scope()
    with pytest.raises(UsageError, match="scope lab-b: unknown scope; did you mean lab-a"):
        machine.load().scopes(["lab-b"])


def test_a_missing_ca_file_is_said_before_the_first_call(machine: Any) -> None:
    machine.environ |= KEYS
    machine.scope("ca_file = '~/ca.pem'")
    assert refusal(machine) == f"scope lab-a: ca_file {machine.home / 'ca.pem'} does not exist"


def test_without_a_file_the_environment_makes_one_scope(machine: Any) -> None:
    machine.environ |= KEYS | {"HW_REGION_NAME": "cn-north-4", "HUAWEICLOUD_SDK_PROJECT_ID": PROJECT}
    settings = machine.load()
    assert machine.find() is None
    assert (settings.names, settings.source) == (("default",), None)
    (spec,) = settings.scopes()
    assert (spec.name, spec.region, spec.project_id) == ("default", "cn-north-4", PROJECT)
    assert spec.credential == AkSkKeys("AK", "SK")


def test_the_default_scope_takes_the_project_that_stands_beside_the_keys(machine: Any) -> None:
    beside = "f" * 32
    machine.profile(f"[basic]\nak = A\nsk = S\nproject_id = {beside}\n")
    machine.environ |= {"HW_REGION_NAME": "cn-north-4", "HW_PROJECT_ID": PROJECT}
    assert machine.load().scopes()[0].project_id == beside


def test_without_a_file_or_region_the_error_says_where_it_looked_and_what_to_write(machine: Any) -> None:
    text = refusal(machine)
    assert str(machine.cwd / "fleet.toml") in text
    assert str(machine.home / ".config" / "notebook-fleet" / "fleet.toml") in text
    assert "HW_REGION_NAME" in text
    machine.write(text.partition("write one of them:\n")[2])
    assert machine.load().names == ("lab-a",)


def test_a_project_name_is_not_enough(machine: Any) -> None:
    machine.environ |= KEYS | {"HW_REGION_NAME": "cn-north-4", "HW_PROJECT_NAME": "cn-north-4"}
    assert "a name is not enough" in refusal(machine)


def test_a_wrong_region_or_project_in_the_environment_is_refused(machine: Any) -> None:
    machine.environ |= KEYS | {"HW_REGION_NAME": "north", "HW_PROJECT_ID": PROJECT}
    assert refusal(machine).startswith("scope default, from the environment: HW_REGION_NAME: not a region")
    machine.environ |= {"HW_REGION_NAME": "cn-north-4", "HW_PROJECT_ID": "north"}
    assert refusal(machine).startswith("scope default, from the environment: project id: must be")


def test_a_listed_scope_never_takes_its_region_from_the_environment(machine: Any) -> None:
    machine.environ |= KEYS | {"HW_REGION_NAME": "cn-north-4", "HW_PROJECT_ID": PROJECT}
    machine.write('[[scope]]\nname = "a"\n')
    assert refusal(machine).splitlines() == [
        "fleet.toml: scope[0].region: missing (scope a)",
        "fleet.toml: scope[0].project_id: missing (scope a)",
    ]


def test_runs_live_in_the_users_state_folder(machine: Any) -> None:
    environ = {"HOME": str(machine.home)}
    assert state_dir(None, environ) == machine.home / ".local" / "state" / "notebook-fleet" / "runs"
    environ["XDG_STATE_HOME"] = "/var/state"
    assert state_dir(None, environ) == Path("/var/state/notebook-fleet/runs")


@pytest.mark.parametrize(("text", "folder"), [("runs", "work/runs"), ("~/r", "home/r"), ("/srv/r", "/srv/r")])
def test_the_file_can_move_them(machine: Any, tmp_path: Path, text: str, folder: str) -> None:
    machine.scope(tables=f'[run]\ndir = "{text}"')
    assert state_dir(machine.load(), {}) == tmp_path / folder
