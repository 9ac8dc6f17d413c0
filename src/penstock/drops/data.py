# SPDX-License-Identifier: Apache-2.0
"""The base of data drops: write once, read many, with size, checksum and a count of readers.

A subclass gives four things: `_append` (keep some bytes), `_reader` (a binary file over the content),
`url`, and, where completing takes work, `settle`.
"""

import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, BinaryIO, ClassVar

from penstock.drops.base import Drop, Side, Site
from penstock.drops.ports import Parameter
from penstock.engine.states import DropState
from penstock.errors import DropNotReadable, DropNotWritable

__all__ = ["Buffer", "DataDrop", "Reader", "as_bytes", "whole_bytes"]

Buffer = bytes | bytearray | memoryview

CHUNK_BYTES = 1 << 16


def as_bytes(data: Buffer | str) -> memoryview:
    """Return `data` as flat bytes without a copy; text as UTF-8.

    Raises:
        TypeError: it is neither bytes-like nor text.
    """
    if type(data) is bytes:
        return memoryview(data)
    if isinstance(data, str):
        return memoryview(data.encode())
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def whole_bytes(view: memoryview) -> bytes:
    """Return what `view` shows as bytes; without a copy where it shows the whole of a bytes object."""
    whole = view.obj
    if type(whole) is bytes and len(whole) == view.nbytes:
        return whole  # nobody can change it
    return bytes(view)


