"""The third signal, when neither the first nor the second could end the process."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from fleet.service.signals import SIGNALS, signals_restored

STUCK = """
import anyio, sys, time
from fleet.core.commands import whole
from fleet.engine.control import Control
from fleet.service.signals import heed_signals, signals_restored

async def main():
    control = Control()
    with signals_restored():
        async with anyio.create_task_group() as group:
            group.start_soon(heed_signals, control, group.cancel_scope, "20261130-081500-k3f9", str, WHOLE)
            await anyio.sleep(0)
            print("ready", flush=True)
            await control.draining.wait()
            print("draining", flush=True)
            try:
                await anyio.sleep_forever()
            finally:
                print("stopping", flush=True)
                WAIT

anyio.run(main)
"""


@pytest.mark.row(51)
@pytest.mark.parametrize(
    "how", ["time.sleep(60)", "with anyio.CancelScope(shield=True): await anyio.sleep(60)"]
)
@pytest.mark.parametrize("last", SIGNALS)
def test_the_third_signal_kills_whatever_hangs(how: str, last: signal.Signals) -> None:
    program = STUCK.replace("WAIT", how).replace(
        "WHOLE", "lambda text: whole(text, ' --config C', ' --run-dir D')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for word, number in (("ready", signal.SIGINT), ("draining", signal.SIGTERM), ("stopping", last)):
            assert process.stdout.readline() == f"{word}\n"
            process.send_signal(number)
        _, complaint = process.communicate(timeout=20)
    assert process.returncode == 7
    assert complaint == (
        "fleet: killed by the third signal, what is owed is not known; "
        "see: fleet report 20261130-081500-k3f9 --config C --run-dir D, "
        "then: fleet resume 20261130-081500-k3f9 --config C --run-dir D\n"
    )


def test_handlers_are_left_as_they_were_found() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with signals_restored():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in SIGNALS] == before
