# SPDX-License-Identifier: Apache-2.0
"""What goes over the new interface, as types: the server encodes them, the client decodes them, and the OpenAPI
document is made from them. Times are in seconds, sizes in bytes; bytes travel as base64.
"""

from typing import Annotated, Any

import msgspec

from penstock.engine.states import SessionState
from penstock.graph.problems import CATALOGUE, Problem
from penstock.managers.api import (
    Added,
    DropInfo,
    Level,
    NodeInfo,
    NodeState,
    SessionInfo,
    States,
    StatusTree,
)
from penstock.rest.faults import PROBLEM_WORDS

__all__ = [
    "SESSION_ID",
    "AddedAnswer",
    "Create",
    "Deploy",
    "DeployAnswer",
    "DropAnswer",
    "Finding",
    "Health",
    "Link",
    "ManagerAnswer",
    "NodeAnswer",
    "NodesAnswer",
    "ProblemDocument",
    "ReproAnswer",
    "SessionAnswer",
    "SessionsAnswer",
    "StatesAnswer",
    "Trigger",
    "numbers",
]


SESSION_ID = "^[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}$"
"""Ids that can exist. Told in the document; it is the manager that refuses others."""


class Create(msgspec.Struct, forbid_unknown_fields=True):
    """The body that creates a session."""

    session_id: Annotated[str, msgspec.Meta(pattern=SESSION_ID)]


class Deploy(msgspec.Struct, forbid_unknown_fields=True):
    """The body that deploys; without `completed` all roots are triggered, with [] none."""

    completed: list[str] | None = None


class Trigger(msgspec.Struct, forbid_unknown_fields=True):
    """The body that triggers; without `uids` all roots."""

    uids: list[str] | None = None


class Link(msgspec.Struct, forbid_unknown_fields=True):
    """The body that links: `left` is a `kind` of `right`, the number of a relation."""

    left: str
    kind: Annotated[int, msgspec.Meta(ge=0, le=7)]
    right: str


class SessionAnswer(msgspec.Struct):
    """A session. `status` is the number of its state, or those of the managers below by address."""

    session_id: str
    state: str
    status: Any  # Any: a number or a dict, nested as the managers are
    size: int
    causes: list[str] = []
    stalled: bool = False
    directory: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, info: SessionInfo) -> "SessionAnswer":
        """Return what a manager told, as it travels."""
        return cls(
            info.session_id,
            info.state.name,
            numbers(info.status),
            info.size,
            list(info.causes),
            info.stalled,
            info.directory,
            info.seconds,
        )

    def info(self) -> SessionInfo:
        """Return it as a manager tells it."""
        return SessionInfo(
            self.session_id,
            SessionState[self.state],
            _states_of(self.status),
            self.size,
            tuple(self.causes),
            self.stalled,
            self.directory,
            self.seconds,
        )


def numbers(status: StatusTree) -> Any:  # Any: a number, or nested dicts of them
    """Return a status as numbers."""
    if isinstance(status, dict):
        return {name: numbers(inner) for name, inner in status.items()}
    return int(status)


def _states_of(status: Any) -> StatusTree:  # Any: see `numbers`
    if isinstance(status, dict):
        return {str(name): _states_of(inner) for name, inner in status.items()}
    return SessionState(status)


class SessionsAnswer(msgspec.Struct):
    """All sessions, in the order of their creation."""

    sessions: list[SessionAnswer]


class Finding(msgspec.Struct):
    """Something about one place of a graph. `problem` is what `penstock explain` takes."""

    pointer: str
    code: str
    message: str
    uid: str = ""
    problem: str = ""
    hint: str = ""


