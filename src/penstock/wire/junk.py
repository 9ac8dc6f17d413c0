# SPDX-License-Identifier: Apache-2.0
"""The book of messages that could not be read: who sent how many, and who is not listened to for a while.

Pure: times come in as arguments.
"""

from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["JunkBook"]

_WINDOW_S = 60.0
_MOST_PEERS = 10_000


@dataclass(slots=True)
class _Row:
    total: int = 0
    since_s: float = 0.0
    recent: int = 0
    ignored_until_s: float = 0.0


class JunkBook:
    """How often each peer sent junk; peers are whatever tells them apart.

    Args:
        per_minute: how much is put up with.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()

    def note(self, peer: bytes, now_s: float) -> bool:
        """Count a message; true if the peer is ignored from now on, for a minute."""
        row = self._rows.setdefault(peer, _Row(since_s=now_s))
        self._rows.move_to_end(peer)
        if len(self._rows) > _MOST_PEERS:
            self._rows.popitem(last=False)
        if now_s - row.since_s >= _WINDOW_S:
            row.since_s, row.recent = now_s, 0
        row.total += 1
        row.recent += 1
        if row.recent <= self._per_minute:
            return False
        row.ignored_until_s = now_s + _WINDOW_S
        return True

    def is_ignored(self, peer: bytes, now_s: float) -> bool:
        """Tell whether what this peer sends is not even looked at."""
        row = self._rows.get(peer)
        return row is not None and now_s < row.ignored_until_s

    def counts(self) -> dict[bytes, int]:
        """Return how many messages of each peer could not be read; ignored ones are not counted."""
        return {peer: row.total for peer, row in self._rows.items()}

    def __bool__(self) -> bool:
        return bool(self._rows)
