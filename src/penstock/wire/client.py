# SPDX-License-Identifier: Apache-2.0
"""The calling side of `server.py`: calls with deadlines over a connection that may be cut.

Rule 1: every call ends: with its answer, the error that the server told, or `NodeDown` at its deadline at the latest.
Rule 2: a call waits for the connection until its deadline. Once sent it is sent again only if it may be (`repeat`);
        otherwise a cut ends it, and what it was to do may or may not have happened.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from time import monotonic

import msgspec

from penstock.errors import NodeDown, WireError
from penstock.wire.calls import Answer, Ask, Push
from penstock.wire.dialer import Dialer
from penstock.wire.faults import from_plain
from penstock.wire.framing import VERSION, Frames
from penstock.wire.limits import Limits
from penstock.wire.loop import Loop, Timer
from penstock.wire.segment import Bytes

__all__ = ["Reply", "RpcClient"]

Reply = tuple[bytes, list[Bytes]]

_TIMEOUT_S = 30.0
_GRACE_S = 10.0
_HEADER = msgspec.msgpack.Decoder(Answer | Push)
_encode = msgspec.msgpack.encode


@dataclass(slots=True)
class _Waiting:
    """A call that was not answered yet."""

    future: Future[Reply]
    frames: Frames
    repeat: bool
    timer: Timer
    is_sent: bool = False


class RpcClient:
    """A connection to one server, made again whenever it is cut.

    What `on_push`, `on_beat`, `on_connected` and `on_disconnected` are given is called on the loop's thread, must
    return at once, and is given before `start`.

    Args:
        name: what the server shall call this client.
    """

    def __init__(
        self, loop: Loop, host: str, port: int, *, name: str = "", limits: Limits | None = None
    ) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._loop = loop
        self._numbers = count(1)  # of the loop's thread, as is all that follows
        self._waiting: dict[int, _Waiting] = {}
        self._is_closed = False
        self._forget_closer: Callable[[], None] = _ignore
        self._push: Callable[[bytes, list[Bytes]], None] = _ignore
        self._connected: Callable[[int], None] = _ignore
        self._disconnected: Callable[[], None] = _ignore
        self._beat: Callable[[int], None] = _ignore
        self._dialer = Dialer(
            loop,
            host,
            port,
            self._receive,
            name=name,
            up=self._up,
            down=self._down,
            echo=lambda epoch: self._beat(epoch),
            limits=limits,
        )

    def start(self) -> None:
        """Begin to connect.

        Raises:
            WireError: the loop is not running.
        """
        self._forget_closer = self._loop.ask(lambda: self._loop.at_close(self._end))
        self._dialer.start()

    def close(self) -> None:
        """Cut the connection and end all calls; a second call does nothing."""
        if self._loop.is_own_thread:
            self._end()
        elif self._loop.is_open:
            self._loop.ask(self._end)

    def on_push(self, call: Callable[[bytes, list[Bytes]], None]) -> None:
        """Have `call` told of each message that the server pushes: body and buffers."""
        self._push = call

    def on_beat(self, call: Callable[[int], None]) -> None:
        """Have `call` told of each beat that the server answered, with the server's epoch."""
        self._beat = call

    def on_connected(self, call: Callable[[int], None]) -> None:
        """Have `call` told of each connection that is made, with the server's epoch."""
        self._connected = call

    def on_disconnected(self, call: Callable[[], None]) -> None:
        """Have `call` told of each connection that is cut."""
        self._disconnected = call

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called, so that no call can be made."""
        return self._is_closed or not self._loop.is_open

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as can be known."""
        return self._dialer.is_up

    def call(
        self,
        method: str,
        body: bytes = b"",
        buffers: Sequence[Bytes] = (),
        *,
        timeout_s: float = _TIMEOUT_S,
        repeat: bool = False,
    ) -> Reply:
        """Call a method and wait for its answer; on any thread but the loop's.

        Raises:
            NodeDown: no answer until the deadline, or the connection was cut.
            PenstockError: what the server raised, as the same class.
        """
        if self._loop.is_own_thread:
            raise RuntimeError("the loop's thread cannot wait for itself; use call_async")
        future = self.call_async(method, body, buffers, timeout_s=timeout_s, repeat=repeat)
        try:
            return future.result(timeout_s + _GRACE_S)
        except TimeoutError as exc:
            raise NodeDown(self.address, f"the wire of this process had no time for {method}") from exc

    def call_async(
        self,
        method: str,
        body: bytes = b"",
        buffers: Sequence[Bytes] = (),
        *,
        timeout_s: float = _TIMEOUT_S,
        repeat: bool = False,
    ) -> Future[Reply]:
        """Call a method; the future ends as `call` does. What is added to it runs on the loop's thread.

        Args:
            repeat: the call is sent again after a cut until its deadline. The server carries it out once, as long
                as it is the same process; it must bear being carried out again by the next one.
        """
        future: Future[Reply] = Future()
        future.set_running_or_notify_cancel()  # it cannot be taken back
        due_s = monotonic() + timeout_s

        def begin() -> None:
            self._begin(future, method, (body, *buffers), due_s, repeat=repeat)

        if self._loop.is_own_thread:
            begin()
        elif not self._loop.soon(begin):
            future.set_exception(NodeDown(self.address, "this process has closed its connections"))
        return future

    # On the loop's thread

    def _begin(
        self, future: Future[Reply], method: str, content: Frames, due_s: float, *, repeat: bool
    ) -> None:
        if self._is_closed:
            future.set_exception(NodeDown(self.address, "this process has closed the connection"))
            return
        number = next(self._numbers)
        left_s = max(0.0, due_s - monotonic())
        header = _encode(Ask(VERSION, number, method, left_s, repeat))
        timer = self._loop.later(left_s, lambda: self._too_late(number, method))
        waiting = _Waiting(future, (header, *content), repeat, timer)
        self._waiting[number] = waiting
        waiting.is_sent = self._dialer.send(waiting.frames)

    def _too_late(self, number: int, method: str) -> None:
        how = "no answer" if self._dialer.is_up else "no connection"
        self._fail(number, f"{how} within the time that {method} was given")

    def _fail(self, number: int, reason: str) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.timer.cancel()
            waiting.future.set_exception(NodeDown(self.address, reason))

    def _up(self, epoch: int) -> None:
        for waiting in self._waiting.values():
            waiting.is_sent = self._dialer.send(waiting.frames)
        self._connected(epoch)

    def _down(self) -> None:
        for number, waiting in list(self._waiting.items()):
            if waiting.is_sent and not waiting.repeat:
                self._fail(number, "the connection was cut before the answer came")
        self._disconnected()

    def _end(self) -> None:
        self._is_closed = True
        self._forget_closer()
        self._dialer.close()
        for number in list(self._waiting):
            self._fail(number, "this process has closed the connection")

    def _receive(self, frames: list[Bytes]) -> None:
        try:
            header = _HEADER.decode(frames[0])
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise WireError("it is neither answer nor push") from exc
        body, buffers = bytes(frames[1]), frames[2:]
        if isinstance(header, Push):
            self._push(body, buffers)
            return
        waiting = self._waiting.pop(header.number, None)
        if waiting is None:
            return  # it came too late, or twice
        waiting.timer.cancel()
        if header.ok:
            waiting.future.set_result((body, buffers))
        else:
            waiting.future.set_exception(from_plain(_plain(body)))


def _plain(body: bytes) -> object:
    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {"message": "an error that cannot be read"}


def _ignore(*_: object) -> None: ...
