# SPDX-License-Identifier: Apache-2.0
"""What customers have of a pool: settings, a view of its slots, and handles that work on any thread."""

import os
import socket
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from penstock.wire.arena import Block
from penstock.workers.customer import Customer, Death, Job
from penstock.workers.frames import Frame, frame

if TYPE_CHECKING:
    from penstock.workers.pool import WorkerPool

__all__ = ["Dedicated", "Holder", "PoolSettings", "SlotState"]


@dataclass(frozen=True)
class PoolSettings:
    """What a pool may use.

    Attributes:
        slots: child processes that run at once.
        grace_s: time between asking a process to end and killing it; seconds.
        preload: modules that are imported once for all children.
        look_s: how long an item runs before the parent reads what it prints; seconds.
        close_s: how long closing waits for children to end by themselves; seconds.
    """

    slots: int = max(1, os.cpu_count() or 1)
    grace_s: float = 2.0
    preload: tuple[str, ...] = ()
    look_s: float = 0.05
    close_s: float = 5.0


class SlotState(NamedTuple):
    """A slot as people see it.

    Attributes:
        state: COLD, STARTING, IDLE, BUSY, DEDICATED or ENDING.
        holder: name of whose items are there, "" for none.
        ident: the item that runs, by its holder's number; -1 for none.
        seconds: since that item was sent or the one before it ended.
        restarts: how often the slot's process was replaced.
    """

    slot: int
    state: str
    holder: str
    ident: int
    pid: int
    seconds: float
    restarts: int


class Holder:
    """A customer's handle on a pool; works on any thread. Only `drain` and `close` wait."""

    def __init__(
        self,
        pool: "WorkerPool",
        number: int,
        name: str,
        entry: str,
        setup: bytes,
        customer: Customer,
        spill: Path | None,
    ) -> None:
        self.pool = pool
        self.number = number
        self.name = name
        self.customer = customer
        self.spill = spill
        self.setup = frame(Frame.SETUP, number, entry.encode() + b"\0" + setup)
        self.setup_blocks: Sequence[Block] = ()
        self.closed = threading.Event()
        self.is_closing = False
        self.idle_events: list[threading.Event] = []

    def submit(self, jobs: Iterable[Job], *, front: bool = False) -> None:
        """Let items be run, behind those that wait or before them."""
        self.pool.post(partial(self.pool.take, self, list(jobs), front))

    def kill(self, ident: int, cause: str) -> None:
        """Forget an item that waits, or end the process that runs it; nothing happens where it has ended."""
        self.pool.post(partial(self.pool.end_item, self, ident, cause))

    def cancel(self, cause: str) -> None:
        """Forget all items that wait and end the processes that run the others."""
        self.pool.post(partial(self.pool.end_items, self, cause))

    def drain(self, timeout_s: float) -> bool:
        """Wait until all that was submitted has ended by itself; False when the time was up first."""
        drained = threading.Event()
        self.pool.post(partial(self.pool.tell_when_idle, self, drained))
        return drained.wait(timeout_s)

    def close(self, timeout_s: float, cause: str = "its holder was closed") -> bool:
        """Cancel what is left and wait until nothing of this holder runs; False when the time was up first."""
        self.pool.post(partial(self.pool.end_holder, self, cause))
        return self.closed.wait(timeout_s)

    def dedicate(self, *, endpoint: socket.socket | None = None) -> "Dedicated":
        """Return a process for one long-lived object, in addition to the pool's slots.

        Args:
            endpoint: a listening socket that the child shall serve; the caller keeps and closes its own end.
        """
        dedicated = Dedicated(self)
        fd = -1 if endpoint is None else os.dup(endpoint.fileno())
        self.pool.post(partial(self.pool.dedicate, dedicated, fd))
        return dedicated


class Dedicated:
    """A process of its own for one long-lived object: its items run one after the other, in their order.

    If the process dies all its items die with it, and none is run again: the object is lost.
    """

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.slot = -1
        self.listener = -1
        self.cause = ""
        self.waiting: list[int] = []
        self.is_released = False
        self.death = Death(0, 0, 0, "", starved=False, deaths=0, again=False)

    def submit(self, idents: Sequence[int]) -> None:
        """Let items be run, in this order, behind those that were submitted before."""
        self.holder.pool.post(partial(self.holder.pool.take_dedicated, self, idents))

    def release(self) -> None:
        """Give the process back when what was submitted has ended."""
        self.holder.pool.post(partial(self.holder.pool.release, self))

    def kill(self, cause: str) -> None:
        """End the process."""
        self.holder.pool.post(partial(self.holder.pool.end_dedicated, self, cause))

    def close_listener(self) -> None:
        """Close our copy of the listening socket: the child has its own, or never will have one."""
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1
