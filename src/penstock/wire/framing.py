# SPDX-License-Identifier: Apache-2.0
"""What both ends of a connection share: messages as frames, the notes that `listener.py` and `dialer.py` exchange.

Rule 1: a message has two frames or more; the first is the header, which whoever receives reads. One frame alone is
        a note between the two ends: hello and welcome, beat and echo.
Rule 2: nothing of a peer is handed on before its hello, which tells version and name; nothing counts as connected
        before the welcome, which tells the epoch of the other side.
        Messages before the hello are what a connection that was cut had left, and dropped. (ZeroMQ's own remedy,
        ZMQ_IMMEDIATE, ends the process in libzmq 4.3.5 when a connection is cut while a message is being read.)
Rule 3: what cannot be read (`WireError` out of `receive`) costs one message, is counted, and is never told in a log.
Rule 4: nothing is queued for a peer that is not connected, and nothing is sent twice: that is for those above.

Buffers are sent without a copy when large, so they must not change until the other side has them.
"""

import socket as sockets
from collections.abc import Sequence
from typing import Final, Literal, NewType

import msgspec
import zmq

from penstock.errors import StartRefused
from penstock.wire.limits import Limits
from penstock.wire.segment import Bytes

__all__ = [
    "AT_ONCE",
    "PEER_BYTES",
    "TO_DIALER",
    "TO_LISTENER",
    "VERSION",
    "Beat",
    "Echo",
    "Frames",
    "Hello",
    "Peer",
    "Socket",
    "Welcome",
    "configure",
    "needs_ipv6",
    "resolved",
    "rest",
    "send",
    "url",
    "user",
]

VERSION: Final = 1
AT_ONCE = 256
"""Messages taken of one socket before the others have their turn."""
Peer = NewType("Peer", bytes)
"""A client's incarnation: 16 random bytes that it chose, the same over all its connections."""
PEER_BYTES = 16
Frames = Sequence[Bytes]
Socket = zmq.Socket[bytes]

_COPIED_BYTES = 64 << 10  # a smaller frame is cheaper to copy than to follow


class Hello(msgspec.Struct, array_like=True, tag="hello", forbid_unknown_fields=True, frozen=True):
    """The first note on a connection: which client, and a nonce that tells its answer from that to an earlier one."""

    version: int
    peer: bytes
    nonce: int
    name: str


class Welcome(msgspec.Struct, array_like=True, tag="welcome", forbid_unknown_fields=True, frozen=True):
    """The answer to a hello."""

    version: Literal[1]
    nonce: int
    epoch: int


class Beat(msgspec.Struct, array_like=True, tag="beat", forbid_unknown_fields=True, frozen=True):
    """A client is there."""

    version: Literal[1]


class Echo(msgspec.Struct, array_like=True, tag="echo", forbid_unknown_fields=True, frozen=True):
    """The answer to a beat."""

    version: Literal[1]
    epoch: int


TO_LISTENER = msgspec.msgpack.Decoder(Hello | Beat)
TO_DIALER = msgspec.msgpack.Decoder(Welcome | Echo)


def configure(socket: Socket, limits: Limits) -> None:
    """Give a socket the options that both ends have."""
    socket.setsockopt(zmq.SNDHWM, limits.high_water)
    socket.setsockopt(zmq.RCVHWM, limits.high_water)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.frame_bytes)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.HEARTBEAT_IVL, max(1, round(limits.silent_s * 250)))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, max(1, round(limits.silent_s * 1000)))
    socket.setsockopt(zmq.HANDSHAKE_IVL, max(1, round(limits.silent_s * 1000)))


def send(socket: Socket, frames: Frames) -> None:
    """Send a message, or raise `zmq.Again` or another `zmq.ZMQError` and send none of it."""
    last = len(frames) - 1
    for number, frame in enumerate(frames):
        flags = zmq.NOBLOCK if number == last else zmq.NOBLOCK | zmq.SNDMORE
        size = frame.nbytes if isinstance(frame, memoryview) else len(frame)
        socket.send(frame, flags, copy=size < _COPIED_BYTES)


def rest(socket: Socket, head: bytes, *, has_more: bool, most: int) -> list[Bytes] | None:
    """Return the frames of a message of which the first is read; None, and the message is gone, if too many."""
    frames: list[Bytes] = [head]
    while has_more:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        has_more = frame.more
        if len(frames) < most:
            frames.append(frame.buffer)
        else:
            most = 0
    return frames if most else None


def user(frame: zmq.Frame) -> str | None:
    """Return the public key that the sender of a frame has shown, None for none."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return None


def url(host: str, port: int) -> str:
    """Return an address as ZeroMQ wants it."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def resolved(host: str) -> str:
    """Return the address that a name of this host stands for; ZeroMQ listens on addresses only."""
    try:
        found = sockets.getaddrinfo(host, None, type=sockets.SOCK_STREAM)
    except OSError as exc:
        raise StartRefused(f"{host} is no name or address of this host: {exc}", "choose another") from exc
    addresses = [str(entry[4][0]) for entry in sorted(found, key=lambda entry: entry[0] != sockets.AF_INET)]
    return addresses[0]


def needs_ipv6(host: str) -> bool:
    """Tell whether a host can be reached over IPv6 only."""
    if ":" in host:
        return True
    try:
        found = sockets.getaddrinfo(host, None, type=sockets.SOCK_STREAM)
    except OSError:
        return False  # it may get a name later; ZeroMQ looks it up for each connection
    return all(entry[0] == sockets.AF_INET6 for entry in found)
