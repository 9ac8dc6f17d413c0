# SPDX-License-Identifier: Apache-2.0
"""What is known of a run from its folder; whatever is damaged there is one clear `SessionNotFound`."""

import os
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from penstock.engine.states import AppState, DropState
from penstock.errors import SessionNotFound
from penstock.runtime.failures import Failure
from penstock.runtime.folder import Folder, LogLine

__all__ = ["PastDrop", "PastRun", "PastWorker", "read_failures", "read_log", "read_past"]

T = TypeVar("T")
_RUNNING = "RUNNING"


class PastWorker(msgspec.Struct, frozen=True, rename="camel"):
    """The worker process that ran an app last; memory is that of the process meanwhile."""

    slot: int
    pid: int
    seconds: float
    peak_kib: int = msgspec.field(name="peakKiB", default=0)


class PastDrop(msgspec.Struct, frozen=True, rename="camel"):
    """How a drop ended."""

    status: DropState
    exec_status: AppState | None = None
    worker: PastWorker | None = None


class PastRun(msgspec.Struct, frozen=True):
    """What session.json says: all of it where the run has ended, else that it began.

    Attributes:
        drops: None where the run has not ended.
        pid: of the process, 0 where that is not known.
    """

    session: str
    status: str
    directory: str = ""
    seconds: float = 0.0
    drops: dict[str, PastDrop] | None = None
    absorbed: tuple[str, ...] = ()
    pid: int = 0
    started: str | float = ""

    @property
    def is_over(self) -> bool:
        """Whether the run came to its end."""
        return self.status != _RUNNING and self.drops is not None

    @property
    def is_alive(self) -> bool:
        """Whether a process of that number is there; it may be another's by now."""
        if self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except PermissionError:
            return True
        except (OSError, OverflowError):
            return False
        return True


def read_past(folder: Folder) -> PastRun:
    """Return what is known of a run.

    Raises:
        SessionNotFound: nothing is, or it is damaged.
    """
    past = _converted(folder, "session.json", folder.read_session(), PastRun)
    if past.drops is None and past.status != _RUNNING:
        raise _damaged(folder, "session.json", "Object missing required field `drops`")
    return past


def read_log(folder: Folder) -> Iterator[LogLine]:
    """Yield what was printed, in order; raises as `read_past`."""
    return _lines(folder, "log.jsonl", LogLine)


def read_failures(folder: Folder) -> Iterator[Failure]:
    """Yield the failures, in order; raises as `read_past`."""
    return _lines(folder, "errors.jsonl", Failure)


def _lines(folder: Folder, name: str, kind: type[T]) -> Iterator[T]:
    try:
        for line in folder.read_lines(name):
            yield _converted(folder, name, line, kind)
    except OSError as exc:
        raise _damaged(folder, name, exc.strerror or str(exc)) from exc


def _converted(folder: Folder, name: str, value: Any, kind: type[T]) -> T:  # Any: JSON from a file
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise _damaged(folder, name, str(exc)) from exc


def _damaged(folder: Folder, name: str, reason: str) -> SessionNotFound:
    return SessionNotFound(str(folder.directory), f"{name} is damaged ({reason})")
