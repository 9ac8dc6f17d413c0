# SPDX-License-Identifier: Apache-2.0
"""Which drops have ended in which order: so that who looks again learns what is new, and no more.

A version is the number of ends noted so far. Drops that run now are told with every answer, as their beginning
is not noted.
"""

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstock.engine.states import AppState, DropState
from penstock.graph.cutting import turns
from penstock.graph.links import APP
from penstock.managers.api import NO_APP, States

__all__ = ["ChangeLog", "told", "under_way"]


class ChangeLog:
    """The rows of a session's table in the order in which they ended. Not thread safe."""

    def __init__(self) -> None:
        self._rows = array("i")

    def note(self, rows: Sequence[int]) -> None:
        """Add rows that ended."""
        for some in turns(rows):
            self._rows.extend(some)

    @property
    def version(self) -> int:
        """How many ends were noted."""
        return len(self._rows)

    def since(self, version: int) -> npt.NDArray[np.int32]:
        """Return the rows noted after a version, ascending, each once; a version that never was means all."""
        start = version if 0 <= version <= len(self._rows) else 0
        return np.unique(np.frombuffer(self._rows[start:], np.int32))


def under_way(
    state: bytes | bytearray, kinds: bytes | bytearray, execution: bytes | bytearray
) -> npt.NDArray[np.int64]:
    """Return the rows that are being written or run now, ascending."""
    states = np.frombuffer(bytes(state), np.uint8)
    return np.nonzero((states == DropState.WRITING) | (_runs(kinds, execution) == AppState.RUNNING))[0]


def _runs(kinds: bytes | bytearray, execution: bytes | bytearray) -> npt.NDArray[np.uint8]:
    is_app = np.frombuffer(bytes(kinds), np.uint8) == APP
    return np.where(is_app, np.frombuffer(bytes(execution), np.uint8), NO_APP).astype(np.uint8)


def told(
    log: ChangeLog,
    since: int | None,
    uids: Sequence[str],
    kinds: bytes | bytearray,
    state: bytes | bytearray,
    execution: bytes | bytearray,
) -> States:
    """Return the states of all rows, or of those that ended after a version or are under way.

    Args:
        uids, kinds, state, execution: one entry per row.
    """
    states = np.frombuffer(bytes(state), np.uint8)
    runs = _runs(kinds, execution)
    if since is None:
        return States(log.version, None, uids, states.tobytes(), runs.tobytes())
    rows = np.union1d(log.since(since), under_way(state, kinds, execution))
    indices = rows.tolist()
    return States(
        log.version, indices, [uids[i] for i in indices], states[rows].tobytes(), runs[rows].tobytes()
    )
