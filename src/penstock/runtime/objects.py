# SPDX-License-Identifier: Apache-2.0
"""The drop objects of a session: one per drop, made when it is first touched."""

import threading
from collections.abc import Callable

from penstock.drops.base import Drop

__all__ = ["Objects"]


class Objects:
    """Makes drop objects and keeps those that must stay the same. Thread safe.

    Args:
        construct: makes the object of an index, not initialized.
    """

    def __init__(self, construct: Callable[[int], Drop]) -> None:
        self._construct = construct
        self._kept: dict[int, Drop] = {}
        self._making: dict[int, threading.RLock] = {}

    def __contains__(self, index: int) -> bool:
        return index in self._kept

    def find(self, index: int) -> Drop | None:
        """Return the kept object of a drop, None where there is none."""
        return self._kept.get(index)

    def keep(self, index: int) -> Drop:
        """Return the one object of a drop, made by who comes first; a slow `initialize` holds up nobody else."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        with self._making.setdefault(index, threading.RLock()):
            try:
                kept = self._kept.get(index)
                return self._kept.setdefault(index, self.make(index)) if kept is None else kept
            finally:
                self._making.pop(index, None)

    def make(self, index: int) -> Drop:
        """Return a new object of a drop, which is not kept."""
        drop = self._construct(index)
        drop.initialize()
        return drop

    def forget(self, index: int) -> Drop | None:
        """Keep an object no longer, and return it."""
        return self._kept.pop(index, None)

    def all(self) -> tuple[Drop, ...]:
        """Return all that are kept now; in one step, as others may keep and forget at the same time."""
        return tuple(self._kept.copy().values())
