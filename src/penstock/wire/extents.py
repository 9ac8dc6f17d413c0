# SPDX-License-Identifier: Apache-2.0
"""Which ranges of one segment are taken: integers only, no memory, file or lock in here.

Rule 1: free ranges never touch: a range that is given back grows together with its free neighbours.
Rule 2: the range given back last is tried first, for its memory is the warmest.
Rule 3: what has never been taken is cold (the system must still find memory for it); `take(warm=True)` leaves it
        alone, so that a caller with several segments can use all warm memory before any cold.
"""

__all__ = ["Extents"]


class Extents:
    """The free and taken ranges of `size` bytes; thread-safe only by its caller's lock."""

    def __init__(self, size: int) -> None:
        if size <= 0:
            raise ValueError(f"a segment of {size} bytes")
        self.size = size
        self.warm_bytes = 0  # what lies below this has been taken at least once
        self._free: dict[int, int] = {0: size}  # start -> size, the most recently given back last
        self._starts: dict[int, int] = {size: 0}  # end of a free range -> its start
        self._taken: dict[int, int] = {}
        # The least size refused since the last `give`: nothing of this size or more needs another search.
        self._refused = {True: size + 1, False: size + 1}

    @property
    def empty(self) -> bool:
        """True if nothing is taken."""
        return not self._taken

    def free(self) -> list[tuple[int, int]]:
        """Return the free ranges as (offset, size), by offset."""
        return sorted(self._free.items())

    def take(self, size: int, *, warm: bool = False) -> int | None:
        """Take a range of `size` bytes and return its offset, None if no free range (or no warm one) is long enough."""
        if size <= 0:
            raise ValueError(f"a range of {size} bytes")
        if size >= self._refused[warm]:
            return None
        limit = self.warm_bytes if warm else self.size
        for start in reversed(self._free):
            if min(start + self._free[start], limit) - start >= size:
                self._cut(start, size)
                return start
        self._refused[warm] = size
        return None

    def give(self, offset: int) -> None:
        """Give back the range that begins at `offset`.

        Raises:
            KeyError: no range that is taken begins there.
        """
        size = self._taken.pop(offset)
        start, end = offset, offset + size
        if start in self._starts:
            start = self._starts.pop(start)
            del self._free[start]
        if end in self._free:
            end += self._free.pop(end)
            del self._starts[end]
        self._free[start] = end - start
        self._starts[end] = start
        self._refused = {True: self.size + 1, False: self.size + 1}

    def _cut(self, start: int, size: int) -> None:
        end = start + self._free.pop(start)
        del self._starts[end]
        self._taken[start] = size
        self.warm_bytes = max(self.warm_bytes, start + size)
        if start + size < end:
            self._free[start + size] = end - start - size
            self._starts[end] = start + size
