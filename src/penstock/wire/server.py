# SPDX-License-Identifier: Apache-2.0
"""The serving side of calls between processes: a table of methods, and threads that carry them out.

Rule 1: a method is found in the table that the server was given, by its exact name; there is no reflection.
Rule 2: a call is carried out once at most. One that may come again (`repeat`) has its reply remembered.
Rule 3: what a method raises is told as plain values (`faults.py`); nothing is ever unpickled.

The other side is `client.py`.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from queue import Empty, Full, Queue
from time import monotonic
from typing import NamedTuple

import msgspec

from penstock.errors import PenstockError, WireError
from penstock.wire.calls import Answer, Ask, Push
from penstock.wire.faults import to_plain
from penstock.wire.framing import VERSION, Frames, Peer
from penstock.wire.limits import Limits
from penstock.wire.listener import Listener
from penstock.wire.loop import Loop
from penstock.wire.replies import Replies, Seen
from penstock.wire.segment import Bytes

__all__ = ["Handler", "Method", "Result", "RpcServer"]

log = logging.getLogger(__name__)

Result = tuple[bytes, Sequence[Bytes]]
Handler = Callable[[Peer, bytes, list[Bytes]], Result | Future[Result]]

_WAITING = 1000  # calls that wait for a thread
_CLOSE_S = 5.0
_encode = msgspec.msgpack.encode


_ASK = msgspec.msgpack.Decoder(Ask)


@dataclass(frozen=True, slots=True)
class Method:
    """What a server does when it is called.

    Attributes:
        handler: is given the caller, the body and the buffers, and returns a body and buffers, or a future of them
            if that may take long; runs on a thread of the server. Buffers are sent without a copy when large, so
            they must not change afterwards.
        is_remembered: a call that comes again gets the reply of the first time; otherwise it is carried out again,
            which is for methods that only read.
    """

    handler: Handler
    is_remembered: bool = True


class _Job(NamedTuple):
    peer: Peer
    ask: Ask
    method: Method
    body: bytes
    buffers: list[Bytes]
    due_s: float


class RpcServer:
    """Methods that clients can call, on threads of its own.

    Args:
        methods: by the name under which each can be called; nothing else can.
        epoch: of this incarnation of the process; clients are told it with each beat.
        threads: how many calls are carried out at once.
        gone: told of a client that has not been heard for long, on the loop's thread.
    """

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int,
        methods: Mapping[str, Method],
        epoch: int,
        threads: int = 8,
        *,
        gone: Callable[[Peer], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._loop = loop
        self._methods = dict(methods)
        self._gone = gone
        self._replies = Replies()  # of the loop's thread
        self._jobs: Queue[_Job | None] = Queue(_WAITING)
        self._threads = [
            threading.Thread(target=self._work, name=f"{loop.name}-call-{number}", daemon=True)
            for number in range(threads)
        ]
        self._is_closing = threading.Event()
        self._listener = Listener(
            loop, host, port, self._receive, epoch=epoch, gone=self._forget, limits=limits
        )

    @property
    def port(self) -> int:
        """The port that it listens on, known after `start`."""
        return self._listener.port

    @property
    def listener(self) -> Listener:
        """The end to which clients connect: names of clients, counts of junk."""
        return self._listener

    def start(self) -> None:
        """Begin to answer.

        Raises:
            StartRefused: the address cannot be had.
        """
        self._listener.start()
        for thread in self._threads:
            thread.start()

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Take no more calls and wait for those that run; they are not answered. A second call does nothing.

        Raises:
            WireError: a method does not return.
        """
        due_s = monotonic() + timeout_s
        self._is_closing.set()
        self._listener.close()
        while True:
            try:
                self._jobs.get_nowait()
            except Empty:
                break
        alive = [thread for thread in self._threads if thread.is_alive()]
        for _ in alive:
            self._jobs.put(None)
        for thread in alive:
            thread.join(max(0.0, due_s - monotonic()))
        hanging = [thread.name for thread in alive if thread.is_alive()]
        if hanging:
            raise WireError(f"methods on {', '.join(hanging)} did not return within {timeout_s:g} s")

    def push(self, peer: Peer, body: bytes, buffers: Sequence[Bytes] = ()) -> None:
        """Send a message to a client, on any thread; it is lost if the client is not connected or does not read."""
        frames = (_encode(Push(VERSION)), body, *buffers)
        if self._loop.is_own_thread:
            self._listener.send(peer, frames)
        else:
            self._loop.soon(lambda: self._send(peer, frames))

    # On the loop's thread

    def _send(self, peer: Peer, frames: Frames) -> None:
        self._listener.send(peer, frames)

    def _forget(self, peer: Peer) -> None:
        self._replies.forget(peer)
        if self._gone is not None:
            self._gone(peer)

    def _receive(self, peer: Peer, frames: list[Bytes]) -> None:
        try:
            ask = _ASK.decode(frames[0])
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise WireError("it is no call") from exc
        method = self._methods.get(ask.method)
        if method is None:
            self._send(
                peer, _failure(ask, WireError("there is no such method: both ends must run one version"))
            )
            return
        if ask.repeat and method.is_remembered and not self._begin(peer, ask):
            return
        job = _Job(peer, ask, method, bytes(frames[1]), frames[2:], monotonic() + ask.timeout_s)
        try:
            self._jobs.put_nowait(job)
        except Full:
            busy = WireError(f"{_WAITING} calls wait already; call again later")
            self._finish(job, _failure(ask, busy))

    def _begin(self, peer: Peer, ask: Ask) -> bool:
        """Tell whether a call is new; if it is not, answer it as far as that can be."""
        seen = self._replies.begin(peer, ask.number)
        if seen is Seen.FORGOTTEN:
            self._send(peer, _failure(ask, WireError("the reply to this call is not remembered any more")))
        elif not isinstance(seen, Seen):
            self._send(peer, seen)
        return seen is Seen.NEW

    def _finish(self, job: _Job, frames: Frames) -> None:
        if job.ask.repeat and job.method.is_remembered:
            self._replies.finish(job.peer, job.ask.number, frames)
        self._send(job.peer, frames)

    # On the server's own threads

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._is_closing.is_set():
                continue
            if monotonic() >= job.due_s:
                late = WireError("the call waited for a thread until its time was over")
                self._tell(job, _failure(job.ask, late))
            else:
                self._carry_out(job)

    def _carry_out(self, job: _Job) -> None:
        try:
            result = job.method.handler(job.peer, job.body, job.buffers)
        except Exception as exc:  # noqa: BLE001  the boundary to what the methods are made of
            self._tell(job, _failed(job, exc))
            return
        if isinstance(result, Future):
            result.add_done_callback(partial(self._settled, job))
        else:
            self._tell(job, _success(job.ask, result))

    def _settled(self, job: _Job, future: Future[Result]) -> None:
        error = CancelledError() if future.cancelled() else future.exception()
        self._tell(job, _success(job.ask, future.result()) if error is None else _failed(job, error))

    def _tell(self, job: _Job, frames: Frames) -> None:
        self._loop.soon(partial(self._finish, job, frames))


def _success(ask: Ask, result: Result) -> Frames:
    body, buffers = result
    return (_encode(Answer(VERSION, ask.number, ok=True)), body, *buffers)


def _failed(job: _Job, error: BaseException) -> Frames:
    if not isinstance(error, PenstockError):
        log.error("the method %s failed", job.ask.method, exc_info=error)
    return _failure(job.ask, error)


def _failure(ask: Ask, error: BaseException) -> Frames:
    return _encode(Answer(VERSION, ask.number, ok=False)), _encode(to_plain(error))
