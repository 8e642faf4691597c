"""Log lines: always JSON, never a secret, never the end of a run."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from fleet.telemetry.log import Redactor, configure_logging
from fleet.telemetry.quiet import QuietStream

CANARY = "cAnArY-7f3Xq9"


def logged(level: Any = "info", secrets: tuple[str, ...] = (), **values: Any) -> dict[str, Any]:
    """The one line that an info call makes, as it can be read back."""
    file = io.StringIO()
    configure_logging(file, level).add(*secrets)
    structlog.get_logger().info("said", **values)
    (text,) = file.getvalue().splitlines()
    assert text.isascii()
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_is_one_json_object_with_level_and_utc_time() -> None:
    line = logged(scope="lab-a")
    assert (line["event"], line["level"], line["scope"]) == ("said", "info", "lab-a")
    assert line["timestamp"].endswith("Z")


def test_lines_below_the_level_are_left_out() -> None:
    file = io.StringIO()
    configure_logging(file, "info")
    structlog.get_logger().debug("quiet")
    assert file.getvalue() == ""
    configure_logging(file, "debug")
    structlog.get_logger().debug("quiet")
    assert "quiet" in file.getvalue()


def test_without_a_file_nothing_is_written(capfd: Any) -> None:
    configure_logging(None)
    structlog.get_logger().error("said")
    assert capfd.readouterr() == ("", "")


def test_a_second_run_in_the_process_writes_to_its_own_file() -> None:
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger()
    configure_logging(first)
    log.info("one")
    configure_logging(second)
    log.info("two")
    assert "two" not in first.getvalue()
    assert "two" in second.getvalue()


@pytest.mark.security("escapes")
def test_foreign_text_is_escaped() -> None:
    line = logged(name="a\x1b]0;x\x07\n\u202eb\ud800")
    assert line["name"] == "a\x1b]0;x\x07\n\u202eb\ud800"  # unharmed, and ASCII in the file


@pytest.mark.security("tracebacks")
def test_a_traceback_shows_no_local_variables() -> None:
    file = io.StringIO()
    configure_logging(file)
    try:
        innocent = CANARY
        raise ValueError(len(innocent))
    except ValueError:
        structlog.get_logger().exception("failed")
    assert CANARY not in file.getvalue()
    assert "ValueError" in file.getvalue()


def test_values_under_telling_keys_are_hidden_at_any_depth() -> None:
    line = logged(
        headers={"X-Auth-Token": CANARY, "Authorization": CANARY, "Accept": "json"},
        password=CANARY,
        deep=[{"security_token": CANARY, "X-Subject-Token": [CANARY]}],
        text=f"SDK-HMAC-SHA256 Access=AK, Signature={'ab' * 32}",
        key_pair_names=["mine"],
    )
    assert CANARY not in json.dumps(line)
    assert "abab" not in line["text"]
    assert line["headers"]["Accept"] == "json"
    assert line["key_pair_names"] == ["mine"]


@pytest.mark.security("secrets")
def test_a_registered_secret_is_hidden_wherever_it_stands() -> None:
    class Holder:
        def __repr__(self) -> str:
            return f"Holder({CANARY})"

    line = logged(
        secrets=(CANARY, "p w/ü-long"),
        text=f"before {CANARY} after",
        parts=[CANARY, {CANARY: "key"}],
        holder=Holder(),
        address="https://host/?password=p%20w%2F%C3%BC-long",
        error=ValueError(CANARY),
        raw=CANARY.encode(),
    )
    assert CANARY not in json.dumps(line)
    assert "p%20w" not in json.dumps(line)
    assert line["text"] == "before [hidden] after"


@pytest.mark.security("secrets", "tracebacks")
def test_a_secret_in_an_exception_is_hidden() -> None:
    file = io.StringIO()
    configure_logging(file).add(CANARY)
    try:
        raise ValueError(f"refused {CANARY}")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert CANARY not in file.getvalue()
    assert "refused [hidden]" in file.getvalue()


def test_a_secret_within_a_longer_secret_leaves_nothing_of_either() -> None:
    assert logged(secrets=("abcd", "abcdefgh"), text="abcdefgh")["text"] == "[hidden]"


def test_a_very_short_secret_does_not_blot_out_the_log() -> None:
    assert logged(secrets=("a", ""), text="a banana")["text"] == "a banana"


def test_values_that_json_lacks_are_shown_as_text() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    circle: list[Any] = []
    circle.append(circle)
    line = logged(a=float("nan"), b={1, 2}, c=Broken(), d=circle, e=b"x", f={(1, 2): 3}, path=Path("x"))
    assert (line["a"], sorted(line["b"]), line["c"], line["e"]) == ("nan", [1, 2], "<Broken>", "b'x'")
    assert line["f"] == {"(1, 2)": 3}


def test_an_int_too_long_to_print_costs_only_its_own_line() -> None:
    assert logged(number=10**5000)["event"] == "a log line that cannot be shown"


@pytest.mark.security("secrets")
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
        max_leaves=20,
    )
)
def test_any_value_makes_one_line_without_the_secret(value: Any) -> None:
    redact = Redactor()
    redact.add(CANARY)
    shown = redact(None, "info", {"value": value, "list": [value, CANARY]})
    assert CANARY not in json.dumps(shown, allow_nan=False)


@pytest.mark.row(70)
def test_a_full_disk_does_not_stop_the_run() -> None:
    file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    configure_logging(file)
    for _ in range(1000):
        structlog.get_logger().info("said", text="x" * 100)
    with contextlib.suppress(OSError):  # a full disk complains once more
        file.close()
    structlog.get_logger().info("said after the file was closed")


@pytest.mark.row(70)
def test_a_closed_pipe_does_not_stop_the_run() -> None:
    reader, writer = os.pipe()
    file = os.fdopen(writer, "w")
    configure_logging(file)
    os.close(reader)
    structlog.get_logger().info("said")
    with contextlib.suppress(OSError):
        file.close()


class Flaky(io.StringIO):
    """Takes half of what it is given and fails while `full`."""

    full = False

    def write(self, text: str) -> int:
        super().write(text[: len(text) // 2] if self.full else text)
        if self.full:
            raise OSError(28, "No space left on device")
        return len(text)


def test_once_there_is_room_again_the_next_line_is_whole() -> None:
    file = Flaky()
    configure_logging(file)
    log = structlog.get_logger()
    log.info("one")
    file.full = True
    log.info("two")
    file.full = False
    log.info("three")
    log.info("four")
    lines = file.getvalue().splitlines()
    assert [json.loads(lines[i])["event"] for i in (0, 2, 3)] == ["one", "three", "four"]


def test_a_quiet_stream_counts_what_it_lost_and_escapes_what_it_cannot_write() -> None:
    raw = io.BytesIO()
    stream = QuietStream(io.TextIOWrapper(raw, "ascii", write_through=True))
    assert stream.write("né\ud800") == 3
    assert raw.getvalue() == b"n\\xe9\\ud800"
    assert stream.lost == 0
    raw.close()
    stream.write("x")
    assert stream.lost == 1
    assert stream.isatty() is False
