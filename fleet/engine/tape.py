"""Where every event passes: first to the journal, then to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet.core.events import Event
from fleet.engine.ports import Observer, Recorder


class Tape:
    """Hands events to the recorder and, once they are on their way there, to the observers."""

    def __init__(self, recorder: Recorder, observers: Sequence[Observer]) -> None:
        self._recorder = recorder
        self._observers = list(observers)
        self._trouble: Callable[[Exception], None] | None = None

    def report_to(self, trouble: Callable[[Exception], None]) -> None:
        """Tells `trouble` when an observer fails, instead of the change whose event it was."""
        self._trouble = trouble

    def show_to(self, observer: Observer) -> None:
        """Shows events from now on to one more observer, after all others."""
        self._observers.append(observer)

    async def commit(self, event: Event) -> None:
        """Returns when the event is on disk. Raises RecordingFailed when it cannot get there."""
        await self._recorder.commit(event)
        self._show(event)

    def note(self, event: Event) -> None:
        """The event will be on disk soon; losing it costs no more than one look."""
        self._recorder.note(event)
        self._show(event)

    def _show(self, event: Event) -> None:
        for observe in self._observers:
            try:
                observe(event)
            except Exception as error:  # whoever watches must not keep a notebook from coming home
                if self._trouble is None:
                    raise
                self._trouble(error)
