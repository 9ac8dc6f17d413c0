# SPDX-License-Identifier: Apache-2.0
"""Facts between nodes: the messages of `engine.part` as frames, and connections to all neighbours.

Rule 1: best effort. A message may be lost, never doubled or changed; that all arrive in the end is the part's
        business, which is told of every connection that is made so that it can send again what was not acknowledged.
Rule 2: a node listens for all its neighbours and connects to each that it sends to: facts and what acknowledges
        them travel on two connections.
Rule 3: what a peer sends is a `Batch` or an `Ack` of the right form, or junk. What the numbers in it mean, the part
        checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import msgspec

from penstock.engine.part import Ack, Batch, Message
from penstock.errors import SessionIdInvalid, WireError
from penstock.ids import NodeAddress, parse_session_id
from penstock.wire.dialer import Dialer
from penstock.wire.framing import VERSION, Frames, Peer
from penstock.wire.limits import Limits
from penstock.wire.listener import Listener
from penstock.wire.loop import Loop
from penstock.wire.segment import Bytes

__all__ = ["Facts", "decode", "encode"]

_HIGH_WATER = 1000  # messages of up to some 100 kB that wait for one neighbour
_NUMBER_BYTES = 4
_MOST = 1 << 62
_BATCH_FRAMES = 5

_Names = tuple[str, ...]
_Contents = tuple[tuple[int, int, object], ...]


class _Batch(msgspec.Struct, array_like=True, tag="batch", forbid_unknown_fields=True, frozen=True):
    """The header of facts; after it come names, numbers, states and contents, each in its frame."""

    version: Literal[1]
    sender: str
    session_id: str
    epoch: int
    sequence: int


class _Ack(msgspec.Struct, array_like=True, tag="ack", forbid_unknown_fields=True, frozen=True):
    """The header of an acknowledgement; an empty frame comes after it."""

    version: Literal[1]
    sender: str
    session_id: str
    epoch: int
    sequence: int


def _no_extension(code: int, data: memoryview) -> object:
    raise ValueError(f"an extension of type {code} with {data.nbytes} bytes")


_HEADER = msgspec.msgpack.Decoder(_Batch | _Ack)
_NAMES = msgspec.msgpack.Decoder(_Names)
_CONTENTS = msgspec.msgpack.Decoder(_Contents, ext_hook=_no_extension)
_encode = msgspec.msgpack.encode


def encode(session_id: str, message: Message, sender: str = "") -> Frames:
    """Return a message as frames.

    Args:
        sender: the address by which the receiver knows who sends; "" for the name that the connection was made with.
    Raises:
        WireError: contents are no plain values.
    """
    if isinstance(message, Ack):
        return _encode(_Ack(VERSION, sender, session_id, message.epoch, message.sequence)), b""
    header = _encode(_Batch(VERSION, sender, session_id, message.epoch, message.sequence))
    try:
        contents = _encode(message.contents) if message.contents else b""
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise WireError(f"contents that cannot be sent to another node: {exc}") from exc
    names = _encode(message.names) if message.names else b""
    return header, names, message.numbers, message.states, contents


def decode(frames: list[Bytes]) -> tuple[str, str, Message]:
    """Return the sender, the session's id and the message.

    Raises:
        WireError: these frames are none.
    """
    try:
        header = _HEADER.decode(frames[0])
        session_id = parse_session_id(header.session_id)
        names = _NAMES.decode(frames[1]) if len(frames) == _BATCH_FRAMES and len(frames[1]) else ()
        contents = _CONTENTS.decode(frames[4]) if len(frames) == _BATCH_FRAMES and len(frames[4]) else ()
    except (msgspec.MsgspecError, ValueError, RecursionError, SessionIdInvalid) as exc:
        raise WireError("it holds neither facts nor an acknowledgement") from exc
    if not (0 <= header.epoch < _MOST and 0 <= header.sequence < _MOST):
        raise WireError("it has no such epoch or number")
    if isinstance(header, _Ack):
        if len(frames) != 2 or len(frames[1]):
            raise WireError("an acknowledgement is one header")
        return header.sender, session_id, Ack(header.epoch, header.sequence)
    if len(frames) != _BATCH_FRAMES or len(frames[2]) != _NUMBER_BYTES * len(frames[3]):
        raise WireError("it has not as many states as numbers")
    numbers, states = bytes(frames[2]), bytes(frames[3])
    return header.sender, session_id, Batch(header.epoch, header.sequence, names, numbers, states, contents)


class Facts:
    """The facts' end of a node.

    Args:
        own: this node's address as its neighbours know it, which is what they are told of who sends.
        epoch: incarnation number of this process.
        receive: called with sender, session and message, on the loop's thread; `WireError` counts as junk.
        connected: called with a neighbour's address after each connection to it, on the loop's thread.
    """

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int,
        own: str,
        epoch: int,
        receive: Callable[[str, str, Message], None],
        connected: Callable[[str], None],
        *,
        limits: Limits | None = None,
    ) -> None:
        self._loop = loop
        self._own = own
        self._receive = receive
        self._connected = connected
        self._limits = replace(limits or Limits(), high_water=_HIGH_WATER)
        self._dialers: dict[str, Dialer] = {}  # of the loop's thread
        self._is_closed = False
        self._listener = Listener(loop, host, port, self._take, epoch=epoch, limits=self._limits)

    @property
    def port(self) -> int:
        """The port that it listens on, known after `start`."""
        return self._listener.port

    def start(self) -> None:
        """Begin to listen.

        Raises:
            StartRefused: the address cannot be had.
        """
        self._listener.start()

    def close(self) -> None:
        """Cut all connections; a second call does nothing."""
        if self._loop.is_own_thread:
            self._end()
        elif self._loop.is_open:
            self._loop.ask(self._end)

    # On any thread

    def send(self, peer: str, session_id: str, message: Message, own: str = "") -> None:
        """Send a message to the node at an address; it is lost if there is no connection yet, or too much waits.

        Args:
            own: the address by which that node knows this one, where it is not the one that all know.
        Raises:
            WireError: the message holds what cannot be sent.
            StartRefused: it is no address of a node.
        """
        if peer not in self._dialers:
            NodeAddress.parse(peer)
        frames = encode(session_id, message, own)
        if self._loop.is_own_thread:
            self._dialer(peer).send(frames)
        else:
            self._loop.soon(partial(self._send, peer, frames))

    def meet(self, peer: str) -> None:
        """Connect to the node at an address, so that the first message for it is not lost."""
        self._loop.soon(lambda: self._meet(peer))

    def forget(self, peer: str) -> None:
        """Cut the connection to a node, if there is one."""
        self._loop.soon(lambda: self._forget(peer))

    def junk(self) -> Mapping[bytes, int]:
        """Return how many messages of each peer could not be read."""
        return self._listener.junk()

    # On the loop's thread

    def _send(self, peer: str, frames: Frames) -> None:
        self._dialer(peer).send(frames)

    def _meet(self, peer: str) -> None:
        self._dialer(peer)

    def _forget(self, peer: str) -> None:
        dialer = self._dialers.pop(peer, None)
        if dialer is not None:
            dialer.close()

    def _dialer(self, peer: str) -> Dialer:
        dialer = self._dialers.get(peer)
        if dialer is None:
            address = NodeAddress.parse(peer)
            dialer = Dialer(
                self._loop,
                address.host,
                address.events,
                _unexpected,
                name=self._own,
                up=lambda _: self._connected(peer),
                limits=self._limits,
            )
            if not self._is_closed:
                dialer.start()
                self._dialers[peer] = dialer
        return dialer

    def _take(self, peer: Peer, frames: list[Bytes]) -> None:
        sender, session_id, message = decode(frames)
        self._receive(sender or self._listener.name_of(peer), session_id, message)

    def _end(self) -> None:
        self._is_closed = True
        self._listener.close()
        for peer in list(self._dialers):
            self._forget(peer)


def _unexpected(frames: list[Bytes]) -> None:
    raise WireError(f"nobody answers facts, and {len(frames)} frames came")
