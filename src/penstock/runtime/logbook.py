# SPDX-License-Identifier: Apache-2.0
"""What drops print and log, bounded per execution: the beginning and the end are kept, the middle is counted."""

import threading
import time
from collections import deque

from penstock.runtime.folder import Folder, LogLine, encodable

__all__ = ["Logbook"]


def _now() -> float:
    return round(time.time(), 3)


class _Page:
    """The output of one drop."""

    __slots__ = ("left_out", "room", "tail", "tail_size")

    def __init__(self, room: int) -> None:
        self.room = room
        self.tail: deque[tuple[str, str]] = deque()
        self.tail_size = 0
        self.left_out = 0


class Logbook:
    """Takes pieces of output from many threads and writes them to the session's folder.

    Args:
        size: bytes (characters, in fact) kept of one drop; half from the beginning, half from the end.
    """

    def __init__(self, folder: Folder, size: int) -> None:
        self._folder = folder
        self._half = size // 2
        self._pages: dict[str, _Page] = {}
        self._lock = threading.Lock()

    def write(self, uid: str, stream: str, text: str) -> None:
        """Add a piece of a drop's output."""
        text = encodable(text)
        with self._lock:
            page = self._pages.get(uid)
            if page is None:
                page = self._pages[uid] = _Page(self._half)
            head, rest = text[: page.room], text[page.room :]
            page.room -= len(head)
            if rest:
                self._keep_tail(page, stream, rest[-self._half :], len(rest))
        if head:
            self._folder.append("log.jsonl", LogLine(uid, stream, head, _now()))

    def _keep_tail(self, page: _Page, stream: str, text: str, size: int) -> None:
        page.left_out += size - len(text)
        page.tail.append((stream, text))
        page.tail_size += len(text)
        while page.tail_size - len(page.tail[0][1]) >= self._half:
            dropped = page.tail.popleft()[1]
            page.tail_size -= len(dropped)
            page.left_out += len(dropped)

    def close_page(self, uid: str) -> None:
        """Write what is kept of the end of a drop's output; the drop prints no more."""
        with self._lock:
            page = self._pages.pop(uid, None)
        if page is None:
            return
        if page.left_out:
            self._folder.append(
                "log.jsonl", LogLine(uid, "penstock", f"[{page.left_out} characters left out]\n", _now())
            )
        for stream, text in page.tail:
            self._folder.append("log.jsonl", LogLine(uid, stream, text, _now()))
        self._folder.flush()

    def close(self) -> None:
        """Write the ends of all drops."""
        for uid in list(self._pages):
            self.close_page(uid)
