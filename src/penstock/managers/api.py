# SPDX-License-Identifier: Apache-2.0
"""The one interface of every manager: node, island, master, the REST client, and the fake in tests.

A hierarchy of any depth is made by giving managers to a composite. Every operation is atomic: it happens or
raises and leaves all as it was. The same fault raises the same class at each level: `SessionNotFound`,
`SessionExists`, `SessionIdInvalid`, `WrongState`, `GraphInvalid`, `DropUnknown`, `SubManagersFailed`.
Status is answered from what a manager already knows; nothing is asked downwards for it.

All methods may be called on any thread. Nothing here depends on how a manager is reached.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from penstock.engine.states import LinkKind, SessionState
from penstock.graph.problems import Problem

__all__ = [
    "NO_APP",
    "Added",
    "Change",
    "DropInfo",
    "Level",
    "Listener",
    "Manager",
    "NodeInfo",
    "NodeState",
    "SessionInfo",
    "States",
    "StatusTree",
]

NO_APP = 255
"""In `States.execution`: the drop is data."""

StatusTree = SessionState | dict[str, "StatusTree"]
"""A node's own number, or one per sub-manager, as clients of the old interface see it."""


class Level(Enum):
    """Where in the hierarchy a manager stands."""

    NODE = "node"
    ISLAND = "island"
    MASTER = "master"


class NodeState(Enum):
    """What is known of a sub-manager."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One sub-manager.

    Attributes:
        address: `host:rest:events:rpc`.
        silent_s: seconds since it was heard last; 0 while it is alive.
    """

    address: str
    state: NodeState
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Added:
    """What came of adding drops to a session.

    Attributes:
        drops: how many were added.
        size: how many the session has now.
        warnings: what is odd so far, as links to drops that may still come; errors are raised.
    """

    drops: int
    size: int
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a manager knows of one session.

    Attributes:
        state: of the whole session.
        status: the same per node, nested as the managers are; on a node the state itself.
        causes: why it failed, named; "" entries do not occur.
        stalled: it runs, and nothing in it can go on unless somebody triggers a drop.
        directory: its folder on this host, "" where it has none here.
        seconds: how long it has run, or ran.
    """

    session_id: str
    state: SessionState
    status: StatusTree
    size: int
    causes: tuple[str, ...] = ()
    stalled: bool = False
    directory: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class States:
    """The states of drops; of all of them, or of those that have changed since a version.

    Attributes:
        version: give it as `since` to learn what changed later.
        indices: places in the session's list of drops, None for all in order.
        uids: names of the drops told about, in the same order.
        state: a byte per drop: `DropState`.
        execution: a byte per drop: `AppState`, or `NO_APP`.
    """

    version: int
    indices: Sequence[int] | None
    uids: Sequence[str]
    state: bytes
    execution: bytes


@dataclass(frozen=True, slots=True)
class DropInfo:
    """One drop of a session.

    Attributes:
        node: where it lives, "" on a node itself.
        fields: its specification as the graph gave it.
        size_bytes: of complete data, None where unknown.
        url: where its data is, "" for none.
        log: records of what it printed and logged: {"time": ISO 8601, "stream": str, "text": str}.
        failure: why it failed, "" where it did not.
    """

    uid: str
    state: int
    execution: int
    node: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON as the graph's author wrote it
    size_bytes: int | None = None
    url: str = ""
    log: Sequence[Mapping[str, str]] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened: to a session, to its drops, or to a sub-manager.

    Attributes:
        kind: "session" (created, another state, destroyed), "drops" (ask `graph_status(since=)`), "node".
        session_id: "" for a sub-manager.
        detail: plain JSON values.
    """

    kind: str
    session_id: str
    detail: Mapping[str, Any]  # Any: plain JSON values


Listener = Callable[[Change], None]
"""Called on a thread of the manager; must return at once and never raise."""


