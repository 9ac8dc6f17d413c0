# SPDX-License-Identifier: Apache-2.0
"""What a session says of its failures: each drop's once, with the states of its inputs; and of what is tried again."""

from typing import Protocol

from penstock.config import Settings
from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.engine.flow import Flow
from penstock.engine.states import DropState
from penstock.runtime.build import Prepared
from penstock.runtime.failures import Failure, Failures, InputState, failure_of

__all__ = ["Blame"]


class _Blaming(Protocol):
    """The session."""

    prepared: Prepared
    flow: Flow

    def uid(self, index: int) -> str: ...
    def drop(self, index: int) -> Drop: ...
    def note(self, index: int, stream: str, text: str) -> None: ...


class Blame:
    """Tells the failures of one session. Thread safe."""

    def __init__(self, session: _Blaming, failures: Failures, settings: Settings) -> None:
        self._session = session
        self._failures = failures
        self._settings = settings
        self._told: dict[int, object] = {}

    def error(self, index: int, error: BaseException) -> None:
        """Take note of what a drop raised."""
        self.failure(index, failure_of(self._session.uid(index), error, self._settings.message_bytes))

    def failure(self, index: int, failure: Failure) -> None:
        """Take note of a failure once: two pieces of a stream, or a limit and an error, may come together."""
        if self._told.setdefault(index, mine := object()) is mine:
            self._failures.add(failure, self._inputs(index))

    def retry(self, index: int, attempt: int, reason: str) -> float:
        """Take note that an app failed and is tried again; return after how many seconds."""
        session, settings, wiring = self._session, self._settings, self._session.prepared.wiring
        tries = session.prepared.rules.tries[index]
        pause_s = min(settings.retry_s * 2.0 ** (attempt - 1), settings.retry_most_s)
        text = f"try {attempt} of {tries} failed: {reason}; the next in {pause_s:g} s\n"
        session.note(index, "penstock", text)
        for i in wiring.after[index]:
            drop = session.drop(i)
            if len(wiring.before[i]) == 1 and isinstance(drop, DataDrop):
                drop.discard()
        return pause_s

    def _inputs(self, index: int) -> list[InputState]:
        session = self._session
        rows = session.prepared.wiring.before[index][: self._settings.inputs_told]
        return [
            InputState(session.uid(i), DropState(session.flow.state[i]).name, self._size_of(i)) for i in rows
        ]

    def _size_of(self, index: int) -> int | None:
        if self._session.flow.is_app(index) or self._session.flow.state[index] != DropState.COMPLETED:
            return None
        drop = self._session.drop(index)
        try:
            return int(drop.size) if isinstance(drop, DataDrop) else None
        except Exception:  # noqa: BLE001  the boundary to user code; a failure is told without the size, then
            return None
