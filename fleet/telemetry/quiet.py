"""A text stream that never raises: a full disk or a closed pipe must not stop a run."""

from __future__ import annotations

from typing import TextIO


class QuietStream:
    """Writes to `stream` and swallows its failures; `lost` counts the writes and flushes that failed.

    Characters that the stream's encoding lacks are written as escapes. The stream stays the caller's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._torn = False
        self.lost = 0

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        # After a failure half a line may stand there already: the next one starts afresh.
        whole = f"\n{text}" if self._torn else text
        try:
            self._stream.write(whole.encode(self.encoding, "backslashreplace").decode(self.encoding))
            self._torn = False
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._fail()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._fail()

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def _fail(self) -> None:
        self._torn = True
        self.lost += 1
