# SPDX-License-Identifier: Apache-2.0
"""What runs in a child process: take an item, let its entry run it, tell how it ended; again.

Knows nothing of drops and apps: an item's holder names an entry (`package.module:function`), which is called
once with `Tools` and returns something that meets `Entry`.

Rule 1: an item is claimed by reading its token from a pipe that the parent reads too when it wants items back.
        Whoever has read a token owns the item. A child claims one at a time and tells its outcome before it
        claims the next, so whoever sees it die knows which item it was running.
Rule 2: descriptors 1 and 2 are pipes. What is in them when an item ends was printed by it, by whatever it
        called or started, and goes to its log. While an item runs long the parent empties them.
Rule 3: an item may do anything to this process. What can be put right afterwards is (folder, standard streams);
        where our own descriptors are gone the process ends, and the parent draws its conclusions.
Rule 4: a copy of this process that an item forked and that comes back here ends at once.
"""

import faulthandler
import fcntl
import importlib
import io
import logging
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, cast

from penstock.errors import PenstockError
from penstock.wire.arena import Attached, Block
from penstock.workers.frames import TOKEN, Frame, Status, cut, frame, outcome

__all__ = ["DESCRIPTORS", "Entry", "RequestFailed", "Tools", "main"]

DESCRIPTORS = 7
"""Socket, tokens, results, writing ends of stdout and stderr, reading ends of both: what a child is given."""

_HIGH = 200  # our descriptors begin here: out of the way of those who close the low ones
_QUICK_S = 0.001  # what is over sooner changes little, and is looked at less closely
_CHUNK_BYTES = 1 << 16
_RESET_PEAK = b"5"
_LISTENER, _LOST = 8, 71


class RequestFailed(PenstockError):
    """The parent refused a request; `body` is what it said."""

    code = "request-failed"

    def __init__(self, body: bytes) -> None:
        self.body = body
        super().__init__(body.decode(errors="replace"))


class Entry(Protocol):
    """What runs the items of a holder. Called on the main thread of the child only."""

    def open(self, holder: int, setup: bytes) -> None:
        """Get ready for a holder; called once before its first item."""

    def run(self, holder: int, body: bytes) -> tuple[Status, bytes]:
        """Run one item and return how it ended; raises nothing that the item raised."""
        ...

    def close(self, holder: int) -> None:
        """Forget a holder."""


class Tools(Protocol):
    """What a child offers to its entries."""

    @property
    def memory(self) -> Attached:
        """The node's shared memory."""
        ...

    @property
    def listener(self) -> socket.socket | None:
        """The listening socket that the parent named, where this child serves one."""
        ...

    def allocate(self, size: int) -> Block:
        """Get room in shared memory, to be written and mentioned in the outcome.

        Raises:
            RequestFailed: there is no more.
        """
        ...

    def request(self, body: bytes) -> bytes:
        """Ask the holder something and wait for the answer; on any thread.

        Raises:
            RequestFailed: the holder refused.
        """
        ...

    def log(self, stream: str, text: str) -> None:
        """Add to the log of the item that runs."""


def main(fds: Sequence[int]) -> int:
    """Run items until the parent closes the pipe of tokens; return the exit code."""
    worker = _Child([_move_up(fd) for fd in fds])
    worker.prepare()
    return worker.serve()


def _move_up(fd: int) -> int:
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(fd)
    return high


