# SPDX-License-Identifier: Apache-2.0
"""The parent's ends of what joins it to one child: a socket, a pipe of tokens, a pipe of results, what it prints.

Nothing here waits: what the child does not take now is kept and sent when it can. Used by one thread.
"""

import codecs
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from penstock.wire.arena import Block
from penstock.workers.book import Item
from penstock.workers.frames import TOKEN, Frame, cut, frame

__all__ = ["Line"]

_CHUNK_BYTES = 1 << 18
_CHUNKS = 16


class Line:
    """What a pool has of one child.

    Attributes:
        slot: the number of the slot that the child fills.
        number: of the child, never used twice in a pool.
        pid: 0 until the nursery has told it.
        items: by token what was sent and has no outcome yet, in the order in which the child takes it.
        segments: descriptors of shared memory that the child has.
        holders: who has been introduced to the child.
        made: blocks that the running item has asked for.
        held: blocks that the child still looks at after their item has ended, as it says.
        kept: those of them that were lent for items that have ended, once for each.
        lent: by token the blocks that its item looks at.
        cause: why the child is being killed, "" while it is not.
        is_up: whether the child has said that it is ready.
        is_watched: whether somebody will look soon at how long the item runs.
        is_heard: whether what the child prints is read as it comes.
        is_blocked: whether something waits for room in the socket.
        is_closed: whether the child is dead and buried.
        since_s: when items were sent last, or one of them ended.
        on_sent: called once when all that waits has been sent.
    """

    def __init__(self, slot: int, number: int) -> None:
        self.slot = slot
        self.number = number
        self.pid = 0
        self.items: dict[int, Item] = {}
        self.segments: set[int] = set()
        self.holders: set[int] = set()
        self.made: list[Block] = []
        self.held: frozenset[Block] = frozenset()
        self.kept: list[Block] = []
        self.lent: dict[int, Sequence[Block]] = {}
        self.cause = ""
        self.is_up = False
        self.is_watched = False
        self.is_heard = False
        self.is_blocked = False
        self.is_closed = False
        self.since_s = 0.0
        self.on_sent: Callable[[], None] | None = None
        self._next_token = 1
        self._data = bytearray()
        self._queue: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._tokens = bytearray()
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        with _Fds() as fds:
            ours, theirs = socket.socketpair()
            fds.take(ours.fileno(), theirs.fileno())
            token_r, self.tokens_w = fds.take(*os.pipe())
            self.results, result_w = fds.take(*os.pipe())
            self.out, out_w = fds.take(*os.pipe())
            self.err, err_w = fds.take(*os.pipe())
            # Of its own: that the parent never waits for a token must not make the child not wait either.
            (self.tokens_r,) = fds.take(_reopen(token_r))
            self.theirs: tuple[int, ...] = (
                theirs.detach(),
                token_r,
                result_w,
                out_w,
                err_w,
                self.out,
                self.err,
            )
            self.socket = ours
            ours.setblocking(False)
            for fd in (self.results, self.out, self.err, self.tokens_w):
                os.set_blocking(fd, False)
            fds.keep()

    def handed_over(self) -> None:
        """Close the ends that are the child's alone."""
        connection, token_r, result_w, out_w, err_w, _, _ = self.theirs
        for fd in (connection, token_r, result_w, out_w, err_w):
            os.close(fd)
        self.theirs = ()

    def close(self) -> None:
        """Close everything."""
        self.is_closed = True
        if self.theirs:
            self.handed_over()
        if self.on_sent is not None:  # it will not be any more
            self.on_sent()
        self.socket.close()
        for fd in (self.tokens_r, self.tokens_w, self.results, self.out, self.err):
            if fd >= 0:
                os.close(fd)
        self.tokens_w = -1

    def dismiss(self) -> None:
        """Let the child end when it has done what it has claimed."""
        self.take_back()
        if self.tokens_w >= 0:
            os.close(self.tokens_w)
            self.tokens_w = -1

    def has(self, holder: int, ident: int) -> bool:
        """Whether an item was sent and has no outcome yet."""
        return any(item.holder == holder and item.ident == ident for item in self.items.values())

    # To the child

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send frames, now or when there is room."""
        self._queue.append((memoryview(data), fds))

    def give(self, items: Iterable[tuple[Item, bytes, Sequence[Block]]]) -> None:
        """Send items; the child may claim them as soon as they have arrived."""
        frames = []
        for item, body, blocks in items:
            token = self._next_token
            self._next_token += 1
            self.items[token] = item
            if blocks:
                self.lent[token] = blocks
            frames.append(frame(Frame.ITEM, token, TOKEN.pack(item.holder) + body))
            self._tokens += TOKEN.pack(token)
        self.send(b"".join(frames))

    def flush(self) -> bool:
        """Send what waits, as far as there is room; whether all is sent."""
        queue = self._queue
        is_sent = True
        try:
            while queue:
                data, fds = queue[0]
                sent = socket.send_fds(self.socket, [data], fds) if fds else self.socket.send(data)
                if sent == len(data):
                    queue.popleft()
                else:
                    queue[0] = (data[sent:], ())
        except BlockingIOError:
            is_sent = False
        except OSError:  # the child is dead, which the nursery tells
            queue.clear()
        if is_sent and self.on_sent is not None:
            call, self.on_sent = self.on_sent, None
            call()
        self._flush_tokens()  # though not all is sent: a child that has claimed nothing does not read the socket
        return is_sent

    def _flush_tokens(self) -> None:
        """Write tokens as far as there is room; there is more when an item has ended."""
        if not self._tokens or self.tokens_w < 0:
            return
        try:
            done = os.write(self.tokens_w, self._tokens)
        except BlockingIOError:
            return
        except BrokenPipeError:
            done = len(self._tokens)
        del self._tokens[:done]

    @property
    def has_tokens(self) -> bool:
        """Whether there was no room for all tokens; `flush` is to be called again when an item has ended."""
        return bool(self._tokens)

    def take_back(self) -> list[int]:
        """Take back the tokens that the child has not claimed."""
        data = bytes(self._tokens)
        self._tokens.clear()
        with suppress(BlockingIOError):
            data = os.read(self.tokens_r, 1 << 16) + data
        return [token for (token,) in TOKEN.iter_unpack(data)]

    # From the child

    def read(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield the frames that have come."""
        for _ in range(_CHUNKS):  # who says more, and faster than we read, must not keep us from all else
            try:
                data = os.read(self.results, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not data:
                return
            self._data += data
            yield from cut(self._data)
            if len(data) < 1 << 12:
                return

    def printed(self) -> Iterator[tuple[str, str]]:
        """Yield what the child has printed and not taken itself."""
        for fd, stream in ((self.out, "stdout"), (self.err, "stderr")):
            with suppress(BlockingIOError):
                for _ in range(_CHUNKS):
                    if not (data := os.read(fd, _CHUNK_BYTES)):
                        break
                    yield stream, self.decoded(stream, data)

    def decoded(self, stream: str, data: bytes) -> str:
        """Return as text what came from a pipe; a letter may come in two pieces."""
        if stream not in self._decoders:
            self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
        return self._decoders[stream].decode(data)


def _reopen(reader: int) -> int:
    """Return another reading end of a pipe, one that does not wait."""
    return os.open(f"/dev/fd/{reader}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


class _Fds:
    """Closes descriptors where making the rest fails."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def take(self, *fds: int) -> tuple[int, ...]:
        self._fds += fds
        return fds

    def keep(self) -> None:
        self._fds.clear()

    def __enter__(self) -> "_Fds":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)
