# SPDX-License-Identifier: Apache-2.0
"""Streams to apps in workers: each such app has a process of its own from its first piece to its end.

The process is in addition to the pool's slots: so no stream waits until another one has ended. A writer waits
while too many pieces are on their way; a piece counts until the app has taken it.
"""

import threading
from typing import NamedTuple

from penstock.runtime.contents import Contents
from penstock.runtime.messages import FINISH, PIECE, Task
from penstock.wire.arena import Arena, Block
from penstock.workers.pool import Dedicated, Holder

__all__ = ["FIRST_PIECE", "Streams"]

FIRST_PIECE = 1 << 40
"""Idents of items from here on are pieces of streams; those before are drops."""

_PIECES_AHEAD = 16
_BYTES_AHEAD = 1 << 20


class Streams:
    """The apps of a session that take streams in workers. Thread safe.

    Args:
        arena: where large pieces travel.
        contents: puts them there.
    """

    def __init__(self, arena: Arena, contents: Contents) -> None:
        self._arena = arena
        self._contents = contents
        self._lock = threading.Lock()
        self._consumers: dict[int, _Consumer] = {}
        self._pieces: dict[int, _Piece] = {}
        self._next = FIRST_PIECE
        self._is_closed = False

    def __contains__(self, app: int) -> bool:
        return app in self._consumers

    def push(self, app: int, data: int, piece: memoryview, holder: Holder) -> None:
        """Give an app one piece of a stream; waits while it has too many before it.

        Raises:
            ArenaFull: there is no room for the piece.
        """
        with self._lock:
            if self._is_closed:
                return
            consumer = self._consumers.get(app)
            if consumer is None:
                consumer = self._consumers[app] = _Consumer(app, holder.dedicate())
        if not consumer.wait_for_room(piece.nbytes):
            return
        try:
            content = self._contents.travelling(piece)
        except BaseException:
            consumer.taken(piece.nbytes)
            raise
        self._submit(_Piece(consumer, Task(PIECE, app, piece=(data, content)), piece.nbytes))

    def finish(self, app: int) -> None:
        """Let an app run that has got all pieces."""
        consumer = self._consumers[app]
        self._submit(_Piece(consumer, Task(FINISH, app), 0))

    def _submit(self, piece: "_Piece") -> None:
        with self._lock:
            ident = self._next
            self._next += 1
            self._pieces[ident] = piece
            piece.consumer.dedicated.submit([ident])

    def task(self, ident: int) -> tuple[Task, list[Block]]:
        """Return what an item of this room asks for, and the blocks that it mentions."""
        task = self._pieces[ident].task
        content = None if task.piece is None else task.piece[1]
        return task, [Block(*content)] if isinstance(content, tuple) else []

    def app_of(self, ident: int) -> int:
        """Return the app of an item, -1 for none."""
        piece = self._pieces.get(ident)
        return -1 if piece is None else piece.consumer.app

    def taken(self, ident: int, *, is_over: bool) -> int | None:
        """Take note that an item has ended; the app where that is the end of it, None otherwise."""
        piece = self._drop(ident)
        if piece is None or (piece.task.kind == PIECE and not is_over):
            return None
        consumer = piece.consumer
        if piece.task.kind == FINISH:
            with self._lock:
                self._consumers.pop(consumer.app, None)
        consumer.end()
        consumer.dedicated.release()
        return consumer.app

    def lost(self, ident: int) -> int | None:
        """Take note that an item will not end, as its process has died; the app, None where nothing is known of it."""
        piece = self._drop(ident)
        if piece is None:
            return None
        piece.consumer.end()
        return piece.consumer.app

    def _drop(self, ident: int) -> "_Piece | None":
        with self._lock:
            piece = self._pieces.pop(ident, None)
        if piece is not None:
            piece.consumer.taken(piece.size)
            if piece.task.piece is not None and not isinstance(content := piece.task.piece[1], bytes):
                self._arena.free(Block(*content))
        return piece

    def kill(self, app: int, cause: str) -> bool:
        """End the process of an app; False where it has none."""
        with self._lock:
            consumer = self._consumers.get(app)
        if consumer is None:
            return False
        consumer.dedicated.kill(cause)
        consumer.end()
        return True

    def end(self, cause: str) -> None:
        """End all apps that take streams."""
        for app in list(self._consumers):
            self.kill(app, cause)

    def close(self, cause: str) -> None:
        """End all, and begin none any more."""
        with self._lock:
            self._is_closed = True
        self.end(cause)


class _Consumer:
    """An app that takes a stream, and how much is on its way to it."""

    def __init__(self, app: int, dedicated: Dedicated) -> None:
        self.app = app
        self.dedicated = dedicated
        self._pieces = 0
        self._bytes = 0
        self._is_over = False
        self._room = threading.Condition()

    def wait_for_room(self, size: int) -> bool:
        """Wait until a piece may be sent, and count it; False where the app takes no more."""
        with self._room:
            self._room.wait_for(lambda: self._is_over or self._has_room())
            self._pieces += 1
            self._bytes += size
            return not self._is_over

    def _has_room(self) -> bool:
        return self._pieces < _PIECES_AHEAD and self._bytes < _BYTES_AHEAD

    def taken(self, size: int) -> None:
        """Take note that the app has taken a piece."""
        with self._room:
            self._pieces -= 1
            self._bytes -= size
            self._room.notify_all()

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._room:
            self._is_over = True
            self._room.notify_all()


class _Piece(NamedTuple):
    """One item: a piece of so many bytes, or the end of the stream."""

    consumer: _Consumer
    task: Task
    size: int
