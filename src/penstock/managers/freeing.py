# SPDX-License-Identifier: Apache-2.0
"""What deleted sessions leave in memory, given back some drops at a time on a thread of its own.

Freeing the tables of a million drops at once is one call into the interpreter that takes a fifth of a second, in
which no other thread runs.
"""

import threading
import weakref
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any, NamedTuple

from penstock.graph.cutting import TURN
from penstock.graph.spec import Graph

__all__ = ["Freeing", "Tables"]

_CLOSE_S = 5.0


class Tables(NamedTuple):
    """What has an entry for each drop of a session. It belongs to the session alone."""

    graphs: Iterable[Graph] = ()
    lists: Iterable[list[Any]] = ()  # Any: they are only emptied


class Freeing:
    """A thread that frees what was `left`; it is started with the first session."""

    def __init__(self) -> None:
        self._left: SimpleQueue[Tables | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._free, name="penstock-free", daemon=True)
        self._lock = threading.Lock()
        self._is_started = False

    def when_gone(self, session: object, tables: Tables) -> None:
        """Free tables when nobody has the session any more: somebody may just be looking at it."""
        with self._lock:
            if not self._is_started:
                self._is_started = True
                self._thread.start()
        # The queue may be filled on any thread at any moment, in the middle of another call of it too.
        weakref.finalize(session, self._left.put, tables).atexit = False

    def _free(self) -> None:
        while (tables := self._left.get()) is not None:
            for graph in tables.graphs:
                graph.clear()
            for table in tables.lists:
                while table:
                    del table[-TURN:]

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            is_started, self._is_started = self._is_started, True
        if is_started:
            self._left.put(None)
            self._thread.join(_CLOSE_S)
