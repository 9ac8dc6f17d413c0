# SPDX-License-Identifier: Apache-2.0
"""The side that has the contents of drops and lets others read them, as methods of an `RpcServer`.

Rule 1: a reader has handles, which are worth nothing to others; it reads what it asks for and nothing is sent ahead.
Rule 2: a source is closed once: by its reader, when its reader is gone or has been idle for long, or with the server.
Rule 3: memory does not grow with a content: what is under way are the pieces that a reader has asked for.
"""

import io
import os
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from penstock.errors import DropNotReadable, WireError
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
from penstock.wire.framing import Peer
from penstock.wire.loop import Loop, Timer
from penstock.wire.segment import Bytes
from penstock.wire.server import Method, Result

__all__ = ["DataServer", "Region", "Source"]

_MOST_BYTES = 16 << 20  # of one piece
_MOST_HANDLES = 1000
_IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes behind a descriptor that is not closed and of which nothing changes until `close` is called."""

    descriptor: int
    offset: int
    size_bytes: int
    close: Callable[[], None] = lambda: None


Source = BinaryIO | Path | Bytes | Region
"""Where a content is. Files are closed when they were read; a file without `seek` is read once, in order."""


@dataclass(slots=True)
class _Open:
    """A source that somebody reads. The lock is held by whoever reads of a file with one position."""

    owner: Peer
    uid: str
    size_bytes: int | None
    here: FileHere | MemoryHere | None
    read: Callable[[int, int], Bytes]
    close: Callable[[], None]
    heard_s: float
    readers: int = 0
    is_closing: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    last: tuple[int, bytes] = (0, b"")


class DataServer:
    """Sources that clients have open.

    Args:
        open_source: called with session and uid on a thread of the server; what it raises, the reader raises.
        idle_s: a source that was not read for so long is closed.
        is_shared: readers on this host may open files and memory themselves.

    Attributes:
        methods: to be given to the `RpcServer`.
    """

    def __init__(
        self,
        loop: Loop,
        open_source: Callable[[str, str], Source],
        *,
        idle_s: float = _IDLE_S,
        is_shared: bool = True,
    ) -> None:
        self.methods: Mapping[str, Method] = {
            OPEN: Method(self._open),
            READ: Method(self._read, is_remembered=False),
            CLOSE: Method(self._close),
        }
        self._loop = loop
        self._open_source = open_source
        self._idle_s = idle_s
        self._is_shared = is_shared
        self._lock = threading.Lock()  # guards all that follows
        self._handles: dict[int, _Open] = {}
        self._is_closed = False
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to close what nobody reads."""
        self._timer = self._loop.later(self._idle_s / 4, self._look)

    def close(self) -> None:
        """Close all sources; nothing can be opened any more."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._is_closed = True
        self._close_all(lambda _: True)

    def gone(self, peer: Peer) -> None:
        """Close what a client has open, for it is gone."""
        self._close_all(lambda opened: opened.owner == peer)

    @property
    def handles(self) -> int:
        """How many sources are open."""
        return len(self._handles)

    # Methods

    def _open(self, peer: Peer, body: bytes, _: list[Bytes]) -> Result:
        ask = decoded(body, Open)
        source = self._open_source(ask.session_id, ask.uid)
        opened = _opened(source, peer, ask.uid)
        handle = secrets.randbits(62)
        with self._lock:
            is_refused = self._is_closed or len(self._handles) >= _MOST_HANDLES
            if not is_refused:
                self._handles[handle] = opened
        if is_refused:
            opened.close()
            raise WireError("no more contents can be opened now: close others first")
        is_near = self._is_shared and ask.mark != "" and ask.mark == host_mark()
        return encoded(Opened(handle, opened.size_bytes, opened.here if is_near else None)), ()

    def _read(self, peer: Peer, body: bytes, _: list[Bytes]) -> Result:
        ask = decoded(body, Read)
        if not (0 <= ask.size_bytes <= _MOST_BYTES and ask.offset >= 0):
            raise WireError(f"{ask.size_bytes} bytes at {ask.offset} cannot be read at once")
        opened = self._found(ask.handle, peer)
        try:
            with opened.lock if opened.size_bytes is None else nullcontext():
                return b"", (opened.read(ask.offset, ask.size_bytes),)
        except (OSError, ValueError) as exc:
            raise DropNotReadable(opened.uid, f"its content cannot be read: {exc}") from exc
        finally:
            self._let_go(opened)

    def _close(self, peer: Peer, body: bytes, _: list[Bytes]) -> Result:
        ask = decoded(body, Close)
        with self._lock:
            opened = self._handles.get(ask.handle)
            is_known = opened is not None and opened.owner == peer
        if opened is not None and is_known:
            self._close_all(lambda other: other is opened)
        return b"1" if is_known else b"0", ()

    # Inside

    def _found(self, handle: int, peer: Peer) -> _Open:
        with self._lock:
            opened = self._handles.get(handle)
            if opened is None or opened.owner != peer:
                raise WireError("this content is not open, or was closed after nobody had read it for long")
            opened.heard_s = monotonic()
            opened.readers += 1
            return opened

    def _let_go(self, opened: _Open) -> None:
        with self._lock:
            opened.readers -= 1
            is_last = opened.is_closing and not opened.readers
        if is_last:
            opened.close()

    def _close_all(self, is_meant: Callable[[_Open], bool]) -> None:
        with self._lock:
            meant = [handle for handle, opened in self._handles.items() if is_meant(opened)]
            closing = [self._handles.pop(handle) for handle in meant]
            for opened in closing:
                opened.is_closing = True
            free = [opened for opened in closing if not opened.readers]  # the others by their last reader
        for opened in free:
            opened.close()

    def _look(self) -> None:
        self._timer = self._loop.later(self._idle_s / 4, self._look)
        late_s = monotonic() - self._idle_s
        self._close_all(lambda opened: opened.heard_s < late_s and not opened.readers)


def _opened(source: Source, peer: Peer, uid: str) -> _Open:
    now_s = monotonic()
    if isinstance(source, Region):
        here = _memory(source)
        return _Open(peer, uid, source.size_bytes, here, _region_reader(source), source.close, now_s)
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source).cast("B")
        return _Open(peer, uid, view.nbytes, None, lambda at, size: view[at : at + size], _nothing, now_s)
    if isinstance(source, Path):
        try:
            file: BinaryIO = source.open("rb", buffering=0)
        except OSError as exc:
            raise DropNotReadable(uid, f"{source} cannot be opened: {exc.strerror}") from exc
        return _open_file(file, peer, uid)
    return _open_file(source, peer, uid)


def _open_file(file: BinaryIO, peer: Peer, uid: str) -> _Open:
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError, io.UnsupportedOperation):
        return _open_stream(file, peer, uid)
    if not stat.S_ISREG(status.st_mode):
        return _open_stream(file, peer, uid)
    descriptor, size = file.fileno(), status.st_size
    region = Region(descriptor, 0, size, file.close)
    path: object = getattr(file, "name", None)
    here = None
    if isinstance(path, str | os.PathLike):
        here = FileHere(str(Path(path).absolute()), status.st_dev, status.st_ino)
    return _Open(peer, uid, size, here, _region_reader(region), file.close, monotonic())


def _open_stream(file: BinaryIO, peer: Peer, uid: str) -> _Open:
    """Open what has one position: read in order, and the last piece kept in case that its answer was lost."""
    opened = _Open(
        peer, uid, None, None, lambda at, size: _next(opened, file, at, size), file.close, monotonic()
    )
    return opened


def _next(opened: _Open, file: BinaryIO, offset: int, size: int) -> Bytes:
    at, piece = opened.last
    if offset == at and piece:
        return piece
    if offset != at + len(piece):
        raise ValueError("it can be read in order only")
    parts: list[bytes] = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    opened.last = offset, b"".join(parts)
    return opened.last[1]


def _region_reader(region: Region) -> Callable[[int, int], Bytes]:
    def read(offset: int, size: int) -> Bytes:
        size = max(0, min(size, region.size_bytes - offset))
        piece = os.pread(region.descriptor, size, region.offset + offset)
        while len(piece) < size:
            more = os.pread(region.descriptor, size - len(piece), region.offset + offset + len(piece))
            if not more:
                raise OSError(f"it ends after {offset + len(piece)} of {region.size_bytes} bytes")
            piece += more
        return piece

    return read


def _memory(region: Region) -> MemoryHere | None:
    with suppress(OSError):
        status = os.fstat(region.descriptor)
        return MemoryHere(os.getpid(), region.descriptor, region.offset, status.st_dev, status.st_ino)
    return None


def _nothing() -> None: ...
