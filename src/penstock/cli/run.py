# SPDX-License-Identifier: Apache-2.0
"""`penstock run`: one graph to its end, watched from the main thread; signals, time limit, exit code."""

import json
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, Self, TextIO

from penstock.cli.progress import progress
from penstock.cli.report import tell_end, tell_outputs, tell_start
from penstock.cli.source import graph_source
from penstock.cli.terminal import ReservedStdout, console
from penstock.engine.states import SessionState
from penstock.runtime.result import deploy, finish, new_session
from penstock.runtime.session import Session

__all__ = ["run"]

_GOOD, _FAILED, _TIMEOUT, _SIGNALLED = 0, 1, 124, 128
_THREADS = Path("/proc/self/task")
_SLICE_S = 0.1  # how long the main thread waits at once; signals and the bar wait as long


def run(options: Namespace) -> int:
    """Run a graph to its end; 0 finished, 1 some drop failed, 124 timeout, 130 interrupted."""
    if not options.json:
        return _run(options, None)
    stdout = ReservedStdout()
    is_left = False
    try:
        return _run(options, lambda text: stdout.write(text + "\n"))
    except _LeftBehindError as exc:
        is_left = True
        return exc.code
    finally:
        if not is_left:
            stdout.give_back()


class _LeftBehindError(Exception):
    """Threads that could not be stopped still run; whatever they print must not follow our JSON."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def _run(options: Namespace, write_json: Callable[[str], None] | None) -> int:
    stdout, stderr = sys.stdout, sys.stderr  # now: user code may put something else there
    with _Interruption() as interruption:
        session = new_session(
            graph_source(options.graph),
            session_id=options.session,
            workers=options.workers,
            isolation=options.isolation,
            directory=options.dir,
        )
        tell_start(console(stderr), session, options.graph)
        interruption.session = session
        deploy(session)
        reason = 0
        try:
            reason = _watch(session, options.timeout, interruption, stderr, always=options.progress)
        finally:
            result = finish(session)
        why = _why(reason, options.timeout) if session.state is SessionState.CANCELLED else ""
        if write_json is None:
            out = console(stdout)
            if options.outputs:
                tell_outputs(out, result)
            tell_end(out, session, result, why)
        else:
            tell_end(console(stderr), session, result, why)
            outcome = dict(result.outcome)
            if options.outputs:
                outcome["outputs"] = dict(result.outputs())
            write_json(json.dumps(outcome))
    code = _exit_code(session.state, reason)
    if write_json is not None and session.abandoned:
        raise _LeftBehindError(code)
    return code


def _watch(
    session: Session, timeout_s: float | None, interruption: "_Interruption", stderr: TextIO, *, always: bool
) -> int:
    """Trigger and wait; return 0 where the session ended, else the exit code that says why it did not."""
    deadline = None if timeout_s is None else monotonic() + timeout_s
    if not interruption.number:
        session.trigger()
    with progress(stderr, len(session.prepared.graph), always=always) as show:
        while not interruption.number:
            if session.wait(_pause(deadline)):
                return 0
            show(session.counts(), session.slots())
            if deadline is not None and monotonic() >= deadline:
                return _TIMEOUT
    return _SIGNALLED + interruption.number


def _why(reason: int, timeout_s: float | None) -> str:
    if reason == _TIMEOUT:
        return f"the {timeout_s:g} s of --timeout were over"
    return f"of signal {signal.Signals(reason - _SIGNALLED).name}" if reason else ""


def _pause(deadline: float | None) -> float:
    return _SLICE_S if deadline is None else max(0.0, min(_SLICE_S, deadline - monotonic()))


def _exit_code(state: SessionState, reason: int) -> int:
    if state is SessionState.CANCELLED:
        return reason or _FAILED
    return _GOOD if state is SessionState.FINISHED else _FAILED


class _Interruption(AbstractContextManager["_Interruption"]):
    """Notes the first signal that asks for an end; the second ends the process at once.

    Attributes:
        number: of the signal, 0 for none.
        session: the one that runs, None before there is one.
    """

    def __init__(self) -> None:
        self.number = 0
        self.session: Session | None = None
        self._before: dict[int, Any] = {}  # Any: what signal.signal returns

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored under nohup, and so it stays
                self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Runs between any two steps of the main thread: no lock may be taken here, so rich cannot be used.
        del frame
        if self.number:
            # The nursery is left to see that we are gone: it then ends all workers and what they started.
            killed = _kill_children(0 if self.session is None else self.session.nursery_pid)
            _say(f"left at once; {killed} running command{'' if killed == 1 else 's'} killed")
            os._exit(_SIGNALLED + number)
        self.number = number
        _say("cancelling; once more to leave at once and kill all running commands")


def _say(text: str) -> None:
    with suppress(OSError):
        os.write(2, f"\npenstock: {text}\n".encode())


def _kill_children(spared: int) -> int:
    """Kill the process groups of our children, of which each shell command leads one; return how many.

    Our own group is left out: a child in it was sent the same signal by the terminal.
    """
    groups = set()
    for child in _children():
        with suppress(OSError):
            groups.add(os.getpgid(child))
    groups -= {os.getpgrp(), spared}
    for group in groups:
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    return len(groups)


def _children() -> list[int]:
    """Return the processes that our threads started; none where the system does not list them."""
    children: list[int] = []
    with suppress(OSError):
        for thread in _THREADS.iterdir():
            with suppress(OSError):
                children += map(int, (thread / "children").read_bytes().split())
    return children
