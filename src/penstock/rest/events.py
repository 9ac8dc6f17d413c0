# SPDX-License-Identifier: Apache-2.0
"""Events as a stream that can be taken up again: what happened, numbered, the last few thousand of it kept.

A client that is slow or was away goes on where it stopped. When that is no longer kept, or was told by another
run of the process, it is told so ("gap") and has to ask for everything anew.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from penstock.managers.api import Change

__all__ = ["Hub"]

_KEPT = 10_000
_PAUSE_S = 0.02


class _Event(NamedTuple):
    version: int
    session_id: str
    text: bytes
    is_last: bool  # of its session


class Hub:
    """All that happened to one manager lately, for any number of readers.

    `publish` may be called on any thread once the hub is bound to a loop; all else belongs to that loop.

    Args:
        epoch: names this run of the process; versions count within it.
        beat_s: pause between signs of life; seconds.
    """

    def __init__(self, epoch: str, beat_s: float) -> None:
        self.epoch = epoch
        self.version = 0
        self.readers = 0
        self._beat_s = beat_s
        self._kept: deque[_Event] = deque(maxlen=_KEPT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._closed = False
        self._lock = threading.Lock()
        self._due: dict[str, Change] = {}

    def bind(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()

    def publish(self, change: Change) -> None:
        """Tell all readers; a listener for a manager.

        Changes of a session's drops that come shortly behind each other are told as one, the last.
        """
        if self._loop is None or self._loop.is_closed():
            return
        if change.kind != "drops":
            self._loop.call_soon_threadsafe(self._add_behind, change)
            return
        with self._lock:
            is_due = change.session_id in self._due
            self._due[change.session_id] = change
        if not is_due:
            self._loop.call_soon_threadsafe(self._loop.call_later, _PAUSE_S, self._add_due, change.session_id)

    def _add_due(self, session_id: str) -> None:
        with self._lock:
            change = self._due.pop(session_id, None)
        if change is not None:
            self._add(change)

    def _add_behind(self, change: Change) -> None:
        self._add_due(change.session_id)
        self._add(change)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._wake()

    async def stream(self, session_id: str | None, last_id: str) -> AsyncIterator[bytes]:
        """Yield server-sent events, of one session or of everything.

        Args:
            last_id: the id of the last event that the reader has, "" to begin with what comes.
        """
        self.readers += 1
        try:
            cursor, has_gap = self._resume(last_id)
            yield b"retry: 1000\n: %s\n\n" % self.epoch.encode()
            while not self._closed:
                if has_gap or (self._kept and cursor < self._kept[0].version - 1):
                    cursor, has_gap = self.version, False
                    yield b"id: %s-%d\nevent: gap\ndata: {}\n\n" % (self.epoch.encode(), cursor)
                for event in self._after(cursor):
                    cursor = event.version
                    if session_id is None or event.session_id == session_id:
                        yield event.text
                        if session_id is not None and event.is_last:
                            return
                if cursor == self.version and not await self._wait():
                    yield b": beat\n\n"
        finally:
            self.readers -= 1

    def _resume(self, last_id: str) -> tuple[int, bool]:
        if not last_id:
            return self.version, False
        epoch, _, text = last_id.rpartition("-")
        if epoch != self.epoch or not text.isdecimal() or not 0 <= int(text) <= self.version:
            return self.version, True
        return int(text), False

    def _after(self, cursor: int) -> list[_Event]:
        # Versions are consecutive, so the place in the ring follows from the number.
        first = self._kept[0].version if self._kept else 0
        start = max(0, cursor + 1 - first)
        return [self._kept[i] for i in range(start, len(self._kept))]

    async def _wait(self) -> bool:
        """Wait for news; False when there were none for a beat."""
        try:
            await asyncio.wait_for(self._news.wait(), self._beat_s)
        except TimeoutError:
            return False
        return True

    def _add(self, change: Change) -> None:
        self.version += 1
        document = {
            "version": self.version,
            "kind": change.kind,
            "session_id": change.session_id,
            "detail": dict(change.detail),
        }
        text = b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
            self.epoch.encode(),
            self.version,
            change.kind.encode(),
            msgspec.json.encode(document),
        )
        is_last = change.kind == "session" and change.detail.get("state") == "DELETED"
        self._kept.append(_Event(self.version, change.session_id, text, is_last))
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
