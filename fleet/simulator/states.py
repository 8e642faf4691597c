"""The life of a notebook as a table.

Theory of operation. A notebook is always in exactly one of the vendor's 14 statuses. It leaves one
only by a cause listed for that status below; a cause that is not listed is refused (a call) or
cannot happen (time). Three kinds of causes exist:

- a call: START, STOP, SAVE_IMAGE, DELETE. The service answers at once, and the notebook enters a
  transitional status.
- time: a transitional status ends by DONE or FAILED when it is due, and the lease of a RUNNING
  notebook ends by LEASE_END. Which of DONE and FAILED comes, and when, is fixed on entry.
- fate: FREEZE (arrears), THAW and BREAK come from outside, and only where ``faults`` say so.

Nothing else may change a status: ``life`` applies this table, every operation goes through it, and
the optional rules (``rules``) only take causes away. No call and no time leads out of FROZEN and
DELETED. Creation enters at CREATING; INIT is met in seeded fleets only.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Instance status (Update API, table 7)."""

    INIT = "INIT"
    CREATING = "CREATING"
    STARTING = "STARTING"
    STOPPING = "STOPPING"
    DELETING = "DELETING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SNAPSHOTTING = "SNAPSHOTTING"
    CREATE_FAILED = "CREATE_FAILED"
    START_FAILED = "START_FAILED"
    DELETE_FAILED = "DELETE_FAILED"
    ERROR = "ERROR"
    DELETED = "DELETED"
    FROZEN = "FROZEN"


class Cause(StrEnum):
    START = "start"
    STOP = "stop"
    SAVE_IMAGE = "save-image"
    DELETE = "delete"
    DONE = "done"
    FAILED = "failed"
    LEASE_END = "lease-end"
    FREEZE = "freeze"
    THAW = "thaw"
    BREAK = "break"


_FATE = {Cause.FREEZE: Status.FROZEN, Cause.BREAK: Status.ERROR}

TABLE: Mapping[Status, Mapping[Cause, Status]] = {
    Status.INIT: {Cause.DONE: Status.CREATING, Cause.FAILED: Status.CREATE_FAILED},
    Status.CREATING: {Cause.DONE: Status.RUNNING, Cause.FAILED: Status.CREATE_FAILED},
    Status.STARTING: {Cause.DONE: Status.RUNNING, Cause.FAILED: Status.START_FAILED, **_FATE},
    Status.RUNNING: {
        Cause.STOP: Status.STOPPING,
        Cause.LEASE_END: Status.STOPPING,
        Cause.SAVE_IMAGE: Status.SNAPSHOTTING,
        Cause.DELETE: Status.DELETING,
        **_FATE,
    },
    Status.SNAPSHOTTING: {Cause.DONE: Status.RUNNING, Cause.FAILED: Status.RUNNING, **_FATE},
    Status.STOPPING: {Cause.DONE: Status.STOPPED, Cause.FAILED: Status.ERROR, **_FATE},
    Status.STOPPED: {Cause.START: Status.STARTING, Cause.DELETE: Status.DELETING, **_FATE},
    Status.START_FAILED: {Cause.START: Status.STARTING, Cause.DELETE: Status.DELETING, **_FATE},
    Status.CREATE_FAILED: {Cause.DELETE: Status.DELETING},
    Status.DELETE_FAILED: {Cause.DELETE: Status.DELETING},
    Status.ERROR: {Cause.DELETE: Status.DELETING},
    Status.DELETING: {Cause.DONE: Status.DELETED, Cause.FAILED: Status.DELETE_FAILED},
    Status.DELETED: {},
    Status.FROZEN: {Cause.THAW: Status.STOPPED},
}

TRANSITIONAL = frozenset(status for status, causes in TABLE.items() if Cause.DONE in causes)
"""Statuses that end by themselves; calls on such a notebook are refused as busy."""