class Manager(Protocol):
    """What can be asked of any manager.

    Raises (all methods that take a session id):
        SessionNotFound: nothing is known under this id.
    """

    @property
    def level(self) -> Level: ...

    def create_session(self, session_id: str) -> None:
        """Make a session, PRISTINE.

        Raises:
            SessionIdInvalid: the id could leave its folder or cannot stand in a URL.
            SessionExists: the id is taken.
            SubManagersFailed: not all sub-managers have it; a retry continues.
        """
        ...

    def add_graph(self, session_id: str, graph: bytes, *, placed: bool = False) -> Added:
        """Add drops, given as the JSON text of a physical graph or of a part of one.

        Each drop and all names are checked here; links and classes by `deploy`, as more may come.

        Args:
            placed: a manager of managers refuses drops that do not say where they live; otherwise it places them.
        Raises:
            GraphInvalid: with everything that is wrong; nothing was added.
            WrongState: the session is neither PRISTINE nor BUILDING.
        """
        ...

    def link(self, session_id: str, left: str, kind: LinkKind, right: str) -> None:
        """Add a link between two drops: `left` is a `kind` of `right`.

        Raises:
            DropUnknown: one of them is not in the session.
            GraphInvalid: drops of these kinds cannot be linked so.
            WrongState: the session is deployed.
        """
        ...

    def deploy(self, session_id: str, completed: Iterable[str] = ()) -> None:
        """Check the whole graph, make it run, and trigger `completed`. A session without a graph is FINISHED.

        Raises:
            GraphInvalid: with everything that is wrong; the session is as it was and can be mended.
            DropUnknown: `completed` names a drop that the session does not have.
            WrongState: the session is deployed already, or has ended.
            SubManagersFailed: a sub-manager could not; the session is as it was.
        """
        ...

    def trigger(self, session_id: str, uids: Iterable[str] | None = None) -> None:
        """Complete data and start apps that nobody else starts; all roots by default.

        Raises:
            DropUnknown: the session has no such drop.
            WrongState: the session does not run.
        """
        ...

    def cancel(self, session_id: str) -> None:
        """End everything that has not ended. A cancelled session stays cancelled.

        Raises:
            WrongState: the session is FINISHED or FAILED.
        """
        ...

    def destroy(self, session_id: str) -> None:
        """Cancel the session if it runs, and forget it."""
        ...

    def sessions(self) -> list[SessionInfo]:
        """Return all sessions, in the order of their creation."""
        ...

    def session(self, session_id: str) -> SessionInfo:
        """Return what is known of one session."""
        ...

    def graph(self, session_id: str) -> bytes:
        """Return the drops as JSON text {oid: specification}, links between nodes included."""
        ...

    def graph_size(self, session_id: str) -> int:
        """Return the number of drops."""
        ...

    def graph_status(self, session_id: str, since: int | None = None) -> States:
        """Return the states of the drops, or of those that have changed since a version.

        Raises:
            WrongState: the session was not deployed yet.
        """
        ...

    def drop(self, session_id: str, uid: str) -> DropInfo:
        """Return what is known of one drop.

        Raises:
            DropUnknown: the session has no such drop.
        """
        ...

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        """Return a file over the content of a data drop; the caller closes it.

        Raises:
            DropUnknown: the session has no such drop.
            DropNotReadable: it is no data, not complete, or holds none.
        """
        ...

    def log(self, session_id: str) -> Iterable[Mapping[str, str]]:
        """Return the session's log, record by record: {"drop", "time", "stream", "text", "node"}."""
        ...

    def log_file(self, session_id: str) -> Path | None:
        """Return the file with the session's log on this host, None for none."""
        ...

    def repro_data(self, session_id: str) -> Mapping[str, Any] | None:
        """Return the graph-wide reproducibility record, None for none."""
        ...

    def repro_status(self, session_id: str) -> bool:
        """Whether the reproducibility record of the session is complete."""
        ...

    def nodes(self) -> list[NodeInfo]:
        """Return all nodes below this manager, at any depth; on a node itself none."""
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of everything that happens from now on; the answer ends that."""
        ...