class _Child:
    """The state of this process; meets `Tools`."""

    def __init__(self, fds: Sequence[int]) -> None:
        connection, self._tokens, self._results, self._out, self._err, *self._printed = fds
        self._socket = socket.socket(fileno=connection)
        self.memory = Attached()
        self.listener: socket.socket | None = None
        self._data = bytearray()
        self._fds: list[int] = []
        self._items: dict[int, bytes] = {}
        self._replies: list[tuple[int, bytes]] = []
        self._entries: dict[str, Entry] = {}
        self._holders: dict[int, Entry] = {}
        self._broken: dict[int, str] = {}
        self._token = 0
        self._peak_kib = 0
        self._held: list[Block] = []
        self._lent = (0, 0)
        self._is_copy = False
        self._depth = sys.getrecursionlimit()
        self._space = resource.getrlimit(resource.RLIMIT_AS)[0]
        self._sending = threading.Lock()
        self._asking = threading.Lock()
        self._look = select.poll()
        self._look.register(0, 0)  # only to see that somebody has closed it
        for fd in self._printed:
            self._look.register(fd, select.POLLIN)
        self._home = os.open(".", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        self._home = _move_up(self._home)
        self._nothing = _move_up(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        try:
            self._reset = _move_up(os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            self._reset = -1

    # Standard streams

    def prepare(self) -> None:
        """Put our streams and log handler in place, and tell the parent that we are here."""
        os.register_at_fork(after_in_child=self._note_copy)
        faulthandler.enable(self._err)
        self._open_streams()
        handler = _LogHandler(self)
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        self._send(frame(Frame.READY, 0))

    def _note_copy(self) -> None:
        self._is_copy = True

    def _open_streams(self) -> None:
        os.dup2(self._out, 1)
        os.dup2(self._err, 2)
        self._stdout, self._stderr = (
            io.TextIOWrapper(
                os.fdopen(fd, "wb", closefd=False),
                encoding="utf-8",
                errors="backslashreplace",
                line_buffering=True,
            )
            for fd in (1, 2)
        )
        sys.stdout, sys.stderr = self._stdout, self._stderr

    def _tidy(self, seconds: float) -> None:
        """Put right what an item may have changed, and send what it printed."""
        stdout, stderr = self._stdout, self._stderr
        if sys.stdout is not stdout or sys.stderr is not stderr or stdout.closed or stderr.closed:
            self._flush(sys.stdout, sys.stderr)
            self._open_streams()
        else:  # in this order: what is left in their buffers may have had its descriptor closed
            os.dup2(self._out, 1)
            os.dup2(self._err, 2)
            self._flush(stdout, stderr)
        for fd, event in self._look.poll(0):
            if event & select.POLLIN:
                self._send_printed(fd)
            elif fd == 0:
                os.dup2(self._nothing, 0)
            else:
                os._exit(_LOST)
        os.fchdir(self._home)
        self._put_back(seconds)

    def _put_back(self, seconds: float) -> None:
        """Put back settings of the process with which the next item could not live."""
        if sys.getrecursionlimit() < self._depth:
            sys.setrecursionlimit(self._depth)
        if signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else exit codes of commands are lost
        if seconds > _QUICK_S and resource.getrlimit(resource.RLIMIT_AS)[0] != self._space:
            _, most = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(
                resource.RLIMIT_AS, (self._space if most == resource.RLIM_INFINITY else most, most)
            )

    @staticmethod
    def _flush(*streams: object) -> None:
        for stream in streams:
            with suppress(Exception):  # a stream of the item's own making may raise anything
                stream.flush()  # type: ignore[attr-defined]  # or have no flush at all

    def _send_printed(self, fd: int) -> None:
        stream = "stdout" if fd == self._printed[0] else "stderr"
        # The parent may empty the pipe at the same time; then there is nothing left to read, which is all right.
        with suppress(BlockingIOError):
            self._log(stream, os.read(fd, _CHUNK_BYTES * 16))

    # Tools

    def log(self, stream: str, text: str) -> None:
        self._flush(self._stdout, self._stderr)
        if self._is_copy:  # the pipe of results takes whole frames, and of one writer, only
            os.write(self._err, text.encode(errors="backslashreplace"))
            return
        for fd in self._printed:  # that was before
            self._send_printed(fd)
        self._log(stream, text.encode(errors="backslashreplace"))

    def _log(self, stream: str, text: bytes) -> None:
        self._send(frame(Frame.LOG, self._token, stream.encode() + b"\0" + text))

    def allocate(self, size: int) -> Block:
        return _block(self._ask(Frame.ALLOCATE, TOKEN.pack(size)))

    def request(self, body: bytes) -> bytes:
        return self._ask(Frame.REQUEST, body)

    def _ask(self, kind: Frame, body: bytes) -> bytes:
        if self._is_copy:
            raise RequestFailed(b"a copy of the app's process, made by fork, cannot ask for anything")
        with self._asking:
            self._send(frame(kind, self._token, body))
            while not self._replies:
                self._receive()
            status, answer = self._replies.pop()
        if status != Status.GOOD:
            raise RequestFailed(answer)
        return answer

    # The wire

    def _send(self, data: bytes) -> None:
        try:
            with self._sending:
                sent = os.write(self._results, data)
                while sent < len(data):
                    sent += os.write(self._results, memoryview(data)[sent:])
        except OSError:
            os._exit(_LOST)

    def _receive(self) -> None:
        """Take what the parent has sent; waits for it."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, _CHUNK_BYTES, 16)
        except OSError:
            os._exit(_LOST)
        if not data:
            os._exit(_LOST)
        self._fds += fds
        self._data += data
        for kind, status, number, body in cut(self._data):
            self._take(kind, status, number, body)

    def _take(self, kind: int, status: int, number: int, body: bytes) -> None:
        if kind == Frame.ITEM:
            self._items[number] = body
        elif kind == Frame.REPLY:
            self._replies.append((status, body))
        elif kind == Frame.SETUP:
            self._open(number, body)
        elif kind == Frame.FORGET:
            self._forget(number)
        elif kind == Frame.SEGMENT:
            self.memory.add(number, _move_up(self._fds.pop(0)))
        elif kind == Frame.DROP:
            self.memory.drop(number)
        elif kind == Frame.LISTENER:
            self.listener = socket.socket(fileno=_move_up(self._fds.pop(0)))

    def _open(self, holder: int, body: bytes) -> None:
        name, _, setup = body.partition(b"\0")
        try:
            self._holders[holder] = self._entry(name.decode())
            self._holders[holder].open(holder, setup)
        except Exception:  # noqa: BLE001  the boundary to entries; each item of the holder will tell
            self._broken[holder] = traceback.format_exc()

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            module, _, function = name.partition(":")
            make = cast("Callable[[Tools], Entry]", getattr(importlib.import_module(module), function))
            self._entries[name] = make(self)
        return self._entries[name]

    def _forget(self, holder: int) -> None:
        entry = self._holders.pop(holder, None)
        if entry is not None and self._broken.pop(holder, None) is None:
            entry.close(holder)

    # Items

    def serve(self) -> int:
        """Claim and run until there is no more; return the exit code."""
        while True:
            try:
                claimed = os.read(self._tokens, TOKEN.size)
            except OSError:
                return _LOST
            if not claimed:
                return 0
            (token,) = TOKEN.unpack(claimed)
            while token not in self._items:
                self._receive()
            body = self._items.pop(token)
            if self._items and next(iter(self._items)) < token:  # taken back by the parent
                for old in [old for old in self._items if old < token]:
                    del self._items[old]
            self._run(token, body)

    def _run(self, token: int, body: bytes) -> None:
        self._token = token
        (holder,) = TOKEN.unpack_from(body)
        began = time.perf_counter()
        try:
            if holder in self._broken:
                status, answer = Status.BROKEN, self._broken[holder].encode(errors="replace")
            else:
                status, answer = self._holders[holder].run(holder, body[TOKEN.size :])
        except BaseException:  # noqa: BLE001  the boundary to entries
            status, answer = Status.BROKEN, traceback.format_exc().encode(errors="replace")
        if self._is_copy:
            os._exit(0)
        seconds = time.perf_counter() - began
        try:
            self._tidy(seconds)
        except OSError:  # our own descriptors were closed
            os._exit(_LOST)
        self._tell_held()
        self._send(outcome(token, status, seconds, self._peak(seconds), answer))

    def _peak(self, seconds: float) -> int:
        """Return the most memory that this process had since the last item, in KiB; looked up for long ones only."""
        if seconds < _QUICK_S:
            return self._peak_kib
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if peak > self._peak_kib + 1024 and self._reset >= 0:
            os.write(self._reset, _RESET_PEAK)
            self._peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak

    def _tell_held(self) -> None:
        """Tell which blocks are still looked at; before the outcome, because with it the rest may be reused."""
        if self.memory.lent == self._lent:
            return
        self._lent = self.memory.lent
        held = self.memory.in_use()
        if held != self._held:
            self._held = held
            body = b"".join(TOKEN.pack(number) for block in held for number in block)
            self._send(frame(Frame.HOLDING, 0, body))


class _LogHandler(logging.Handler):
    """Sends log records to the log of the item that runs."""

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self._tools = tools

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._tools.log(record.levelname, self.format(record) + "\n")
        except Exception:  # noqa: BLE001  the contract of logging: a bad record must not end the app
            self.handleError(record)


def _block(answer: bytes) -> Block:
    return Block(*(TOKEN.unpack_from(answer, at)[0] for at in range(0, len(answer), TOKEN.size)))
