"""What every test shares: no event loop by accident, and properties without a stopwatch."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

# The machine that runs this may be busy: how long one example takes says nothing.
settings.register_profile("fleet", deadline=None, max_examples=40)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("fleet")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests are gathered, none of them garbage: looking for it took a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_loop_by_accident() -> None:
    """The plugin for virtual time asks for the current loop in plain tests too; without this, one that
    nobody closes is made for the asking."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell starts what it runs in the background with SIGINT ignored; tests that interrupt need it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
