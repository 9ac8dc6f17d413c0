# SPDX-License-Identifier: Apache-2.0
"""The side that reads the content of a drop of another process: as a file, or piece by piece without a copy.

Rule 1: the reader asks for each piece, for several at a time; it never gets more than it asked for.
Rule 2: on one host it may open the file or memory itself. It does so only if it finds exactly what it was told of,
        and else reads over the wire.
"""

import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, BinaryIO, Self

from penstock.errors import NodeDown, PenstockError, WireError
from penstock.wire.client import Reply, RpcClient
from penstock.wire.data_messages import (
    CLOSE,
    OPEN,
    READ,
    Close,
    FileHere,
    MemoryHere,
    Open,
    Opened,
    Read,
    decoded,
    encoded,
    host_mark,
)
from penstock.wire.segment import Bytes

__all__ = ["RemoteData", "read_data"]

_PIECE_BYTES = 1 << 20
_WINDOW = 8  # pieces asked for at a time
_TIMEOUT_S = 30.0


class RemoteData(io.RawIOBase):
    """A file over the content of a drop elsewhere; of one thread at a time.

    Wrap it in `io.BufferedReader` for small reads. `pieces` is the fast way to read all.

    Args:
        timeout_s: how long is waited for each answer, reconnections included.
        is_near_allowed: read the file or memory itself where that is on this host.

    Attributes:
        size_bytes: of the whole, None where it is known at the end only.
        is_near: the file or memory itself is read.

    Raises (all methods):
        NodeDown: the server does not answer.
        PenstockError: what the server raised.
    """

    def __init__(
        self,
        client: RpcClient,
        session_id: str,
        uid: str,
        *,
        timeout_s: float = _TIMEOUT_S,
        is_near_allowed: bool = True,
    ) -> None:
        super().__init__()
        self.size_bytes: int | None = None
        self._client = client
        self._timeout_s = timeout_s
        self._ask = Open(session_id, uid, host_mark() if is_near_allowed else "")
        self._handle = -1
        self._descriptor = -1
        self._start = 0
        self._is_memory = False
        self._position = 0

    @property
    def is_near(self) -> bool:
        """Whether the file or memory itself is read."""
        return self._descriptor >= 0

    def open(self) -> Self:
        """Open the content; must come first."""
        body, _ = self._client.call(OPEN, encoded(self._ask), timeout_s=self._timeout_s, repeat=True)
        opened = decoded(body, Opened)
        self._handle, self.size_bytes = opened.handle, opened.size_bytes
        if opened.here is not None and opened.size_bytes is not None:
            self._open_near(opened.here, opened.size_bytes)
        return self

    def pieces(self, size_bytes: int = _PIECE_BYTES, window: int = _WINDOW) -> Iterator[Bytes]:
        """Return all pieces from the present position on, in order; each is the reader's own."""
        if self.is_near:
            yield from self._near_pieces(size_bytes)
            return
        asked: deque[tuple[int, Future[Reply]]] = deque()
        next_offset = self._position
        end = self.size_bytes
        while True:
            # Without a size the answer to one piece tells where the next one begins.
            while len(asked) < (window if end is not None else 1) and (end is None or next_offset < end):
                size = size_bytes if end is None else min(size_bytes, end - next_offset)
                asked.append((size, self._asked(next_offset, size)))
                next_offset += size
            if not asked:
                return
            size, future = asked.popleft()
            piece = self._piece(size, future)
            self._position += len(piece)
            if len(piece):
                yield piece
            if len(piece) < size:
                return

    def readinto(self, buffer: Any) -> int:  # Any: whatever has a writable buffer
        """Fill a buffer as far as the content goes, with one request."""
        view = memoryview(buffer).cast("B")
        size = min(view.nbytes, _PIECE_BYTES)
        if self.size_bytes is not None:
            size = max(0, min(size, self.size_bytes - self._position))
        if self.is_near:
            count = self._near(view[:size])
        elif size == 0:
            return 0
        else:
            piece = self._piece(size, self._asked(self._position, size))
            count = len(piece)
            view[:count] = piece
        self._position += count
        return count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.size_bytes is not None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.size_bytes is None:
            raise io.UnsupportedOperation("this content is read from its beginning to its end")
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"there is no byte {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Close the content here and on the server.

        Raises:
            WireError: memory was read that the server had given up meanwhile, so what was read may be wrong.
        """
        if self.closed:
            return
        super().close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        if not self._is_memory:
            # Nobody need wait: a server that does not hear it closes the source after a while.
            self._client.call_async(CLOSE, encoded(Close(handle)), timeout_s=self._timeout_s, repeat=True)
            return
        body, _ = self._client.call(CLOSE, encoded(Close(handle)), timeout_s=self._timeout_s, repeat=True)
        if body != b"1":
            raise WireError(f"the memory of {self._ask.uid} was given up while it was read: read it again")

    def _asked(self, offset: int, size: int) -> Future[Reply]:
        body = encoded(Read(self._handle, offset, size))
        return self._client.call_async(READ, body, timeout_s=self._timeout_s, repeat=True)

    def _piece(self, size: int, future: Future[Reply]) -> Bytes:
        try:
            _, buffers = future.result(self._timeout_s * 2)
        except TimeoutError as exc:
            raise NodeDown(self._client.address, "the wire of this process had no time for a piece") from exc
        if len(buffers) != 1 or len(buffers[0]) > size:
            raise WireError("the answer is no piece of that size")
        if self.size_bytes is not None and len(buffers[0]) < size:
            raise WireError(f"the content of {self._ask.uid} ended before its size")
        return buffers[0]

    def _open_near(self, here: FileHere | MemoryHere, size_bytes: int) -> None:
        is_memory = isinstance(here, MemoryHere)
        path = f"/proc/{here.pid}/fd/{here.descriptor}" if isinstance(here, MemoryHere) else here.path
        start = here.offset if isinstance(here, MemoryHere) else 0
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # another file system, or rights that this process has not: over the wire
        status = os.fstat(descriptor)
        is_same = (status.st_dev, status.st_ino) == (here.device, here.inode)
        has_size = status.st_size >= start + size_bytes if is_memory else status.st_size == size_bytes
        if not (is_same and has_size and start >= 0):
            os.close(descriptor)
            return
        self._descriptor, self._start, self._is_memory = descriptor, start, is_memory

    def _near(self, view: memoryview) -> int:
        done = 0
        while done < view.nbytes:
            count = os.preadv(self._descriptor, [view[done:]], self._start + self._position + done)
            if not count:
                raise WireError(f"the content of {self._ask.uid} ended before its size")
            done += count
        return done

    def _near_pieces(self, size_bytes: int) -> Iterator[Bytes]:
        while (left := (self.size_bytes or 0) - self._position) > 0:
            piece = bytearray(min(left, size_bytes))
            self._position += self._near(memoryview(piece))
            yield piece


def read_data(
    client: RpcClient,
    session_id: str,
    uid: str,
    sink: BinaryIO,
    *,
    begin: Callable[[int | None], None] | None = None,
    timeout_s: float = _TIMEOUT_S,
    is_near_allowed: bool = True,
) -> int:
    """Write the content of a drop into a file; return its size in bytes.

    Args:
        begin: told the size before the first byte is written, None where it is not known.
    Raises:
        NodeDown: the server does not answer; the sink has what came until then.
        PenstockError: what the server raised.
    """
    data = RemoteData(client, session_id, uid, timeout_s=timeout_s, is_near_allowed=is_near_allowed)
    size_bytes = 0
    try:
        data.open()
        if begin is not None:
            begin(data.size_bytes)
        for piece in data.pieces():
            sink.write(piece)
            size_bytes += len(piece)
    except BaseException:
        with suppress(PenstockError):  # the first failure is the one to tell
            data.close()
        raise
    data.close()
    return size_bytes
