"""Apps and functions that the tests of worker processes name in their graphs. Only workers import this module."""

import ctypes
import json
import logging
import mmap
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock import AppDrop, Parameter

MEGABYTE = 1 << 20
LIMIT_S = 60.0


def note(path: Path | str, text: str) -> None:
    """Add a line to a file in one step, whoever else does so at the same time."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


def await_file(path: Path) -> None:
    """Wait until somebody has made a file."""
    until = time.monotonic() + LIMIT_S
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"nobody made {path}")
        threading.Event().wait(0.002)


# What user code may do


class BadText(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


def _raise(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def _close_streams() -> None:
    for fd in range(3):
        os.close(fd)


def _close_stdout() -> None:
    sys.stdout.close()
    sys.stderr.close()


def _no_stdout() -> None:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]


def _change_handlers() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _fork() -> None:
    os.fork()


def _deep() -> None:
    _deep()


def _print_long() -> None:
    sys.stdout.write("x" * 10 * MEGABYTE)
    sys.stdout.write("the end")


def _print_letters() -> None:
    for _ in range(30):
        sys.stdout.write("x" + "é" * 100_000 + "\n")


def _write_long() -> None:
    for _ in range(160):
        left = b"y" * 65536
        while left:
            left = left[os.write(1, left) :]
    os.write(1, b"the end")


def _run_command() -> None:
    subprocess.run("echo to stdout; echo to stderr >&2", shell=True, check=True)


def _log() -> None:
    logger = logging.getLogger("rude")
    logger.setLevel(logging.DEBUG)
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)("at level %s", level)


def _log_from(number: int) -> None:
    for _ in range(50):
        logging.getLogger("rude").error("%s", str(number) * 20000)


def _log_from_copies() -> None:
    context = multiprocessing.get_context("fork")
    copies = [context.Process(target=_log_from, args=(number,)) for number in range(4)]
    for copy in copies:
        copy.start()
    for copy in copies:
        copy.join()
        if copy.exitcode:
            raise RuntimeError(copy.exitcode)
    logging.getLogger("rude").error("the end")


def _map_in_copies() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(abs, range(-5, 0)))


def _print_later() -> None:
    def talk() -> None:
        for number in range(200):
            print("later", number)
            threading.Event().wait(0.001)

    threading.Thread(target=talk, daemon=True).start()


def _use_up_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 64 * MEGABYTE, hard))
    try:
        bytearray(8192 * MEGABYTE)
    finally:
        threading.Event().wait(0.002)


def _closed_alone() -> None:
    os.close(1)


RUDE: dict[str, Callable[[], Any]] = {
    "SystemExit": _raise(SystemExit(3)),
    "KeyboardInterrupt": _raise(KeyboardInterrupt()),
    "StopIteration": _raise(StopIteration(1)),
    "GeneratorExit": _raise(GeneratorExit()),
    "bad text": _raise(BadText()),
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "segmentation fault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "closes all": lambda: os.closerange(0, 10000),
    "closes streams": _close_streams,
    "closes stdout": _close_stdout,
    "closes descriptor 1": _closed_alone,
    "no stdout": _no_stdout,
    "chdir": lambda: os.chdir("/"),
    "handlers": _change_handlers,
    "fork": _fork,
    "recursion": _deep,
    "recursion limit": lambda: sys.setrecursionlimit(60),
    "prints long": _print_long,
    "letters": _print_letters,
    "writes long": _write_long,
    "command": _run_command,
    "logging": _log,
    "logs from copies": _log_from_copies,
    "maps in copies": _map_in_copies,
    "prints later": _print_later,
    "memory": _use_up_memory,
}


class Rude(AppDrop):
    """Does what it must not."""

    what = Parameter(str, "")

    def run(self) -> None:
        print("this is", self.what)
        RUDE[self.what]()


class Healthy(AppDrop):
    """Looks whether a process is as an app may expect it, and writes what it found."""

    def run(self) -> None:
        print("hello from", self.uid)
        done = subprocess.run("echo out; exit 5", shell=True, stdout=subprocess.PIPE, check=False)
        with open(__file__, "rb") as file:
            opened = file.fileno()
        report = {
            "code": done.returncode,
            "said": done.stdout.decode(),
            "low": opened < 3,
            "deep": _depth(500),
            "room": _room(256 * MEGABYTE),
            "folder": str(Path.cwd()),
            "stdout": os.readlink("/proc/self/fd/1")[:5],
        }
        self.outputs[0].write(json.dumps(report))


def _room(size: int) -> int:
    with mmap.mmap(-1, size) as memory:
        return len(memory)


def _depth(levels: int) -> int:
    return 0 if not levels else 1 + _depth(levels - 1)


def generator() -> Any:
    """Return what cannot be pickled."""
    return (number for number in range(3))


# Limits, tries and deaths


class Cancelled(AppDrop):
    """Waits until it is told to stop, and says that it was."""

    def run(self) -> None:
        note(self.site.directory / "begun", self.uid)
        threading.Event().wait(1000)

    def cancel(self) -> None:
        note(self.site.directory / "cancelled", self.uid)


class Quick(AppDrop):
    """Writes its process id."""

    def run(self) -> None:
        for output in self.outputs:
            output.write(str(os.getpid()))


class Tries(AppDrop):
    """Fails as often as it is told to, in the way it is told to, with output half written; counts in a file."""

    fails = Parameter(int, 1)
    dies = Parameter(bool, False)

    def run(self) -> None:
        path = self.site.directory / f"tries of {self.uid}"
        note(path, "try")
        tries = len(path.read_text().splitlines())
        print("try", tries)
        for output in self.outputs:
            output.write(f"from try {tries}")
        if tries <= self.fails:
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(f"try {tries} is not good")


# Who ran where


class Marked(AppDrop):
    """Notes who runs it, takes a moment, and writes its name."""

    def run(self) -> None:
        note(self.site.directory / "marks", f"{self.uid} {os.getpid()}")
        threading.Event().wait(0.001)
        for output in self.outputs:
            output.write(pickle.dumps(f"{self.site.directory}|{self.uid}"))


def marked(where: str) -> str:
    """Note who runs this, for the app whose output this is given."""
    folder, _, uid = where.partition("|")
    note(Path(folder) / "marks", f"f-{uid} {os.getpid()}")
    threading.Event().wait(0.001)
    return uid.upper()


class Await(AppDrop):
    """Notes that it has begun and waits until the test makes a file."""

    def run(self) -> None:
        note(self.site.directory / "begun", f"{self.uid} {os.getpid()}")
        await_file(self.site.directory / "go")
        for output in self.outputs:
            output.write("gone")


class Stamps(AppDrop):
    """Notes when it begins and ends."""

    def run(self) -> None:
        path = self.site.directory / "stamps"
        note(path, f"begin {self.uid}")
        threading.Event().wait(0.003)
        note(path, f"end {self.uid}")


class SeesFile(AppDrop):
    """Ends when a file of the session is there."""

    path = Parameter(str, "")

    def run(self) -> None:
        await_file(self.site.directory / self.path)
