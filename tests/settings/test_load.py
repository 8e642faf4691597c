"""Which file is read, what its keys mean, and the one line that says what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.pacing.limits import Rate
from fleet.core.scope import AkSkKeys, ListMode, Proxy, Way
from fleet.settings import state_dir
from fleet.settings.tables import origin

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


@pytest.mark.parametrize(
    ("extra", "tables", "message"),
    [
        ("rat = '60/min'", "", "fleet.toml: scope[0].rat: unknown key; did you mean rate? (scope lab-a)"),
        (
            "listing = 'own'",
            "",
            "fleet.toml: scope[0].listing: unknown key; did you mean list? (scope lab-a)",
        ),
        ("", "[runs]\ndir = 'x'", "fleet.toml: runs: unknown key; did you mean run?"),
        ("", "[run]\ndri = 'x'", "fleet.toml: run.dri: unknown key; did you mean dir?"),
        (
            "",
            "[credentials.lab]\nkind = 'token'\ntokn = 'x'",
            "fleet.toml: credentials.lab.tokn: unknown key; did you mean token?",
        ),
        (
            "",
            "[credentials.lab]\nkind = 'magic'",
            "fleet.toml: credentials.lab: kind must be aksk, password, token or profile",
        ),
        (
            "",
            "[credentials.lab]\ntoken = 'x'",
            "fleet.toml: credentials.lab: kind is missing: aksk, password, token or profile",
        ),
        (
            "",
            "[credentials.lab]\nkind = 'aksk'\naccess_key_env = 'A'",
            "fleet.toml: credentials.lab: secret_key_env is missing (the variable that holds it)",
        ),
        (
            "",
            "[credentials.lab]\nkind = 'token'\ntoken = 'x'\ntoken_env = 'T'",
            "fleet.toml: credentials.lab: token and token_env are both given; keep one",
        ),
        (
            "rate = 60",
            "",
            (
                "fleet.toml: scope[0].rate: not a rate; write a count and a window such as "
                '"60/min", "10/s", "300/10s" (scope lab-a)'
            ),
        ),
        (
            "poll = '0s'",
            "",
            (
                'fleet.toml: scope[0].poll: not a pause; write a number and a unit such as "10s", "2m" '
                "(scope lab-a)"
            ),
        ),
        (
            "proxy = 'http://proxy:3128'",
            "",
            "fleet.toml: scope[0].proxy: Input should be 'none' or 'environment' (scope lab-a)",
        ),
        ("list = 'mine'", "", "fleet.toml: scope[0].list: Input should be 'all' or 'own' (scope lab-a)"),
        ("features = []", "", "fleet.toml: scope[0].features: must not be empty (scope lab-a)"),
        (
            "features = ['CODE']",
            "",
            "fleet.toml: scope[0].features[0]: Input should be 'NOTEBOOK' or 'DEFAULT' (scope lab-a)",
        ),
        ("workspaces = '0'", "", "fleet.toml: scope[0].workspaces: must be an array [...] (scope lab-a)"),
        (
            "workspaces = [0]",
            "",
            'fleet.toml: scope[0].workspaces[0]: must be text in quotes "..." (scope lab-a)',
        ),
        (
            "credentials = 'lap'",
            "[credentials.lab]\nkind = 'profile'",
            "fleet.toml: scope[0].credentials: unknown table; did you mean lab? (scope lab-a)",
        ),
        (
            "credentials = 'lab'",
            "",
            "fleet.toml: scope[0].credentials: no [credentials.NAME] table (scope lab-a)",
        ),
        ("", "this is not toml", "fleet.toml: not TOML: Expected '=' after a key in a key/value pair"),
        ("", "x = " + "[" * 5000, "fleet.toml: not TOML: nested too deeply"),
    ],
)
def test_a_wrong_file_is_one_line_with_place_and_remedy(
    machine: Any, extra: str, tables: str, message: str
) -> None:
    machine.scope(extra, tables)
    text = refusal(machine)
    assert text.startswith(message)
    assert "\n" not in text


@pytest.mark.security("ids")
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("name", "lab a", "may hold only letters"),
        ("name", "", "may hold only letters"),
        ("region", "CN-North4", "not a region"),
        ("region", "cn-north-4/x", "not a region"),
        ("project_id", "cn-north-4", "32 characters of 0-9 and a-f"),
        ("project_id", PROJECT + "0", "32 characters of 0-9 and a-f"),
    ],
)
def test_names_regions_and_projects_have_a_strict_shape(
    machine: Any, key: str, value: str, words: str
) -> None:
    right = {"name": "lab-a", "region": "cn-north-4", "project_id": PROJECT}
    machine.write("[[scope]]\n" + "".join(f'{k} = "{v}"\n' for k, v in (right | {key: value}).items()))
    assert words in refusal(machine)


def test_scope_names_must_differ(machine: Any) -> None:
    machine.write(NAMED.format("a") + NAMED.format("b") + NAMED.format("a"))
    assert refusal(machine) == "fleet.toml: scope[2].name: a is taken by an earlier scope; names must differ"


@pytest.mark.parametrize("text", ["", "[run]\ndir = 'x'", '[scope]\nname = "a"'])
def test_a_file_needs_a_list_of_scopes(machine: Any, text: str) -> None:
    machine.write(text)
    assert refusal(machine).startswith("fleet.toml: scope: at least one [[scope]] table is needed")


def test_bytes_that_are_no_utf8_are_refused_and_a_byte_order_mark_is_not(machine: Any) -> None:
    machine.write("\ufeff" + NAMED.format("a"))
    assert machine.load().names == ("a",)
    (machine.cwd / "fleet.toml").write_bytes(b"[[scope]]\nname = '\xff'")
    assert refusal(machine) == "fleet.toml: not UTF-8 text (byte 18)"


@pytest.mark.security("input")
def test_an_enormous_file_is_refused(machine: Any) -> None:
    machine.write("#" * (1 << 21))
    assert refusal(machine) == "fleet.toml: larger than 1 MiB"


@pytest.mark.parametrize(
    "text",
    [
        "https://modelarts.cn-north-4.myhuaweicloud.com",
        "https://host:8443",
        "https://[2001:db8::1]:443",
        "http://127.0.0.1:9000",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://[::1]:9000",
    ],
)
def test_an_origin_is_taken(text: str) -> None:
    assert origin(text) == text
    assert origin(text + "/") == text


@pytest.mark.security("endpoint")
@pytest.mark.parametrize(
    "text",
    [
        "http://modelarts.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "http://[2001:db8::1]",
        "https://user:pw@host",
        "https://host/path",
        "https://host?x=1",
        "https://host#x",
        "https://host:0",
        "https://host:65536",
        "https://host:",
        "https://",
        "https://ho st",
        "https://host\n",
        "https:\\host",
        "ftp://host",
        "host",
        "",
    ],
)
def test_anything_else_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be https|plain http"):
        origin(text)


@pytest.mark.security("endpoint")
@given(st.text(max_size=30), st.sampled_from(["https://", "http://", ""]))
def test_an_origin_never_holds_more_than_scheme_host_and_port(text: str, scheme: str) -> None:
    try:
        taken = origin(scheme + text)
    except ValueError:
        return
    assert taken.count("/") == 2
    assert not set(taken) & set("@?#\\ \n")


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


def test_unknown_keys_are_told_before_what_is_missing_for_their_sake(machine: Any) -> None:
    machine.write('[[scope]]\nname = "a"\nregoin = "cn-north-4"\nproject_id = "x"\nrat = "5/s"\n')
    assert refusal(machine).splitlines() == [
        "fleet.toml: scope[0].regoin: unknown key; did you mean region? (scope a)",
        "fleet.toml: scope[0].rat: unknown key; did you mean rate? (scope a)",
        "fleet.toml: scope[0].region: missing (scope a)",
        (
            "fleet.toml: scope[0].project_id: must be the project's id, "
            "32 characters of 0-9 and a-f (not its name) (scope a)"
        ),
    ]


@pytest.mark.parametrize(("wrong", "last"), [(5, "scope[4].region: missing (scope s4)"), (7, "and 2 more")])
def test_up_to_five_problems_are_told_and_the_others_counted(machine: Any, wrong: int, last: str) -> None:
    scope = '[[scope]]\nname = "s{}"\nproject_id = "' + PROJECT + '"\n'
    machine.write("".join(scope.format(number) for number in range(wrong)))
    lines = refusal(machine).splitlines()
    assert lines[0] == "fleet.toml: scope[0].region: missing (scope s0)"
    assert (len(lines), lines[-1]) == (min(wrong, 6), f"fleet.toml: {last}")


def test_what_does_not_fit_together_is_told_beside_what_is_wrong_by_itself(machine: Any) -> None:
    machine.write(NAMED.format("a") + 'rate = "fast"\n' + NAMED.format("a") + 'credentials = "y"\n')
    assert [line.split(": ")[1] for line in refusal(machine).splitlines()] == [
        "scope[0].rate",
        "scope[1].name",
        "scope[1].credentials",
    ]


def test_every_variable_that_is_not_set_is_told_once_and_every_unknown_scope(machine: Any) -> None:
    table = '[credentials.c]\nkind = "aksk"\naccess_key_env = "AK"\nsecret_key_env = "SK"\n'
    scopes = "".join(f'{NAMED.format(name)}credentials = "c"\n' for name in "ab")
    machine.write(scopes + table)
    with pytest.raises(UsageError) as caught:
        machine.load().scopes()
    assert str(caught.value).splitlines() == [
        "fleet.toml: credentials.c.access_key_env: the environment variable AK is not set",
        "fleet.toml: credentials.c.secret_key_env: the environment variable SK is not set",
    ]
    with pytest.raises(UsageError, match=r"^scope x: unknown scope; .*\nscope y: unknown scope; [^\n]*$"):
        machine.load().scopes(["a", "x", "y"])


def test_all_that_does_not_fit_together_is_told(machine: Any) -> None:
    machine.write(NAMED.format("a") + 'credentials = "x"\n' + NAMED.format("a") + 'credentials = "y"\n')
    assert refusal(machine).splitlines() == [
        "fleet.toml: scope[0].credentials: no [credentials.NAME] table (scope a)",
        "fleet.toml: scope[1].name: a is taken by an earlier scope; names must differ",
        "fleet.toml: scope[1].credentials: no [credentials.NAME] table (scope a)",
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
