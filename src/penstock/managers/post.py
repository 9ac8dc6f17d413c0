# SPDX-License-Identifier: Apache-2.0
"""A node's way to other nodes: facts over one connection, contents of drops over another."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from time import monotonic

from penstock.drops.data import Buffer
from penstock.engine.part import Message
from penstock.errors import PenstockError
from penstock.ids import NodeAddress
from penstock.wire.data import RemoteData
from penstock.wire.facts import Facts
from penstock.wire.loop import Loop
from penstock.wire.rpc import RpcClient
from penstock.wire.streams import StreamIn, StreamOut, StreamServer

__all__ = ["WirePost"]

log = logging.getLogger(__name__)

_PATIENT_S = 1e6
"""How long a writer waits for whoever takes its pieces: as long as it takes; a lost node ends the session."""


class WirePost:
    """Meets `penstock.runtime.exchange.Post`.

    Args:
        own: this node's address, as others know it.
    """

    def __init__(self, loop: Loop, own: str) -> None:
        self._loop = loop
        self._own = own
        self.streams = StreamServer()
        """The streams that other nodes read; their methods are served by the owner of this."""
        self._facts: Facts | None = None
        self._lock = threading.Lock()
        self._readers: dict[str, RpcClient] = {}
        self._teller = ThreadPoolExecutor(1, "penstock-tell")

    def connect(self, facts: Facts) -> None:
        """Use these facts, which are started and closed by their owner."""
        self._facts = facts

    def now_s(self) -> float:
        return monotonic()

    def send(self, own: str, node: str, session_id: str, message: Message) -> None:
        try:
            if self._facts is not None:
                self._facts.send(node, session_id, message, own)
        except PenstockError:  # not worth the thread: the session's owner sees that nothing goes on
            log.exception("session %s: nothing can be told to %s", session_id, node)

    @contextmanager
    def read(self, node: str, session_id: str, uid: str) -> Iterator[Iterable[Buffer]]:
        data = RemoteData(self._reader(node), session_id, uid).open()
        try:
            yield data.pieces()
        finally:
            data.close()

    def _reader(self, node: str) -> RpcClient:
        with self._lock:
            reader = self._readers.get(node)
            if reader is None:
                address = NodeAddress.parse(node)
                reader = self._readers[node] = RpcClient(
                    self._loop, address.host, address.rpc, name=self._own
                )
                reader.start()
            return reader

    def lend(self, name: str) -> StreamOut:
        return self.streams.add(StreamOut(name, idle_s=_PATIENT_S))

    def withdraw(self, name: str) -> None:
        self.streams.remove(name)

    def stream(self, node: str, name: str) -> StreamIn:
        return StreamIn(self._reader(node), name)

    def soon(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # this node closes: nobody is told anything any more
            self._teller.submit(_guarded, call)

    def later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        return self._loop.later(delay_s, call).cancel

    def close(self) -> None:
        """End the telling thread, all streams and all connections."""
        self.streams.close()
        self._teller.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for reader in self._readers.values():
                reader.close()


def _guarded(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:  # the boundary of a thread: one session's trouble is not another's
        log.exception("telling other nodes failed")
