# SPDX-License-Identifier: Apache-2.0
"""What each event on a data drop does, as a table. `flow.py` follows it; nothing else changes a state."""

from penstock.engine.states import DropState

__all__ = ["TRANSITIONS"]

TRANSITIONS: dict[str, dict[DropState, DropState]] = {
    "data_writing": {
        DropState.INITIALIZED: DropState.WRITING,
        DropState.WRITING: DropState.WRITING,
    },
    "data_completed": {
        DropState.INITIALIZED: DropState.COMPLETED,
        DropState.WRITING: DropState.COMPLETED,
        DropState.COMPLETED: DropState.COMPLETED,
        DropState.EXPIRED: DropState.EXPIRED,
        DropState.DELETED: DropState.DELETED,
        DropState.CANCELLED: DropState.CANCELLED,
        DropState.SKIPPED: DropState.SKIPPED,
    },
    "data_failed": {
        DropState.INITIALIZED: DropState.ERROR,
        DropState.WRITING: DropState.ERROR,
        DropState.ERROR: DropState.ERROR,
        DropState.CANCELLED: DropState.CANCELLED,
        DropState.SKIPPED: DropState.SKIPPED,
    },
    "skip": {
        DropState.INITIALIZED: DropState.SKIPPED,
        DropState.WRITING: DropState.SKIPPED,
        DropState.SKIPPED: DropState.SKIPPED,
        DropState.CANCELLED: DropState.CANCELLED,
    },
    "expired": {
        DropState.COMPLETED: DropState.EXPIRED,
        DropState.EXPIRED: DropState.EXPIRED,
        DropState.DELETED: DropState.DELETED,
    },
    "deleted": {
        DropState.COMPLETED: DropState.DELETED,
        DropState.EXPIRED: DropState.DELETED,
        DropState.DELETED: DropState.DELETED,
    },
}
"""What each event on a data drop does: {event: {state: next state}}."""
