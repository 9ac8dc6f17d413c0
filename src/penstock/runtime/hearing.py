# SPDX-License-Identifier: Apache-2.0
"""Whose log gets what a thread prints; `capture.py` has what listens."""

from typing import Protocol

from penstock.runtime.slot import Slot

__all__ = ["Noting", "PieceEar", "SlotEar"]


class Noting(Protocol):
    """The session, as far as it keeps logs."""

    def note(self, index: int, stream: str, text: str) -> None: ...


class SlotEar:
    """Writes what a slot's thread prints to the log of the drop that runs there."""

    def __init__(self, session: Noting, slot: Slot) -> None:
        self._session = session
        self._slot = slot

    def hear(self, stream: str, text: str) -> None:
        index = self._slot.current
        if index >= 0 and text:
            self._slot.noisy = True
            self._session.note(index, stream, text)


class PieceEar:
    """Writes what an app prints while it takes a piece of a stream, on its writer's thread, to its own log."""

    def __init__(self, session: Noting, index: int) -> None:
        self._session = session
        self._index = index

    def hear(self, stream: str, text: str) -> None:
        if text:
            self._session.note(self._index, stream, text)
