# SPDX-License-Identifier: Apache-2.0
"""Streams between processes: pieces of bytes from one writer to one reader, in order, while they are written.

Rule 1: the reader asks for what comes after the piece that it has; so nothing is lost or doubled by a cut, and the
        writer keeps no more than what was not asked beyond.
Rule 2: the writer waits while 16 pieces or 1 MiB are with it: its speed is the reader's, which has as much in hand
        and as much again on its way.
Rule 3: a stream ends by `end`, by `abort` with a reason, or by the reader's `close`; each side learns of it.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from penstock.errors import NodeDown, PenstockError, WireError
from penstock.wire.client import Reply, RpcClient
from penstock.wire.data_messages import decoded, encoded
from penstock.wire.faults import from_plain, to_plain
from penstock.wire.framing import Peer
from penstock.wire.segment import Bytes
from penstock.wire.server import Method, Result

__all__ = ["StreamIn", "StreamOut", "StreamServer"]

TAKE: Final = "stream.take"
STOP: Final = "stream.stop"

_PIECES = 16
_BYTES = 1 << 20
_IDLE_S = 60.0
_TURN_S = 10.0  # a reader asks again after so long without a piece, which tells both that the other is there


class _Take(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """All pieces up to a number have come; send those after it, at once or when there are some."""

    stream: str
    after: int


class _Stop(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Nobody reads any more."""

    stream: str


class _Taken(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The buffers of this answer are the pieces after a number; what comes after them."""

    after: int
    then: Literal["more", "end", "abort"]
    error: dict[str, object] | None = None


class StreamOut:
    """The writer's end; `write` on one thread at a time, all else on any.

    Args:
        name: by which the reader asks for it, known to nobody else.
        idle_s: a reader that does not ask for so long, while the writer waits for it, is gone.
    """

    def __init__(
        self, name: str, *, pieces: int = _PIECES, size_bytes: int = _BYTES, idle_s: float = _IDLE_S
    ) -> None:
        self.name = name
        self._most = pieces
        self._most_bytes = size_bytes
        self._idle_s = idle_s
        self._changed = threading.Condition()  # guards all that follows
        self._pieces: deque[Bytes] = deque()
        self._bytes = 0
        self._after = 0  # number of the last piece that the reader has
        self._then: Literal["more", "end", "abort"] = "more"
        self._error: PenstockError | None = None
        self._is_stopped = False
        self._asking: Future[Result] | None = None
        self._heard_s = monotonic()

    def write(self, piece: Bytes) -> None:
        """Hand on a piece, which must not change any more; waits while too much is not read.

        Raises:
            WireError: nobody reads any more, or the stream has ended.
        """
        size = memoryview(piece).nbytes
        with self._changed:
            while self._is_full(size):
                left_s = self._heard_s + self._idle_s - monotonic()
                if left_s <= 0:
                    self._is_stopped = True
                else:
                    self._changed.wait(left_s)
            if self._is_stopped or self._then != "more":
                raise WireError(f"the stream {self.name} takes no more: it has ended, or nobody reads it")
            self._pieces.append(piece)
            self._bytes += size
            asking, result = self._answer()
        _settle(asking, result)

    def end(self) -> None:
        """Tell the reader that this was all."""
        self._finish("end", None)

    def abort(self, error: PenstockError) -> None:
        """Have the reader raise an error after what it has not read yet."""
        self._finish("abort", error)

    def wait_read(self, timeout_s: float) -> bool:
        """Wait until the reader has all that was written, or is gone; whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pieces or self._is_stopped, timeout_s)

    def take(self, after: int) -> Future[Result] | Result:
        """Answer the reader, who has all pieces up to a number; a future if there is nothing to tell yet."""
        with self._changed:
            if not self._after <= after <= self._after + len(self._pieces):
                raise WireError(f"the stream {self.name} has no piece after {after} to give")
            self._heard_s = monotonic()
            for _ in range(after - self._after):
                self._bytes -= memoryview(self._pieces.popleft()).nbytes
            self._after = after
            self._changed.notify_all()
            future: Future[Result] = Future()
            before, self._asking = self._asking, future
            _, result = self._answer()
        _settle(before, (encoded(_Taken(after, "more")), ()))  # asked twice: the first answer is of no use
        return future if result is None else result

    def stop(self) -> None:
        """Have the writer raise: nobody reads any more."""
        with self._changed:
            self._is_stopped = True
            self._pieces.clear()
            self._bytes = 0
            self._then = "end" if self._then == "more" else self._then
            self._changed.notify_all()
            asking, result = self._answer()
        _settle(asking, result)

    def _finish(self, then: Literal["end", "abort"], error: PenstockError | None) -> None:
        with self._changed:
            if self._then == "more":
                self._then, self._error = then, error
            self._changed.notify_all()
            asking, result = self._answer()
        _settle(asking, result)

    # With the lock held

    def _is_full(self, size: int) -> bool:
        if self._is_stopped or self._then != "more":
            return False
        is_over = bool(self._pieces) and self._bytes + size > self._most_bytes
        return is_over or len(self._pieces) >= self._most

    def _answer(self) -> tuple[Future[Result] | None, Result | None]:
        """Return who asks and what to tell him, once; settled without the lock."""
        if self._asking is None or not (self._pieces or self._then != "more"):
            return None, None
        asking, self._asking = self._asking, None
        error = to_plain(self._error) if self._error is not None else None
        return asking, (encoded(_Taken(self._after, self._then, error)), tuple(self._pieces))


