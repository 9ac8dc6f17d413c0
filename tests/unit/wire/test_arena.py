"""The owner's books: counts, holds, the budget, and what goes back to the system."""

import mmap
import os
import random
import resource
import threading
from pathlib import Path

import numpy as np
import pytest

from penstock.errors import ArenaFull, BlockUnknown
from penstock.wire import segment as segment_module
from penstock.wire.arena import Arena, Block

GRANULE = mmap.ALLOCATIONGRANULARITY
SEGMENT = 8 * GRANULE


@pytest.fixture
def arena() -> Arena:
    return Arena(64 * GRANULE, segment_bytes=SEGMENT)


def filled(arena: Arena, content: bytes, spill: Path | None = None) -> Block:
    block = arena.allocate(len(content), spill=spill)
    arena.write(block, [content])
    return block


def test_content_is_read_as_written(arena: Arena):
    contents = [os.urandom(size) for size in (0, 1, GRANULE, GRANULE + 1, SEGMENT, 3 * SEGMENT + 5)]
    blocks = [filled(arena, content) for content in contents]
    assert [arena.read(block) for block in blocks] == contents
    assert [bytes(arena.view(block)) for block in blocks] == contents
    assert [block.size for block in blocks] == [len(content) for content in contents]
    assert all(block.offset % GRANULE == 0 for block in blocks)


def test_a_view_is_read_only_and_no_copy(arena: Arena):
    block = filled(arena, b"before")
    view = arena.view(block)
    with pytest.raises(TypeError):
        view[0] = 0
    array = np.frombuffer(view, np.uint8)
    assert not array.flags.writeable
    arena.write(block, [b"after!"])
    assert bytes(array) == b"after!"


def test_a_freed_place_is_used_again_first(arena: Arena):
    blocks = [arena.allocate(GRANULE) for _ in range(4)]
    arena.free(blocks[1])
    assert arena.allocate(GRANULE) == blocks[1]


def test_memory_used_before_is_preferred_to_the_cold_rest_of_another_segment(arena: Arena):
    full = [arena.allocate(GRANULE) for _ in range(8)]
    arena.allocate(GRANULE)  # begins another segment
    for block in full[2:5]:
        arena.free(block)
    other = arena.allocate(4 * GRANULE)
    arena.free(other)
    assert other.segment != full[0].segment
    assert arena.allocate(3 * GRANULE)[:2] == other[:2]
    assert arena.allocate(2 * GRANULE)[:2] == full[2][:2]


def test_a_block_larger_than_a_segment_gets_its_own(arena: Arena):
    block = arena.allocate(SEGMENT + 1)
    assert os.fstat(arena.descriptor(block.segment)).st_size == SEGMENT + GRANULE


def test_the_budget_counts_what_blocks_take_up():
    arena = Arena(4 * GRANULE, segment_bytes=SEGMENT)
    blocks = [arena.allocate(1) for _ in range(4)]
    with pytest.raises(ArenaFull) as failure:
        arena.allocate(1)
    assert (failure.value.size_bytes, failure.value.used_bytes, failure.value.budget_bytes) == (
        1,
        4 * GRANULE,
        4 * GRANULE,
    )
    assert "raise the memory budget" in str(failure.value)
    arena.free(blocks[0])
    arena.allocate(GRANULE)
    assert arena.usage() == (4, 4 * GRANULE, 0, 1)


def test_what_the_budget_has_no_room_for_is_spilled(tmp_path: Path):
    arena = Arena(2 * GRANULE, segment_bytes=SEGMENT)
    filled(arena, bytes(2 * GRANULE), tmp_path)
    content = os.urandom(3 * GRANULE)
    block = filled(arena, content, tmp_path)
    assert arena.usage() == (2, 2 * GRANULE, 3 * GRANULE, 2)
    assert arena.read(block) == bytes(arena.view(block)) == content
    assert filled(arena, b"x", tmp_path).segment == block.segment
    assert list(tmp_path.iterdir()) == []


def test_files_go_when_their_last_block_does(tmp_path: Path):
    arena = Arena(0, segment_bytes=SEGMENT)
    blocks = [filled(arena, b"x", tmp_path) for _ in range(9)]
    assert arena.usage().segments == 2
    for block in blocks:
        arena.free(block)
    assert arena.usage() == (0, 0, 0, 0)


def test_a_folder_that_takes_no_files_is_told_as_the_system_tells_it(tmp_path: Path):
    arena = Arena(0)
    with pytest.raises(ArenaFull, match="No such file"):
        arena.allocate(1, spill=tmp_path / "absent")
    assert arena.usage() == (0, 0, 0, 0)


