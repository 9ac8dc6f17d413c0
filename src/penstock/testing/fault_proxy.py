# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that does to connections what networks do: it cuts, delays, holds and forgets them.

with FaultProxy("127.0.0.1", server_port) as proxy:
    client = connect(proxy.port)
    proxy.cut()        # both sides see the end of the connection
    proxy.reset()      # both sides see it reset
    proxy.hold()       # nothing goes through and nobody is told, as when a cable is pulled
    proxy.release()
    proxy.refuse()     # connections are closed as soon as they are made
    proxy.delay(0.05)  # every piece arrives later

One thread owns all its sockets; it never waits for one peer while another has something to say.
"""

import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self

from penstock.errors import WireError

__all__ = ["FaultProxy"]

_PIECE_BYTES = 1 << 16
_WAITING_BYTES = 1 << 20  # in one direction of one connection; then the sender is made to wait
_CLOSE_S = 5.0
_RESET = struct.pack("ii", 1, 0)  # a linger of no time


class _Way:
    """One direction of a connection: what was read on one side and is to be written on the other."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.pieces: deque[tuple[float, memoryview]] = deque()  # when each may go on
        self.bytes = 0
        self.has_ended = False


class FaultProxy:
    """A port that leads to another one, with faults on demand; all methods on any thread.

    Attributes:
        connections: how many were made so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self.connections = 0
        self._target = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._wake_r, self._wake_w = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._ways: dict[socket.socket, _Way] = {}  # by their source
        self._is_held = self._is_refusing = self._is_closing = False
        self._delay_s = 0.0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and wait for the end of the thread."""
        self._do(self._finish)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            raise WireError("the fault proxy did not end")

    def cut(self) -> None:
        """Close all connections, on both sides."""
        self._do(lambda: self._drop_all(is_reset=False))

    def reset(self) -> None:
        """Reset all connections, on both sides; what was under way is lost."""
        self._do(lambda: self._drop_all(is_reset=True))

    def hold(self) -> None:
        """Let nothing through from now on, and tell nobody; new connections are made and lead nowhere."""
        self._do(lambda: self._set_held(is_held=True))

    def release(self) -> None:
        """End `hold` and `refuse`; connections that were held go on."""
        self._do(lambda: self._set_held(is_held=False))

    def refuse(self) -> None:
        """Close new connections at once."""
        self._do(self._set_refusing)

    def delay(self, seconds: float) -> None:
        """Let every piece that comes from now on wait."""
        self._do(lambda: setattr(self, "_delay_s", seconds))

    def wait_connections(self, number: int, timeout_s: float = 30.0) -> bool:
        """Wait until so many connections were made in all; whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self.connections >= number, timeout_s)

    def _do(self, call: Callable[[], None]) -> None:
        """Have the thread make a call, and wait until it has."""
        done = threading.Event()

        def make() -> None:
            call()
            done.set()

        self._calls.append(make)
        self._wake_w.send(b"!")
        if not done.wait(_CLOSE_S):
            raise WireError("the fault proxy does not answer")

    # On the thread

    def _serve(self) -> None:
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._wake_r, selectors.EVENT_READ)
        while not self._is_closing:
            for key, events in self._selector.select(self._pause_s()):
                if key.fileobj is self._listening:
                    self._accept()
                elif key.fileobj is self._wake_r:
                    self._wake_r.recv(4096)
                elif isinstance(key.fileobj, socket.socket) and events & selectors.EVENT_READ:
                    self._read_of(key.fileobj)
            while self._calls:
                self._calls.popleft()()
            if not self._is_closing:
                self._move()
        self._selector.close()
        self._wake_r.close()
        self._wake_w.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it may be gone again
            near, _ = self._listening.accept()
            if self._is_refusing:
                near.close()
                return
            try:
                far = socket.create_connection(self._target, _CLOSE_S)
            except OSError:
                near.close()
                return
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one.setblocking(False)
            self._ways[near], self._ways[far] = _Way(near, far), _Way(far, near)
            with self._changed:
                self.connections += 1
                self._changed.notify_all()

    def _read_of(self, source: socket.socket) -> None:
        way = self._ways.get(source)
        if way is not None:  # else an earlier event of this turn ended it
            self._read(way)

    def _read(self, way: _Way) -> None:
        try:
            piece = way.source.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if piece:
            way.pieces.append((monotonic() + self._delay_s, memoryview(piece)))
            way.bytes += len(piece)
        else:
            way.has_ended = True

    def _move(self) -> None:
        """Write what may go on, end what has ended, and look at what can be read or written next."""
        for way in list(self._ways.values()):
            if self._is_held or way.source not in self._ways:
                continue
            if not self._write(way) or (way.has_ended and not way.pieces):
                self._drop(way.source, way.sink, is_reset=False)
        wanted: dict[socket.socket, int] = {}
        now_s = monotonic()
        for way in self._ways.values():
            if self._is_held:
                break
            if not way.has_ended and way.bytes < _WAITING_BYTES:
                wanted[way.source] = wanted.get(way.source, 0) | selectors.EVENT_READ
            if way.pieces and way.pieces[0][0] <= now_s:
                wanted[way.sink] = wanted.get(way.sink, 0) | selectors.EVENT_WRITE
        for one in self._ways:
            self._look_at(one, wanted.get(one, 0))

    def _write(self, way: _Way) -> bool:
        now_s = monotonic()
        while way.pieces and way.pieces[0][0] <= now_s:
            due_s, piece = way.pieces[0]
            try:
                count = way.sink.send(piece)
            except BlockingIOError:
                return True
            except OSError:
                return False
            way.bytes -= count
            if count < len(piece):
                way.pieces[0] = due_s, piece[count:]
            else:
                way.pieces.popleft()
        return True

    def _look_at(self, one: socket.socket, events: int) -> None:
        is_known = one in self._selector.get_map()
        if events and is_known:
            self._selector.modify(one, events)
        elif events:
            self._selector.register(one, events)
        elif is_known:
            self._selector.unregister(one)

    def _pause_s(self) -> float | None:
        if self._is_held:
            return None
        now_s = monotonic()
        due_s = [way.pieces[0][0] for way in self._ways.values() if way.pieces]
        return min(
            (due - now_s for due in due_s if due > now_s), default=None
        )  # what is due waits for its socket

    def _drop(self, *both: socket.socket, is_reset: bool) -> None:
        for one in both:
            if self._ways.pop(one, None) is not None:
                self._look_at(one, 0)
                if is_reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.close()

    def _drop_all(self, *, is_reset: bool) -> None:
        self._drop(*list(self._ways), is_reset=is_reset)

    def _set_held(self, *, is_held: bool) -> None:
        self._is_held = is_held
        if not is_held:
            self._is_refusing = False

    def _set_refusing(self) -> None:
        self._is_refusing = True

    def _finish(self) -> None:
        self._is_closing = True
        self._drop_all(is_reset=False)
        self._selector.unregister(self._listening)
        self._listening.close()
