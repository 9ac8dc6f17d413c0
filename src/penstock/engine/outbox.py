# SPDX-License-Identifier: Apache-2.0
"""One stream of messages between two processes, in order and once each, over a network that may lose anything.

Rule 1: pure. Times are arguments (a monotonic clock, seconds); what is to be sent is asked for with `Outbox.due`.
Rule 2: a stream belongs to an epoch, the incarnation number of its sender. Its messages are numbered from 1. An
        older epoch is refused, a newer one begins the stream anew: its sender has forgotten all it knew.
Rule 3: the sender keeps a message until it is acknowledged, and sends it again until then. An acknowledgement says
        how many messages have been handed over in order, all in one number.
Rule 4: both sides are bounded: the sender has at most `window` messages on the way, the receiver keeps at most
        that many that came too early. The others are sent again, so what is thrown away costs time only.
"""

import math
from collections import deque
from typing import Generic, TypeVar

from penstock.errors import WireError

__all__ = ["RESEND_MOST_S", "RESEND_S", "WINDOW", "Inbox", "Outbox"]

RESEND_S = 0.2
"""Pause before what is not acknowledged is sent again; doubled for each further time; seconds."""
RESEND_MOST_S = 5.0
"""The longest such pause; seconds."""
WINDOW = 64
"""Messages of one stream that may be on the way at once."""

T = TypeVar("T")


class Outbox(Generic[T]):
    """The sending end of a stream.

    Args:
        epoch: incarnation number of this process.
        window: how many messages may be on the way at once.
    """

    def __init__(self, epoch: int, *, window: int = WINDOW) -> None:
        self.epoch = epoch
        self._window = window
        self._kept: deque[T] = deque()  # not acknowledged, in order
        self._first = 1  # sequence number of the first of them
        self._sent = 0  # the last number that was ever sent
        self._pause_s = RESEND_S
        self._resend_s = math.inf  # when to send all again that is on the way

    def __len__(self) -> int:
        """Return how many messages are not acknowledged."""
        return len(self._kept)

    @property
    def is_full(self) -> bool:
        """Whether a further message would have to wait here."""
        return len(self._kept) >= self._window

    def put(self, payload: T) -> int:
        """Add a message and return its sequence number."""
        self._kept.append(payload)
        return self._first + len(self._kept) - 1

    def due(self, now_s: float) -> list[tuple[int, T]]:
        """Return what is to be sent now, as (sequence number, payload), in order."""
        start, last = self._sent + 1, self._first + min(len(self._kept), self._window) - 1
        if now_s >= self._resend_s:
            start = self._first
            self._pause_s = min(2 * self._pause_s, RESEND_MOST_S)
        if last < start:
            return []
        if start == self._first:
            self._resend_s = now_s + self._pause_s
        self._sent = last
        return [(n, self._kept[n - self._first]) for n in range(start, last + 1)]

    def next_due_s(self) -> float:
        """Return when `due` has something: 0 for at once, infinity for not before something happens."""
        on_the_way = self._sent - self._first + 1
        return 0.0 if on_the_way < min(len(self._kept), self._window) else self._resend_s

    def acknowledge(self, epoch: int, sequence: int, now_s: float) -> None:
        """Forget what the receiver says it has: all messages up to a number. Late and repeated words change nothing.

        Raises:
            WireError: that message was never sent.
        """
        if epoch != self.epoch or sequence < self._first:
            return
        if sequence > self._sent:
            raise WireError(f"message {sequence} is acknowledged, but only {self._sent} were sent")
        while self._first <= sequence:
            self._kept.popleft()
            self._first += 1
        self._pause_s = RESEND_S
        self._resend_s = now_s + RESEND_S if self._first <= self._sent else math.inf

    def reconnected(self) -> None:
        """Send all that is on the way again, at once: the connection was cut and is there again."""
        self._pause_s = RESEND_S / 2  # `due` doubles it
        if self._first <= self._sent:
            self._resend_s = 0.0


class Inbox(Generic[T]):
    """The receiving end of a stream.

    Args:
        epoch: the oldest that is not refused.
        window: how many messages that came too early are kept.
    """

    def __init__(self, epoch: int = 0, *, window: int = WINDOW) -> None:
        self.epoch = epoch
        self.acknowledged = 0
        """Number of the last message that was handed over, and all before it."""
        self._window = window
        self._early: dict[int, T] = {}

    def expects(self, epoch: int, sequence: int) -> bool:
        """Whether a message would be taken or kept, and was not before."""
        if epoch > self.epoch:
            return 1 <= sequence <= self._window
        in_window = self.acknowledged < sequence <= self.acknowledged + self._window
        return epoch == self.epoch and in_window and sequence not in self._early

    def take(self, epoch: int, sequence: int, payload: T) -> list[T]:
        """Take a message and return what can be handed over now, in order, each message once."""
        if epoch > self.epoch:
            self.epoch, self.acknowledged = epoch, 0
            self._early.clear()
        if not self.expects(epoch, sequence):
            return []
        self._early[sequence] = payload
        ready = []
        while self.acknowledged + 1 in self._early:
            self.acknowledged += 1
            ready.append(self._early.pop(self.acknowledged))
        return ready