def _settle(asking: Future[Result] | None, result: Result | None) -> None:
    if asking is not None and result is not None:
        asking.set_result(result)


class StreamServer:
    """The writers' ends in a process, as methods of its `RpcServer`."""

    def __init__(self) -> None:
        self.methods: Mapping[str, Method] = {
            TAKE: Method(self._take, is_remembered=False),
            STOP: Method(self._stop),
        }
        self._streams: dict[str, StreamOut] = {}

    def add(self, stream: StreamOut) -> StreamOut:
        """Let a reader ask for a stream."""
        self._streams[stream.name] = stream
        return stream

    def remove(self, name: str) -> None:
        """Stop a stream if there is one of this name, and let nobody ask for it any more."""
        stream = self._streams.pop(name, None)
        if stream is not None:
            stream.stop()

    def close(self) -> None:
        """Stop all streams."""
        for name in list(self._streams):
            self.remove(name)

    def _take(self, peer: Peer, body: bytes, buffers: list[Bytes]) -> Future[Result] | Result:
        del peer, buffers
        ask = decoded(body, _Take)
        return self._found(ask.stream).take(ask.after)

    def _stop(self, peer: Peer, body: bytes, buffers: list[Bytes]) -> Result:
        del peer, buffers
        self._found(decoded(body, _Stop).stream).stop()
        return b"", ()

    def _found(self, name: str) -> StreamOut:
        stream = self._streams.get(name)
        if stream is None:
            raise WireError(f"there is no stream {name[:100]!r}, or no more")
        return stream


class StreamIn:
    """The reader's end: iterate over the pieces; of one thread.

    Args:
        timeout_s: how long the writer's process may be out of reach.

    Raises (while iterating):
        NodeDown: the writer's process does not answer.
        PenstockError: what the writer gave to `abort`.
    """

    def __init__(self, client: RpcClient, name: str, *, timeout_s: float = 30.0) -> None:
        self._client = client
        self._name = name
        self._timeout_s = timeout_s
        self._after = 0
        self._has_ended = False

    def __iter__(self) -> Iterator[Bytes]:
        future = self._asked()
        while True:
            taken, pieces = self._answer(future)
            self._after += len(pieces)
            self._has_ended = taken.then != "more"
            future = (
                self._asked()
            )  # on its way while these are worked on; the last one thanks for the last pieces
            yield from pieces
            if taken.error is not None:
                raise from_plain(taken.error)
            if self._has_ended:
                return

    def close(self) -> None:
        """Read no more; the writer learns of it."""
        if not self._has_ended:
            self._has_ended = True
            with suppress(NodeDown, WireError):  # then it has none to learn of it
                self._client.call(STOP, encoded(_Stop(self._name)), timeout_s=self._timeout_s, repeat=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _asked(self) -> Future[Reply]:
        body = encoded(_Take(self._name, self._after))
        return self._client.call_async(TAKE, body, timeout_s=min(_TURN_S, self._timeout_s), repeat=True)

    def _answer(self, future: Future[Reply]) -> tuple[_Taken, list[Bytes]]:
        since_s = monotonic()
        while True:
            try:
                body, pieces = future.result(_TURN_S * 2)
                break
            except NodeDown:
                is_lost = not self._client.is_connected and monotonic() - since_s >= self._timeout_s
                if is_lost or self._client.is_closed:
                    raise
            except TimeoutError as exc:
                raise NodeDown(
                    self._client.address, "the wire of this process had no time for a piece"
                ) from exc
            if self._client.is_connected:
                since_s = monotonic()
            future = self._asked()
        taken = decoded(body, _Taken)
        if taken.after != self._after:
            raise WireError(f"pieces after {taken.after} came where those after {self._after} were asked for")
        return taken, pieces
