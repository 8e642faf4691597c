"""Wrong job and configuration files: one line that says what, where and what to do, and nothing is sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

Lab = Any
Shell = Any

GOOD = """\
job: image-migration
name: torch
select: status == "STOPPED"
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart}
"""


def without(key: str) -> str:
    return "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(key))


JOBS = [
    ("", "must be a mapping with job, name and select"),
    ("- a\n- b\n", "must be a mapping with job, name and select"),
    ("job: [unclosed\n", "job.yaml:2: "),
    ("job: a\n\tname: b\n", "job.yaml:2: "),
    (GOOD + "---\n" + GOOD, "job.yaml:6: a second document starts"),
    (GOOD + "name: again\n", "job.yaml:6: name: is given twice, first in line 2"),
    (GOOD.replace("{disruption: restart}", "&x {disruption: restart}"), "job.yaml:5: anchors and aliases"),
    (GOOD.replace("torch\n", "!!python/object/apply:os.system [ls]\n"), "job.yaml:2: tags (!name) are not"),
    (GOOD + "guards:\n", "job.yaml:6: guards: is empty; give a value or leave the key out"),
    (GOOD + "selct: x\n", "job.yaml:6: selct: unknown key; did you mean select?"),
    (
        GOOD + "guards: {max_target: 5}\n",
        "job.yaml:6: guards.max_target: unknown key; did you mean max_targets?",
    ),
    (
        GOOD.replace("disruption:", "disrupton:"),
        "job.yaml:5: rollout.disrupton: unknown key; did you mean disruption?",
    ),
    (
        GOOD.replace("{disruption: restart}", "{max_unavailable: {ownr: 2}}"),
        "job.yaml:5: rollout.max_unavailable.ownr: unknown key; did you mean owner?",
    ),
    (GOOD.replace("{to:", "{too:"), "job.yaml:4: with.too: unknown key; did you mean to?"),
    (GOOD.replace("{name: pyt", "{nam: pyt"), "job.yaml:4: with.to.nam: unknown key; did you mean name?"),
    (
        GOOD.replace("image-migration", "image-migratoin"),
        "job.yaml:1: job: there is no job type 'image-migratoin'; did you mean image-migration?",
    ),
    (without("job"), "job: is missing"),
    (without("name"), "name: is missing"),
    (without("select"), "select: is missing"),
    (without("with"), "with: give either to, or map with a from and a to for each kind of image"),
    (GOOD.replace("torch\n", '"a b/c"\n'), "name: must be 1 to 100 letters, digits"),
    (GOOD.replace("restart", "sometimes"), "rollout.disruption: must be "),
    (GOOD.replace("{disruption: restart}", "{soak: 10}"), "rollout.soak: 10 is not a duration such as 90s"),
    (GOOD.replace("{disruption: restart}", "{waves: [5, 1]}"), "rollout.waves: 1 does not follow after 5"),
    (GOOD.replace("{disruption: restart}", "{waves: [0%]}"), "rollout.waves: 0% would let nothing happen"),
    (
        GOOD.replace("{disruption: restart}", "{max_failures: 101%}"),
        "rollout.max_failures: 101% is more than",
    ),
    (GOOD.replace("{disruption: restart}", "{concurrency: 0}"), "rollout.concurrency: must be greater than"),
    (GOOD.replace("{name: pytorch2.6}", "{id: 12345}"), "with.to.id: must be text; put it in quotes"),
    (GOOD.replace("{name: pytorch2.6}", "{id: abc}"), "with.to.id: an image id is a UUID such as"),
    (GOOD.replace("{name: pytorch2.6}", "{id: a, name: b}"), "with.to"),
    (GOOD.replace("{name: pytorch2.6}", '{name: "../x"}'), "with.to.name: an image name has only letters"),
    (GOOD + f"x: {'y' * (1 << 21)}\n", "is larger than 1 MiB"),
    ("a: " * 3 + "b\n", "job.yaml:1: "),
    (GOOD + "x: " + "{a: " * 40 + "}" * 40 + "\n", "is nested too deeply"),
    ("\x00\x01\x02", "is not YAML text"),
]


@pytest.mark.parametrize(("text", "complaint"), JOBS, ids=range(len(JOBS)))
def test_a_wrong_job_file_is_one_line_and_nothing_is_sent(
    lab: Lab, shell: Shell, text: str, complaint: str
) -> None:
    shell.write("job.yaml", text)
    before = shell.files
    for words in (["validate"], ["plan"], ["run", "--yes", "--run-dir", lab.runs]):
        said = shell.refused(*words, "job.yaml")
        assert complaint in said
        assert said.startswith("fleet: job.yaml")
    assert (lab.cloud.log, shell.files) == ([], before)


@pytest.mark.security("yaml", "input")
@pytest.mark.parametrize("text", ["[" * 600, "{a: " * 5_000, "- " * 5_000])
def test_endless_nesting_is_one_line(shell: Shell, text: str) -> None:
    shell.write("job.yaml", text)
    assert "job.yaml: is nested too deeply" in shell.refused("validate", "job.yaml")


@pytest.mark.parametrize(
    ("select", "lines"),
    [
        (
            'imag.name == "x"',
            ["no field 'imag.name'; did you mean image.name?", '  imag.name == "x"', "  ^"],
        ),
        ('name = "x"', None),
        ('status == "STOPED"', None),
        ("name", ["the result is a string, but a selector must be true or false", "  name", "  ^"]),
        ('name == "x" &&', None),
    ],
)
def test_a_wrong_expression_shows_its_place_with_a_caret(
    lab: Lab, shell: Shell, select: str, lines: list[str] | None
) -> None:
    shell.write("job.yaml", GOOD.replace('status == "STOPPED"', f"'{select}'"))
    for command in ("validate", "plan"):
        said = shell.refused(command, "job.yaml", lines=3).splitlines()
        assert said[0].startswith("fleet: job.yaml:3: select: ")
        assert said[1].strip() == select
        assert said[2].strip() == "^"
        assert lines is None or [said[0].removeprefix("fleet: job.yaml:3: select: "), *said[1:]] == lines
    assert lab.cloud.log == []


def test_an_unknown_image_is_named_with_the_nearest_and_nothing_is_written(lab: Lab, shell: Shell) -> None:
    lab.job("pytorch2.6", "pytorch2.6-cuda12.4-cudnn9-ubuntu22.05")
    before = shell.files
    said = shell.refused("plan", "job.yaml", "-o", "plan.json", lines=2).removeprefix("fleet: ").splitlines()
    for line, scope in zip(said, ("lab-a", "lab-b"), strict=True):
        image = "pytorch2.6-cuda12.4-cudnn9-ubuntu22.05"
        assert line.startswith(f"job.yaml:4: with.to: scope {scope} has no image {image}; the nearest are")
        assert "pytorch2.6-cuda12.4-cudnn9-ubuntu22.04" in line
    lab.job("{name: pytorch2.6}", "{id: 00000000-0000-0000-0000-000000000000}")
    words = ("run", "job.yaml", "--yes", "--run-dir", lab.runs)
    assert "has no image 00000000-" in shell.refused(*words, lines=2)
    assert (lab.writes, shell.files) == ([], before)


def test_an_image_that_is_not_active_is_named_with_its_status(lab: Lab, shell: Shell) -> None:
    lab.job("pytorch2.6", "pytorch2.6-cuda12.6-cudnn9-ubuntu24.04")
    said = shell.refused("plan", "job.yaml", lines=2)
    assert "no ACTIVE image in scope lab-a: pytorch2.6-cuda12.6-cudnn9-ubuntu24.04 is CREATING" in said


def test_a_scope_that_is_not_configured_is_named(lab: Lab, shell: Shell) -> None:
    lab.job("rollout:", "scopes: [lab-a, lab-c]\nrollout:")
    assert shell.refused("plan", "job.yaml") == (
        "fleet: job.yaml:5: scopes: scope lab-c: unknown scope; did you mean lab-b?\n"
    )
    assert lab.cloud.log == []


CONFIGS = [
    ("", "scope: at least one [[scope]] table is needed"),
    ("[[scope", "fleet.toml: not TOML: "),
    ("\x00\x01", "fleet.toml: not TOML: "),
    ("scope = 5\n", "fleet.toml: scope"),
    ("x = " + "[" * 5000, "fleet.toml: not TOML: "),
    ('[[scope]]\nname = "a"\nregion = "cn-north-4"\n', "scope[0].project_id: missing (scope a)"),
    ('[[scope]]\nname = "a"\nregion = "cn-north-4"\nproject_id = "x"\n', "must be the project's id, 32 char"),
]


@pytest.mark.parametrize(("text", "complaint"), CONFIGS, ids=range(len(CONFIGS)))
def test_a_wrong_configuration_is_one_line_and_nothing_is_sent(
    lab: Lab, shell: Shell, text: str, complaint: str
) -> None:
    shell.write("fleet.toml", text)
    for words in (["ls"], ["plan", "job.yaml"], ["runs"]):
        assert complaint in shell.refused(*words)
    assert lab.cloud.log == []


def test_every_problem_of_the_configuration_is_a_line(shell: Shell) -> None:
    shell.write("fleet.toml", '[[scope]]\nname = "a"\nregoin = "cn-north-4"\n')
    assert shell.refused("ls", lines=3).splitlines() == [
        "fleet: fleet.toml: scope[0].regoin: unknown key; did you mean region? (scope a)",
        "fleet.toml: scope[0].region: missing (scope a)",
        "fleet.toml: scope[0].project_id: missing (scope a)",
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('rate = "5000/s"', 'rat = "5000/s"', "scope[0].rat: unknown key; did you mean rate? (scope lab-a)"),
        (
            "[[scope]]",
            "x = 5\n[[scope]]",
            "x: unknown key; known: proxy, transport, scope, credentials, metrics, run, guards",
        ),
        ('name = "lab-b"', 'name = "lab-a"', "lab-a is taken by an earlier scope; names must differ"),
        ('credentials = "lab"', 'credentials = "lob"', "unknown table; did you mean lab?"),
        ('rate = "5000/s"', 'rate = "fast"', "scope[0].rate: not a rate; write a count and a window"),
        ('poll = "1s"', 'poll = "0s"', "scope[0].poll: not a pause"),
        ('region = "cn-north-4"', 'region = "../x"', "scope[0].region: not a region"),
        ("http://127.0.0.1", "http://example.com", "plain http is for loopback hosts only; use https"),
        ("http://127.0.0.1", "ftp://127.0.0.1", "must be https://HOST"),
        ('kind = "aksk"', 'kind = "magic"', "kind must be aksk, password, token or profile"),
        ("access_key =", "accss_key =", "unknown key; did you mean access_key?"),
    ],
)
def test_a_wrong_value_in_the_configuration_is_named(
    lab: Lab, shell: Shell, old: str, new: str, complaint: str
) -> None:
    text = lab.config()
    assert old in text
    shell.write("fleet.toml", text.replace(old, new, 1))
    assert complaint in shell.refused("ls")
    assert lab.cloud.log == []


@pytest.mark.security("credentials")
def test_a_configuration_with_secrets_that_others_may_read_is_refused(lab: Lab, shell: Shell) -> None:
    shell.write("fleet.toml", lab.config(), mode=0o644)
    said = shell.refused("ls")
    assert "chmod 600" in said
    assert lab.cloud.identity.secret_key not in said


def test_a_configuration_that_is_a_folder_or_missing_is_named(shell: Shell) -> None:
    assert "fleet: .: is a directory" in shell.refused("ls", "--config", ".")
    assert "fleet: nowhere: no such file or directory" in shell.refused("ls", "--config", "nowhere")


def test_missing_credentials_name_every_place_that_was_looked_at(lab: Lab, shell: Shell) -> None:
    text = lab.config().partition("[credentials.lab]")[0].replace('credentials = "lab"\n', "")
    shell.write("fleet.toml", text)
    said = shell.refused("ls")
    for place in ("HUAWEICLOUD_SDK_AK", ".huaweicloud/credentials", "HW_ACCESS_KEY", "[credentials.NAME]"):
        assert place in said
    assert lab.cloud.log == []


def test_a_variable_that_is_not_set_is_named(lab: Lab, shell: Shell) -> None:
    secret = lab.cloud.identity.secret_key
    shell.write("fleet.toml", lab.config().replace(f'secret_key = "{secret}"', 'secret_key_env = "LAB_SK"'))
    assert "the environment variable LAB_SK is not set" in shell.refused("ls")
    shell.patch.setenv("LAB_SK", secret)
    assert shell("ls", "--count").code == 0


def test_no_configuration_at_all_says_what_to_write(shell: Shell) -> None:
    said = shell.refused("ls", lines=5)
    assert "fleet: no configuration: neither " in said
    assert "[[scope]]" in said


@pytest.mark.parametrize(
    ("option", "text", "complaint"),
    [
        ("--faults", "kind: x\n", "must be a list"),
        ("--faults", "- {kind: throtle}\n", "wrong.yaml"),
        ("--rules", "feilds: seed\n", "wrong.yaml"),
        ("--rules", "fields: [\n", "wrong.yaml"),
        ("--faults", "\x00", "wrong.yaml"),
    ],
)
def test_wrong_files_for_the_simulator_are_one_line(
    shell: Shell, option: str, text: str, complaint: str
) -> None:
    shell.write("wrong.yaml", text)
    assert complaint in shell.refused("simulate", option, "wrong.yaml")
    assert "no such file or directory" in shell.refused("simulate", option, "nowhere")


GARBAGE = st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))
HALF_GOOD = st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=8)).map(
    lambda cut: GOOD[: cut[0]].encode() + cut[1] + GOOD[cut[0] + 1 :].encode()
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=GARBAGE | HALF_GOOD)
@example(b"\xff\xfe")
@example(b"? [a]\n: b\n")
@example(b"job: 9999999999999999999999999999\n")
def test_no_bytes_break_the_reading_of_a_file(shell: Shell, data: bytes) -> None:
    shell.write("any", data)
    words: tuple[Any, ...]
    for words in (
        ("validate", "any"),
        ("show", "any"),
        ("apply", "any", "--yes"),
        ("ls", "--config", "any"),
    ):
        result = shell(*words)
        assert result.out == ""
        assert result.code == 64 or (result.code, words[0]) == (0, "validate")
        assert result.code == 0 or result.err.startswith("fleet: ")
        assert all(line.isprintable() for line in result.said)


def test_a_pipe_can_be_read_as_a_job_file(shell: Shell) -> None:
    reader, writer = os.pipe()
    os.write(writer, GOOD.encode())
    os.close(writer)
    try:
        assert shell("validate", Path(f"/dev/fd/{reader}")).code == 0
    finally:
        os.close(reader)
