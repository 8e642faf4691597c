"""What the stops and starts of earlier runs say of a plan: timed, kept, believed; how long it then takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.sight import Sight
from fleet.core.events import Answered, Event, Fate, Held, Intended, OutOfReach, Reopened, Saw, Step
from fleet.core.notebook import Flavor, Status
from fleet.core.patch import When
from fleet.core.planning.estimate import ASSUMED, ASSUMED_CALL, estimate, expected
from fleet.core.planning.plan import Absence, Change, Phase, PlanScope, Took
from fleet.core.planning.times import BELIEVED, KEPT, MOST, Stopwatch, Timed, dump, learned, load, with_news
from fleet.core.rollout import Rollout
from fleet.core.scheduling.timing import Moment, Otherwise
from tests.plans import make_change, make_plan

NOW = 1_764_000_000.0
HERE = "https://here.example.com:8443"
SCOPE = PlanScope("lab-a", "r", "p", HERE, 9, "k", "1000/s")
FLAVORS = {name: Flavor(name, category=name.partition("-")[0].upper()) for name in ("cpu", "cpu-big", "gpu")}


def change(item: int = 0, flavor: str = "cpu", to: str = "", **fields: object) -> Change:
    body = {"flavor": to} if to else {"image_id": "new"}
    return replace(
        make_change(item),
        flavor=flavor,
        phases=(Phase(When.STOPPED, body),),
        before=dict.fromkeys(body, "old"),
        after=body,
        **fields,  # type: ignore[arg-type]  # the words of a change
    )


def timed(flavor: str, step: str, *seconds: float, where: str = HERE) -> list[Timed]:
    return [Timed(where, flavor, step, one, NOW - 60.0) for one in seconds]  # type: ignore[arg-type]  # a step


# --- timing ----------------------------------------------------------------------------------------------


def saw(at: float, status: Status, listed: float | None = None) -> Saw:
    listed_at = None if listed is None else NOW + listed
    return Saw(0, NOW + at, Sight(status, {}, None, None, 0, ""), listed_at=listed_at)


def sent(at: float, step: Step, fate: Fate = Fate.ACCEPTED) -> list[Event]:
    return [Intended(0, NOW + at, step, 1), Answered(0, NOW + at + 1, step, fate)]


def watched(*events: Event, of: Change | None = None) -> list[tuple[str, str, float]]:
    watch = Stopwatch(make_plan(of or change(), scopes=(SCOPE,)))
    for event in events:
        watch(event)
    return [(one.flavor, one.step, one.seconds) for one in watch.timed]


def test_a_stop_and_a_start_end_in_the_middle_of_the_two_looks_that_bound_them() -> None:
    way = [
        *sent(0, Step.STOP),
        saw(5, Status.STOPPING),
        saw(25, Status.STOPPING),
        saw(35.04, Status.STOPPED),
        *sent(36, Step.PUT),
        saw(38, Status.STOPPED),
        *sent(40, Step.START),
        saw(130, Status.STARTING),
        saw(150, Status.RUNNING),
        saw(155, Status.RUNNING),
    ]
    assert watched(*way) == [("cpu", "stop", 30.0), ("cpu", "start", 100.0)]
    assert watched(*way, of=change(to="gpu")) == [("cpu", "stop", 30.0), ("gpu", "start", 100.0)]


def test_a_list_that_still_shows_it_on_its_way_is_a_look_too() -> None:
    assert watched(*sent(0, Step.STOP), saw(40, Status.STOPPED, listed=20)) == [("cpu", "stop", 30.0)]
    assert watched(*sent(0, Step.STOP), saw(25, Status.STOPPING), saw(40, Status.STOPPED, listed=20)) == [
        ("cpu", "stop", 32.5)
    ]


def test_a_poll_that_is_slower_than_the_stop_teaches_nothing() -> None:
    assert watched(*sent(0, Step.STOP), saw(20, Status.STOPPED)) == []
    assert watched(*sent(0, Step.STOP), saw(9.9, Status.STOPPING), saw(30, Status.STOPPED)) == []
    assert watched(*sent(0, Step.STOP), saw(10, Status.STOPPING), saw(30, Status.STOPPED)) == [
        ("cpu", "stop", 20.0)
    ]


BREAKS = [
    OutOfReach(NOW + 100, "here.example.com:8443", "cannot connect", NOW + 90),
    Held(NOW + 100, "k", "11 % of the calls fail"),
]
MENDS = [OutOfReach(NOW + 700, "here.example.com:8443", "", NOW + 700), Held(NOW + 700, "k", "")]


@pytest.mark.parametrize(("breaks", "mends"), [*zip(BREAKS, MENDS, strict=True)])
def test_what_an_outage_or_a_breaker_fell_into_teaches_nothing(breaks: Event, mends: Event) -> None:
    start = [*sent(0, Step.START), saw(700, Status.STARTING)]
    assert watched(*start, saw(760, Status.RUNNING)) == [("cpu", "start", 730.0)]
    assert watched(breaks, mends, *start, saw(760, Status.RUNNING)) == [("cpu", "start", 730.0)]
    assert watched(*start[:2], breaks, start[2], saw(760, Status.RUNNING)) == []
    assert watched(*start[:2], breaks, mends, start[2], saw(760, Status.RUNNING)) == []
    assert watched(breaks, *start[:2], mends, start[2], saw(760, Status.RUNNING)) == []


@pytest.mark.parametrize(
    "news",
    [
        OutOfReach(NOW + 1, "elsewhere.example.com", "cannot connect", NOW),
        Held(NOW + 1, "wave 2", "not approved"),
    ],
)
def test_news_of_elsewhere_do_no_harm(news: Event) -> None:
    way = [*sent(0, Step.START), news, saw(90, Status.STARTING), saw(110, Status.RUNNING)]
    assert watched(*way) == [("cpu", "start", 100.0)]


@pytest.mark.parametrize(
    "way",
    [
        [*sent(0, Step.STOP, Fate.REFUSED), saw(29, Status.STOPPING), saw(30, Status.STOPPED)],
        [*sent(0, Step.START), saw(30, Status.START_FAILED)],
        [
            *sent(0, Step.STOP),
            Reopened(0, NOW + 9_000),
            saw(9_001, Status.STOPPING),
            saw(9_002, Status.STOPPED),
        ],
        [saw(29, Status.STOPPING), saw(30, Status.STOPPED)],
        [*sent(0, Step.PUT), saw(29, Status.STOPPING), saw(30, Status.STOPPED)],
    ],
)
def test_what_was_refused_failed_or_not_seen_through_is_not_timed(way: list[Event]) -> None:
    assert watched(*way) == []


def test_of_several_tries_the_last_is_timed() -> None:
    way = [
        *sent(0, Step.START, Fate.REFUSED),
        *sent(60, Step.START),
        saw(95, Status.STARTING),
        saw(105, Status.RUNNING),
    ]
    assert watched(*way) == [("cpu", "start", 40.0)]


# --- believing -------------------------------------------------------------------------------------------


def test_each_flavor_has_its_own_times() -> None:
    known = [*timed("cpu", "stop", 10, 20, 30), *timed("cpu", "start", 100, 50, 60), *timed("gpu", "stop", 5)]
    assert learned(known, [change()], [HERE], FLAVORS) == {"cpu": Took(20, 60, 30, 100, of=6)}


def test_a_flavor_that_was_never_timed_takes_as_long_as_its_category() -> None:
    known = [*timed("cpu", "stop", 10, 20, 30), *timed("cpu", "start", 100, 50, 60)]
    assert learned(known, [change(flavor="cpu-big")], [HERE], FLAVORS) == {
        "cpu-big": Took(20, 60, 30, 100, of=6)
    }
    assert learned(known, [change(flavor="gpu")], [HERE], FLAVORS) == {}
    assert learned(known, [change(flavor="nobody knows")], [HERE], FLAVORS) == {}


def test_both_flavors_of_a_resize_are_looked_up() -> None:
    known = [*timed("gpu", "stop", 1, 2, 3), *timed("gpu", "start", 4, 5, 6)]
    assert set(learned(known, [change(to="gpu")], [HERE], FLAVORS)) == {"gpu"}


@pytest.mark.parametrize(
    "known",
    [
        [*timed("cpu", "stop", 1, 2), *timed("cpu", "start", 1, 2, 3)],  # too few
        [*timed("cpu", "stop", 1, 2, 3)],
        [*timed("cpu", "stop", 1, 2, 3, where="x"), *timed("cpu", "start", 1, 2, 3, where="x")],
    ],
)
def test_too_little_or_elsewhere_teaches_nothing(known: list[Timed]) -> None:
    assert learned(known, [change()], [HERE], FLAVORS) == {}


def test_who_stays_where_he_is_needs_no_times() -> None:
    known = [*timed("cpu", "stop", 1, 2, 3), *timed("cpu", "start", 1, 2, 3)]
    assert learned(known, [change(run_state=Status.STOPPED)], [HERE], FLAVORS) == {}


@given(st.lists(st.floats(0.1, 9_999.0), min_size=3, max_size=60))
def test_half_are_within_the_median_and_nineteen_of_twenty_within_the_slow_one(
    found: list[float],
) -> None:
    known = [*timed("cpu", "stop", *found), *timed("cpu", "start", *found)]
    (took,) = learned(known, [change()], [HERE], FLAVORS).values()
    for share, limit in ((0.5, took.stop), (0.95, took.slow_stop)):
        assert limit in found
        assert sum(one <= limit for one in found) >= share * len(found)
        assert sum(one < limit for one in found) < share * len(found)


# --- keeping ---------------------------------------------------------------------------------------------


def test_what_is_kept_is_read_again_until_it_is_too_old() -> None:
    known = tuple(timed("cpu", "stop", 1, 2.5))
    assert load(dump(known), NOW) == known
    assert load(dump(known), NOW + BELIEVED) == ()
    assert load(dump(known), NOW - 3600.0) == ()  # the future is no age
    assert load(dump(timed("cpu", "stop", 0.0, 1e9)), NOW) == ()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"timed": [], "format": 2}', b'{"timed": [1], "format": 1}'])
def test_anything_else_is_no_such_file(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        load(data, NOW)


def test_only_the_latest_of_each_kind_are_kept() -> None:
    old = [Timed(HERE, "cpu", "stop", 1.0, NOW + at) for at in range(KEPT)]
    news = [Timed(HERE, "cpu", "stop", 2.0, NOW + KEPT), Timed(HERE, "cpu", "start", 3.0, NOW)]
    kept = with_news(old, news)
    assert len(kept) == KEPT + 1
    assert set(kept) == {*old[1:], *news}
    many = [Timed(HERE, f"f{at}", "stop", 1.0, NOW + at) for at in range(MOST + 10)]
    assert set(with_news(many, ())) == set(many[10:])


# --- estimating ------------------------------------------------------------------------------------------

TIMES = {"cpu": Took(10.0, 20.0, 30.0, 60.0, of=9)}
CALLS = 7 * ASSUMED_CALL


def test_the_interval_is_of_learned_times_where_there_are_some_and_else_of_assumed_ones() -> None:
    found = estimate([change()], [SCOPE], Rollout(), times=TIMES)
    assert (found.seconds, found.slow_seconds, found.times) == (30.0 + CALLS, 90.0 + CALLS, TIMES)
    assumed = estimate([change()], [SCOPE], Rollout())
    assert assumed.seconds == ASSUMED.stop + ASSUMED.start + CALLS
    assert assumed.slow_seconds == ASSUMED.slow_stop + ASSUMED.slow_start + CALLS
    assert assumed.times == {}


def test_a_resize_stops_on_the_one_flavor_and_starts_on_the_other() -> None:
    assert expected(change(to="gpu"), TIMES).seconds == 10.0 + ASSUMED.start + CALLS
    assert expected(change(flavor="gpu", to="cpu"), TIMES).seconds == ASSUMED.stop + 20.0 + CALLS


def test_where_the_rate_holds_everything_back_slow_starts_cost_nothing() -> None:
    changes = [change(item) for item in range(200)]
    found = estimate(changes, [replace(SCOPE, rate="60/min")], Rollout(concurrency=200))
    assert found.seconds == found.slow_seconds


def test_who_is_away_and_for_how_long_is_told_by_owner() -> None:
    rows = [
        change(0, owner="ana", id="a"),
        change(1, owner="ana", id="b"),
        change(2, owner="ana", id="b", stage=2, follows=1),
        change(3, owner="bo", id="c"),
        change(4, owner="cy", id="d", run_state=Status.STOPPED),
    ]
    each = 30.0 + CALLS
    found = estimate(rows, [SCOPE], Rollout(), times=TIMES)
    assert found.away == (Absence("ana", 2, 3 * each), Absence("bo", 1, each))
    patient = Rollout(when=Moment.NEXT_STOP, patience=9.0, otherwise=Otherwise.SKIP)
    assert estimate(rows, [SCOPE], patient).away == ()
