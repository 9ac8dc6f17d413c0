# SPDX-License-Identifier: Apache-2.0
"""The nursery: a small process that forks the children of a pool, sees them die and ends what they leave.

Rule 1: it runs one thread and no user code, so forking is safe and quick: what children need is imported once,
        here. A child is ready a few milliseconds after it was asked for.
Rule 2: it alone signals children and it alone reaps them, so a pid that it signals is never somebody else's.
Rule 3: whatever a child starts and leaves behind (in another group, another session, forked twice) becomes a
        child of that child and, when that is dead, of the nursery: what it has not forked itself, it ends.
Rule 4: when the pool's end of the socket is closed, for whatever reason, everything here is killed at once.

It is started by `pool.py` as `python -c START`, with its settings as one line of JSON on standard input.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum

from penstock.workers import child
from penstock.workers.system import adopt_orphans, children, die_with_parent, kill_group, memory_kills

__all__ = ["ORDER", "REPORT", "START", "Order", "Report", "main"]

START = (
    "import json, sys; settings = json.loads(sys.stdin.readline()); sys.path[:] = settings['path']; "
    "from penstock.workers.nursery import main; main(settings)"
)

_LOOK_S = 0.05

ORDER = struct.Struct("<3i")
"""Order, slot, and the signal or the number of descriptors that come along."""

REPORT = struct.Struct("<5i")
"""Report, slot, pid, wait status, whether the system ran out of memory."""


class Order(IntEnum):
    """What the pool wants."""

    FORK = 1
    SIGNAL = 2


class Report(IntEnum):
    """What the nursery tells."""

    FORKED = 1
    DIED = 2


def main(settings: dict[str, object]) -> None:
    """Serve a pool until it goes away.

    Args:
        settings: `socket` (descriptor), `parent` (pid), `preload` (names of modules), `grace_s`.
    """
    nursery = _Nursery(settings)
    try:
        nursery.serve()
    finally:
        nursery.end()


class _Nursery:
    def __init__(self, settings: dict[str, object]) -> None:
        self._socket = socket.socket(fileno=int(str(settings["socket"])))
        self._grace_s = float(str(settings["grace_s"]))
        self._slots: dict[int, int] = {}  # pid to slot
        self._sentenced: dict[int, float] = {}  # pid of an orphan to when it is killed
        self._memory_kills = memory_kills()
        self._is_over = False
        die_with_parent(int(str(settings["parent"])), signal.SIGTERM)
        adopt_orphans()
        os.set_inheritable(self._socket.fileno(), False)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, 0)
        os.close(nothing)
        for name in json.loads(str(settings["preload"])):
            importlib.import_module(name)
        # A signal only has to wake the poll; who is waited for is looked up there.
        self._wake, self._alarm = os.pipe()
        for end in (self._wake, self._alarm):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # It comes once for each thread of the parent that ends: an exception would break off what `end` does.
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        gc.freeze()

    def _stop(self) -> None:
        self._is_over = True

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._is_over:
            for fd, _ in poll.poll(self._pause_ms()):
                if fd == self._wake:
                    os.read(self._wake, 4096)
                elif not self._obey():
                    return
            self._reap()

    def end(self) -> None:
        """Kill everything that is left, also what appears while it is done."""
        for pid in self._slots:
            kill_group(pid, signal.SIGKILL)
        while self._reap_dead():
            for pid in children():
                kill_group(pid, signal.SIGKILL)
            select.select([self._wake], [], [], _LOOK_S)
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)

    @staticmethod
    def _reap_dead() -> bool:
        """Reap all children that are dead; whether any other is left."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return False
        return True

    def _pause_ms(self) -> float | None:
        if not self._sentenced:
            return None
        return max(0.0, min(self._sentenced.values()) - time.monotonic()) * 1000 + 1

    def _obey(self) -> bool:
        """Do what the pool asks next; False when it has gone."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, ORDER.size, child.DESCRIPTORS)
            while data and len(data) < ORDER.size:
                data += self._socket.recv(ORDER.size - len(data))
        except ConnectionError:
            return False
        if not data:
            return False
        order, slot, number = ORDER.unpack(data)
        if order == Order.FORK:
            self._fork(slot, fds)
        else:
            for pid in [pid for pid, of in self._slots.items() if of == slot]:
                kill_group(pid, number)
        return True

    def _fork(self, slot: int, fds: Sequence[int]) -> None:
        nursery = os.getpid()
        # A child that is to end before it has forgotten our handlers must not take that for a call to us.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if not pid:
            code = 70
            try:
                die_with_parent(nursery)
                self._become_child()
                code = child.main(fds)
            except BaseException:  # noqa: BLE001  the end of a process: it must not go back into our loop
                traceback.print_exc()
            finally:
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for fd in fds:
            os.close(fd)
        self._slots[pid] = slot
        self._tell(Report.FORKED, slot, pid, 0)

    def _become_child(self) -> None:
        os.setsid()
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._socket.close()
        os.close(self._wake)
        os.close(self._alarm)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            self._sentenced.pop(pid, None)
            slot = self._slots.pop(pid, None)
            if slot is not None:
                self._tell(Report.DIED, slot, pid, status)
        self._end_orphans()

    def _end_orphans(self) -> None:
        now = time.monotonic()
        for pid in children():
            if pid in self._slots:
                continue
            if pid not in self._sentenced:
                self._sentenced[pid] = now + self._grace_s
                kill_group(pid, signal.SIGTERM)
            elif now >= self._sentenced[pid]:
                self._sentenced[pid] = now + self._grace_s  # the system may hold it: no spinning meanwhile
                kill_group(pid, signal.SIGKILL)

    def _tell(self, report: Report, slot: int, pid: int, status: int) -> None:
        kills = memory_kills() if os.WIFSIGNALED(status) else self._memory_kills
        starved, self._memory_kills = kills > self._memory_kills, kills
        self._socket.sendall(REPORT.pack(report, slot, pid, status, starved))
