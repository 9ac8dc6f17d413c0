# SPDX-License-Identifier: Apache-2.0
"""Those who want to be told what happens in a manager."""

import logging
import threading
from collections.abc import Callable

from penstock.managers.api import Change, Listener

__all__ = ["Listeners"]

log = logging.getLogger(__name__)


class Listeners:
    """A set of listeners; thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[int, Listener] = {}
        self._next = 0

    def add(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the answer removes it, once or more often."""
        with self._lock:
            number = self._next
            self._next += 1
            self._listeners[number] = listener

        def remove() -> None:
            with self._lock:
                self._listeners.pop(number, None)

        return remove

    def tell(self, change: Change) -> None:
        """Tell all listeners; one that raises does not keep it from the others."""
        for listener in list(self._listeners.values()):
            try:
                listener(change)
            except Exception:  # the boundary to whoever listens
                log.exception("a listener failed")
