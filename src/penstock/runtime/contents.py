# SPDX-License-Identifier: Apache-2.0
"""What data in memory holds, as far as workers wrote it or shall read it: bytes while small, else shared memory.

Contents are never opened here. What a drop object of this process holds stays there until a worker wants it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from penstock.drops.data import Buffer, DataDrop
from penstock.drops.memory import MemoryDrop
from penstock.engine.flow import Flow
from penstock.engine.states import DropState
from penstock.graph.links import Wiring
from penstock.runtime.messages import Content, to_content
from penstock.wire.arena import Arena, Block
from penstock.wire.data import Region

__all__ = ["Contents"]

_INLINE_BYTES = 1 << 15
"""Contents up to this size travel inside messages."""


class Contents:
    """The contents of one session. Drops may be read on any thread; each drop is written by one at a time.

    Args:
        arena: the node's.
        flow: tells which data is complete.
        wiring: tells who reads what.
        find: gives the object of a data drop where there is one.

    Attributes:
        spill: folder for what the arena has no room for.
    """

    def __init__(
        self, arena: Arena, flow: Flow, wiring: Wiring, find: Callable[[int], DataDrop | None]
    ) -> None:
        self.spill: Path | None = None
        self._arena = arena
        self._flow = flow
        self._after = wiring.after
        self._find = find
        self._kept: dict[int, bytes | Block] = {}
        self._readers = count(-1, -1)  # children have numbers from 0

    def view(self, index: int) -> Buffer | None:
        """Return what a worker wrote, without a copy; None where none did."""
        content = self._kept.get(index)
        return self._arena.view(content) if isinstance(content, Block) else content

    def keep(self, index: int, content: Content) -> None:
        """Keep what a worker wrote; also in the drop's object here, which may have been made before."""
        self.free(index)
        self._kept[index] = content if isinstance(content, bytes) else Block(*content)
        drop = self._find(index)
        if isinstance(drop, MemoryDrop) and (kept := self.view(index)) is not None:
            drop.adopt(memoryview(kept))

    def of(self, index: int) -> bytes | Block:
        """Return the content of a drop for a worker.

        Raises:
            ArenaFull: it is large, an object of this process holds it, and there is no room.
        """
        content = self._kept.get(index)
        return self._from_object(index) if content is None else content

    def _from_object(self, index: int) -> bytes | Block:
        drop = self._find(index)
        is_complete = self._flow.state[index] == DropState.COMPLETED
        if drop is None and is_complete:
            self._kept[index] = b""  # nobody wrote to it, and nobody will
        if not isinstance(drop, MemoryDrop) or not drop.size:
            return b""
        parts = drop.parts()
        size = _size(parts)
        is_small = size <= _INLINE_BYTES and size * len(self._after[index]) <= _INLINE_BYTES * 8
        if is_small or not is_complete:
            return b"".join(parts)
        block = self._kept[index] = self.place(parts)
        drop.adopt(self._arena.view(block))
        return block

    def place(self, parts: Sequence[Buffer]) -> Block:
        """Put buffers into shared memory, one behind the other; the block is the caller's.

        Raises:
            ArenaFull: there is no room.
        """
        block = self._arena.allocate(_size(parts), spill=self.spill)
        self._arena.write(block, parts)
        return block

    def travelling(self, piece: memoryview) -> Content:
        """Return a piece as it travels; a block that is made for it is the caller's.

        Raises:
            ArenaFull: there is no room.
        """
        return bytes(piece) if piece.nbytes <= _INLINE_BYTES else to_content(self.place([piece]))

    def region(self, index: int) -> Region | None:
        """Return where in shared memory the content is, kept until the region is closed; None where it is elsewhere."""
        content = self._kept.get(index)
        if not isinstance(content, Block):
            return None
        reader = next(self._readers)
        self._arena.hold(content, reader)
        let_go = partial(self._arena.let_go, content, reader)
        return Region(self._arena.descriptor(content.segment), content.offset, content.size, let_go)

    def free(self, index: int) -> None:
        """Give back what a worker wrote."""
        content = self._kept.pop(index, None)
        if isinstance(content, Block):
            self._arena.free(content)

    def free_all(self) -> None:
        """Give back all that workers wrote."""
        for index in list(self._kept):
            self.free(index)


def _size(parts: Sequence[Buffer]) -> int:
    return sum([memoryview(part).nbytes for part in parts])
