# SPDX-License-Identifier: Apache-2.0
"""The states of drops and apps, with the numbers of the wire format.

Source: `dlg.ddap_protocol`; the numbers are part of every client and of recorded sessions.
"""

from enum import IntEnum

__all__ = ["ENDED", "AppState", "DropState", "ExecutionMode", "LinkKind", "Phase", "SessionState"]


class DropState(IntEnum):
    """Where a drop is in its life. States only move forward within an epoch."""

    INITIALIZED = 0
    WRITING = 1
    COMPLETED = 2
    ERROR = 3
    EXPIRED = 4
    DELETED = 5
    CANCELLED = 6
    SKIPPED = 7


class AppState(IntEnum):
    """Where the execution of an app drop is."""

    NOT_RUN = 0
    RUNNING = 1
    FINISHED = 2
    ERROR = 3
    CANCELLED = 4
    SKIPPED = 5


class LinkKind(IntEnum):
    """What the left-hand drop of a relation is to the right-hand one."""

    CONSUMER = 0
    STREAMING_CONSUMER = 1
    PRODUCER = 2
    PARENT = 3
    CHILD = 4
    INPUT = 5
    STREAMING_INPUT = 6
    OUTPUT = 7


class Phase(IntEnum):
    """How well the data of a drop is kept."""

    PLASMA = 0
    GAS = 1
    SOLID = 2
    LIQUID = 3
    LOST = 4


class ExecutionMode(IntEnum):
    """Who starts the consumers of a drop: the drop itself, or somebody outside."""

    DROP = 0
    EXTERNAL = 1


class SessionState(IntEnum):
    """Where a session is in its life."""

    PRISTINE = 0
    BUILDING = 1
    DEPLOYING = 2
    RUNNING = 3
    FINISHED = 4
    CANCELLED = 5
    FAILED = 6


ENDED = frozenset(
    {
        DropState.COMPLETED,
        DropState.ERROR,
        DropState.EXPIRED,
        DropState.DELETED,
        DropState.CANCELLED,
        DropState.SKIPPED,
    }
)
"""States in which a drop takes no data and starts nothing any more."""
