# SPDX-License-Identifier: Apache-2.0
"""The end of a connection to which peers connect.

Who they are, whether they may go on, and what they sent that nobody can read. All methods run on the loop's
thread except where they say otherwise. The rules are those of `framing.py`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import msgspec
import zmq

from penstock.errors import StartRefused, WireError
from penstock.wire.framing import (
    AT_ONCE,
    PEER_BYTES,
    TO_LISTENER,
    VERSION,
    Echo,
    Frames,
    Hello,
    Peer,
    Socket,
    Welcome,
    configure,
    resolved,
    rest,
    send,
    url,
    user,
)
from penstock.wire.junk import JunkBook
from penstock.wire.limits import Limits
from penstock.wire.loop import Loop, Timer
from penstock.wire.segment import Bytes

__all__ = ["Listener"]

log = logging.getLogger(__name__)

_LOGGED = 100  # peers whose junk is told in the log; of more it is counted only
_MOST_NAME = 256
_PEERS = 10_000
_UNBIND_MS = 1000
_encode = msgspec.msgpack.encode


@dataclass(slots=True)
class _Caller:
    """A peer that said hello.

    Attributes:
        route: its present connection, by a number that ZeroMQ gives and never gives again. A client does not choose
            it: what an older connection left would be taken for the new one's.
        key: its public key as text where there are keys.
    """

    peer: Peer
    route: bytes
    name: str
    key: str | None
    heard_s: float


class Listener:
    """The end to which peers connect.

    Args:
        host: a name or address of this host; `0.0.0.0` and `::` are all of them.
        port: 0 for any; `port` tells which.
        receive: called with each message; raises `WireError` for what it cannot read.
        epoch: of this incarnation of the process, told to each peer.
        gone: called with a peer that has not been heard for long; it is known no more.
    """

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int,
        receive: Callable[[Peer, list[Bytes]], None],
        *,
        epoch: int = 0,
        gone: Callable[[Peer], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.lost = 0  # messages for peers that are not there or do not read
        self.early = 0  # messages before a hello: left over from a connection that was cut, or of strangers
        self._loop = loop
        self._receive = receive
        self._epoch = epoch
        self._gone = gone
        self._limits = limits or Limits()
        self._junk = JunkBook(self._limits.junk_per_minute)
        self._callers: dict[Peer, _Caller] = {}
        self._routes: dict[bytes, _Caller] = {}  # the present connections of the same
        self._socket: Socket | None = None
        self._timer: Timer | None = None
        self._forget_closer: Callable[[], None] | None = None

    # On any thread

    def start(self) -> None:
        """Begin to listen.

        Raises:
            StartRefused: the address cannot be had.
        """
        address = resolved(self.host)
        self._loop.ask(lambda: self._open(address))

    def close(self) -> None:
        """Stop listening and forget all peers; a second call does nothing."""
        if self._loop.is_own_thread:
            self._close()
        elif self._loop.is_open:
            self._loop.ask(self._close)

    def junk(self) -> dict[bytes, int]:
        """Return how many messages of each peer could not be read."""
        return self._loop.ask(self._junk.counts)

    # On the loop's thread

    def send(self, peer: Peer, frames: Frames) -> bool:
        """Send a message; false if the peer is not connected, or does not read while too much waits for it."""
        caller = self._callers.get(peer)
        if self._socket is None or caller is None:
            return False
        try:
            self._socket.send(caller.route, zmq.SNDMORE | zmq.NOBLOCK)
            send(self._socket, frames)
        except zmq.ZMQError as exc:
            if exc.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            self.lost += 1
            return False
        return True

    def name_of(self, peer: Peer) -> str:
        """Return the name that a peer told of itself; for one that is not known, ''."""
        caller = self._callers.get(peer)
        return caller.name if caller else ""

    def _open(self, address: str) -> None:
        socket = self._loop.socket(zmq.ROUTER)
        try:
            configure(socket, self._limits)
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            socket.setsockopt(zmq.IPV6, 1 if ":" in address else 0)
            if self._loop.keys is not None:
                self._loop.keys.guard_server(socket)
            socket.bind(url(address, self.port))
            self.port = _port(socket)
        except zmq.ZMQError as exc:
            socket.close(0)
            raise StartRefused(
                f"{self.host}:{self.port} cannot be listened on: {exc}", "choose another"
            ) from exc
        self._socket = socket
        self._loop.watch(socket, self._drain)
        self._forget_closer = self._loop.at_close(self._close)
        self._timer = self._loop.later(self._limits.beat_s, self._look)

    def _close(self) -> None:
        if self._socket is None:
            return
        self._loop.forget(self._socket)
        _unbind(self._socket)
        self._socket.close(0)
        self._socket = None
        if self._timer is not None:
            self._timer.cancel()
        if self._forget_closer is not None:
            self._forget_closer()
        self._callers.clear()
        self._routes.clear()

    def _drain(self) -> None:
        for _ in range(AT_ONCE):
            if self._socket is None:
                return
            try:
                route = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(self._socket, route)

    def _take(self, socket: Socket, route: bytes) -> None:
        caller = self._routes.get(route)
        key: str | None = None
        if caller is None and self._loop.keys is not None:
            # The key of whoever sent it can be asked of the message only.
            first = socket.recv(zmq.NOBLOCK, copy=False)
            key = user(first)
            head, has_more = bytes(first.buffer), first.more
        else:
            head, has_more = socket.recv(zmq.NOBLOCK), bool(socket.getsockopt(zmq.RCVMORE))
        frames = rest(socket, head, has_more=has_more, most=self._limits.frames)
        sender = caller.peer if caller else route
        if self._junk and self._junk.is_ignored(sender, monotonic()):
            return
        try:
            if frames is None:
                raise WireError(f"it has more than {self._limits.frames} frames")
            if len(frames) == 1:
                self._noted(route, caller, head, key)
            elif caller is not None:
                self._receive(caller.peer, frames)
            else:
                self.early += 1
        except WireError as exc:
            self._junked(sender, caller, exc)

    def _noted(self, route: bytes, caller: _Caller | None, head: bytes, key: str | None) -> None:
        try:
            note = TO_LISTENER.decode(head)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise WireError("it is neither hello nor beat") from exc
        if isinstance(note, Hello):
            self._greet(route, note, caller.key if caller else key)
        elif caller is None:
            self.early += 1
        else:
            caller.heard_s = monotonic()
            self.send(caller.peer, (_encode(Echo(VERSION, self._epoch)),))

    def _greet(self, route: bytes, hello: Hello, key: str | None) -> None:
        if hello.version != VERSION:
            raise WireError(f"its sender speaks version {hello.version}, this process {VERSION}")
        if len(hello.name) > _MOST_NAME or len(self._callers) >= _PEERS:
            raise WireError("its sender has too long a name, or too many have come")
        if self._is_refused(key):
            raise WireError("its sender's key is not allowed any more")
        peer = Peer(hello.peer)
        before = self._callers.get(peer)
        if len(peer) != PEER_BYTES or (before is not None and before.key != key):
            raise WireError("its sender says that it is somebody else")
        if before is not None:
            self._routes.pop(before.route, None)
        other = self._routes.pop(route, None)
        if other is not None and other.peer != peer:  # one connection, one caller
            del self._callers[other.peer]
        caller = _Caller(peer, route, hello.name, key, monotonic())
        self._callers[peer] = self._routes[route] = caller
        self.send(peer, (_encode(Welcome(VERSION, hello.nonce, self._epoch)),))

    def _junked(self, sender: bytes, caller: _Caller | None, error: WireError) -> None:
        is_ignored = self._junk.note(sender, monotonic())
        if len(self._junk.counts()) <= _LOGGED:
            told = (caller.name if caller else "") or sender.hex()[:10]
            log.warning("a message of %r cannot be read: %s", told, error)
            if is_ignored:
                log.warning("%r is not listened to for a minute: too many such messages", told)

    def _look(self) -> None:
        """Forget who has been silent for long, and who may not talk to us any more."""
        self._timer = self._loop.later(self._limits.beat_s, self._look)
        refused = set(filter(self._is_refused, {caller.key for caller in self._callers.values()}))
        late_s = monotonic() - self._limits.forget_s
        callers = list(self._callers.items())
        for peer in [peer for peer, caller in callers if caller.heard_s < late_s or caller.key in refused]:
            self._routes.pop(self._callers.pop(peer).route, None)
            if self._gone is not None:
                self._gone(peer)

    def _is_refused(self, key: str | None) -> bool:
        keys = self._loop.keys
        return keys is not None and (key is None or not keys.allows(key.encode()))


def _port(socket: Socket) -> int:
    return int(_endpoint(socket).rpartition(b":")[2])


def _endpoint(socket: Socket) -> bytes:
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0")


def _unbind(socket: Socket) -> None:
    """Give the port back, and wait until ZeroMQ's own thread has: else it could not be listened on again at once."""
    monitor = socket.get_monitor_socket(zmq.EVENT_CLOSED)
    socket.unbind(_endpoint(socket))
    if not monitor.poll(_UNBIND_MS):
        log.warning("the port of %s was not given back within a second", _endpoint(socket).decode())
    monitor.close(0)
    socket.disable_monitor()
