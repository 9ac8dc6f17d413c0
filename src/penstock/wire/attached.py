# SPDX-License-Identifier: Apache-2.0
"""The side of those who are shown an arena's blocks: children read, write and look, and have no books.

What a child looks at is told by `Attached.in_use`; that its owner waits for it is the business of whoever carries
messages between the two. The owner's side is `arena.py`.
"""

import weakref
from collections.abc import Sequence
from itertools import count

from penstock.errors import ArenaFull, BlockUnknown
from penstock.wire.segment import Block, Bytes, Segment

__all__ = ["Attached"]


class Attached:
    """A child's view of its owner's segments; every method may be called from any thread."""

    def __init__(self) -> None:
        self._segments: dict[int, Segment] = {}
        self._views: dict[int, tuple[weakref.ref[object], Block]] = {}
        self._serials = count(1)
        self._given = 0

    def add(self, segment: int, fd: int) -> None:
        """Take over a segment's descriptor."""
        self._segments[segment] = Segment(fd)

    def has(self, segment: int) -> bool:
        """Tell whether the segment has been added and not dropped."""
        return segment in self._segments

    def drop(self, segment: int) -> None:
        """Close a segment's descriptor; views that are open stay valid."""
        self._segments.pop(segment, None)

    def write(self, block: Block, parts: Sequence[Bytes]) -> None:
        """Fill a block with the parts, one after the other.

        Raises:
            ValueError: the parts are not as many bytes as the block has.
            BlockUnknown: the segment has not been added or is shorter.
            ArenaFull: the system has no room for them.
        """
        try:
            self._segment(block).write(block, parts)
        except OSError as exc:
            raise ArenaFull(block.size, 0, 0, exc.strerror or str(exc)) from exc

    def read(self, block: Block) -> bytes:
        """Return a copy of a block's content."""
        return self._segment(block).read(block)

    def view(self, block: Block, *, private: bool = False) -> memoryview:
        """Return a block's content without a copy: read only, or private and writable, copied page by page on write.

        The block is in use, see `in_use`, until the view and all that was made of it are gone.
        """
        if not block.size:
            return memoryview(bytearray() if private else b"")
        segment = self._segment(block)
        exporter, view = _private(segment, block) if private else _window(segment, block)
        serial = self._given = next(self._serials)
        views = self._views
        views[serial] = (weakref.ref(exporter, lambda _: views.pop(serial, None)), block)
        return view

    @property
    def lent(self) -> tuple[int, int]:
        """How many views were given out so far, and how many of them are alive: `in_use` changes with these only."""
        return self._given, len(self._views)

    def in_use(self) -> list[Block]:
        """Return the blocks of which a view, or anything made of one, is alive."""
        return sorted({block for _, block in list(self._views.values())})

    def close(self) -> None:
        """Close all descriptors, as often as one likes; views that are open stay valid."""
        self._segments.clear()

    def _segment(self, block: Block) -> Segment:
        segment = self._segments.get(block.segment)
        if segment is None:
            raise BlockUnknown(*block, "its segment is not here")
        return segment


def _window(segment: Segment, block: Block) -> tuple[object, memoryview]:
    # A mapping per block would cost a descriptor each, of which a process has few, and page faults at every use.
    # One mapping per segment costs neither, but something must tell when the last user of a *block* is gone:
    # an array, for it can be referred to weakly and everything made of it keeps it.
    import numpy as np  # not at the top: it takes longer than the owner's whole start, and the owner needs none

    segment.check(block)
    window = np.frombuffer(segment.whole(), np.uint8, block.size, block.offset)
    return window, window.data


def _private(segment: Segment, block: Block) -> tuple[object, memoryview]:
    try:
        mapping = segment.map(block, private=True)
    except OSError:
        mapping = segment.copied(block)  # out of descriptors, of which every mapping takes one
    return mapping, memoryview(mapping)
