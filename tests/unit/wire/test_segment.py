"""Bytes in and out of one segment."""

import mmap
import os
from array import array
from pathlib import Path

import numpy as np
import pytest

from penstock.errors import BlockUnknown
from penstock.wire import segment as module
from penstock.wire.segment import Block, Segment, make_file, make_memory, rounded

GRANULE = mmap.ALLOCATIONGRANULARITY


@pytest.fixture(params=["memory", "file"])
def segment(request: pytest.FixtureRequest, tmp_path: Path) -> Segment:
    return make_memory(8 * GRANULE) if request.param == "memory" else make_file(tmp_path, 8 * GRANULE)


def test_sizes_are_rounded_to_granules_and_nothing_takes_one():
    assert [rounded(size) for size in (0, 1, GRANULE, GRANULE + 1)] == [
        GRANULE,
        GRANULE,
        GRANULE,
        2 * GRANULE,
    ]


def test_parts_are_written_one_after_the_other(segment: Segment):
    block = Block(1, GRANULE, 12)
    segment.write(block, [b"ab", bytearray(b""), memoryview(b"cd"), array("i", [1, 2])])
    assert segment.read(block) == b"abcd" + array("i", [1, 2]).tobytes()
    assert segment.read(Block(1, 0, GRANULE)) == bytes(GRANULE)


def test_more_parts_than_the_system_takes_in_one_call_are_written(segment: Segment):
    parts = [bytes([number % 251]) for number in range(3000)]
    segment.write(Block(1, 0, 3000), parts)
    assert segment.read(Block(1, 0, 3000)) == b"".join(parts)


def test_calls_that_write_or_read_less_than_asked_are_continued(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_ONE_CALL", 1000)
    content = os.urandom(7 * GRANULE)
    block = Block(1, 0, len(content))
    segment.write(block, [content[:1500], content[1500:1501], content[1501:]])
    assert segment.read(block) == content
    assert bytes(segment.copied(block)) == content


def test_empty_arrays_are_parts_like_others(segment: Segment):
    segment.write(Block(1, 0, 8), [np.empty((0, 3)), np.ones(1)])
    assert segment.read(Block(1, 0, 8)) == np.ones(1).tobytes()


@pytest.mark.parametrize("parts", [[], [b"ab"], [b"abc", b"d"]])
def test_parts_must_be_as_long_as_the_block(segment: Segment, parts: list[bytes]):
    with pytest.raises(ValueError, match="for a block of 3"):
        segment.write(Block(1, 0, 3), parts)
    assert segment.read(Block(1, 0, 3)) == bytes(3)


@pytest.mark.parametrize(
    ("offset", "size"), [(-GRANULE, 1), (0, -1), (1, 1), (0, 8 * GRANULE + 1), (8 * GRANULE, 1), (1 << 80, 1)]
)
def test_places_outside_are_refused(segment: Segment, offset: int, size: int):
    block = Block(1, offset * GRANULE if offset == 1 << 80 else offset, size)
    for use in (segment.read, segment.map, segment.copied, lambda block: segment.write(block, [b"x"])):
        with pytest.raises(BlockUnknown):
            use(block)


def test_nothing_has_a_name(tmp_path: Path):
    before = set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()
    kept = [make_memory(GRANULE), make_file(tmp_path, GRANULE)]
    assert list(tmp_path.iterdir()) == []
    if before:
        assert not {name for name in set(os.listdir("/dev/shm")) - before if "penstock" in name}
    assert all(segment.size_bytes == GRANULE for segment in kept)


def test_without_nameless_files_a_file_loses_its_name_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    for segment in (make_file(tmp_path, GRANULE), make_memory(GRANULE)):
        segment.write(Block(1, 0, 2), [b"ab"])
        assert segment.read(Block(1, 0, 2)) == b"ab"
        assert os.fstat(segment.fileno()).st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="a system without memfd")
def test_memory_can_neither_grow_nor_shrink():
    segment = make_memory(2 * GRANULE)
    for size in (GRANULE, 3 * GRANULE):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.fileno(), size)


def test_descriptors_are_not_inherited(segment: Segment):
    assert not os.get_inheritable(segment.fileno())


def test_the_descriptor_closes_with_the_last_reference(segment: Segment):
    descriptor = os.dup(segment.fileno())
    segment = Segment(descriptor)
    assert segment.size_bytes == 8 * GRANULE
    del segment
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


@pytest.mark.skipif(not hasattr(mmap, "MADV_REMOVE"), reason="a system that cannot punch holes")
def test_memory_that_others_map_goes_back_to_the_system():
    segment = make_memory(8 * GRANULE)
    segment.write(Block(1, 0, 4), [b"abcd"])
    other = Segment(os.dup(segment.fileno()))
    mapping = other.map(Block(1, 0, 4))
    assert os.fstat(other.fileno()).st_blocks > 0
    segment.give_back()
    assert os.fstat(other.fileno()).st_blocks == 0
    assert mapping[:] == bytes(4)


def test_a_reserved_place_takes_its_room_at_once(tmp_path: Path):
    segment = make_file(tmp_path, 1 << 20)
    before = os.fstat(segment.fileno()).st_blocks
    segment.reserve(Block(1, 0, 1 << 19))
    assert os.fstat(segment.fileno()).st_blocks >= before
    assert segment.size_bytes == os.fstat(segment.fileno()).st_size
