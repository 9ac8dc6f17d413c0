# SPDX-License-Identifier: Apache-2.0
"""What a manager knows of a session, for people and for programs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from penstock.cli.report import FailureText, handle, tell_outcome
from penstock.cli.terminal import human_seconds, plain, short, table, tell
from penstock.engine.states import AppState, DropState, SessionState
from penstock.errors import WrongState
from penstock.managers.api import NO_APP, Manager, SessionInfo, States, StatusTree

__all__ = ["ENDED_STATES", "Drops", "failures_of", "info_json", "nodes_of", "tell_drops", "tell_session"]

ENDED_STATES = frozenset({SessionState.FINISHED, SessionState.FAILED, SessionState.CANCELLED})

_INDENT = 10
_MOST_DROPS = 20
_MOST_CAUSES = 5
_LOOKED_AT = 20
"""Drops in ERROR that are asked for their failure, at most: those that others have failed have none."""

_LOOKS = {
    SessionState.FINISHED: "bold green",
    SessionState.FAILED: "bold red",
    SessionState.CANCELLED: "bold magenta",
}


class Drops:
    """The states of a session's drops, kept up to date by asking for what has changed.

    Attributes:
        states: per drop its `DropState` and its `AppState` or `NO_APP`; empty before the session is deployed.
    """

    def __init__(self) -> None:
        self.states: dict[str, tuple[int, int]] = {}
        self._version: int | None = None

    def ask(self, manager: Manager, session_id: str) -> None:
        """Learn what has changed since the last time."""
        try:
            told: States = manager.graph_status(session_id, self._version)
        except WrongState:  # it was not deployed
            return
        self._version = told.version
        self.states.update(zip(told.uids, zip(told.state, told.execution, strict=True), strict=True))

    def counts(self) -> Counter[DropState]:
        """Return how many drops are in which state."""
        counts = Counter(state for state, _ in self.states.values())
        return Counter({DropState(state): count for state, count in counts.items()})

    def running(self) -> int:
        """Return how many apps run."""
        return sum(run == AppState.RUNNING for _, run in self.states.values())

    def as_json(self) -> dict[str, dict[str, int | None]]:
        """Return the same as `penstock run --json` prints of drops."""
        return {
            uid: {"status": state, "execStatus": None if run == NO_APP else run}
            for uid, (state, run) in self.states.items()
        }


def info_json(info: SessionInfo, url: str) -> dict[str, Any]:
    """Return what is known of a session as plain JSON values."""
    return {
        "session": info.session_id,
        "status": info.state.name,
        "url": url,
        "size": info.size,
        "seconds": round(info.seconds, 6),
        "nodes": dict(nodes_of(info.status)),
        "causes": list(info.causes),
        "stalled": info.stalled,
        "directory": info.directory,
    }


def nodes_of(status: StatusTree) -> Iterator[tuple[str, str]]:
    """Yield each node with the name of the session's state there; none where a node itself was asked."""
    if isinstance(status, dict):
        for name, below in status.items():
            if isinstance(below, dict):
                yield from nodes_of(below)
            else:
                yield name, below.name


def failures_of(manager: Manager, session_id: str, drops: Drops, most: int) -> list[FailureText]:
    """Return the first failures; drops are looked at one by one, apps before data."""
    bad = [
        (run != AppState.ERROR, uid) for uid, (state, run) in drops.states.items() if state == DropState.ERROR
    ]
    found: list[FailureText] = []
    for _, uid in sorted(bad, key=lambda pair: pair[0])[:_LOOKED_AT]:
        info = manager.drop(session_id, uid)
        if info.failure:
            error, _, message = info.failure.partition(": ")
            name = info.fields.get("name")
            label = name if isinstance(name, str) and name != uid else ""
            short_name = handle(uid, drops.states)
            found.append(FailureText(uid, error, message, "", (), label=label, handle=short_name))
        if len(found) == most:
            break
    return found


def tell_session(out: Console, info: SessionInfo, drops: Drops) -> None:
    """Say how a session stands, in a few lines."""
    if info.state in ENDED_STATES and drops.states:
        tell_outcome(out, info.session_id, info.state.name, info.seconds, drops.counts(), 0)
    else:
        _tell_standing(out, info)
        counts = drops.counts()
        if counts:
            words = [f"{count:,} {state.name.lower()}" for state, count in sorted(counts.items())]
            _tell(out, "drops", ", ".join(words) + f"; apps that run: {drops.running():,}")
    for cause in info.causes[:_MOST_CAUSES]:
        _tell(out, "because", plain(cause))
    if len(info.causes) > _MOST_CAUSES:
        _tell(out, "", f"... and {len(info.causes) - _MOST_CAUSES} more (--json lists all)")
    if info.stalled:
        _tell(out, "stalled", "nothing in it can go on unless somebody triggers a drop", "bold yellow")
    if info.directory:
        _tell(out, "folder", plain(info.directory))


def _tell_standing(out: Console, info: SessionInfo) -> None:
    """Say in which state a session is."""
    age = f" for {human_seconds(info.seconds)}" if info.seconds else ""
    drops = f"{info.size:,} drop{'' if info.size == 1 else 's'}"
    _tell(
        out,
        info.state.name.lower(),
        f"session {plain(info.session_id)}{age}: {drops}",
        _LOOKS.get(info.state, "bold"),
    )


def tell_drops(out: Console, states: Mapping[str, tuple[int, int]]) -> None:
    """Print the drops with their states: those that need a look first."""
    rows = table(("DROP", "STATE", "EXECUTION"))
    good = (DropState.COMPLETED, DropState.SKIPPED)
    drops = sorted(states.items(), key=lambda item: item[1][0] in good)
    for uid, (state, run) in drops[:_MOST_DROPS]:
        rows.add_row(short(uid, 52), DropState(state).name, "" if run == NO_APP else AppState(run).name)
    if len(drops) > _MOST_DROPS:
        rows.add_row(f"... and {len(drops) - _MOST_DROPS:,} more (--json lists all)")
    out.print(rows)


def _tell(out: Console, heading: str, text: str, look: str = "bold") -> None:
    tell(out, Text(heading, look), text, indent=_INDENT)
