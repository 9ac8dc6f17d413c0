# SPDX-License-Identifier: Apache-2.0
"""What passes between a pool and those for whom it runs items: graphs, later services and task farms."""

from collections.abc import Callable, Sequence
from signal import Signals, strsignal
from typing import NamedTuple, Protocol

from penstock.wire.arena import Block
from penstock.workers.frames import Status

Answer = Callable[[Status, bytes, Sequence[Block]], None]
"""Takes an answer, and the blocks that it mentions, which the item may look at until it ends."""

__all__ = ["Answer", "Begun", "Customer", "Death", "Job", "Outcome"]


class Job(NamedTuple):
    """An item as its holder submits it.

    Attributes:
        ident: the holder's own number for it.
        kind: items of one kind take about the same time; costs are kept by it.
        width: slots that it counts for.
        alone: whether nothing may be sent before or behind it, because it may have to be killed.
    """

    ident: int
    kind: int = 0
    width: int = 1
    alone: bool = False


class Begun(NamedTuple):
    """What is sent to a child for an item; `blocks` are those of shared memory that the body mentions."""

    ident: int
    body: bytes
    blocks: Sequence[Block] = ()


class Outcome(NamedTuple):
    """How an item ended, as its entry told.

    Attributes:
        body: what the entry returned, opaque.
        seconds: that it ran.
        peak_kib: most memory that its process had meanwhile.
        blocks: shared memory that it asked for; the customer's from now on.
    """

    ident: int
    status: int
    body: bytes
    seconds: float
    peak_kib: int
    slot: int
    pid: int
    blocks: Sequence[Block]


class Death(NamedTuple):
    """How the process of an item ended.

    Attributes:
        pid: of the process.
        signal: that ended it, 0 where it ended by itself.
        exit_code: with which it ended by itself.
        cause: why it was killed, "" where nobody here did.
        starved: whether the system killed for want of memory at that time.
        deaths: of this item so far.
        again: whether the item will be run again.
        slot: of the process.
        seconds: since the item was sent, or the one before it ended.
    """

    pid: int
    signal: int
    exit_code: int
    cause: str
    starved: bool
    deaths: int
    again: bool
    slot: int = -1
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return how it ended, behind "the process"."""
        if self.cause:
            return f"was ended because {self.cause}"
        if not self.signal:
            return f"ended itself with exit code {self.exit_code}"
        try:
            name = Signals(self.signal).name
        except ValueError:
            name = f"signal {self.signal}"
        memory = ", as the system ran out of memory" if self.starved else ""
        return f"was killed by {name} ({strsignal(self.signal) or 'unknown'}){memory}"


class Customer(Protocol):
    """Whose items a pool runs. All methods are called on the pool's own thread and must not wait."""

    def begin(self, idents: Sequence[int]) -> Sequence[Begun]:
        """Return what to send for items that are about to be sent; those left out are forgotten."""
        ...

    def returned(self, idents: Sequence[int]) -> None:
        """Take note that begun items were taken back before they ran; they will begin again."""

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of items."""

    def died(self, ident: int, death: Death) -> None:
        """Take note that the process died that ran an item."""

    def asked(self, ident: int, body: bytes, answer: Answer) -> Sequence[Block]:
        """Answer a request of a running item, now or later, on any thread.

        Returns those of the item's blocks that the body mentions; they are the customer's from now on.
        """
        ...

    def said(self, ident: int, stream: str, text: str) -> None:
        """Take what an item printed or logged."""

    def broken(self, reason: str) -> None:
        """Take note that the pool cannot go on."""
