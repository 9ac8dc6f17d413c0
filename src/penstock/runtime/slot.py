# SPDX-License-Identifier: Apache-2.0
"""What passes between a runner, its slots and its session: items, outcomes, and who is asked for what."""

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from penstock.drops.app import AppDrop

__all__ = ["SETTLED", "Away", "Delay", "Outcome", "Settled", "Slot", "Work", "drain"]

_Item = TypeVar("_Item")


class Delay(NamedTuple):
    """An outcome: the app waits on a timer and is run again after it."""

    seconds: float


class Settled:
    """An outcome: the item was data, and it holds all it will ever hold."""


SETTLED = Settled()

Outcome = Delay | Settled | BaseException


class Work(Protocol):
    """What a runner asks of the session; not called with the lock held, but where it says so."""

    def start_thread(self, slot: "Slot") -> None:
        """Prepare the calling thread, which will run items as `slot`."""

    def execute(self, index: int, slot: "Slot") -> Delay | Settled | None:
        """Run one item; None says that an app ended well. Raises what the user's code raises."""

    def failed(self, index: int, error: BaseException) -> None:
        """Take note of what `execute` raised, on the same thread."""

    def overdue(self, index: int) -> None:
        """Take note that an item's time limit has passed."""

    def expired(self, index: int) -> None:
        """Free the memory of data that nobody will read any more; called with the lock held."""

    def stop(self, index: int, app: AppDrop | None) -> None:
        """Stop an item that must not go on, if that is possible; `app` is its object where it runs on a slot."""


class Away(Protocol):
    """What a runner asks of those who run items in other processes; called with the runner's lock held.

    Attributes:
        away: per item whether it runs there.
        out: the items that are there now.
    """

    away: bytearray
    out: set[int]

    def send(self, indices: Iterable[int]) -> None:
        """Take items to run; they are in `out` until their end has been told to the flow."""

    def give_up(self, index: int, cause: str) -> bool:
        """End an item that is out; False where it is not."""
        ...


class Slot:
    """One thread that runs items; its deques may be emptied by others.

    Attributes:
        rest: items taken and not begun.
        finished: apps that ended well, not yet reported.
        odd: every other outcome, not yet reported.
        current: the item that runs, -1 for none.
        app: the object of `current` where it can be cancelled.
        noisy: whether `current` wrote output.
        given_up: the item over which the slot was abandoned; its outcome has been counted.
    """

    __slots__ = (
        "abandoned", "app", "busy", "current", "finished", "given_up", "noisy", "odd", "rest", "seen", "thread",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rest: deque[int] = deque()
        self.finished: deque[int] = deque()
        self.odd: deque[tuple[int, Outcome]] = deque()
        self.current = -1
        self.app: AppDrop | None = None
        self.noisy = False
        self.busy = False
        self.abandoned = False
        self.given_up = -1
        self.seen: tuple[int, int] = (-1, -1)
        self.thread: threading.Thread | None = None

    def mark(self) -> tuple[int, int]:
        """Return something that differs whenever the slot has moved."""
        return self.current, len(self.rest)


def drain(items: deque[_Item]) -> list[_Item]:
    """Empty a deque from which its owner may take, or to which it may add, at the same time."""
    taken: list[_Item] = []
    with suppress(IndexError):
        while True:
            taken.append(items.popleft())
    return taken
