# SPDX-License-Identifier: Apache-2.0
"""The book of calls that a server was sent: a call that comes again is never carried out again.

Pure. A client numbers its calls upwards, so what is older than all that is remembered was answered long ago.
"""

from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum

from penstock.wire.segment import Bytes

__all__ = ["Replies", "Seen"]

Reply = Sequence[Bytes]

_CALLS = 256
_BYTES = 16 << 20


class Seen(Enum):
    """What is known of a call."""

    NEW = "new"
    RUNNING = "running"
    FORGOTTEN = "forgotten"


class _Client:
    __slots__ = ("bytes", "highest", "replies")

    def __init__(self) -> None:
        self.replies: OrderedDict[int, Reply | None] = OrderedDict()
        self.bytes = 0
        self.highest = 0  # of the calls that are not remembered any more


class Replies:
    """Which calls of which client run, and what became of the last ones.

    Args:
        calls: how many are remembered of each client.
        size_bytes: how large their replies may be together; a larger one is forgotten at once.
    """

    def __init__(self, calls: int = _CALLS, size_bytes: int = _BYTES) -> None:
        self._calls = calls
        self._size_bytes = size_bytes
        self._clients: dict[bytes, _Client] = {}

    def begin(self, client: bytes, number: int) -> Seen | Reply:
        """Take note of a call that came; the answer is its reply if it is known."""
        row = self._clients.setdefault(client, _Client())
        if number in row.replies:
            reply = row.replies[number]
            return Seen.RUNNING if reply is None else reply
        if number <= row.highest:
            return Seen.FORGOTTEN
        row.replies[number] = None
        return Seen.NEW

    def finish(self, client: bytes, number: int, reply: Reply) -> None:
        """Remember the reply to a call that began; of a client that was forgotten, nothing."""
        row = self._clients.get(client)
        if row is None or number not in row.replies:
            return
        row.replies[number] = reply
        row.bytes += _size(reply)
        if len(row.replies) <= self._calls and row.bytes <= self._size_bytes:
            return
        for old in [known for known, kept in row.replies.items() if kept is not None]:
            if len(row.replies) <= self._calls and row.bytes <= self._size_bytes:
                return
            kept = row.replies.pop(old)
            row.bytes -= _size(kept or ())
            row.highest = max(row.highest, old)

    def forget(self, client: bytes) -> None:
        """Forget a client."""
        self._clients.pop(client, None)


def _size(reply: Reply) -> int:
    return sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in reply)
