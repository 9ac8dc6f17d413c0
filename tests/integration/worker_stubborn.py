"""An app that does not end, in many ways. Only workers import this module."""

import ctypes
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock import AppDrop, Parameter

from .worker_apps import note


def _mark(folder: Path) -> None:
    """Note this process, so that a test can look whether it has ended."""
    note(folder / "pids", str(os.getpid()))


def _for_ever(folder: Path) -> None:
    _mark(folder)
    while True:
        threading.Event().wait(1000)


def _ignore() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _ignoring(folder: Path) -> None:
    _ignore()
    _for_ever(folder)


def _with_children(folder: Path) -> None:
    for _ in range(3):
        if not os.fork():
            _ignoring(folder)
    _for_ever(folder)


def _forked_twice(folder: Path) -> None:
    pid = os.fork()
    if not pid:
        os.setsid()
        if not os.fork():
            _ignoring(folder)
        os._exit(0)
    os.waitpid(pid, 0)
    _for_ever(folder)


def _other_session(folder: Path) -> None:
    if not os.fork():
        os.setsid()
        _ignoring(folder)
    _for_ever(folder)


def _in_c(folder: Path) -> None:
    _mark(folder)
    ctypes.PyDLL(None).pause()


def _fills_a_pipe(folder: Path) -> None:
    _mark(folder)
    _, writer = os.pipe()
    while True:
        os.write(writer, b"z" * 65536)


def _writes_for_ever(folder: Path) -> None:
    _mark(folder)
    while True:
        os.write(1, b"z" * 65536)


def _prints_for_ever(folder: Path) -> None:
    _mark(folder)
    while True:
        print("and so on")


def _logs_for_ever(folder: Path) -> None:
    _mark(folder)
    while True:
        logging.getLogger().error("and so on %s", "x" * 10000)


def _stops_itself(folder: Path) -> None:
    _mark(folder)
    os.kill(os.getpid(), signal.SIGSTOP)


def _with_command(folder: Path) -> None:
    _mark(folder)
    command = "trap '' TERM; echo $$ >> pids; sleep 1000 & echo $! >> pids; wait"
    subprocess.run(command, shell=True, cwd=folder, check=True)


STUBBORN: dict[str, Callable[[Path], Any]] = {
    "ignores": _ignoring,
    "children": _with_children,
    "forked twice": _forked_twice,
    "other session": _other_session,
    "in C": _in_c,
    "full pipe": _fills_a_pipe,
    "writes for ever": _writes_for_ever,
    "prints for ever": _prints_for_ever,
    "logs for ever": _logs_for_ever,
    "stopped": _stops_itself,
    "command": _with_command,
}


class Stubborn(AppDrop):
    """Does not end."""

    what = Parameter(str, "")

    def run(self) -> None:
        folder = self.site.directory / "stubborn" / self.uid
        folder.mkdir(parents=True)
        print("does not end:", self.what)
        STUBBORN[self.what](folder)
