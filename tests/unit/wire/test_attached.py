"""The child's side, within one process: descriptors are doubled as a socket would do."""

import gc
import mmap
import os
import resource
from collections.abc import Iterator

import numpy as np
import pytest

from penstock.errors import ArenaFull, BlockUnknown
from penstock.wire import segment as segment_module
from penstock.wire.arena import Arena, Attached, Block

GRANULE = mmap.ALLOCATIONGRANULARITY


@pytest.fixture
def arena() -> Iterator[Arena]:
    with Arena(1 << 20, segment_bytes=16 * GRANULE) as arena:
        arena.allocate(1)  # so that blocks of tests do not begin at 0
        yield arena


@pytest.fixture
def attached(arena: Arena) -> Iterator[Attached]:
    attached = Attached()
    attached.add(1, os.dup(arena.descriptor(1)))
    yield attached
    attached.close()


def filled(arena: Arena, content: bytes) -> Block:
    block = arena.allocate(len(content))
    arena.write(block, [content])
    return block


def test_both_sides_see_the_same_bytes(arena: Arena, attached: Attached):
    block = filled(arena, b"one")
    assert attached.read(block) == b"one"
    attached.write(block, [b"t", b"wo"])
    assert arena.read(block) == b"two"


def test_a_view_is_read_only_and_no_copy(arena: Arena, attached: Attached):
    block = filled(arena, np.arange(1000.0).tobytes())
    array = np.frombuffer(attached.view(block))
    assert array.tolist() == list(range(1000))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    arena.write(block, [np.zeros(1000)])
    assert not array.any()


def test_a_private_view_can_be_written_and_nobody_sees_it(arena: Arena, attached: Attached):
    block = filled(arena, b"abc")
    view = attached.view(block, private=True)
    view[0:1] = b"X"
    assert bytes(view) == b"Xbc"
    assert arena.read(block) == bytes(attached.view(block)) == b"abc"


def test_a_block_is_in_use_as_long_as_anything_made_of_its_view_lives(arena: Arena, attached: Attached):
    shown, private = filled(arena, bytes(80)), filled(arena, bytes(80))
    array = np.frombuffer(attached.view(shown))[2:].reshape(2, 4)
    other = memoryview(np.frombuffer(attached.view(private, private=True)))
    assert attached.in_use() == [shown, private]
    del other
    again = attached.view(shown)
    assert attached.in_use() == [shown]
    del array
    gc.collect()
    assert attached.in_use() == [shown]
    del again
    assert attached.in_use() == []


def test_blocks_without_content_work_everywhere(arena: Arena, attached: Attached):
    block = filled(arena, b"")
    attached.write(block, [])
    assert (
        attached.read(block)
        == bytes(attached.view(block))
        == bytes(attached.view(block, private=True))
        == b""
    )
    assert attached.view(block).readonly
    assert not attached.view(block, private=True).readonly
    assert attached.in_use() == []


def test_views_outlive_their_segment(arena: Arena, attached: Attached):
    block = filled(arena, b"abc")
    views = [attached.view(block), attached.view(block, private=True)]
    attached.drop(1)
    attached.drop(1)
    attached.close()
    assert [bytes(view) for view in views] == [b"abc", b"abc"]
    assert not attached.has(1)
    assert attached.in_use() == [block]


def test_a_descriptor_that_is_dropped_is_closed(arena: Arena):
    attached = Attached()
    descriptor = os.dup(arena.descriptor(1))
    attached.add(3, descriptor)
    assert attached.has(3)
    attached.drop(3)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    "block", [Block(9, 0, 1), Block(1, 1, 1), Block(1, 0, 1 << 40), Block(1, -GRANULE, 5)]
)
def test_blocks_that_are_not_there_are_refused(attached: Attached, block: Block):
    uses = (
        attached.read,
        attached.view,
        lambda block: attached.view(block, private=True),
        lambda block: attached.write(block, [b"x"]),
    )
    for use in uses:
        with pytest.raises(BlockUnknown):
            use(block)


def test_views_do_not_take_a_descriptor_each(arena: Arena, attached: Attached):
    block = filled(arena, b"abc")
    first = attached.view(block)
    before = len(os.listdir("/dev/fd"))
    views = [attached.view(block) for _ in range(50)]
    assert len(os.listdir("/dev/fd")) == before
    assert all(bytes(view) == bytes(first) for view in views)


def test_out_of_descriptors_a_private_view_is_a_copy(arena: Arena, attached: Attached):
    block = filled(arena, b"abc")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, before[1]))  # the next descriptor would be this one
    try:
        view = attached.view(block, private=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    view[0:1] = b"X"
    assert bytes(view) == b"Xbc"
    assert arena.read(block) == b"abc"
    assert attached.in_use() == [block]


def test_a_failing_write_is_told(arena: Arena, attached: Attached, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    block = arena.allocate(3)
    monkeypatch.setattr(segment_module.os, "pwritev", full)
    with pytest.raises(ArenaFull, match="No space left"):
        attached.write(block, [b"abc"])
