# SPDX-License-Identifier: Apache-2.0
"""The end of a connection that connects, and does so again whenever it is cut.

It says hello and beats, and tells when messages can be sent. All methods run on the loop's thread except where they say
otherwise. The rules are those of `framing.py`.
"""

import logging
import secrets
from collections.abc import Callable
from time import monotonic

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from penstock.errors import WireError
from penstock.wire.framing import (
    AT_ONCE,
    PEER_BYTES,
    TO_DIALER,
    VERSION,
    Beat,
    Echo,
    Frames,
    Hello,
    Socket,
    configure,
    needs_ipv6,
    rest,
    send,
    url,
)
from penstock.wire.junk import JunkBook
from penstock.wire.limits import Limits
from penstock.wire.loop import Loop, Timer
from penstock.wire.segment import Bytes

__all__ = ["Dialer"]

log = logging.getLogger(__name__)

_MONITORED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
_encode = msgspec.msgpack.encode
_BEAT = _encode(Beat(VERSION))


class Dialer:
    """The end that connects, and does so again whenever the connection is cut.

    Args:
        receive: called with each message; raises `WireError` for what it cannot read.
        name: what the other side shall call this one.
        up: called with the epoch of the other side when messages can be sent, after each connection.
        down: called when a connection is cut; what was under way may or may not have come through.
        echo: called with the epoch of the other side for each beat that it answered.
    """

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int,
        receive: Callable[[list[Bytes]], None],
        *,
        name: str = "",
        up: Callable[[int], None] | None = None,
        down: Callable[[], None] | None = None,
        echo: Callable[[int], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.is_up = False
        self.lost = 0  # messages that could not be sent
        self.junk = 0  # messages that could not be read
        self._loop = loop
        self._receive = receive
        self._name = name
        self._up = up
        self._down = down
        self._echo = echo
        self._limits = limits or Limits()
        self._peer = secrets.token_bytes(PEER_BYTES)
        self._nonce = 0
        self._heard_s = 0.0
        self._socket: Socket | None = None
        self._monitor: Socket | None = None
        self._timer: Timer | None = None
        self._forget_closer: Callable[[], None] | None = None
        self._junk_book = JunkBook(self._limits.junk_per_minute)

    # On any thread

    def start(self) -> None:
        """Begin to connect, and go on until `close`."""
        is_ipv6 = needs_ipv6(self.host)
        self._loop.ask(lambda: self._open(is_ipv6=is_ipv6))

    def close(self) -> None:
        """Cut the connection; a second call does nothing."""
        if self._loop.is_own_thread:
            self._close()
        elif self._loop.is_open:
            self._loop.ask(self._close)

    # On the loop's thread

    def send(self, frames: Frames) -> bool:
        """Send a message; false if it cannot be: not connected, or too much waits already."""
        if not self.is_up or self._socket is None:
            return False
        return self._send(self._socket, frames)

    def _send(self, socket: Socket, frames: Frames) -> bool:
        try:
            send(socket, frames)
        except zmq.Again:
            self.lost += 1
            return False
        return True

    def _open(self, *, is_ipv6: bool) -> None:
        socket = self._loop.socket(zmq.DEALER)
        configure(socket, self._limits)
        socket.setsockopt(zmq.RECONNECT_IVL, round(self._limits.reconnect_s * 1000))
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, round(self._limits.reconnect_most_s * 1000))
        socket.setsockopt(zmq.IPV6, int(is_ipv6))
        if self._loop.keys is not None:
            self._loop.keys.guard_client(socket)
        self._socket = socket
        self._monitor = socket.get_monitor_socket(_MONITORED)
        self._loop.watch(socket, self._drain)
        self._loop.watch(self._monitor, self._watch)
        self._forget_closer = self._loop.at_close(self._close)
        socket.connect(url(self.host, self.port))

    def _close(self) -> None:
        if self._socket is None or self._monitor is None:
            return
        self._cut()
        self._loop.forget(self._socket)
        self._loop.forget(self._monitor)
        self._socket.disable_monitor()  # it says so to the monitor, and waits for ever where there is none any more
        self._monitor.close(0)
        self._socket.close(0)
        self._socket = self._monitor = None
        if self._forget_closer is not None:
            self._forget_closer()

    def _watch(self) -> None:
        if self._monitor is None:
            return
        event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))["event"]
        if event == zmq.EVENT_DISCONNECTED:
            while self._drain():  # what came before the cut counts
                continue
            self._cut()
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED and self._socket is not None:
            self._hello(self._socket)

    def _hello(self, socket: Socket) -> None:
        self._nonce = self._nonce or secrets.randbits(62)
        self._send(socket, (_encode(Hello(VERSION, self._peer, self._nonce, self._name)),))

    def _cut(self) -> None:
        self._nonce = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        was_up, self.is_up = self.is_up, False
        if was_up and self._down is not None:
            self._loop.guard(self._down)

    def _drain(self) -> bool:
        """Take messages; whether there may be more."""
        for _ in range(AT_ONCE):
            if self._socket is None:
                return False
            try:
                head = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return False
            has_more = bool(self._socket.getsockopt(zmq.RCVMORE))
            self._take(head, rest(self._socket, head, has_more=has_more, most=self._limits.frames))
        return True

    def _take(self, head: bytes, frames: list[Bytes] | None) -> None:
        if self._junk_book and self._junk_book.is_ignored(b"", monotonic()):
            return
        try:
            if frames is None:
                raise WireError(f"it has more than {self._limits.frames} frames")
            if len(frames) == 1:
                self._noted(head)
            else:
                self._receive(frames)
        except WireError as exc:
            self.junk += 1
            log.warning("a message of %s:%d cannot be read: %s", self.host, self.port, exc)
            if self._junk_book.note(b"", monotonic()):
                log.warning("%s:%d is not listened to for a minute", self.host, self.port)

    def _noted(self, head: bytes) -> None:
        try:
            note = TO_DIALER.decode(head)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise WireError("it is neither welcome nor echo") from exc
        self._heard_s = monotonic()
        if isinstance(note, Echo):
            if self._echo is not None:
                self._echo(note.epoch)
        elif note.nonce == self._nonce and self._nonce:
            self._nonce = 0
            if self.is_up:
                return
            self.is_up = True
            self._timer = self._loop.later(self._limits.beat_s, self._beat)
            if self._up is not None:
                self._up(note.epoch)

    def _beat(self) -> None:
        self._timer = self._loop.later(self._limits.beat_s, self._beat)
        self.send((_BEAT,))
        if self._socket is not None and monotonic() - self._heard_s > self._limits.silent_s:
            self._hello(self._socket)  # it may have forgotten us, or let nobody of our key in for a while
