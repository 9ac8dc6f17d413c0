# SPDX-License-Identifier: Apache-2.0
"""Which children look at which blocks of shared memory, and whose the blocks are that children ask for.

Rule 1: a block is lent for an item before the item is sent, and given back when it has ended. Blocks that the
        child still looks at by then, as it says, are kept from reuse until it says otherwise or is dead.
Rule 2: a block that an item asks for is the child's (`Line.made`) until its outcome or a request mentions it.
"""

from collections.abc import Iterable
from pathlib import Path

from penstock.wire.arena import Arena, Block
from penstock.workers.frames import TOKEN, Frame, frame
from penstock.workers.line import Line

__all__ = ["Loans"]


class Loans:
    """Keeps the books of one arena's blocks. Used by one thread."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    def lend(self, line: Line, blocks: Iterable[Block]) -> None:
        """Let a child look at blocks: give it their segments, and keep them from being used again."""
        for block in blocks:
            self._arena.hold(block, line.number)
            if block.segment not in line.segments:
                line.segments.add(block.segment)
                line.send(frame(Frame.SEGMENT, block.segment), (self._arena.descriptor(block.segment),))

    def drop_dead(self, line: Line) -> None:
        """Let a child close the descriptors of segments that are gone; it has only so many."""
        dead = line.segments - self._arena.segments()
        if dead:
            line.segments -= dead
            line.send(b"".join(frame(Frame.DROP, segment) for segment in sorted(dead)))

    def give_back(self, line: Line, blocks: Iterable[Block]) -> None:
        """Take note that what blocks were lent for has ended."""
        for block in blocks:
            if block in line.held:
                line.kept.append(block)
            else:
                self._arena.let_go(block, line.number)

    def held(self, line: Line, body: bytes) -> None:
        """Take note of the blocks that a child still looks at."""
        numbers = [number for (number,) in TOKEN.iter_unpack(body)]
        line.held = frozenset(Block(*numbers[at : at + 3]) for at in range(0, len(numbers), 3))
        kept, line.kept = line.kept, []
        self.give_back(line, kept)

    def allocate(self, line: Line, size: int, spill: Path | None) -> bytes:
        """Make a block for the item that runs; return where it is.

        Raises:
            ArenaFull: there is no room.
        """
        block = self._arena.allocate(size, spill=spill)
        line.made.append(block)
        self.lend(line, (block,))
        self._arena.let_go(block, line.number)  # it is the child's as long as it is in `made`
        return b"".join(map(TOKEN.pack, block))

    def bury(self, line: Line) -> None:
        """Take everything back from a child that is dead."""
        for block in line.made:
            self._arena.free(block)
        self._arena.forget(line.number)
