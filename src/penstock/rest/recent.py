# SPDX-License-Identifier: Apache-2.0
"""What was asked lately, so that the same request made again gets the same answer. Pure: times are arguments."""

from typing import Generic, TypeVar

__all__ = ["Recent"]

V = TypeVar("V")


class Recent(Generic[V]):
    """A bounded table whose entries grow old; the oldest goes first.

    Args:
        most: entries at once.
        age_s: how long one is kept; seconds.
    """

    def __init__(self, most: int, age_s: float) -> None:
        self._most = most
        self._age_s = age_s
        self._entries: dict[str, tuple[float, V]] = {}

    def get(self, key: str, now_s: float) -> V | None:
        """Return what is noted under a key, None where nothing is or it is too old."""
        entry = self._entries.get(key)
        if entry is None or now_s - entry[0] > self._age_s:
            return None
        return entry[1]

    def put(self, key: str, value: V, now_s: float) -> None:
        """Note something."""
        self._entries.pop(key, None)
        while len(self._entries) >= self._most:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (now_s, value)

    def forget(self, key: str) -> None:
        """Take an entry out, if it is in."""
        self._entries.pop(key, None)
