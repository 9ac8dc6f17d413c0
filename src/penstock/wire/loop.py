# SPDX-License-Identifier: Apache-2.0
"""The one thread of a process that owns its ZeroMQ sockets: it waits for them, for times, and for calls of others.

Rule 1: a socket is made, used and closed on this thread only. Others leave calls (`soon`, `ask`).
Rule 2: the thread blocks in one poll. It never spins, and nothing but a poll time-out is a timer.
Rule 3: what a call raises is reported and costs that call, never the thread.

What is sent and received is no business of this module: see `framing.py`, `listener.py` and `dialer.py`, then
`rpc.py`, `facts.py` and `data.py`.
"""

import heapq
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from math import ceil
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

import zmq

from penstock.errors import WireError
from penstock.wire.gate import Gate
from penstock.wire.security import Keys

__all__ = ["Call", "Fault", "Loop", "Timer"]

log = logging.getLogger(__name__)

Call = Callable[[], None]
Fault = Callable[[BaseException], None]
Socket = zmq.Socket[bytes]
T = TypeVar("T")

_CLOSE_S = 5.0
_ASK_S = 10.0
_DEAD_TIMERS = 1000  # cancelled timers that may lie in the heap before it is worth a look


class Timer:
    """A call that will be made at a time unless it is cancelled."""

    __slots__ = ("_loop", "call")

    def __init__(self, loop: "Loop", call: Call) -> None:
        self._loop = loop
        self.call: Call | None = call

    def cancel(self) -> None:
        """Make sure that the call is not made any more, on any thread; a call that is being made goes on."""
        if self.call is not None:
            self.call = None
            self._loop.timer_cancelled()


