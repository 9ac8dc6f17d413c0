# SPDX-License-Identifier: Apache-2.0
"""Managers that speak with each other over a wire: `RemoteSub` asks, `methods_of` answers.

Who has something new for the manager above pokes it: an empty message, at most one until it was asked again. A lost
poke costs a beat, as those above ask with every beat anyway.
"""

import io
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from penstock.errors import WireError
from penstock.ids import NodeAddress
from penstock.managers.answers import Answers, answer
from penstock.managers.orders import REQUESTS, Follow, Request
from penstock.wire.data import RemoteData
from penstock.wire.loop import Loop
from penstock.wire.rpc import Method, Peer, Reply, RpcClient
from penstock.wire.segment import Bytes

__all__ = ["Pokes", "RemoteSub", "methods_of"]

A = TypeVar("A")

_NAMES = {request: name for name, (request, _) in REQUESTS.items()}
_ONLY_READ = frozenset({"follow", "look", "log"})
_BUFFER_BYTES = 1 << 20
_encode = msgspec.msgpack.encode


class RemoteSub:
    """A manager below, reached over a wire; meets `penstock.managers.below.Sub`.

    Args:
        own: name of this manager, as the one below shall know it.
    """

    def __init__(self, loop: Loop, address: NodeAddress, own: str) -> None:
        self._address = str(address)
        self._client = RpcClient(loop, address.host, address.rpc, name=own)

    @property
    def address(self) -> str:
        return self._address

    def watch(self, news: Callable[[], None], beat: Callable[[int], None]) -> None:
        self._client.on_push(lambda body, buffers: news())  # noqa: ARG005  a poke says no more
        self._client.on_beat(beat)
        self._client.on_connected(beat)

    def start(self) -> None:
        self._client.start()

    def close(self) -> None:
        self._client.close()

    def ask(self, request: Request[A], timeout_s: float, text: bytes = b"") -> "Future[A]":
        name = _NAMES[type(request)]
        told: Future[A] = Future()
        asked = self._client.call_async(
            name, _encode(request), (text,) if text else (), timeout_s=timeout_s, repeat=True
        )
        asked.add_done_callback(partial(_tell, told, REQUESTS[name][1]))
        return told

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        data = RemoteData(self._client, session_id, uid).open()
        return cast("BinaryIO", io.BufferedReader(data, _BUFFER_BYTES))


def _tell(told: "Future[Any]", kind: type[msgspec.Struct], asked: "Future[Reply]") -> None:
    error = asked.exception()
    if error is not None:
        told.set_exception(error)
        return
    try:
        told.set_result(msgspec.msgpack.decode(asked.result()[0], type=kind))
    except msgspec.MsgspecError as exc:
        told.set_exception(WireError(f"an answer that cannot be read: {exc}"))


class Pokes:
    """Tells managers above that something is new. Thread safe.

    Args:
        push: sends an empty message to a client of this process.
    """

    def __init__(self, push: Callable[[Peer], None]) -> None:
        self._push = push
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}  # by the manager's part of a claim
        self._poked: set[Peer] = set()

    def met(self, claim: str, peer: Peer) -> None:
        """Note which client bears a claim."""
        with self._lock:
            self._peers[_owner(claim)] = peer

    def asked(self, peer: Peer) -> None:
        """Note that a client asks what is new: what comes from now on is worth another poke."""
        with self._lock:
            self._poked.discard(peer)

    def poke(self, claim: str) -> None:
        """Tell the manager of a claim that something is new."""
        with self._lock:
            peer = self._peers.get(_owner(claim))
            if peer is None or peer in self._poked:
                return
            self._poked.add(peer)
        self._push(peer)

    def gone(self, peer: Peer) -> None:
        """Forget a client."""
        with self._lock:
            self._poked.discard(peer)
            self._peers = {owner: other for owner, other in self._peers.items() if other != peer}


def _owner(claim: str) -> str:
    return claim.rpartition("#")[0]


def methods_of(answers: Answers, pokes: Pokes) -> dict[str, Method]:
    """Return what the manager above may call."""
    return {
        name: Method(partial(_answered, answers, pokes, name, request), is_remembered=name not in _ONLY_READ)
        for name, (request, _) in REQUESTS.items()
    }


def _answered(
    answers: Answers,
    pokes: Pokes,
    name: str,
    kind: type[Request[Any]],  # Any: requests of all kinds
    peer: Peer,
    body: bytes,
    buffers: list[Bytes],
) -> tuple[bytes, list[Bytes]]:
    try:
        request = msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise WireError(f"a request that cannot be read: {exc}") from exc
    if isinstance(request, Follow):
        pokes.asked(peer)
    claim = getattr(request, "claim", "")
    if claim:
        pokes.met(claim, peer)
    return _encode(answer(answers, name, request, bytes(buffers[0]) if buffers else b"")), []