class DataDrop(Drop):
    """The base of all data drops.

    The session completes it when all its producers have ended. Thread safety: several producers may write
    at once, each piece stays whole; readers have positions of their own.
    """

    settles: ClassVar[bool] = False
    """Whether completing takes work for every drop of this class."""

    content_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of a graph by which single drops of this class come with content; see `needs_settling`."""

    holds_bytes: ClassVar[bool] = True
    """Whether a complete drop of this class has content that can be read as bytes."""

    moves: ClassVar[bool] = True
    """Whether content written on one node must be brought to where it is read or lives; see `receive`."""

    ends_session: ClassVar[bool] = False
    """Whether the session is over when a drop of this class completes."""

    persist = Parameter(bool, False, "keep the data after the session")
    expectedSize = Parameter(int, -1, "bytes after which the data is complete; -1 unknown")  # noqa: N815
    expireAfterUse = Parameter(  # noqa: N815
        bool, False, "remove the data when its last consumer has ended (not done yet for files)"
    )
    lifespan = Parameter(
        float, -1.0, "seconds after completion at which the data expires; -1 never (not done yet)"
    )

    def __init__(self, site: Site, index: int) -> None:
        super().__init__(site, index)
        self._lock = threading.RLock()
        self._written_bytes = 0
        self._readers = 0

    @classmethod
    def needs_settling(cls, fields: Mapping[str, Any]) -> bool:  # Any: whatever JSON the graph's author wrote
        """Whether completing takes work for a drop with these fields; asked once per drop."""
        del fields  # subclasses look at them
        return cls.settles

    # What subclasses give

    def _append(self, data: memoryview) -> None:
        """Keep some bytes behind those kept before; called under the drop's lock."""
        del data
        raise DropNotWritable(self.uid, f"{type(self).__name__} takes no bytes")

    def _reader(self) -> BinaryIO:
        """Return a binary file over the whole content, at position 0; the caller closes it."""
        raise DropNotReadable(self.uid, f"{type(self).__name__} holds no bytes")

    @property
    def url(self) -> str:
        """Where the data is, for people and programs of any host."""
        return f"null://localhost/{self.site.session_id}/{self.uid}"

    def settle(self) -> None:
        """Finish what completing takes: close files, make what was never written; on any thread."""

    def release(self) -> None:
        """Let go of open files: the data will never be complete. A second call does nothing."""

    def discard(self) -> None:
        """Forget what was written, before its only producer tries again."""
        with self._lock:
            self._written_bytes = 0

    def delete(self) -> None:
        """Remove the data; afterwards it cannot be read."""

    def exists(self) -> bool:
        """Whether the data is there."""
        return True

    # What users call

    @property
    def producers(self) -> tuple[Drop, ...]:
        """The apps that write this data, in the order of the graph."""
        return self._neighbours(Side.BEFORE)

    @property
    def consumers(self) -> tuple[Drop, ...]:
        """The apps that read this data, streaming ones too, in the order of the graph."""
        return self._neighbours(Side.AFTER)

    def _neighbours(self, side: Side) -> tuple[Drop, ...]:
        links = self.site.linked(self.index, side)
        return tuple(
            {link.drop.index: link.drop for link in links}.values()
        )  # one may be linked through two ports

    def write(self, data: Buffer | str) -> int:
        """Add `data` behind what was written before and return the number of bytes.

        Raises:
            DropNotWritable: this drop has ended.
            TypeError: neither bytes-like nor text.
        """
        view = as_bytes(data)
        if self.site.writing(self.index, view):
            self._written_bytes += view.nbytes
            return view.nbytes
        with self._lock:
            self._append(view)
            before = self._written_bytes
            self._written_bytes += view.nbytes
            # Of several producers exactly one crosses the mark.
            full = before < self.expectedSize <= self._written_bytes
        self.site.written(self.index, view)
        if full and self.status <= DropState.WRITING:
            self.complete()
        return view.nbytes

    def write_parts(self, parts: Sequence[Buffer]) -> int:
        """Add several buffers as one piece, as `write` does, and return the number of bytes."""
        return self.write(b"".join(parts))

    def receive(self, pieces: Iterable[Buffer]) -> None:
        """Add what was written to this drop on another node; no streaming consumer is told.

        Raises:
            DropNotWritable: data of this class holds no bytes.
        """
        with self._lock:
            for piece in pieces:
                view = memoryview(piece)
                self._append(view)
                self._written_bytes += view.nbytes

    def complete(self) -> None:
        """Say that all data is there, before the producers have ended."""
        self.settle()
        self.site.completed(self.index)

    def open(self) -> "Reader":
        """Return a binary file over the content; as long as it is open the data counts as being read.

        Raises:
            DropNotReadable: the data is not complete or gone.
        """
        self._check_complete()
        file = self._reader()
        self._count_readers(1)
        return Reader(file, lambda: self._count_readers(-1))

    def _check_complete(self) -> None:
        if self.status != DropState.COMPLETED:
            raise DropNotReadable(self.uid, f"is {self.status.name}, only COMPLETED data can be read")

    def _count_readers(self, more: int) -> None:
        with self._lock:
            self._readers += more

    def read(self) -> bytes:
        """Return the whole content.

        Raises:
            DropNotReadable: the data is not complete or gone.
        """
        with self.open() as reader:
            return reader.read()

    def buffer(self) -> memoryview:
        """Return the whole content as a read-only buffer, without a copy where possible.

        Raises:
            DropNotReadable: the data is not complete or gone.
        """
        return memoryview(self.read())

    def private_buffer(self) -> memoryview:
        """Return the content as `buffer` does, or so that the caller may write to it and nobody else sees that.

        Raises:
            DropNotReadable: the data is not complete or gone.
        """
        return self.buffer()

    @property
    def is_being_read(self) -> bool:
        """Whether a reader is open now."""
        return self._readers > 0

    @property
    def size(self) -> int:
        """Bytes of content; what was written so far while the drop is not complete."""
        return self._written_bytes

    @property
    def checksum(self) -> int:
        """The CRC of the content, computed when asked for; `checksum_type` says which."""
        crc, extend = 0, _crc_extend()[1]
        with self.open() as reader:
            while chunk := reader.read(CHUNK_BYTES):
                crc = extend(crc, chunk)
        return crc

    @property
    def checksum_type(self) -> str:
        """Which CRC `checksum` is: "CRC_32C" where google-crc32c is installed, else "CRC_32"."""
        return _crc_extend()[0]


def _crc_extend() -> tuple[str, Callable[[int, bytes], int]]:
    try:
        from google_crc32c import extend  # optional: extra "checksum"
    except ImportError:
        return "CRC_32", lambda crc, chunk: zlib.crc32(chunk, crc)
    return "CRC_32C", extend


class Reader:
    """A binary file over the content of one data drop; counts as a reader until closed. One thread only.

    Args:
        file: over the content; closed with this object.
        closed: called once, when reading has ended.
    """

    def __init__(self, file: IO[bytes], closed: Callable[[], None]) -> None:
        self._file = file
        self._closed: Callable[[], None] | None = closed

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, all that is left by default, b"" at the end."""
        return self._file.read(size)

    def close(self) -> None:
        """End reading; a second call does nothing."""
        if self._closed is not None:
            closed, self._closed = self._closed, None
            self._file.close()
            closed()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
