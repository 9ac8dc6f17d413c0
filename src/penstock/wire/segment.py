# SPDX-License-Identifier: Apache-2.0
"""One segment: a descriptor of shared memory or of a file without a name, and bytes in and out of it.

No name exists for a segment anywhere: it is gone when the last descriptor and the last mapping of it are, however
the processes that had them ended. Nothing here counts, locks or decides; `arena.py` does.
"""

import errno
import fcntl
import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from penstock.errors import BlockUnknown

__all__ = ["Block", "Bytes", "Segment", "make_file", "make_memory", "rounded"]

Bytes = bytes | bytearray | memoryview

_MOST_PARTS = min(os.sysconf("SC_IOV_MAX"), 1024) if "SC_IOV_MAX" in os.sysconf_names else 16
_ONE_CALL = 1 << 30  # the kernel stops at 2 GiB in one call anyway


class Block(NamedTuple):
    """Where bytes are: plain integers, so that it can be sent in any message.

    Attributes:
        offset: a multiple of `mmap.ALLOCATIONGRANULARITY`.
        size: bytes of content; what is allocated is this rounded up, and at least one granule.
    """

    segment: int
    offset: int
    size: int


def rounded(size_bytes: int) -> int:
    """Return what a block of that size takes up: whole granules, at least one."""
    granule = mmap.ALLOCATIONGRANULARITY
    return max(granule, -(-size_bytes // granule) * granule)


class _Descriptor:
    """A file descriptor that is closed when nobody refers to it.

    A thread that copies holds a reference, so that no other thread can close the number under it and have the
    copy end up in whatever file gets that number next.
    """

    __slots__ = ("_close", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._close = os.close  # kept: at interpreter exit the module may be gone first

    def __del__(self) -> None:
        try:
            self._close(self.number)
        except OSError:
            return  # it never was one, or somebody closed it; nobody is left to be told


class Segment:
    """Bytes behind one descriptor, which it takes over and closes when nothing refers to it any more."""

    def __init__(self, descriptor: int, size_bytes: int | None = None) -> None:
        self._descriptor = _Descriptor(descriptor)
        self.size_bytes = os.fstat(descriptor).st_size if size_bytes is None else size_bytes
        self._whole: mmap.mmap | None = None

    def fileno(self) -> int:
        """Return the descriptor, which stays this segment's own."""
        return self._descriptor.number

    def write(self, block: Block, parts: Sequence[Bytes]) -> None:
        """Put the parts one after the other at the place of the block.

        Raises:
            ValueError: they are not as many bytes as the block has.
            BlockUnknown: the block is not within this segment.
            OSError: the system has no room for them.
        """
        self.check(block)
        views = [memoryview(part) for part in parts]
        left = [view.cast("B") for view in views if view.nbytes]  # an empty array cannot be cast
        total = sum(view.nbytes for view in left)
        if total != block.size:
            raise ValueError(f"{total} bytes for a block of {block.size}")
        left.reverse()
        offset = block.offset
        while left:
            done = os.pwritev(self._descriptor.number, _next_parts(left), offset)
            offset += done
            _strike(left, done)

    def read(self, block: Block) -> bytes:
        """Return a copy of the block's content."""
        self.check(block)
        if block.size <= _ONE_CALL:
            content = os.pread(self._descriptor.number, block.size, block.offset)
            if len(content) == block.size:
                return content
        whole = bytearray(block.size)
        self._read_into(memoryview(whole), block)
        return bytes(whole)

    def map(self, block: Block, *, private: bool = False) -> mmap.mmap:
        """Return a mapping of exactly this block, which must not be empty: read only, or private and writable."""
        self.check(block)
        access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
        return mmap.mmap(self._descriptor.number, block.size, access=access, offset=block.offset)

    def copied(self, block: Block) -> mmap.mmap:
        """Return anonymous memory with a copy of the block, which must not be empty."""
        self.check(block)
        memory = mmap.mmap(-1, block.size)
        with memoryview(memory) as view:
            self._read_into(view, block)
        return memory

    def whole(self) -> mmap.mmap:
        """Return the one read-only mapping of the whole segment that all its readers share."""
        if self._whole is None:
            # Two threads may both map; one mapping is then used by one view only, which is no harm.
            self._whole = mmap.mmap(self._descriptor.number, self.size_bytes, access=mmap.ACCESS_READ)
        return self._whole

    def reserve(self, block: Block) -> None:
        """Have the disk find room for the block now: later a mapping could only be told by a signal.

        Raises:
            OSError: the disk is full.
        """
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor.number, block.offset, rounded(block.size))
            except OSError as exc:
                if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise

    def give_back(self) -> None:
        """Return all memory or disk space to the system, even that which others still map; they read zeros then."""
        advice = getattr(mmap, "MADV_REMOVE", None)
        if advice is None:
            return
        try:
            with mmap.mmap(self._descriptor.number, self.size_bytes) as mapping:
                mapping.madvise(advice)
        except OSError:
            return  # a file system that cannot: the space comes back with the last descriptor

    def _read_into(self, view: memoryview, block: Block) -> None:
        done = 0
        while done < block.size:
            part = view[done : done + _ONE_CALL]
            count = os.preadv(self._descriptor.number, [part], block.offset + done)
            if count == 0:
                raise BlockUnknown(*block, "the segment ends before the block does")
            done += count

    def check(self, block: Block) -> None:
        if min(block.offset, block.size) < 0 or block.offset % mmap.ALLOCATIONGRANULARITY:
            raise BlockUnknown(*block, "it has no such place")
        if block.offset + block.size > self.size_bytes:
            raise BlockUnknown(*block, f"its segment has {self.size_bytes} bytes")


def make_memory(size_bytes: int) -> Segment:
    """Return a new segment of memory that can neither grow nor shrink.

    Raises:
        OSError: the system makes no more.
    """
    if not hasattr(os, "memfd_create"):
        return make_file(Path(tempfile.gettempdir()), size_bytes)
    segment = _sized(os.memfd_create("penstock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), size_bytes)
    # A child that cuts a segment short would have every other process killed that reads it.
    fcntl.fcntl(segment.fileno(), fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return segment


def make_file(folder: Path, size_bytes: int) -> Segment:
    """Return a new segment in a file without a name in `folder`; disk space is taken by `Segment.reserve`.

    Raises:
        OSError: the folder takes no files.
    """
    try:
        descriptor = os.open(folder, os.O_RDWR | os.O_CLOEXEC | os.O_TMPFILE, 0o600)
    except (AttributeError, OSError):  # the system or this file system has no nameless files
        descriptor, name = tempfile.mkstemp(prefix=".penstock-", dir=folder)
        Path(name).unlink()
    return _sized(descriptor, size_bytes)


def _sized(descriptor: int, size_bytes: int) -> Segment:
    segment = Segment(descriptor, size_bytes)  # owns the descriptor from here on, whatever fails
    os.ftruncate(descriptor, size_bytes)
    return segment


def _next_parts(left: Sequence[memoryview]) -> list[memoryview]:
    parts: list[memoryview] = []
    size = 0
    for view in reversed(left[-_MOST_PARTS:]):
        if parts and size + view.nbytes > _ONE_CALL:
            break
        parts.append(view[:_ONE_CALL])
        size += view.nbytes
    return parts


def _strike(left: list[memoryview], done: int) -> None:
    """Remove the first `done` bytes from the parts, of which the last is the next."""
    while done:
        view = left.pop()
        if view.nbytes > done:
            left.append(view[done:])
            return
        done -= view.nbytes
