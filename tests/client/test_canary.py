"""One call alone until a credential is proven, and none after it is refused."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from fleet.client.canary import Canary
from fleet.core.errors import CallError, Meaning

REFUSED = CallError(Meaning.UNAUTHENTICATED, "wrong", status=401, code="APIGW.0301", request_id="r")
PROOFS = [
    None,
    Meaning.BUSY,
    Meaning.WRONG_STATE,
    Meaning.RECOVERING,
    Meaning.GONE,
    Meaning.SOLD_OUT,
    Meaning.QUOTA,
    Meaning.FROZEN,
    Meaning.FORBIDDEN,
    Meaning.INVALID,
]
SILENT = sorted(set(Meaning) - {*PROOFS, Meaning.UNAUTHENTICATED})


async def crowd(canary: Canary, ends: list[CallError | None]) -> tuple[int, list[CallError]]:
    """A caller for each of `ends`, ending so: how many were under way at once, and who was turned away."""
    aboard = most = 0
    errors: list[CallError] = []

    async def caller(end: CallError | None) -> None:
        nonlocal aboard, most
        try:
            alone = await canary.admit()
        except CallError as error:
            errors.append(error)
            return
        aboard += 1
        most = max(most, aboard)
        await anyio.lowlevel.checkpoint()
        aboard -= 1
        canary.judge(end)
        if alone:
            canary.release()

    async with anyio.create_task_group() as group:
        for end in ends:
            group.start_soon(caller, end)
    return most, errors


@pytest.mark.parametrize("meaning", PROOFS)
async def test_after_the_first_proof_all_go_together(meaning: Meaning | None) -> None:
    end = None if meaning is None else CallError(meaning, "")
    canary = Canary()
    assert await crowd(canary, [end]) == (1, [])
    assert await crowd(canary, [end] * 50) == (50, [])


async def test_fifty_wait_for_the_one() -> None:
    canary = Canary()
    assert await canary.admit()
    waited = []

    async def second() -> None:
        waited.append(await canary.admit())

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(second)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert waited == []
        canary.judge(None)
        canary.release()
    assert waited == [False] * 50


@pytest.mark.parametrize("meaning", SILENT)
async def test_what_proves_nothing_leaves_one_at_a_time(meaning: Meaning) -> None:
    most, errors = await crowd(Canary(), [CallError(meaning, "")] * 20)
    assert (most, errors) == (1, [])


async def test_the_first_refusal_ends_all_who_wait_and_all_who_come() -> None:
    canary = Canary()
    most, errors = await crowd(canary, [REFUSED] * 50)
    assert (most, len(errors)) == (1, 49)
    assert {str(error) for error in errors} == {str(REFUSED)}
    assert len({id(error) for error in errors}) == 49
    with pytest.raises(CallError) as caught:
        canary.check()
    assert (caught.value.code, caught.value.request_id, caught.value.status) == ("APIGW.0301", "r", 401)


async def test_a_proven_credential_can_still_be_refused_later() -> None:
    canary = Canary()
    canary.judge(None)
    canary.judge(REFUSED)
    with pytest.raises(CallError):
        await canary.admit()


def test_it_is_open_to_all_from_the_first_proof_to_the_first_refusal() -> None:
    canary = Canary()
    assert not canary.open
    canary.judge(None)
    assert canary.open
    canary.judge(REFUSED)
    assert not canary.open
