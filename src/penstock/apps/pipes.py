# SPDX-License-Identifier: Apache-2.0
"""A stream of bytes between two commands on one machine: a named pipe, and the address that travels.

    with OutgoingPipe(uid, directory) as pipe:
        output.write(pipe.address)        # consumers take it: `take_pipe(uid, directory, address)`
        pipe.wait_taken(cancelled)
        process.start(stdout=pipe.fd)
        ...                               # wait for its end

Rule 1: the maker holds the writing end open from before the address is known: who takes the pipe never
        meets an end that has not begun, and nobody blocks in opening it.
Rule 2: who takes the pipe opens it without waiting and removes its name. The name's absence tells the maker
        that the stream has been taken, also if the taker is gone again: its command then gets SIGPIPE.
Rule 3: the maker holds no reading end, so a dead reader ends the writer. It closes the writing end when its
        command has ended, not before: only who holds that end can tell whether the reader left first.
Rule 4: names are random, files 0600, and gone at the end.
"""

import os
import secrets
import select
import stat
import threading
import time
from pathlib import Path

from penstock.errors import StreamFailed

__all__ = ["TAKE_TIMEOUT_S", "OutgoingPipe", "take_pipe"]

TAKE_TIMEOUT_S = 60.0
"""How long a stream waits for its consumer to take it."""

_LOOK_S = 0.05


class OutgoingPipe:
    """A named pipe's writing end; a context manager.

    Attributes:
        fd: the writing end, for the command that fills the stream.
    """

    def __init__(self, uid: str, directory: Path) -> None:
        self._uid = uid
        self._path = directory.absolute() / f".pipe-{secrets.token_hex(8)}"
        self.fd = -1

    def __enter__(self) -> "OutgoingPipe":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Make the pipe and open its writing end."""
        os.mkfifo(self._path, 0o600)
        # A writing end alone cannot be opened before there is a reader: first both, then only that one.
        both = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        finally:
            os.close(both)

    @property
    def address(self) -> bytes:
        """What to write to the output drop."""
        return f"pipe://localhost{self._path}".encode()

    def wait_taken(self, cancelled: threading.Event, timeout_s: float = TAKE_TIMEOUT_S) -> None:
        """Wait until a consumer has taken the pipe; mostly it has, because writing the address calls it.

        Raises:
            StreamFailed: nobody did in time, or `cancelled` was set.
        """
        until_s = time.monotonic() + timeout_s
        while self._path.exists():
            if time.monotonic() >= until_s:
                raise StreamFailed(
                    self._uid, f"no streaming consumer took {self._path} within {timeout_s:g} s"
                )
            if cancelled.wait(_LOOK_S):
                raise StreamFailed(self._uid, "cancelled before its stream was taken")

    @property
    def is_left(self) -> bool:
        """Whether nobody holds the reading end any more; false once the writing end is closed."""
        if self.fd < 0:
            return False
        poll = select.poll()
        poll.register(self.fd, 0)  # an end without a reader is always told
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the writing end and remove the name; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self._path.unlink(missing_ok=True)


def take_pipe(uid: str, directory: Path, address: bytes) -> int:
    """Open the reading end of the pipe at `address`, for a command's standard input; the caller closes it.

    Args:
        uid: of the consumer, for messages.
        directory: the session's; pipes elsewhere are not taken.
        address: what the producer wrote.
    Raises:
        StreamFailed: an address of another kind, of another place, or taken before.
    """
    path = _path(uid, address)
    if path.parent != directory.absolute():
        raise StreamFailed(uid, f"the stream {path} is not in the session's folder {directory}")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as exc:
        reason = "another consumer has taken it" if isinstance(exc, FileNotFoundError) else str(exc)
        raise StreamFailed(uid, f"the stream {path} cannot be taken: {reason}") from exc
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise StreamFailed(uid, f"{path} is no pipe")
    os.set_blocking(fd, True)
    path.unlink(missing_ok=True)
    return fd


def _path(uid: str, address: bytes) -> Path:
    text = address.decode(errors="surrogateescape")
    scheme, _, rest = text.partition("://")
    if scheme == "tcp":
        raise StreamFailed(uid, "streams over tcp:// are not available: place both apps on one node")
    if scheme != "pipe" or not rest:
        raise StreamFailed(
            uid, f"{text[:80]!r} is no stream's address; its producer must be a streaming bash app"
        )
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise StreamFailed(
            uid, f"the stream {text[:200]!r} is not on this machine: place both apps on one node"
        )
    return Path("/" + path.lstrip("/"))
