"""The plan tells where images go, for each place, before anybody says yes."""

from __future__ import annotations

from fleet.core.planning.saves import save_remarks
from tests.plans import make_change


def test_every_place_is_told_with_its_number_and_its_names() -> None:
    changes = [
        make_change(0, save="lab/before-a-1"),
        make_change(1, save="lab/before-b-2"),
        make_change(2, save="lab/before-c-3", scope="lab-b"),
        make_change(3, save="mine/x", scope="lab-b"),
        make_change(4),
    ]
    where = "in the organization lab of scope lab-a (named by save_to), with names like before-a-1"
    lab_b, mine = (f"in the organization {name} of scope lab-b" for name in ("lab", "mine"))
    end = "that takes minutes, costs space"
    assert list(save_remarks(changes, {"lab-a": "named by save_to"})) == [
        f"2 environments are saved as images first, {where}; {end}",
        f"1 environment is saved as an image first, {lab_b}, called before-c-3; {end}",
        f"1 environment is saved as an image first, {mine}, called x; {end}",
    ]


def test_without_a_saved_environment_nothing_is_said() -> None:
    assert list(save_remarks([make_change()], {"lab-a": "named by save_to"})) == []
