# SPDX-License-Identifier: Apache-2.0
"""What went wrong in a session: per failure the class, message, traceback and inputs, bounded."""

import threading
import traceback
from collections.abc import Sequence
from types import TracebackType

import msgspec

from penstock.config import Settings
from penstock.runtime.folder import Folder, encodable

__all__ = ["Failure", "Failures", "InputState", "failure_of", "in_a_line"]


_SHORT = 500
"""Characters kept of the message of a failure beyond those that are kept in full."""


class InputState(msgspec.Struct, frozen=True):
    """An input of a drop that failed: its state then, and its size in bytes where it was complete."""

    uid: str
    status: str
    size: int | None = None


class Failure(msgspec.Struct, frozen=True):
    """One drop that failed by itself.

    Attributes:
        uid: the drop, "" where the session as a whole is meant.
        error: name of the exception's class.
        message: its text.
        traceback: where it was raised, "" where there is none to show.
        inputs: the drop's inputs, the first ones where there are many.
    """

    uid: str
    error: str
    message: str
    traceback: str = ""
    inputs: Sequence[InputState] = ()


class Failures:
    """Collects failures from many threads: all to the folder, a bounded number in memory."""

    def __init__(self, folder: Folder, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._kept: list[Failure] = []
        self._count = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    @property
    def kept(self) -> tuple[Failure, ...]:
        """The failures that are in memory, the first ones."""
        return tuple(self._kept)

    def add(self, failure: Failure, inputs: Sequence[InputState]) -> None:
        """Take note of a failure."""
        self._note(msgspec.structs.replace(failure, inputs=inputs))

    def stalled(self, uids: Sequence[str]) -> None:
        """Take note that the session cannot go on: what is left waits for somebody outside."""
        names = ", ".join(uids[:5]) + (", ..." if len(uids) > 5 else "")
        text = f"{len(uids)} drops wait for data or a start that nobody here gives: {names}"
        self._note(Failure("", "SessionStalled", text))

    def _note(self, failure: Failure) -> None:
        with self._lock:
            self._count += 1
            in_full = self._count <= self._settings.failures_kept
            if in_full:
                self._kept.append(failure)
        if not in_full:
            failure = Failure(failure.uid, failure.error, failure.message[:_SHORT])
        self._folder.append("errors.jsonl", failure)


def failure_of(uid: str, error: BaseException, limit_bytes: int = Settings.message_bytes) -> Failure:
    """Return an error as text; call it where `error` was caught, in whatever process that is."""
    told = _traceback(error)
    return Failure(
        uid, type(error).__name__, _bounded(_message(error), limit_bytes), _bounded(told, limit_bytes)
    )


def in_a_line(error: BaseException) -> str:
    """Return class and text of an error, also of one whose own text cannot be made."""
    return f"{type(error).__name__}: {_message(error)}"


def _users_part(error: BaseException) -> TracebackType | None:
    """Return the traceback without the frames that every app has above it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("penstock.runtime."):
        trace = trace.tb_next
    return trace


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as exc:  # noqa: BLE001  the boundary to user code: even str() of an error may raise
        return f"(its text cannot be made: {type(exc).__name__})"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _users_part(error)))
    except BaseException as exc:  # noqa: BLE001  likewise: a SyntaxError with odd fields, a group deep in groups
        where = "".join(traceback.format_tb(_users_part(error)))
        return f"{where}{type(error).__name__} (its traceback cannot be made: {type(exc).__name__})\n"


def _bounded(text: str, limit: int) -> str:
    text = encodable(text)
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
