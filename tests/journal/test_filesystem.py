"""Whether a folder can hold a run is told without making anything there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fleet.journal.filesystem import unfit, unwritable

NOBODY = 65534


@contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of root."""
    us = os.geteuid()
    if us == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(us)


def test_a_folder_that_is_there_or_can_be_made_is_fit_and_nothing_is_made(tmp_path: Path) -> None:
    assert unfit(tmp_path) == unfit(tmp_path / "a" / "b") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_nor_holds_any(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unwritable(tmp_path / "file") == "it is not a folder"
    assert unwritable(tmp_path / "file" / "a" / "b") == f"{tmp_path}/file is not a folder"


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert unwritable(tmp_path / "link") == "it is not a folder"


def test_a_folder_that_is_not_ours_to_write_is_named() -> None:
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # to be reached by nobody, too
        closed = Path(name) / "closed"
        closed.mkdir(mode=0o555)
        with nobody():
            assert unwritable(closed) == "you may not write there"
            assert unfit(closed / "a" / "b") == f"you may not write to {closed}"


def test_a_name_that_no_folder_can_have_is_told_and_raises_nothing(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 300)
    assert {unwritable(long), unwritable(long / "b"), unfit(long), unfit(long / "b")} == {
        "file name too long"
    }
