# SPDX-License-Identifier: Apache-2.0
"""Shared memory of one host: the owner's side. That of the children, who are shown it, is `attached.py`.

Rule 1: the owner alone has the books. It makes all segments and says where each block is, so a child that is killed
        leaves nothing behind: neither a name in a file system nor memory.
Rule 2: a block's memory is reused when the owner's count of it is zero *and* no child may look at it any more.
Rule 3: the lock guards the books for a few lines. No copy, no file and no system call for memory happens under it.

How descriptors reach a child, and who tells a child that a segment is gone, is no business of this module.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from penstock.errors import ArenaFull, BlockUnknown
from penstock.wire.attached import Attached
from penstock.wire.extents import Extents
from penstock.wire.segment import Block, Bytes, Segment, make_file, make_memory, rounded

__all__ = ["Arena", "ArenaUsage", "Attached", "Block"]

_SEGMENT_BYTES = 64 << 20


class ArenaUsage(NamedTuple):
    """What an arena has given out.

    Attributes:
        blocks: those that are counted or held.
        memory_bytes: what they take up in memory, rounded as allocated; the rest of the budget is free.
        spilled_bytes: what they take up in files.
        segments: descriptors that are open, the one kept warm included.
    """

    blocks: int
    memory_bytes: int
    spilled_bytes: int
    segments: int


class _Home:
    """A segment in the owner's books; `folder` is None for memory."""

    __slots__ = ("extents", "folder", "number", "segment")

    def __init__(self, number: int, segment: Segment, folder: Path | None) -> None:
        self.number = number
        self.segment = segment
        self.folder = folder
        self.extents = Extents(segment.size_bytes)


class _Entry:
    """A block in the owner's books: how often it is counted by the owner, and how often held by children."""

    __slots__ = ("holds", "home", "references")

    def __init__(self, home: _Home) -> None:
        self.home = home
        self.references = 1
        self.holds = 0


