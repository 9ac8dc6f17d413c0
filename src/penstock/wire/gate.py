# SPDX-License-Identifier: Apache-2.0
"""The door-keeper of a process: asked by ZeroMQ for every connection to a CURVE server, it looks the key up.

It speaks ZAP 1.0 on an in-process socket that the loop owns. While nobody answers there, nobody is let in.
"""

import logging

import zmq
from zmq.utils import z85

from penstock.errors import StartRefused
from penstock.wire.security import Keys

__all__ = ["Gate"]

log = logging.getLogger(__name__)

_ENDPOINT = "inproc://zeromq.zap.01"
_PARTS = 7  # version, request id, domain, address, identity, mechanism, the key


class Gate:
    """The answering end; `answer` is called on the thread of the socket, when there is something to read."""

    def __init__(self, socket: zmq.Socket[bytes], keys: Keys) -> None:
        self.socket = socket
        self._keys = keys
        self.socket.bind(_ENDPOINT)

    def answer(self) -> None:
        """Answer one question."""
        parts = self.socket.recv_multipart(zmq.NOBLOCK)
        request_id = parts[1] if len(parts) > 1 else b""
        key = self._key(parts)
        status, text = (b"200", b"OK") if key is not None else (b"400", b"refused")
        self.socket.send_multipart([b"1.0", request_id, status, text, key or b"", b""])

    def _key(self, parts: list[bytes]) -> bytes | None:
        """Return the caller's public key if it may enter."""
        if len(parts) != _PARTS or parts[0] != b"1.0" or parts[5] != b"CURVE" or len(parts[6]) != 32:
            log.warning("refused a connection that shows no key")
            return None
        key = z85.encode(parts[6])
        try:
            if self._keys.allows(key):
                return key
        except (OSError, StartRefused) as exc:
            log.error("no key can be looked up, so nobody is let in: %s", exc)  # noqa: TRY400  no traceback needed
            return None
        log.warning(
            "refused a connection from %s: its key is not allowed", parts[3].decode("ascii", "replace")
        )
        return None