class Loop:
    """A thread that owns sockets.

    Args:
        keys: every socket of this loop speaks CURVE with them; with None all is in the clear.
        name: of the thread.
        on_fault: told of what calls raise, on this thread; by default it is logged.
    """

    def __init__(
        self, keys: Keys | None = None, name: str = "penstock-wire", *, on_fault: Fault | None = None
    ) -> None:
        self.keys = keys
        self.name = name
        self._on_fault = on_fault or _log_fault
        self._lock = threading.Lock()  # guards `_state`, the inbox' door and the wake-up descriptors
        self._state = "new"
        self._inbox: deque[Call] = deque()
        self._is_awake = False
        self._wake_r = self._wake_w = -1
        self._timers: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._numbers = count()
        self._poller = zmq.Poller()
        self._watched: dict[object, Callable[[], object]] = {}
        self._closers: dict[int, Call] = {}
        self._context: zmq.Context[Socket]
        self._thread: threading.Thread | None = None
        self._ident = 0

    # On any thread

    def start(self) -> None:
        """Start the thread.

        Raises:
            WireError: it was started before.
        """
        with self._lock:
            if self._state != "new":
                raise WireError(f"the loop {self.name} was started before; make a new one")
            self._state = "open"
            self._context = zmq.Context()
            self._wake_r, self._wake_w = os.pipe()
            for fd in (self._wake_r, self._wake_w):
                os.set_blocking(fd, False)
            self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
            self._thread.start()

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Make the calls that were left, close all sockets, and wait for the end of the thread.

        Raises:
            WireError: a call does not return, so the thread still runs.
        """
        with self._lock:
            if self._state == "open":
                self._state = "closing"
                self._wake()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout_s)
        if thread.is_alive():
            raise WireError(f"the thread {self.name} did not end within {timeout_s:g} s: a call of it hangs")

    @property
    def is_own_thread(self) -> bool:
        """Whether the caller is the loop's thread."""
        return threading.get_ident() == self._ident

    @property
    def is_open(self) -> bool:
        """Whether calls can be left."""
        return self._state == "open"

    def soon(self, call: Call) -> bool:
        """Let the thread make a call, after those that were left before; false if it is closed and never will."""
        with self._lock:
            if self._state != "open":
                return False
            self._inbox.append(call)
            if not self._is_awake and threading.get_ident() != self._ident:
                self._wake()
        return True

    def ask(self, call: Callable[[], T], timeout_s: float = _ASK_S) -> T:
        """Let the thread make a call and wait for what it returns or raises.

        Raises:
            WireError: the loop is closed, or has no time for it.
        """
        if self.is_own_thread:
            return call()
        answer: Future[T] = Future()

        def make() -> None:
            try:
                answer.set_result(call())
            except BaseException as exc:  # noqa: BLE001  it is raised where the answer is awaited
                answer.set_exception(exc)

        if not self.soon(make):
            raise WireError(f"the loop {self.name} is not running")
        try:
            return answer.result(timeout_s)
        except TimeoutError as exc:
            if answer.done():
                raise
            raise WireError(f"the loop {self.name} had no time for {timeout_s:g} s") from exc

    def later(self, delay_s: float, call: Call) -> Timer:
        """Let the thread make a call in some seconds."""
        timer = Timer(self, call)
        due_s = monotonic() + delay_s
        if self.is_own_thread:
            self._push(due_s, timer)
        else:
            self.soon(lambda: self._push(due_s, timer))
        return timer

    def timer_cancelled(self) -> None:
        """Take note that some timer lies in vain; only `Timer` calls this."""
        self._cancelled += 1  # a count that a race makes wrong by one is no harm: it is a hint

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # On the thread, for those who have sockets

    def socket(self, kind: int) -> Socket:
        """Return a new socket, which the caller owns and closes."""
        socket: Socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        return socket

    def watch(self, socket: Socket, call: Callable[[], object]) -> None:
        """Make a call whenever there is something to read."""
        self._poller.register(socket, zmq.POLLIN)
        self._watched[socket] = call

    def forget(self, socket: Socket) -> None:
        """Look at a socket no longer, if it was looked at."""
        if self._watched.pop(socket, None) is not None:
            self._poller.unregister(socket)

    def at_close(self, call: Call) -> Call:
        """Have a call made when the loop ends; the answer takes that back."""
        number = next(self._numbers)
        self._closers[number] = call
        return lambda: self._closers.pop(number, None) and None

    def guard(self, call: Callable[[], object]) -> None:
        """Make a call; what it raises is reported."""
        try:
            call()
        except Exception as exc:  # noqa: BLE001  the boundary of this thread
            self._report(exc)

    # The thread itself

    def _serve(self) -> None:
        self._ident = threading.get_ident()
        gate = None
        try:
            if self.keys is not None:
                gate = Gate(self.socket(zmq.REP), self.keys)
                self.watch(gate.socket, gate.answer)
            self._poller.register(self._wake_r, zmq.POLLIN)
            self._watched[self._wake_r] = self._woken
            while self._state == "open":
                self._turn()
        except Exception as exc:  # noqa: BLE001  the boundary of this thread; it ends, and everything is closed
            self._report(exc)
        finally:
            self._end(gate)

    def _turn(self) -> None:
        for socket, _ in self._poller.poll(self._pause_ms()):
            call = self._watched.get(socket)
            if call is not None:  # an earlier call of this turn may have closed it
                self.guard(call)
        self._run_calls()
        now_s = monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            timer = heapq.heappop(self._timers)[2]
            call, timer.call = timer.call, None
            if call is not None:
                self.guard(call)

    def _run_calls(self) -> None:
        for _ in range(len(self._inbox)):  # what these leave is made after the next look at the sockets
            self.guard(self._inbox.popleft())

    def _pause_ms(self) -> int | None:
        if self._inbox:
            return 0
        if not self._timers:
            return None
        return max(0, ceil((self._timers[0][0] - monotonic()) * 1000))

    def _push(self, due_s: float, timer: Timer) -> None:
        if self._cancelled > _DEAD_TIMERS and self._cancelled > len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if entry[2].call is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0
        heapq.heappush(self._timers, (due_s, next(self._numbers), timer))

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_r, 4096)
        self._is_awake = False  # before the inbox is looked at: who comes later wakes again

    def _wake(self) -> None:
        """Wake the thread; with the lock held."""
        self._is_awake = True
        with suppress(BlockingIOError):  # the pipe is full of wake-ups
            os.write(self._wake_w, b"!")

    def _end(self, gate: Gate | None) -> None:
        with self._lock:
            self._state = "closed"
        self._run_calls()
        for closer in list(self._closers.values()):
            self.guard(closer)
        if gate is not None:
            self.forget(gate.socket)
            gate.socket.close(0)
        self._context.destroy(0)  # closes what a faulty owner left open
        with self._lock:
            for fd in (self._wake_r, self._wake_w):
                os.close(fd)
            self._wake_r = self._wake_w = -1
        self._timers.clear()

    def _report(self, error: BaseException) -> None:
        try:
            self._on_fault(error)
        except Exception:  # the reporter itself is somebody else's code
            log.exception("the fault reporter of %s failed", self.name)


def _log_fault(error: BaseException) -> None:
    log.error("a call on the wire's thread failed", exc_info=error)
