# SPDX-License-Identifier: Apache-2.0
"""Several node managers in one process, with a way between them that is a queue and a thread each."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import cast

from penstock.drops.data import Buffer
from penstock.engine.part import Message
from penstock.errors import NodeDown, WireError
from penstock.managers.node import NodeManager
from penstock.wire.data import Region
from penstock.wire.rpc import Peer, RpcClient
from penstock.wire.server import Result
from penstock.wire.streams import StreamIn, StreamOut, StreamServer

__all__ = ["MemoryPost", "MemoryWire"]

_CHUNK = 1 << 16


class MemoryPost:
    """One node's end of a `MemoryWire`; meets `penstock.runtime.exchange.Post`."""

    def __init__(self, wire: "MemoryWire", address: str) -> None:
        self._wire = wire
        self._address = address
        self._teller = ThreadPoolExecutor(1, f"tell-{address}")
        self._hearer = ThreadPoolExecutor(1, f"hear-{address}")
        self._timers: set[threading.Timer] = set()
        self.streams = StreamServer()

    def now_s(self) -> float:
        return monotonic()

    def send(self, own: str, node: str, session_id: str, message: Message) -> None:
        other = self._wire.posts[node]
        manager = self._wire.managers[node]
        other._hearer.submit(manager.receive, own, session_id, message)  # noqa: SLF001  its other end

    @contextmanager
    def read(self, node: str, session_id: str, uid: str) -> Iterator[Iterable[Buffer]]:
        manager = self._wire.managers.get(node)
        exchange = None if manager is None else manager.find(session_id).exchange
        if exchange is None:
            raise NodeDown(node, "is not there")
        held = exchange.held(uid)
        if isinstance(held, Region):
            try:
                yield [os.pread(held.descriptor, held.size_bytes, held.offset)]
            finally:
                held.close()
        elif isinstance(held, list):
            yield held
        else:
            with held.open("rb") as file:
                yield iter(lambda: file.read(_CHUNK), b"")

    def lend(self, name: str) -> StreamOut:
        return self.streams.add(StreamOut(name))

    def withdraw(self, name: str) -> None:
        self.streams.remove(name)

    def stream(self, node: str, name: str) -> StreamIn:
        return StreamIn(cast("RpcClient", _Caller(self._wire.posts[node].streams)), name)

    def soon(self, call: Callable[[], None]) -> None:
        self._teller.submit(call)

    def later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        timer = threading.Timer(delay_s, call)
        self._timers.add(timer)
        timer.start()
        return timer.cancel

    def close(self) -> None:
        """End its threads."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self._teller.shutdown()
        self._hearer.shutdown()


class _Caller:
    """What a `StreamIn` needs of a client, for a server in the same process."""

    address = "here"
    is_connected = True
    is_closed = False

    def __init__(self, server: StreamServer) -> None:
        self._server = server

    def call_async(self, method: str, body: bytes, **_: object) -> "Future[Result]":
        future: Future[Result] = Future()
        try:
            result = self._server.methods[method].handler(cast("Peer", None), body, [])
        except WireError as error:
            future.set_exception(error)
            return future
        if isinstance(result, Future):
            return result
        future.set_result(result)
        return future

    def call(self, method: str, body: bytes, **_: object) -> Result:
        return self.call_async(method, body).result()


class MemoryWire:
    """The way between all nodes that have joined."""

    def __init__(self) -> None:
        self.posts: dict[str, MemoryPost] = {}
        self.managers: dict[str, NodeManager] = {}

    def post(self, address: str) -> MemoryPost:
        """Return the end of a node that will join."""
        return self.posts.setdefault(address, MemoryPost(self, address))

    def join(self, manager: NodeManager) -> None:
        """Let a node be reached by others."""
        self.managers[manager.address] = manager

    def close(self) -> None:
        """End all threads."""
        for post in self.posts.values():
            post.close()
