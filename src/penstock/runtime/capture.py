# SPDX-License-Identifier: Apache-2.0
"""What apps print and log goes to their drop's log.

`sys.stdout` and `sys.stderr` belong to the process, and so does the root logger. As long as user code runs on
threads of this process there is no other way to tell apart what apps print, so while at least one session
runs these three are routed: text from a slot's thread goes to the log of the drop that runs there, everything
else goes where it went before. When the last session ends all is put back.
"""

import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

__all__ = ["Listener", "capturing", "listen"]


class Listener(Protocol):
    """Takes what the calling thread prints or logs."""

    def hear(self, stream: str, text: str) -> None: ...


_local = threading.local()
_lock = threading.Lock()
_sessions = 0
_undo: list[tuple[str, Any, Any]] = []
_retired: deque[Any] = deque(maxlen=16)
"""Streams that were put back a while ago: the interpreter's `print` may still be using one without holding it."""


def listen(listener: Listener | None) -> Listener | None:
    """Send what this thread prints and logs to `listener` while sessions capture, None ends it; return who did."""
    before: Listener | None = getattr(_local, "listener", None)
    _local.listener = listener
    return before


@contextmanager
def capturing() -> Iterator[None]:
    """Route output while inside; sessions may overlap."""
    global _sessions  # the streams are one per process, and so is their count
    with _lock:
        _sessions += 1
        _install()
    try:
        yield
    finally:
        with _lock:
            _sessions -= 1
            if not _sessions:
                _remove()


def _install() -> None:
    """Route what is not routed: the first session all of it, a later one what was replaced in between."""
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        if isinstance(before, _Router):
            continue
        ours = _Router(name, before)
        _undo.append((name, before, ours))
        setattr(sys, name, ours)
    logging.getLogger().addHandler(_handler)


def _remove() -> None:
    logging.getLogger().removeHandler(_handler)
    while _undo:
        name, before, ours = _undo.pop()
        _retired.append(ours)
        if getattr(sys, name) is ours:  # somebody else may have put theirs there; it is not ours to take away
            setattr(sys, name, before)


class _Router:
    """A text stream that looks at who writes; in everything else it is the stream it stands for."""

    def __init__(self, name: str, before: TextIO) -> None:
        self._name = name
        self._before = before

    def write(self, text: str) -> int:
        listener: Listener | None = getattr(_local, "listener", None)
        if listener is None:
            return self._before.write(text)
        listener.hear(self._name, text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:  # Any: a binary stream, the true one or ours
        listener: Listener | None = getattr(_local, "listener", None)
        return self._before.buffer if listener is None else _Bytes(self._name, listener)

    def close(self) -> None:
        """Close nothing where an app asks for it: the stream is the process's, not the app's."""
        if getattr(_local, "listener", None) is None:
            self._before.close()

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stream behind has
        return getattr(self._before, name)


class _Bytes(io.RawIOBase):
    """The binary side of a routed stream."""

    def __init__(self, name: str, listener: Listener) -> None:
        super().__init__()
        self._name = name
        self._listener = listener

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # Any: bytes-like, of any kind
        text = bytes(data)
        self._listener.hear(self._name, text.decode(errors="replace"))
        return len(text)


class _Handler(logging.Handler):
    """Gives log records of slots' threads to their listeners and passes over all others."""

    def emit(self, record: logging.LogRecord) -> None:
        listener: Listener | None = getattr(_local, "listener", None)
        if listener is None:
            self._pass_on(record)
            return
        try:
            listener.hear(record.levelname, self.format(record) + "\n")
        except Exception:  # noqa: BLE001  the contract of logging: a bad record must not end the app
            self.handleError(record)

    def _pass_on(self, record: logging.LogRecord) -> None:
        """Do for other threads what logging does where there is no handler: ours must not hide their messages."""
        last = logging.lastResort
        if last is not None and logging.getLogger().handlers == [self] and record.levelno >= last.level:
            last.handle(record)


_handler = _Handler()
_handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
