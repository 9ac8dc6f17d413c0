# SPDX-License-Identifier: Apache-2.0
"""One thread that waits for descriptors, for times, and for what others want done on it.

The thread starts with the first call that is left for it, and ends when its function returns.
"""

import heapq
import os
import select
import selectors
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from math import inf
from time import monotonic

__all__ = ["Loop"]

_SELECTABLE = 1024
"""Descriptors from here on are too high for `select`."""


class Loop:
    """A thread with an inbox.

    Args:
        name: of the thread.
        serve: what the thread does: calls `wait` and `run_calls` until `is_closing`.

    Attributes:
        is_closing: set by `close`; nothing is begun any more.
    """

    def __init__(self, name: str, serve: Callable[[], None]) -> None:
        self.is_closing = False
        self._name = name
        self._serve = serve
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._selector: selectors.BaseSelector
        self._wake_r = self._wake_w = -1
        self._is_awake = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    # On any thread

    @property
    def has_begun(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    def post(self, call: Callable[[], None]) -> None:
        """Let the thread make a call, after those that were left before; starts the thread if need be."""
        self._calls.append(call)
        if threading.current_thread() is self._thread:
            return
        if self._thread is None:
            self._start()
        if not self._is_awake:
            self._is_awake = True
            with suppress(BlockingIOError, OSError):
                os.write(self._wake_w, b"!")

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self.is_closing:
                self._selector = selectors.DefaultSelector()
                self._wake_r, self._wake_w = os.pipe()
                for fd in (self._wake_r, self._wake_w):
                    os.set_blocking(fd, False)
                self._selector.register(self._wake_r, selectors.EVENT_READ, self._woken)
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Let the thread end, and wait for that; a second call does nothing."""
        with self._starting:
            self.is_closing = True
            thread = self._thread
        if thread is None or self._wake_r < 0:
            return
        self.post(_nothing)
        thread.join()
        self._selector.close()
        for fd in (self._wake_r, self._wake_w):
            os.close(fd)
        self._wake_r = self._wake_w = -1

    # On the thread

    def run_calls(self) -> None:
        """Make the calls that were left."""
        while self._calls:
            self._calls.popleft()()

    @property
    def has_calls(self) -> bool:
        """Whether a call was left."""
        return bool(self._calls)

    def forget_calls(self) -> None:
        """Make none of the calls that were left."""
        self._calls.clear()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Make a call in some seconds."""
        heapq.heappush(self._timers, (monotonic() + seconds, next(self._numbers), call))

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Make a call whenever there is something to read."""
        self._selector.register(fd, selectors.EVENT_READ, call)

    def wake_when_writable(self, fd: int) -> None:
        """Let `wait` return when there is room to write, until `forget`."""
        if not self.is_watching(fd):
            self._selector.register(fd, selectors.EVENT_WRITE, _nothing)

    def is_watching(self, fd: int) -> bool:
        """Whether a descriptor is looked at."""
        return fd in self._selector.get_map()

    def forget(self, fd: int) -> None:
        """Look at a descriptor no longer, if it was looked at."""
        if self.is_watching(fd):
            self._selector.unregister(fd)

    def rest(self, seconds: float, *urgent: int) -> None:
        """Look at nothing for a while but at calls and some descriptors."""
        fds = [self._wake_r, *urgent]
        if max(fds) < _SELECTABLE:  # nothing but `select` waits for less than a millisecond
            select.select(fds, (), (), seconds)

    def wait(self, until_s: float = inf) -> None:
        """Wait for something to do, at most until a time, and do it; calls that were left are only noticed."""
        due_s = min(until_s, self._timers[0][0]) if self._timers else until_s
        pause_s = None if due_s == inf else max(0.0, due_s - monotonic())
        for key, _ in self._selector.select(0 if self._calls else pause_s):
            key.data()
        now_s = monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2]()

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_r, 4096)
        self._is_awake = False


def _nothing() -> None:
    pass
