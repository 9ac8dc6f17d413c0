# SPDX-License-Identifier: Apache-2.0
"""The pool's end of a nursery: starts it, gives orders, takes reports. Used by one thread.

That thread must live as long as the nursery: the system takes its end for the end of the parent.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from penstock.workers.nursery import ORDER, REPORT, START, Order

__all__ = ["Family"]


class Family:
    """Children that are forked, signalled and reaped by a nursery.

    Args:
        preload: modules that the nursery imports for all children.
        grace_s: time that what children leave behind has to end; seconds.
    Raises:
        OSError: the nursery cannot be started.
    """

    def __init__(self, preload: Sequence[str], grace_s: float) -> None:
        ours, theirs = socket.socketpair()
        settings = {
            "path": sys.path,
            "socket": theirs.fileno(),
            "parent": os.getpid(),
            "preload": json.dumps(list(preload)),
            "grace_s": grace_s,
        }
        self.socket = ours
        self._data = b""
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", START],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:  # it is written when it is closed
            stdin.write(json.dumps(settings).encode() + b"\n")
        ours.setblocking(False)

    @property
    def pid(self) -> int:
        """The process of the nursery."""
        return self._process.pid

    def fork(self, slot: int, fds: Sequence[int]) -> None:
        """Let a child be made; its pid will be reported."""
        self._order(Order.FORK, slot, len(fds), fds)

    def signal(self, slot: int, number: int) -> None:
        """Send a signal to the child of a slot and its process group, if it lives."""
        self._order(Order.SIGNAL, slot, number, ())

    def _order(self, order: Order, slot: int, number: int, fds: Sequence[int]) -> None:
        # Orders are few and small: there is room, or the nursery hangs, and then waiting is of no use.
        with suppress(BrokenPipeError, ConnectionError):
            socket.send_fds(self.socket, [ORDER.pack(order, slot, number)], fds)

    def reports(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield what the nursery tells.

        Raises:
            EOFError: it is gone.
        """
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self._data += data
            whole = len(self._data) // REPORT.size * REPORT.size
            yield from REPORT.iter_unpack(self._data[:whole])
            self._data = self._data[whole:]

    def end(self, timeout_s: float) -> None:
        """Let the nursery kill what is left, and wait for it."""
        self.socket.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
