"""What can go wrong, told so that the caller knows what to do next.

Two families. `FleetError` and its children are refusals: they end a command with one line and an exit code.
`CallError` is a call to the cloud that did not succeed; it answers two questions: may it be tried again,
and may it already have happened?
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from fleet.core.pacing.limits import Limit


class Exit(IntEnum):
    """Exit codes of the command. Where several of 3 to 7 hold, the largest is returned."""

    DONE = 0
    FAILED_BEFORE_WRITE = 1
    CHANGES_PENDING = 2
    SOME_FAILED = 3
    STOPPED_BY_GUARD = 4
    SOME_DRIFTED = 5
    INTERRUPTED = 6
    STRANDED = 7
    USAGE = 64


class FleetError(Exception):
    """A refusal before any write: one line for a person."""

    exit = Exit.FAILED_BEFORE_WRITE


class UsageError(FleetError):
    """The words on the command line, a file or a field are wrong: what, where, what to do."""

    exit = Exit.USAGE


class GuardError(FleetError):
    """A guard stopped us; nothing was written."""

    exit = Exit.STOPPED_BY_GUARD


class RecordingFailed(Exception):
    """The journal cannot be written: no new write may be sent."""


class Meaning(StrEnum):
    """What a call that did not succeed means, whatever HTTP status carried it."""

    THROTTLED = "throttled"  # 429: certainly not applied, the whole scope slows down
    BUSY = "busy or already there"  # 6357: only a look at the notebook can tell which
    WRONG_STATE = "not allowed in this state"
    RECOVERING = "recovering"
    GONE = "does not exist"
    SOLD_OUT = "sold out"
    QUOTA = "quota reached"
    FROZEN = "frozen"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "not authenticated"
    TOKEN_EXPIRED = "token expired"
    SIGNATURE_EXPIRED = "signature expired"
    INVALID = "refused as invalid"
    WRONG_ADDRESS = "no such API at this address"
    SERVER = "server error"
    UNREACHABLE = "unreachable"  # the request never left
    TLS = "TLS failure"
    LOST = "no answer"  # the request left, the answer did not come
    ODD = "unreadable answer"  # HTML, redirect, broken JSON, over the cap


# Nothing left: such a call was no request at all.
NOT_SENT = frozenset({Meaning.UNREACHABLE, Meaning.TLS})

# The cloud acted on none of these: the call can be judged without looking.
NOT_APPLIED = frozenset(Meaning) - {Meaning.SERVER, Meaning.LOST, Meaning.ODD}

# Trying the same call again later can help, and can do no harm once we know that it was not applied.
TRANSIENT = frozenset(
    {
        Meaning.THROTTLED,
        Meaning.RECOVERING,
        Meaning.SIGNATURE_EXPIRED,
        Meaning.SERVER,
        Meaning.UNREACHABLE,
        Meaning.LOST,
        Meaning.ODD,
    }
)

# Every further call would fail alike: the run stops at the first one.
FATAL = frozenset({Meaning.UNAUTHENTICATED, Meaning.TLS, Meaning.WRONG_ADDRESS})


class CallError(Exception):
    """A call to the cloud that did not succeed.

    `text` is foreign and already cleaned; `retry_after` is in seconds; `limit` is what a 429 said about
    itself. `status` is 0 when there was no HTTP answer. `sends` counts the requests that it took.
    """

    def __init__(
        self,
        meaning: Meaning,
        text: str,
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        limit: Limit | None = None,
        sends: int = 1,
    ) -> None:
        super().__init__(text)
        self.meaning = meaning
        self.text = text
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.limit = limit
        self.sends = sends

    def counted(self, sends: int) -> CallError:
        """The same error, of a call that took that many requests."""
        return self._again(self.text, sends)

    def reworded(self, text: str) -> CallError:
        """The same error in other words."""
        return self._again(text, self.sends)

    def _again(self, text: str, sends: int) -> CallError:
        return CallError(
            self.meaning,
            text,
            status=self.status,
            code=self.code,
            request_id=self.request_id,
            retry_after=self.retry_after,
            limit=self.limit,
            sends=sends,
        )

    @property
    def in_doubt(self) -> bool:
        """True when a write may have been applied although the call did not succeed."""
        return self.meaning not in NOT_APPLIED

    def __str__(self) -> str:
        parts = [self.meaning.value, self.code, self.text]
        return ": ".join(part for part in parts if part)
