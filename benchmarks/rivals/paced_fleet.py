"""Our client, paced by its own gate. Options as in `paced`."""

from __future__ import annotations

from itertools import count as numbers_from

from benchmarks.harness import Sample
from benchmarks.rivals.fleet_client import SCOPE, connected
from benchmarks.rivals.paced import for_a_while
from benchmarks.rivals.work import BODY, Work, key, run_in, with_memory
from fleet.core.errors import CallError, Meaning

PACKAGES: tuple[str, ...] = ()


def measure(work: Work) -> Sample:
    numbers = numbers_from()

    async def play() -> Sample:
        async with connected(work) as clouds:
            cloud = clouds[SCOPE]

            async def call() -> None:
                try:
                    await cloud.put(key(next(numbers)), BODY, await cloud.turn())
                except CallError as error:
                    if error.meaning is not Meaning.THROTTLED:  # the engine comes back to such a change
                        raise

            return await for_a_while(work.option("seconds"), [call] * work.concurrency)

    return with_memory(run_in(work.loop, play()))
