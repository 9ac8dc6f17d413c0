# SPDX-License-Identifier: Apache-2.0
"""Data in the memory of the process that runs the session.

A large piece is kept as it came, without a copy where it is `bytes`; small ones are gathered, so that a
million writes of ten bytes stay cheap. The first reader joins the pieces, all later ones share the result.
"""

import io
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, ClassVar
from urllib.parse import quote

from penstock.drops.base import Site
from penstock.drops.data import Buffer, DataDrop, whole_bytes
from penstock.drops.ports import Parameter
from penstock.drops.pydata import content_of, find_pydata
from penstock.errors import DropNotReadable

__all__ = ["MemoryDrop"]

_SMALL_BYTES = 1 << 12
_LARGE_BYTES = 1 << 16
_GATHERED_BYTES = 1 << 16


class MemoryDrop(DataDrop):
    """Bytes in memory; where the graph gives `pydata` and no producer writes, that is the content."""

    content_keys: ClassVar[tuple[str, ...]] = ("pydata",)
    scheme: ClassVar[str] = "mem"

    expireAfterUse = Parameter(bool, False, "free the memory when the last consumer has ended")  # noqa: N815

    _reads_in_its_own_way: ClassVar[bool] = False
    """Whether a subclass has a way of reading of its own, which `buffer` must not pass by."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = (DataDrop.read, DataDrop.open, MemoryDrop._reader)
        cls._reads_in_its_own_way = (cls.read, cls.open, cls._reader) != own

    def __init__(self, site: Site, index: int) -> None:
        super().__init__(site, index)
        stored = site.stored(index)
        self._pieces: list[Buffer] = [] if stored is None else [stored]
        self._placed: memoryview | None = None
        self._gone = False
        if stored is not None:
            self._written_bytes = memoryview(stored).nbytes

    @classmethod
    def needs_settling(cls, fields: Mapping[str, Any]) -> bool:  # Any: whatever JSON the graph's author wrote
        """Whether the graph gives this drop content of its own."""
        data = find_pydata(fields)
        return data is not None and data.has_content

    def settle(self) -> None:
        """Take the content that the graph gives, unless producers wrote some."""
        with self._lock:
            if self._written_bytes or self._gone:
                return
            content = self._own_content()
            if not content:
                return
            self._pieces = [content]
            self._written_bytes = len(content)
        self.site.written(self.index, memoryview(content))

    def _own_content(self) -> bytes:
        """Return what this drop holds when nobody writes to it."""
        data = find_pydata(self.fields)
        return b"" if data is None else content_of(self.uid, data)

    @property
    def url(self) -> str:
        """Host, process and name; the data cannot be reached from elsewhere."""
        place = f"{socket.gethostname()}/{os.getpid()}"
        return f"{self.scheme}://{place}/{quote(self.site.session_id, '')}/{quote(self.uid, '')}"

    def write_parts(self, parts: Sequence[Buffer]) -> int:
        """Add several buffers as one piece; a large one that is the whole content is copied once, to where it stays."""
        size = sum(memoryview(part).nbytes for part in parts)
        placed = self.site.place(self.index, parts) if size >= _LARGE_BYTES and not self._pieces else None
        if placed is None:
            return super().write_parts(parts)
        self._placed = placed
        return self.write(placed)

    def _append(self, data: memoryview) -> None:
        placed = self._placed
        if placed is not None and data.obj is placed.obj and not self._pieces:
            self._pieces.append(placed)
            return
        last = self._pieces[-1] if self._pieces else b""
        if data.nbytes >= _SMALL_BYTES or not self._pieces:
            self._pieces.append(whole_bytes(data))
        elif isinstance(last, bytearray) and len(last) < _GATHERED_BYTES:
            last += data
        else:
            self._pieces.append(bytearray(data))

    def _reader(self) -> BinaryIO:
        return io.BytesIO(self._joined())  # shares the bytes; a copy is made only by who writes

    def buffer(self) -> memoryview:
        """Return the whole content as a read-only buffer; only the first reader of several pieces copies them."""
        if self._reads_in_its_own_way:
            return super().buffer()
        self._check_complete()
        return memoryview(self._whole()).toreadonly()

    def private_buffer(self) -> memoryview:
        """Return a view of shared memory that is copied page by page where the caller writes; else `buffer`."""
        view = self.buffer()
        is_shared = len(self._pieces) == 1 and isinstance(self._pieces[0], memoryview)
        # Asked anew: what one reader does to its view no other may see.
        again = self.site.stored(self.index) if is_shared and not self._pieces[0].readonly else None  # type: ignore[union-attr]
        return view if again is None else memoryview(again)

    def parts(self) -> list[Buffer]:
        """Return the content in pieces, one behind the other; also of data that is not complete."""
        with self._lock:
            return list(self._pieces)

    def adopt(self, content: memoryview) -> None:
        """Replace the content by one that is kept elsewhere."""
        with self._lock:
            self._pieces = [content]
            self._written_bytes = content.nbytes

    def _joined(self) -> bytes:
        """Return the content as bytes of their own; what is kept elsewhere is not kept twice."""
        return bytes(self._whole())  # no copy of what is bytes already

    def _whole(self) -> bytes | memoryview:
        """Return the content in one piece; what is kept elsewhere stays there, whoever reads it."""
        with self._lock:
            if self._gone:
                raise DropNotReadable(self.uid, "was deleted; set persist to keep the data")
            if len(self._pieces) == 1 and isinstance(only := self._pieces[0], bytes | memoryview):
                return only
            whole = b"".join(self._pieces)
            self._pieces = [whole]
            return whole

    def discard(self) -> None:
        """Forget what was written, before its only producer tries again."""
        with self._lock:
            self._pieces = []
            self._written_bytes = 0

    def delete(self) -> None:
        """Free the memory; readers that are open now keep what they read."""
        with self._lock:
            self._pieces = []
            self._gone = True

    def exists(self) -> bool:
        """Whether the data was not deleted yet."""
        return not self._gone