class AddedAnswer(msgspec.Struct):
    """How many drops were added, how many there are, and what is odd so far."""

    added: int
    size: int
    warnings: list[Finding] = []

    @classmethod
    def of(cls, added: Added) -> "AddedAnswer":
        """Return what a manager told, as it travels."""
        found = [
            Finding(p.path, PROBLEM_WORDS.get(p.code, p.code), p.message, p.uid, p.code, p.hint)
            for p in added.warnings
        ]
        return cls(added.drops, added.size, found)

    def plain(self) -> Added:
        """Return it as a manager tells it."""
        found = tuple(
            Problem(item.problem, item.message, item.uid, item.pointer, item.hint)
            for item in self.warnings
            if item.problem in CATALOGUE
        )
        return Added(self.added, self.size, found)


class DeployAnswer(msgspec.Struct):
    """What came of a deployment. `error` stands in answers to a repeated request: it changed nothing."""

    status: Annotated[str, msgspec.Meta(description="deployed, or already_deployed")]
    session: SessionAnswer
    error: dict[str, Any] | None = None  # Any: see `penstock.wire.faults`


class StatesAnswer(msgspec.Struct):
    """States of drops: a byte per drop in `state` and `execution` (255 for data).

    With `indices` null they are those of all drops, else of those named, which have changed since `since`.
    `uids` are their names in the same order, null where they were not asked for.
    """

    version: int
    indices: list[int] | None
    uids: list[str] | None
    state: bytes
    execution: bytes

    @classmethod
    def of(cls, states: States, *, named: bool) -> "StatesAnswer":
        """Return what a manager told, as it travels."""
        indices = None if states.indices is None else list(states.indices)
        return cls(
            states.version, indices, list(states.uids) if named else None, states.state, states.execution
        )

    def plain(self) -> States:
        """Return it as a manager tells it."""
        indices = None if self.indices is None else tuple(self.indices)
        return States(self.version, indices, tuple(self.uids or ()), self.state, self.execution)


class DropAnswer(msgspec.Struct):
    """One drop; `fields` is its specification as the graph gave it."""

    uid: str
    state: int
    execution: int
    node: str = ""
    fields: dict[str, Any] = {}  # Any: JSON as the graph's author wrote it
    size_bytes: int | None = None
    url: str = ""
    log: list[dict[str, str]] = []
    failure: str = ""

    @classmethod
    def of(cls, info: DropInfo) -> "DropAnswer":
        """Return what a manager told, as it travels."""
        return cls(
            info.uid,
            info.state,
            info.execution,
            info.node,
            dict(info.fields),
            info.size_bytes,
            info.url,
            [dict(record) for record in info.log],
            info.failure,
        )

    def plain(self) -> DropInfo:
        """Return it as a manager tells it."""
        return DropInfo(
            self.uid,
            self.state,
            self.execution,
            self.node,
            self.fields,
            self.size_bytes,
            self.url,
            tuple(self.log),
            self.failure,
        )


class NodeAnswer(msgspec.Struct):
    """One node below a composite."""

    address: str
    state: str
    silent_s: float = 0.0

    def plain(self) -> NodeInfo:
        """Return it as a manager tells it."""
        return NodeInfo(self.address, NodeState(self.state), self.silent_s)


class NodesAnswer(msgspec.Struct):
    """All nodes below, at any depth."""

    nodes: list[NodeAnswer]


class ReproAnswer(msgspec.Struct):
    """The reproducibility record of a session, and whether it is complete."""

    complete: bool
    data: dict[str, Any] | None = None  # Any: plain JSON values


class Health(msgspec.Struct):
    """Whether the process answers, and whether its manager does."""

    live: bool
    ready: bool


class ManagerAnswer(msgspec.Struct):
    """Who answers here. `authentication` is false where anybody may ask anything."""

    level: str
    address: str
    version: str
    epoch: str
    authentication: bool

    def kind(self) -> Level:
        """Return the level as a manager tells it."""
        return Level(self.level)


class ProblemDocument(msgspec.Struct):
    """What went wrong (RFC 9457): `code` is a stable word, `errors` has at most a hundred single findings."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[Finding] = []
    error: dict[str, Any] = {}  # Any: see `penstock.wire.faults`
    args: Any = None  # Any: whatever else a program may want to know
