"""Places of blocks: the allocator against a list of bytes, the arena against copies of all contents."""

import mmap
import os
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.errors import ArenaFull, BlockUnknown
from penstock.wire.arena import Arena, Attached, Block
from penstock.wire.extents import Extents
from tests.conftest import PROVE

GRANULE = mmap.ALLOCATIONGRANULARITY
BUDGET = 24 * GRANULE


def longest(cells: list[bool]) -> int:
    """Return the length of the longest run of free cells."""
    best = run = 0
    for taken in cells:
        run = 0 if taken else run + 1
        best = max(best, run)
    return best


@given(
    size=st.integers(1, 40),
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(1, 12), st.booleans(), st.integers(0, 1000)), max_size=80
    ),
)
def test_extents_are_what_a_list_of_cells_says(size: int, steps: list[tuple[bool, int, bool, int]]) -> None:
    extents = Extents(size)
    cells = [False] * size
    touched = 0
    ranges: list[tuple[int, int]] = []
    for take, length, warm, choice in steps:
        if take:
            offset = extents.take(length, warm=warm)
            room = longest(cells[:touched] if warm else cells)
            assert (offset is not None) == (length <= room)
            if offset is not None:
                assert not any(cells[offset : offset + length])
                assert 0 <= offset <= size - length
                cells[offset : offset + length] = [True] * length
                touched = max(touched, offset + length)
                ranges.append((offset, length))
        elif ranges:
            offset, length = ranges.pop(choice % len(ranges))
            extents.give(offset)
            cells[offset : offset + length] = [False] * length
        free = extents.free()
        assert sum(length for _, length in free) == cells.count(False)
        assert all(not any(cells[start : start + length]) for start, length in free)
        assert all(a + length < b for (a, length), (b, _) in pairwise(free))
        assert extents.warm_bytes == touched
        assert extents.empty == (not ranges)
    for offset, _ in ranges:
        extents.give(offset)
    assert extents.free() == [(0, size)]


class ArenaMachine(RuleBasedStateMachine):
    """Blocks by an owner and two children; the model has a copy of every content and the two kinds of count."""

    @initialize()
    def begin(self) -> None:
        self.arena = Arena(BUDGET, segment_bytes=6 * GRANULE)
        self.attached = Attached()
        self.contents: dict[Block, bytes] = {}
        self.counts: dict[Block, int] = {}
        self.holds: dict[tuple[Block, int], int] = {}

    def teardown(self) -> None:
        if not hasattr(self, "arena"):
            return
        for holder in (1, 2):
            self.arena.forget(holder)
        for block, count in self.counts.items():
            for _ in range(count):
                self.arena.free(block)
        usage = self.arena.usage()
        assert usage[:3] == (0, 0, 0)
        assert usage.segments <= 1
        self.attached.close()
        self.arena.close()

    def taken(self) -> int:
        return sum(max(1, -(-block.size // GRANULE)) * GRANULE for block in self.contents)

    def pick(self, choice: int) -> Block:
        return list(self.contents)[choice % len(self.contents)]

    def settle(self, block: Block) -> None:
        if not self.counts[block] and not any(
            holds for (held, _), holds in self.holds.items() if held == block
        ):
            del self.contents[block], self.counts[block]

    @rule(size=st.integers(0, 9 * GRANULE), by_child=st.booleans())
    def allocate(self, size: int, by_child: bool) -> None:
        try:
            block = self.arena.allocate(size)
        except ArenaFull:
            assert self.taken() + max(1, -(-size // GRANULE)) * GRANULE > BUDGET
            return
        content = os.urandom(size)
        if by_child:
            self.see(block)
            self.attached.write(block, [content[: size // 2], content[size // 2 :]])
        else:
            self.arena.write(block, [content])
        assert block not in self.contents
        self.contents[block] = content
        self.counts[block] = 1

    def see(self, block: Block) -> None:
        if not self.attached.has(block.segment):
            self.attached.add(block.segment, os.dup(self.arena.descriptor(block.segment)))

    @precondition(lambda self: self.contents)
    @rule(choice=st.integers(0, 1000))
    def keep(self, choice: int) -> None:
        block = self.pick(choice)
        self.arena.keep(block)
        self.counts[block] += 1

    @precondition(lambda self: self.contents)
    @rule(choice=st.integers(0, 1000))
    def free(self, choice: int) -> None:
        block = self.pick(choice)
        try:
            self.arena.free(block)
        except BlockUnknown:
            assert not self.counts[block]
            return
        self.counts[block] -= 1
        self.settle(block)

    @precondition(lambda self: self.contents)
    @rule(choice=st.integers(0, 1000), holder=st.sampled_from([1, 2]))
    def hold(self, choice: int, holder: int) -> None:
        block = self.pick(choice)
        self.arena.hold(block, holder)
        self.holds[block, holder] = self.holds.get((block, holder), 0) + 1

    @precondition(lambda self: self.contents)
    @rule(choice=st.integers(0, 1000), holder=st.sampled_from([1, 2]))
    def let_go(self, choice: int, holder: int) -> None:
        block = self.pick(choice)
        try:
            self.arena.let_go(block, holder)
        except BlockUnknown:
            assert not self.holds.get((block, holder))
            return
        self.holds[block, holder] -= 1
        self.settle(block)

    @rule(holder=st.sampled_from([1, 2]))
    def forget(self, holder: int) -> None:
        self.arena.forget(holder)
        held = [block for (block, each), holds in self.holds.items() if each == holder and holds]
        for block in held:
            del self.holds[block, holder]
            self.settle(block)

    @rule()
    def drop_what_is_gone(self) -> None:
        for number in range(1, 200):
            if self.attached.has(number) and number not in self.arena.segments():
                self.attached.drop(number)

    @invariant()
    def contents_are_untouched(self) -> None:
        if not hasattr(self, "arena"):
            return
        for block, content in self.contents.items():
            assert self.arena.read(block) == content
            self.see(block)
            assert self.attached.view(block) == content
        assert self.attached.in_use() == []

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "arena"):
            return
        usage = self.arena.usage()
        assert (usage.blocks, usage.memory_bytes) == (len(self.contents), self.taken())
        assert usage.memory_bytes <= BUDGET
        assert usage.segments <= len({block.segment for block in self.contents}) + 1


TestArena = ArenaMachine.TestCase
TestArena.settings = settings(max_examples=500 if PROVE else 25, stateful_step_count=40, deadline=None)
