"""Who is away passes first: in virtual time, for those who read and for those who write."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import anyio
import pytest

from fleet.client.clock import Clock
from fleet.client.gate import LEAD, Gate
from fleet.core.calls import Rank
from fleet.core.errors import CallError, Meaning
from fleet.core.pacing.limits import Limit, Rate
from fleet.core.pacing.pace import HEADROOM, Pace
from fleet.core.pacing.send_log import largest_count
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

BEAT = 10.0 * (1 + HEADROOM)  # s between two slots
SLOW = Rate(6, 60.0)

Visit = tuple[float, str, Rank, str]


class Crowd:
    """A gate, and who passed it when. `way` is how: reads or writes."""

    def __init__(self, clock: Clock, way: str, rate: Rate, in_flight: int) -> None:
        self.gate = Gate("key", Pace(rate), clock, on_slowed=lambda _: None, in_flight=in_flight)
        self.left: list[tuple[str, float]] = []
        self._way = way

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.left]

    async def send(self, name: str, rank: Rank, lane: str = "", takes: float = 0.0) -> None:
        """One request."""
        if self._way == "reads":
            await self.gate.pass_(lane, rank)
        else:
            await self.gate.pass_turn(await self.gate.turn(lane, rank), lane)
        at = await self.go(name)
        await anyio.sleep(takes)
        self.gate.leave(at)

    async def go(self, name: str) -> float:
        while (at := self.gate.go()) is None:
            await self.gate.clear()
        self.left.append((name, at))
        return at

    async def come(self, *visits: Visit) -> None:
        """Requests that come at those seconds: when, name, rank and lane."""

        async def visit(after: float, name: str, rank: Rank, lane: str) -> None:
            await anyio.sleep(after)
            await self.send(name, rank, lane)

        async with anyio.create_task_group() as group:
            for one in visits:
                group.start_soon(visit, *one)


Make = Callable[..., Crowd]


@pytest.fixture
def make(loop_clock: Clock) -> Make:
    return lambda way, rate=SLOW, in_flight=32: Crowd(loop_clock, way, rate, in_flight)


@pytest.mark.parametrize(("way", "lead"), [("reads", 0.0), ("writes", LEAD)])
async def test_who_is_away_takes_the_slot_that_somebody_new_has_been_waiting_for(
    make: Make, way: str, lead: float
) -> None:
    """As long as it is not given out; who comes after that waits for the next one."""
    crowd = make(way)
    news = [(0.0, f"new-{number}", Rank.NEW, "") for number in range(6)]
    just_in_time, just_too_late = 2 * BEAT - lead - 0.1, 3 * BEAT - lead + 0.1
    await crowd.come(*news, (just_in_time, "a", Rank.AWAY, ""), (just_too_late, "b", Rank.AWAY, ""))
    assert crowd.names == ["new-0", "new-1", "a", "new-2", "b", "new-3", "new-4", "new-5"]
    assert [at for _, at in crowd.left] == [pytest.approx(n * BEAT, abs=0.1) for n in range(8)]


@pytest.mark.parametrize(("way", "lead"), [("reads", 0.0), ("writes", LEAD)])
async def test_who_is_away_waits_for_nobody_new_however_many_come(make: Make, way: str, lead: float) -> None:
    crowd = make(way, Rate(60, 60.0))
    news = [(0.5 * number, "new", Rank.NEW, "") for number in range(600)]
    came = {f"away-{number}": 100.0 + 5.0 * number for number in range(40)}
    await crowd.come(*news, *((at, name, Rank.AWAY, "") for name, at in came.items()))
    waits = [at - came[name] for name, at in crowd.left if name in came]
    assert len(waits) == 40
    assert max(waits) <= 1.1 + lead


@pytest.mark.parametrize("way", ["reads", "writes"])
async def test_who_is_new_gets_every_slot_that_nobody_else_wants(make: Make, way: str) -> None:
    crowd = make(way, Rate(60, 60.0))
    news: list[Visit] = [(0.0, "new", Rank.NEW, "")] * 20
    await crowd.come(*news, *((2.0 * number, "away", Rank.AWAY, "") for number in range(20)))
    assert len(crowd.left) == 40
    assert crowd.left[-1][1] == pytest.approx(39 * (1 + HEADROOM), abs=0.1)


@pytest.mark.parametrize("way", ["reads", "writes"])
async def test_scopes_take_turns_among_those_who_are_away_and_among_those_who_are_new(
    make: Make, way: str
) -> None:
    crowd, lanes = make(way), ["large"] * 6 + ["small"] * 2
    await crowd.come(
        (0.0, "first", Rank.NEW, ""),
        *((0.0, f"new {lane}", Rank.NEW, lane) for lane in lanes),
        *((0.0, f"away {lane}", Rank.AWAY, lane) for lane in lanes),
    )
    away, new = crowd.names[1:9], crowd.names[9:]
    assert sorted(away) == ["away large"] * 6 + ["away small"] * 2
    assert away[:4].count("away small") == new[:4].count("new small") == 2


@pytest.mark.parametrize("rate", [Rate(1000, 1.0), Rate(60, 60.0)], ids=str)
async def test_a_freed_seat_goes_to_a_write_of_somebody_away(make: Make, rate: Rate) -> None:
    """Whether it had to wait for its turn or not."""
    crowd = make("writes", rate, in_flight=1)
    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(crowd.send, f"new-{number}", Rank.NEW, "", 10.0)
        await anyio.sleep(5.0)
        group.start_soon(crowd.send, "away", Rank.AWAY, "", 10.0)
    assert crowd.names == ["new-0", "new-1", "away", *(f"new-{number}" for number in range(2, 12))]


@pytest.mark.parametrize("way", ["reads", "writes"])
async def test_no_window_is_broken_by_who_overtakes_also_when_a_limit_is_learned_meanwhile(
    make: Make, way: str
) -> None:
    crowd, draw = make(way, Rate(120, 60.0)), Random(7)
    visits = [
        (draw.uniform(0.0, 300.0), "x", draw.choice(list(Rank)), draw.choice("abc")) for _ in range(500)
    ]

    async def teach() -> None:
        await anyio.sleep(100.0)
        await crowd.gate.pass_()
        refusal = CallError(Meaning.THROTTLED, "", status=429, limit=Limit("user", 10, 10.0))
        crowd.gate.heard(await crowd.go("refused"), refusal)

    async with anyio.create_task_group() as group:
        group.start_soon(crowd.come, *visits)
        group.start_soon(teach)
    instants = [at for _, at in crowd.left]
    learned = crowd.names.index("refused") + 1
    assert len(instants) == 501
    assert largest_count(instants, 60.0) <= 120
    assert largest_count(instants[learned:], 10.0) <= 10


@pytest.mark.parametrize("way", ["reads", "writes"])
async def test_whoever_gives_up_while_others_overtake_takes_no_place_along(make: Make, way: str) -> None:
    crowd = make(way)

    async def impatient(rank: Rank, after: float, patience: float) -> None:
        await anyio.sleep(after)
        with anyio.move_on_after(patience):
            await crowd.send("impatient", rank)

    with anyio.fail_after(20 * BEAT):
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.send, "first", Rank.NEW)
            for number in range(4):
                group.start_soon(impatient, Rank.NEW, 0.0, 3.0 * number + BEAT)
                group.start_soon(impatient, Rank.AWAY, 2.0 * number, BEAT / 2)
            group.start_soon(crowd.send, "last", Rank.NEW)
    assert crowd.names[-1] == "last"
    with anyio.fail_after(3 * BEAT):
        await crowd.send("afterwards", Rank.NEW)