class Arena:
    """Blocks of shared memory within a budget; every method may be called from any thread."""

    def __init__(self, budget_bytes: int, *, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self._segment_bytes = rounded(segment_bytes)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)  # never used again: a child may know a segment that is gone
        self._homes: dict[int, _Home] = {}  # the one in which a block was freed last comes last
        self._entries: dict[Block, _Entry] = {}
        self._held: dict[int, Counter[Block]] = {}
        self._used = {False: 0, True: 0}  # bytes of blocks, by whether they are spilled
        self._warm: _Home | None = None  # the one empty segment that is kept
        self._closed = False

    def allocate(self, size: int, *, spill: Path | None = None) -> Block:
        """Return a new block of `size` bytes, counted once, with whatever content was there before.

        Args:
            spill: a folder for blocks that the memory budget has no room for.
        Raises:
            ArenaFull: the budget is used up and there is no such folder, or the system gives no more.
        """
        if size < 0:
            raise ValueError(f"a block of {size} bytes")
        need = rounded(size)
        with self._lock:
            if self._closed:
                raise ArenaFull(size, 0, self.budget_bytes, "the node is shutting down")
            spilled = self._used[False] + need > self.budget_bytes
            if spilled and spill is None:
                raise ArenaFull(size, self._used[False], self.budget_bytes)
            folder = spill if spilled else None
            self._used[spilled] += need  # counted before room is made, which happens without the lock
            block = self._place(size, folder)
        if block is None:
            block = self._place_in_new_segment(size, folder)
        if spilled:
            self._reserve(block)
        return block

    def write(self, block: Block, parts: Sequence[Bytes]) -> None:
        """Fill a block with the parts, one after the other; the caller keeps the block meanwhile.

        Raises:
            ValueError: the parts are not as many bytes as the block has.
            ArenaFull: the system has no room for them after all.
        """
        try:
            self._segment(block).write(block, parts)
        except OSError as exc:
            raise self._full(block.size, exc) from exc

    def read(self, block: Block) -> bytes:
        """Return a copy of a block's content; the caller keeps the block meanwhile."""
        return self._segment(block).read(block)

    def view(self, block: Block) -> memoryview:
        """Return a block's content without a copy, read only; the caller keeps the block as long as it looks."""
        segment = self._segment(block)
        return memoryview(segment.map(block)) if block.size else memoryview(b"")

    def descriptor(self, segment: int) -> int:
        """Return a segment's descriptor, to be sent to a child; it remains the arena's own.

        Raises:
            BlockUnknown: there is no such segment, or no more.
        """
        with self._lock:
            home = self._homes.get(segment)
        if home is None:
            raise BlockUnknown(segment, 0, 0, "no such segment, or no more")
        return home.segment.fileno()

    def segments(self) -> frozenset[int]:
        """Return the numbers of the segments there are: children may drop all others."""
        with self._lock:
            return frozenset(self._homes)

    def keep(self, block: Block) -> None:
        """Count a block once more; one that is only held still may be counted again."""
        with self._lock:
            self._entry(block).references += 1

    def free(self, block: Block) -> None:
        """Count a block once less; with the last count gone its memory is reused as soon as nobody holds it.

        Raises:
            BlockUnknown: it is not counted.
        """
        with self._lock:
            entry = self._entry(block)
            if not entry.references:
                raise BlockUnknown(*block, "freed already; only children hold it")
            entry.references -= 1
            gone = self._reclaim(block, entry)
        _give_back(gone)

    def hold(self, block: Block, holder: int) -> None:
        """Note that a child may look at a block; as often as it is noted, as often it must be let go."""
        with self._lock:
            self._entry(block).holds += 1
            self._held.setdefault(holder, Counter())[block] += 1

    def let_go(self, block: Block, holder: int) -> None:
        """Note once that a child looks at a block no more.

        Raises:
            BlockUnknown: this child does not hold it.
        """
        with self._lock:
            held = self._held.get(holder)
            if not held or block not in held:
                raise BlockUnknown(*block, f"holder {holder} does not hold it")
            held[block] -= 1
            if not held[block]:
                del held[block]
            if not held:
                del self._held[holder]
            entry = self._entry(block)
            entry.holds -= 1
            gone = self._reclaim(block, entry)
        _give_back(gone)

    def forget(self, holder: int) -> None:
        """Let go of all that a child holds, for it is dead; a child that holds nothing is nothing to forget."""
        gone: list[_Home] = []
        with self._lock:
            for block, count in self._held.pop(holder, Counter()).items():
                entry = self._entry(block)
                entry.holds -= count
                gone += self._reclaim(block, entry)
        _give_back(gone)

    def usage(self) -> ArenaUsage:
        """Return what is given out now."""
        with self._lock:
            return ArenaUsage(len(self._entries), self._used[False], self._used[True], len(self._homes))

    def close(self) -> None:
        """Close all descriptors, once; views that are open stay valid, blocks are known no more."""
        with self._lock:
            self._closed = True
            closing = self._homes, self._entries
            self._homes, self._entries, self._held = {}, {}, {}
            self._used = {False: 0, True: 0}
            self._warm = None
        del closing  # without the lock: to free much memory takes the system a while

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # With the lock held: `_entry`, `_place`, `_enter`, `_reclaim`.

    def _entry(self, block: Block) -> _Entry:
        entry = self._entries.get(block)
        if entry is None:
            raise BlockUnknown(*block, "not allocated, or free again")
        return entry

    def _place(self, size: int, folder: Path | None) -> Block | None:
        need = rounded(size)
        for warm in (True, False):
            for home in reversed(self._homes.values()):
                if home.folder == folder and (offset := home.extents.take(need, warm=warm)) is not None:
                    return self._enter(home, offset, size)
        return None

    def _enter(self, home: _Home, offset: int, size: int) -> Block:
        if home is self._warm:
            self._warm = None
        block = Block(home.number, offset, size)
        self._entries[block] = _Entry(home)
        return block

    def _reclaim(self, block: Block, entry: _Entry) -> list[_Home]:
        """Free the block if nobody is left; return the segments that are to be given back to the system."""
        if entry.references or entry.holds:
            return []
        home = entry.home
        del self._entries[block]
        self._used[home.folder is not None] -= rounded(block.size)
        home.extents.give(block.offset)
        del self._homes[home.number]
        if home.extents.empty and home.folder is not None:
            return [home]
        self._homes[home.number] = home  # last, so that it is tried first
        if not home.extents.empty:
            return []
        before, self._warm = self._warm, home
        if before is None:
            return []
        del self._homes[before.number]
        return [before]

    # Without the lock.

    def _place_in_new_segment(self, size: int, folder: Path | None) -> Block:
        need = rounded(size)
        if folder is None:
            self._make_way()
        try:
            length = max(need, self._segment_bytes)
            segment = make_memory(length) if folder is None else make_file(folder, length)
        except OSError as exc:
            with self._lock:
                self._used[folder is not None] -= need
            raise self._full(size, exc) from exc
        with self._lock:
            if self._closed:
                raise ArenaFull(size, 0, self.budget_bytes, "the node is shutting down")
            home = _Home(next(self._numbers), segment, folder)
            self._homes[home.number] = home
            offset = home.extents.take(need)
            assert offset is not None  # it is as long as the block at least
            return self._enter(home, offset, size)

    def _make_way(self) -> None:
        """Give back the segment kept warm, which was not long enough, if it and the new one exceed the budget."""
        with self._lock:
            warm = self._warm
            if warm is None or self._used[False] + warm.extents.warm_bytes <= self.budget_bytes:
                return
            self._warm = None
            del self._homes[warm.number]
        _give_back([warm])

    def _reserve(self, block: Block) -> None:
        try:
            self._segment(block).reserve(block)
        except OSError as exc:
            full = self._full(block.size, exc)
            self.free(block)
            raise full from exc

    def _segment(self, block: Block) -> Segment:
        with self._lock:
            return self._entry(block).home.segment

    def _full(self, size: int, exc: OSError) -> ArenaFull:
        return ArenaFull(size, self.usage().memory_bytes, self.budget_bytes, exc.strerror or str(exc))


def _give_back(gone: list[_Home]) -> None:
    for home in gone:
        home.segment.give_back()
