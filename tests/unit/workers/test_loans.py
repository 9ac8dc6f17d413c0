"""Which children look at which blocks; with real descriptors and a real arena."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from penstock.wire.arena import Arena
from penstock.wire.attached import Attached
from penstock.workers.frames import Frame, cut
from penstock.workers.line import Line
from penstock.workers.loans import Loans

MIB = 1 << 20


@pytest.fixture
def line() -> Iterator[Line]:
    with closing(Line(0, 1)) as line:
        yield line


def told(line: Line) -> list[tuple[int, int]]:
    """Return kind and number of the frames that the child's end of the socket has."""
    assert line.flush()
    data = bytearray(os.read(line.theirs[0], 1 << 16))
    return [(kind, number) for kind, _, number, _ in cut(data)]


def test_segments_that_are_gone_are_dropped_by_the_child_once(line: Line) -> None:
    with Arena(64 * MIB, segment_bytes=MIB) as arena:
        loans = Loans(arena)
        blocks = [arena.allocate(MIB) for _ in range(3)]
        loans.lend(line, blocks)
        assert [kind for kind, _ in told(line)] == [Frame.SEGMENT]  # descriptors come one read each
        told(line)
        told(line)
        loans.give_back(line, blocks)
        for block in blocks:
            arena.free(block)
        gone = {block.segment for block in blocks} - arena.segments()
        assert gone
        loans.drop_dead(line)
        assert set(told(line)) == {(Frame.DROP, segment) for segment in gone}
        assert line.segments == arena.segments()
        loans.drop_dead(line)
        assert not line.has_tokens
        loans.lend(line, [last := arena.allocate(MIB)])
        assert last.segment in line.segments


def test_a_block_that_the_child_still_looks_at_is_kept_until_it_says_otherwise(line: Line) -> None:
    with Arena(64 * MIB) as arena:
        loans, block = Loans(arena), arena.allocate(10)
        loans.lend(line, [block])
        loans.held(line, b"".join(number.to_bytes(8, "little") for number in block))
        loans.give_back(line, [block])
        arena.free(block)
        assert arena.usage().blocks == 1
        loans.held(line, b"")
        assert arena.usage().blocks == 0


def test_a_child_closes_what_it_is_told_to_drop() -> None:
    with Arena(MIB) as arena:
        block, child = arena.allocate(10), Attached()
        child.add(block.segment, os.dup(arena.descriptor(block.segment)))
        child.drop(block.segment)
        assert not child.has(block.segment)
