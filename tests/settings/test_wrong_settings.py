"""All that is wrong in a file is told at once, each with its place and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.core.errors import UsageError

PROJECT = "0123456789abcdef0123456789abcdef"
NAMED = '[[scope]]\nname = "{}"\nregion = "cn-north-4"\nproject_id = "' + PROJECT + '"\n'


def refusal(machine: Any) -> str:
    with pytest.raises(UsageError) as caught:
        machine.load().scopes()
    return str(caught.value)


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


def test_all_that_a_scope_lacks_is_told_at_once(machine: Any) -> None:
    machine.scope(
        'credentials = "c"\nca_file = "no.pem"\nmetrics = "m"',
        '[credentials.c]\nkind = "token"\ntoken_env = "TOKEN"\n'
        '[metrics.m]\nkind = "prometheus"\nurl = "https://p.example.com"\ntoken_env = "USAGE"\n'
        'ca_file = "none.pem"\n',
    )
    assert refusal(machine).splitlines() == [
        "fleet.toml: credentials.c.token_env: the environment variable TOKEN is not set",
        f"scope lab-a: ca_file {machine.cwd / 'no.pem'} does not exist",
        "fleet.toml: metrics.m.token_env: the environment variable USAGE is not set",
        f"fleet.toml: metrics.m: ca_file {machine.cwd / 'none.pem'} does not exist",
    ]