def test_a_file_that_the_system_will_not_make_so_large_is_told(tmp_path: Path):
    arena = Arena(0, segment_bytes=SEGMENT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (GRANULE, before[1]))
    try:
        with pytest.raises(ArenaFull, match="too large"):
            arena.allocate(1, spill=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert arena.usage() == (0, 0, 0, 0)


def test_a_disk_that_fills_up_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    arena = Arena(0, segment_bytes=SEGMENT)
    kept = filled(arena, b"kept", tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ArenaFull, match="No space left"):
        arena.allocate(1, spill=tmp_path)
    assert arena.usage().blocks == 1
    assert arena.read(kept) == b"kept"


def test_a_failing_write_is_told(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    block = arena.allocate(3)
    monkeypatch.setattr(segment_module.os, "pwritev", full)
    with pytest.raises(ArenaFull, match="Cannot allocate memory"):
        arena.write(block, [b"abc"])


def test_a_block_is_reused_only_when_it_is_freed_as_often_as_it_was_kept(arena: Arena):
    block = arena.allocate(1)
    arena.keep(block)
    arena.free(block)
    assert arena.usage().blocks == 1
    arena.free(block)
    assert arena.usage().blocks == 0
    assert arena.allocate(1) == block


def test_a_freed_block_is_not_reused_while_it_is_held(arena: Arena):
    block = filled(arena, b"x")
    arena.hold(block, 1)
    arena.hold(block, 1)
    arena.hold(block, 2)
    arena.free(block)
    assert arena.allocate(1) != block
    arena.let_go(block, 1)
    arena.let_go(block, 2)
    assert arena.read(block) == b"x"
    arena.let_go(block, 1)
    assert arena.allocate(1) == block


def test_a_dead_holder_holds_nothing(arena: Arena):
    blocks = [arena.allocate(1) for _ in range(3)]
    for block in blocks:
        arena.hold(block, 7)
        arena.hold(block, 7)
        arena.free(block)
    arena.hold(blocks[0], 8)
    arena.forget(7)
    arena.forget(7)
    assert arena.usage().blocks == 1
    with pytest.raises(BlockUnknown, match="does not hold"):
        arena.let_go(blocks[0], 7)
    arena.forget(8)
    assert arena.usage().blocks == 0


def test_a_block_that_is_only_held_can_be_kept_again(arena: Arena):
    block = arena.allocate(1)
    arena.hold(block, 1)
    arena.free(block)
    arena.keep(block)
    arena.forget(1)
    assert arena.usage().blocks == 1


def test_mistakes_are_told(arena: Arena):
    block = arena.allocate(1)
    arena.hold(block, 1)
    arena.free(block)
    with pytest.raises(BlockUnknown, match="freed already"):
        arena.free(block)
    arena.forget(1)
    uses = (
        arena.free,
        arena.keep,
        arena.read,
        arena.view,
        lambda block: arena.hold(block, 1),
        lambda block: arena.let_go(block, 1),
        lambda block: arena.write(block, [b"x"]),
    )
    for use in uses:
        for wrong in (block, block._replace(segment=9), block._replace(size=2)):
            with pytest.raises(BlockUnknown):
                use(wrong)
    with pytest.raises(BlockUnknown):
        arena.descriptor(99)
    with pytest.raises(ValueError, match="-1"):
        arena.allocate(-1)
    assert arena.usage().blocks == 0


def test_one_empty_segment_is_kept_warm_and_the_others_go(arena: Arena):
    blocks = [arena.allocate(SEGMENT) for _ in range(3)]
    seen = os.dup(arena.descriptor(blocks[0].segment))
    arena.write(blocks[0], [bytes(SEGMENT)])
    assert os.fstat(seen).st_blocks > 0
    for block in blocks:
        arena.free(block)
    assert arena.usage() == (0, 0, 0, 1)
    assert arena.segments() == {blocks[2].segment}
    assert os.fstat(seen).st_blocks == 0  # though another descriptor is open
    os.close(seen)
    assert arena.allocate(1).segment == blocks[2].segment


def test_the_segment_kept_warm_does_not_exceed_the_budget():
    arena = Arena(4 * SEGMENT, segment_bytes=SEGMENT)
    block = arena.allocate(2 * SEGMENT)
    arena.free(block)
    large = arena.allocate(3 * SEGMENT)
    assert arena.segments() == {large.segment}


def test_numbers_of_segments_are_not_used_again(arena: Arena):
    blocks = [arena.allocate(SEGMENT) for _ in range(2)]
    for block in blocks:
        arena.free(block)
    arena.allocate(SEGMENT)
    assert arena.allocate(SEGMENT).segment > blocks[1].segment


def test_a_closed_arena_has_no_descriptors_and_open_views_stay_valid():
    with Arena(SEGMENT) as arena:
        view = arena.view(filled(arena, b"content"))
        descriptor = arena.descriptor(1)
    arena.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)
    assert bytes(view) == b"content"
    assert arena.usage() == (0, 0, 0, 0)
    with pytest.raises(ArenaFull, match="shutting down"):
        arena.allocate(1)


def test_threads_never_get_the_same_place():
    arena = Arena(256 * GRANULE, segment_bytes=SEGMENT)
    wrong: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        own: list[tuple[Block, bytes]] = []
        try:
            for _ in range(300):
                if len(own) > 10 or (own and chance.random() < 0.5):
                    block, content = own.pop(chance.randrange(len(own)))
                    assert arena.read(block) == content
                    arena.free(block)
                else:
                    content = chance.randbytes(chance.randrange(3 * GRANULE))
                    own.append((filled(arena, content), content))
            for block, content in own:
                assert arena.read(block) == content
                arena.free(block)
        except BaseException as exc:
            wrong.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert arena.usage()[:3] == (0, 0, 0)
