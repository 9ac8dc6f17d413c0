# SPDX-License-Identifier: Apache-2.0
"""Data that nobody will read any more: which drops expire when their last consumer has ended.

Pure; told of apps that have ended, in whatever way, and of data that is complete, once each.

Source: life cycle of the ancestor, expiry after use; ours is at once, and only where the graph asks for it.
"""

from collections.abc import Iterable

from penstock.graph.links import Wiring

__all__ = ["Expiry"]


class Expiry:
    """Counts what each drop still waits for: its consumers, and that it is complete.

    A consumer may end first: one that needs few of its inputs, or takes a stream and fails.

    Args:
        wiring: who reads what.
        data: the drops that expire after use; those without consumers never do, they are results.
    """

    def __init__(self, wiring: Wiring, data: Iterable[int]) -> None:
        self._before = wiring.before
        self._left = {i: len(wiring.after[i]) + 1 for i in data if wiring.after[i]}

    def __bool__(self) -> bool:
        return bool(self._left)

    def ended(self, drops: Iterable[int]) -> list[int]:
        """Return the data that expires now that these apps have ended and these data are complete."""
        over: list[int] = []
        left = self._left
        for drop in drops:
            for data in (drop, *self._before[drop]):
                if data in left:
                    left[data] -= 1
                    if not left[data]:
                        del left[data]
                        over.append(data)
        return over
