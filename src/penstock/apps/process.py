# SPDX-License-Identifier: Apache-2.0
"""One bash command as a child: its own process group, bounded memory of its output, an end in bounded time.

    process = ShellProcess(uid, command, environment, directory, shown=command)
    process.start()
    process.wait()                  # reads the output; any thread, once
    process.cancel()                # another thread; returns at once

Rule 1: the child is reaped only after its group was told to end, so the group's number cannot be another's.
Rule 2: after `wait` nothing is left: no file, no process of the group, no zombie.
Rule 3: after `cancel` the group gets TERM at once, and KILL when the grace time is over.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from penstock.errors import CommandFailed

__all__ = ["GRACE_S", "KEPT_BYTES", "HeadAndTail", "ShellProcess"]

GRACE_S = 3.0
"""Seconds between TERM and KILL."""

KEPT_BYTES = 64 * 1024
"""How much is kept of the beginning, and of the end, of what a command prints."""

_READ_BYTES = 1 << 16
_POLL_S = 0.2
"""How often to look for the child's end where the system cannot tell it through a descriptor."""


class HeadAndTail:
    """The beginning and the end of a stream of bytes."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept = kept_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take more of the stream."""
        self.size += len(data)
        room = self._kept - len(self._head)
        self._head += data[:room]
        self._tail += data[max(room, 0) :]
        if len(self._tail) > 2 * self._kept:  # cut rarely, so that it costs little
            del self._tail[: -self._kept]

    @property
    def text(self) -> str:
        """What was kept; bytes that are no UTF-8 are replaced."""
        tail = self._tail[-self._kept :]
        missing = self.size - len(self._head) - len(tail)
        between = f"\n... {missing} bytes left out ...\n".encode() if missing else b""
        return bytes(self._head + between + tail).decode(errors="replace")


class ShellProcess:
    """One run of `/bin/bash -c`; see the module's rules.

    Args:
        uid: of the drop, for messages.
        command: what bash reads.
        environment: all variables of the child.
        directory: where it starts.
        shown: the command as messages show it, as its author wrote it.
    """

    def __init__(
        self, uid: str, command: str, environment: Mapping[str, str], directory: Path, *, shown: str
    ) -> None:
        self.stdout = HeadAndTail()
        self.stderr = HeadAndTail()
        self._uid = uid
        self._command = command
        self._environment = environment
        self._directory = directory
        self._shown = shown
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reaped = False
        self._kill_at_s: float | None = None
        self._wake: tuple[int, int] | None = None

    def start(self, stdin: int | None = None, stdout: int | None = None) -> None:
        """Start the command; given descriptors stay the caller's.

        Raises:
            CommandFailed: cancelled before, or the system refuses to start it.
        """
        with self._lock:
            if self._kill_at_s is not None:
                raise CommandFailed(self._uid, self._shown, -signal.SIGTERM, "cancelled before it started")
            try:
                self._process = subprocess.Popen(
                    ["/bin/bash", "-c", self._command],
                    stdin=subprocess.DEVNULL if stdin is None else stdin,
                    stdout=subprocess.PIPE if stdout is None else stdout,
                    stderr=subprocess.PIPE,
                    env=dict(self._environment),
                    cwd=self._directory,
                    start_new_session=True,
                )
            except OSError as exc:
                raise CommandFailed(self._uid, self._shown, 126, f"it cannot be started: {exc}") from exc
            self._wake = os.pipe()

    def cancel(self) -> None:
        """Ask the group to end now, and have it killed after `GRACE_S`; a second call does nothing."""
        with self._lock:
            if self._kill_at_s is not None:
                return
            self._kill_at_s = time.monotonic() + GRACE_S
            if self._process is not None and not self._reaped:
                self._signal_group(signal.SIGTERM)
                if self._wake is not None:
                    os.write(self._wake[1], b"!")

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._kill_at_s is not None

    def wait(self) -> int:
        """Read the output until the command and its group have ended; return the exit code."""
        process = self._process
        assert process is not None, "start comes first"
        try:
            with selectors.DefaultSelector() as selector:
                self._watch(process, selector)
        finally:
            exit_code = self._reap(process)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        return exit_code

    def check(self, exit_code: int) -> None:
        """Refuse a bad exit code.

        Raises:
            CommandFailed: it is not 0, or the command was cancelled.
        """
        if exit_code != 0:
            raise CommandFailed(self._uid, self._shown, exit_code, self.stderr.text[-4096:].strip())

    def _watch(self, process: "subprocess.Popen[bytes]", selector: selectors.BaseSelector) -> None:
        assert self._wake is not None
        selector.register(self._wake[0], selectors.EVENT_READ)
        for stream, kept in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, kept)
        with _exit_descriptor(process.pid) as exit_fd:
            if exit_fd is not None:
                selector.register(exit_fd, selectors.EVENT_READ)
            while not self._has_ended(process, selector):
                for key, _ in selector.select(self._pause_s(exit_fd is None)):
                    if isinstance(key.data, HeadAndTail):
                        _take(selector, key)
                    elif key.fd == exit_fd:
                        selector.unregister(key.fd)
                    else:
                        os.read(key.fd, 64)

    def _has_ended(self, process: "subprocess.Popen[bytes]", selector: selectors.BaseSelector) -> bool:
        over = self._kill_at_s is not None and time.monotonic() >= self._kill_at_s
        if over:
            with self._lock:
                self._signal_group(signal.SIGKILL)
        exited = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        reading = any(isinstance(key.data, HeadAndTail) for key in selector.get_map().values())
        # Members of the group may print after bash itself has ended: read on, unless their time is over.
        return exited and (over or not reading)

    def _pause_s(self, polling: bool) -> float | None:
        if self._kill_at_s is not None:
            return min(max(0.0, self._kill_at_s - time.monotonic()), _POLL_S) or 0.01
        return _POLL_S if polling else None

    def _signal_group(self, number: int) -> None:
        """Send a signal to the whole group; only while the child is not reaped, see rule 1."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _reap(self, process: "subprocess.Popen[bytes]") -> int:
        with self._lock:
            self._signal_group(signal.SIGKILL)
            exit_code = process.wait()  # it has ended, or has just been killed
            self._reaped = True
            if self._wake is not None:
                for fd in self._wake:
                    os.close(fd)
                self._wake = None
        return exit_code


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    try:
        data = os.read(key.fd, _READ_BYTES)
    except BlockingIOError:
        return
    if data:
        key.data.add(data)
    else:
        selector.unregister(key.fileobj)


@contextlib.contextmanager
def _exit_descriptor(pid: int) -> Iterator[int | None]:
    """Lend a descriptor that becomes readable when the child ends; None where there is no such thing."""
    fd: int | None = None
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)
