# SPDX-License-Identifier: Apache-2.0
"""Data that nobody will read any more: which drops expire when their last consumer has ended.

Pure; told of apps that have ended, once each, in whatever way.

Source: life cycle of the ancestor, expiry after use; ours is at once, and only where the graph asks for it.
"""

from collections.abc import Iterable

from penstock.graph.links import Wiring

__all__ = ["Expiry"]


class Expiry:
    """Counts the consumers that are left.

    Args:
        wiring: who reads what.
        data: the drops that expire after use; those without consumers never do, they are results.
    """

    def __init__(self, wiring: Wiring, data: Iterable[int]) -> None:
        self._before = wiring.before
        self._left = {i: len(wiring.after[i]) for i in data if wiring.after[i]}

    def __bool__(self) -> bool:
        return bool(self._left)

    def ended(self, apps: Iterable[int]) -> list[int]:
        """Return the data whose last consumer is among these apps, which have just ended."""
        over: list[int] = []
        left = self._left
        for app in apps:
            for data in self._before[app]:
                if data in left:
                    left[data] -= 1
                    if not left[data]:
                        del left[data]
                        over.append(data)
        return over
