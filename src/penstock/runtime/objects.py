# SPDX-License-Identifier: Apache-2.0
"""The drop objects of a session: one per drop, made when it is first touched."""

import threading
from collections.abc import Callable
from typing import cast

from penstock.drops.app import AppDrop
from penstock.drops.base import Drop, Site
from penstock.runtime.build import Prepared

__all__ = ["Objects", "makers_of"]


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


def makers_of(prepared: Prepared) -> list[Callable[[Site, int], AppDrop] | None]:
    """Return for each class what makes an app that only has to be run; None where there is more to it."""
    makers: list[Callable[[Site, int], AppDrop] | None] = [
        None if _is_special(cls) else cast("type[AppDrop]", cls) for cls in prepared.classes
    ]
    for i in {*prepared.rules.tries, *prepared.rules.time_limit_s}:
        makers[prepared.class_of[i]] = None
    return makers


def _is_special(cls: type[Drop]) -> bool:
    """Whether objects of a class need more than to be made and run."""
    return (
        not issubclass(cls, AppDrop)
        or cls.initialize is not Drop.initialize
        or cls.cancel is not AppDrop.cancel
        or cls.data_written is not AppDrop.data_written
        or cls.delayed
    )
