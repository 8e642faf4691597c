"""One canary a credential, so that a fleet of workers cannot lock a key out.

Six wrong signatures lock an access key for five minutes, for everybody who uses it. So until a credential
is proven only one call with it is under way, and the first refusal ends them all.
"""

from __future__ import annotations

import anyio

from fleet.core.errors import CallError, Meaning

# The cloud looked at the credentials before it said any of these. Throttling by address, a wrong endpoint or
# a failing server may come before that look and prove nothing.
_PROVES = frozenset(
    {
        Meaning.BUSY,
        Meaning.WRONG_STATE,
        Meaning.RECOVERING,
        Meaning.GONE,
        Meaning.SOLD_OUT,
        Meaning.QUOTA,
        Meaning.FROZEN,
        Meaning.FORBIDDEN,
        Meaning.INVALID,
    }
)


class Canary:
    """What is known of one credential: nothing yet, proven, or refused for good."""

    def __init__(self) -> None:
        self._alone = anyio.Lock(fast_acquire=True)
        self._proven = False
        self._refusal: CallError | None = None

    @property
    def proven(self) -> bool:
        """Whether the cloud has accepted the credential."""
        return self._proven

    @property
    def open(self) -> bool:
        """Whether `admit` would let everybody in at once."""
        return self._proven and self._refusal is None

    def check(self) -> None:
        """Raises the refusal, if there was one."""
        if self._refusal is not None:
            raise fresh_copy(self._refusal)

    async def admit(self) -> bool:
        """Waits while an unproven credential is in use. True makes the caller the canary, to `release`."""
        if self._decided():
            return False
        await self._alone.acquire()
        try:
            canary = not self._decided()
        except CallError:
            self._alone.release()
            raise
        if not canary:
            self._alone.release()
        return canary

    def _decided(self) -> bool:
        self.check()
        return self._proven

    def release(self) -> None:
        """Lets the next one try, or all of them when the credential is proven by now."""
        self._alone.release()

    def judge(self, error: CallError | None) -> None:
        """Takes in how a call ended; None is success. The first refusal stays."""
        if error is None or error.meaning in _PROVES:
            self._proven = True
        elif error.meaning is Meaning.UNAUTHENTICATED and self._refusal is None:
            self._refusal = fresh_copy(error)


def fresh_copy(error: CallError) -> CallError:
    """The same error for another call, which sent nothing.

    Without its traceback: raising one object in a thousand tasks would chain them all.
    """
    return CallError(
        error.meaning, error.text, status=error.status, code=error.code, request_id=error.request_id, sends=0
    )
