"""What signals do to a run: the first lets it come home, the second stops it at once, the third kills it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import anyio

from fleet.core.errors import Exit
from fleet.core.events import RunEnd
from fleet.engine.control import Control

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def heed_signals(
    control: Control,
    everything: anyio.CancelScope,
    run: str,
    tell: Callable[[str], None],
    whole: Callable[[str], str] = str,
) -> None:
    """Ends the run at the first signal, cancels `everything` at the second; the third ends the process.

    `tell` is told what the signal means, so that nobody presses again for want of an answer. `whole`
    completes the commands in the last words.

    To be called within `signals_restored`. The third does not come through the event loop: that may be what
    hangs.
    """
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        warned = False
        async for number in signals:
            if warned:
                break
            warned = True
            name = signal.Signals(number).name
            control.drain(RunEnd.INTERRUPTED, f"{name} received")
            tell(f"{name}: nothing new starts, what is under way comes home; once more stops at once")
    everything.cancel()
    last_words = whole(
        f"fleet: killed by the third signal, what is owed is not known; see: fleet report {run}, "
        f"then: fleet resume {run}\n"
    )

    def kill(_number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(2, last_words.encode())
        os._exit(Exit.STRANDED)

    for number in SIGNALS:
        signal.signal(number, kill)


@contextmanager
def signals_restored() -> Iterator[None]:
    """Leaves the handlers of SIGNALS as it found them."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
