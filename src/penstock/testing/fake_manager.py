# SPDX-License-Identifier: Apache-2.0
"""A manager in memory: real graphs, real checks, a real `Flow`, but apps that do nothing end at once.

An app writes to each output what its inputs hold, one after the other. Fields of a drop steer it: `fails` makes
an app fail, `waits` keeps it running until `finish` is called, and `content` is what a data drop holds at first.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO

import msgspec

from penstock.engine.session import SessionEvent, advance
from penstock.engine.states import AppState, DropState, LinkKind, SessionState
from penstock.errors import (
    DropNotReadable,
    DropUnknown,
    GraphInvalid,
    IllegalTransition,
    NodeUnknown,
    PenstockError,
    SessionExists,
    SessionNotFound,
    WrongState,
)
from penstock.graph.load import read
from penstock.graph.problems import Problem
from penstock.ids import parse_session_id
from penstock.managers.api import (
    NO_APP,
    Added,
    Change,
    DropInfo,
    Level,
    Listener,
    NodeInfo,
    NodeState,
    SessionInfo,
    States,
    StatusTree,
)
from penstock.testing.fake_session import FakeSession

__all__ = ["FakeManager"]

_OPEN = ("PRISTINE", "BUILDING")


class FakeManager:
    """Meets `Manager` without threads, processes or files.

    Args:
        nodes: addresses below a composite; an island has these, a master has one island with these.
        directory: where logs are written; None for nowhere.

    Attributes:
        failing: method name to an error that it raises instead of doing anything.
        subscribed: what `subscribe` was told, by session.
        calls: names of the methods called that change something, in their order.
    """

    def __init__(
        self, level: Level = Level.NODE, nodes: Sequence[str] = (), directory: Path | None = None
    ) -> None:
        self.failing: dict[str, PenstockError] = {}
        self.subscribed: dict[str, Mapping[str, Sequence[tuple[str, int, str]]]] = {}
        self.calls: list[str] = []
        self._level = level
        self._nodes = list(nodes or ([] if level is Level.NODE else ["localhost:8000:5555:6666"]))
        self._directory = directory
        self._lock = RLock()
        self._sessions: dict[str, FakeSession] = {}
        self._listeners: list[Listener] = []

    @property
    def level(self) -> Level:
        return self._level

    # Commands

    def create_session(self, session_id: str) -> None:
        self._begin("create_session")
        parse_session_id(session_id)
        with self._lock:
            if session_id in self._sessions:
                raise SessionExists(session_id)
            self._sessions[session_id] = FakeSession(session_id)
        self._tell_state(session_id)

    def add_graph(self, session_id: str, graph: bytes, *, placed: bool = False) -> Added:
        self._begin("add_graph")
        with self._lock:
            session = self._find(session_id)
            before = session.state
            self._refuse_unless(session, "adding drops", *_OPEN)
            reading = read(graph)
            if reading.graph is None and [found.code for found in reading.problems] == ["PS104"]:
                return Added(0, len(session.graph))
            problems = list(reading.problems)
            if reading.graph is not None:
                problems += session.taken(reading.graph)
                problems += self._misplaced(reading.graph, must_be_placed=placed)
            if problems or reading.graph is None:
                raise GraphInvalid(problems)
            session.add(reading.graph)
            session.state = advance(session.state, SessionEvent.GRAPH_ADDED)
            added = Added(len(reading.graph), len(session.graph), tuple(session.dangling()))
        if before is not session.state:
            self._tell_state(session_id)
        return added

    def _misplaced(
        self,
        graph: Any,
        *,
        must_be_placed: bool,  # Any: `Graph`, whose columns hold plain JSON
    ) -> Iterator[Problem]:
        if self._level is Level.NODE:
            return
        for i, ((node,), spec) in enumerate(zip(graph.columns("node"), graph.drops, strict=True)):
            if not node and not must_be_placed:
                continue
            if not node:
                yield Problem("PS501", "the drop has no node", spec.key, f"/{i}")
            elif not any(str(known).startswith(str(node)) for known in self._nodes):
                yield Problem("PS502", f"{node!r} is no node of ours", spec.key, f"/{i}/node")

    def link(self, session_id: str, left: str, kind: LinkKind, right: str) -> None:
        self._begin("link")
        with self._lock:
            session = self._find(session_id)
            self._refuse_unless(session, "linking", *_OPEN)
            unknown = [uid for uid in (left, right) if uid not in session.index]
            if unknown:
                raise DropUnknown(session_id, unknown)
            session.link(left, kind, right)

    def deploy(self, session_id: str, completed: Iterable[str] = ()) -> None:
        self._begin("deploy")
        uids = list(completed)
        with self._lock:
            session = self._find(session_id)
            self._refuse_unless(session, "deploying", *_OPEN)
            indices = session.indices(uids)
            if session.state is SessionState.PRISTINE:
                session.state = advance(session.state, SessionEvent.DEPLOY_STARTED)
            else:
                session.prepare()
                session.state = advance(session.state, SessionEvent.DEPLOY_STARTED)
                session.state = advance(session.state, SessionEvent.DEPLOYED)
                session.trigger(indices)
        self._tell_state(session_id)
        self._tell_drops(session_id)

    def trigger(self, session_id: str, uids: Iterable[str] | None = None) -> None:
        self._begin("trigger")
        with self._lock:
            session = self._find(session_id)
            indices = None if uids is None else session.indices(list(uids))
            self._refuse_unless(session, "triggering", "RUNNING")
            session.trigger(indices)
            ended = session.state is not SessionState.RUNNING
        self._tell_drops(session_id)
        if ended:
            self._tell_state(session_id)

    def finish(self, session_id: str, uid: str) -> None:
        """End an app that was told to wait."""
        with self._lock:
            session = self._find(session_id)
            session.finish(session.indices([uid])[0])
        self._tell_drops(session_id)
        self._tell_state(session_id)

    def cancel(self, session_id: str) -> None:
        self._begin("cancel")
        with self._lock:
            session = self._find(session_id)
            try:
                state = advance(session.state, SessionEvent.CANCELLED)
            except IllegalTransition:
                allowed = ("PRISTINE", "BUILDING", "DEPLOYING", "RUNNING", "CANCELLED")
                raise WrongState(session_id, "cancelling", session.state.name, allowed) from None
            session.cancel(state)
        self._tell_state(session_id)

    def destroy(self, session_id: str) -> None:
        self._begin("destroy")
        with self._lock:
            self._find(session_id)
            del self._sessions[session_id]
            self.subscribed.pop(session_id, None)
        self._tell(Change("session", session_id, {"state": "DELETED"}))

    # Questions

    def sessions(self) -> list[SessionInfo]:
        self._begin("sessions")
        with self._lock:
            return [self._info(session) for session in self._sessions.values()]

    def session(self, session_id: str) -> SessionInfo:
        self._begin("session")
        with self._lock:
            return self._info(self._find(session_id))

    def graph(self, session_id: str) -> bytes:
        with self._lock:
            session = self._find(session_id)
            raw = {spec.oid: msgspec.Raw(session.text(i)) for i, spec in enumerate(session.graph)}
        return msgspec.json.encode(raw)

    def graph_size(self, session_id: str) -> int:
        with self._lock:
            return len(self._find(session_id).graph)

    def graph_status(self, session_id: str, since: int | None = None) -> States:
        with self._lock:
            session = self._find(session_id)
            if session.flow is None:
                raise WrongState(session_id, "telling states", session.state.name, ("RUNNING", "FINISHED"))
            return session.states(since)

    def drop(self, session_id: str, uid: str) -> DropInfo:
        with self._lock:
            session = self._find(session_id)
            index = session.indices([uid])[0]
            state, execution = session.state_of(index)
            fields = msgspec.json.decode(session.text(index))
            is_data = execution == NO_APP
            content = session.contents.get(index)
            return DropInfo(
                uid,
                state,
                execution,
                node="" if self._level is Level.NODE else str(fields.get("node", "")),
                fields=fields,
                size_bytes=len(content) if content is not None else None,
                url=f"mem://fake/{session_id}/{uid}" if is_data else "",
                log=tuple(record for record in session.log if record["drop"] == uid),
                failure="it was told to fail" if execution == AppState.ERROR and fields.get("fails") else "",
            )

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        with self._lock:
            session = self._find(session_id)
            index = session.indices([uid])[0]
            state, execution = session.state_of(index)
            if execution != NO_APP:
                raise DropNotReadable(uid, "it is an app and holds no data")
            if state != DropState.COMPLETED:
                raise DropNotReadable(uid, f"it is {DropState(state).name}, not COMPLETED")
            return BytesIO(session.contents.get(index, b""))

    def log(self, session_id: str) -> Iterable[Mapping[str, str]]:
        with self._lock:
            node = self._nodes[0] if self._nodes else ""
            return [{**record, "node": node} for record in self._find(session_id).log]

    def log_file(self, session_id: str) -> Path | None:
        records = list(self.log(session_id))
        if self._directory is None or self._level is not Level.NODE:
            return None
        path = self._directory / f"{session_id}.log"
        path.write_text(
            "".join(f"{record['time']} [{record['drop']}] {record['text']}\n" for record in records)
        )
        return path

    def repro_data(self, session_id: str) -> Mapping[str, Any] | None:
        with self._lock:
            record = self._find(session_id).record
        return None if record is None else msgspec.json.decode(record, type=dict[str, Any])

    def repro_status(self, session_id: str) -> bool:
        with self._lock:
            session = self._find(session_id)
            return session.record is not None and session.state >= SessionState.FINISHED

    def nodes(self) -> list[NodeInfo]:
        return [NodeInfo(address, NodeState.ALIVE) for address in self._nodes]

    def listen(self, listener: Listener) -> Callable[[], None]:
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    # What only some managers offer

    def subscribe(self, session_id: str, relations: Mapping[str, Sequence[tuple[str, int, str]]]) -> None:
        """Note links to drops of peers."""
        with self._lock:
            self._refuse_unless(self._find(session_id), "subscribing", *_OPEN)
            self.subscribed[session_id] = relations

    def add_node(self, address: str) -> None:
        """Take a node in."""
        with self._lock:
            if address not in self._nodes:
                self._nodes.append(address)

    def remove_node(self, address: str) -> None:
        """Let a node go."""
        with self._lock:
            self._known(address)
            self._nodes.remove(address)

    def islands(self) -> list[str]:
        """Return the one island of a master."""
        return ["localhost:8001"] if self._level is Level.MASTER else []

    def sub_sessions(self, address: str) -> list[SessionInfo]:
        """Return the sessions of one node; all nodes have all of them."""
        with self._lock:
            self._known(address)
            infos = [self._info(session) for session in self._sessions.values()]
        return [SessionInfo(info.session_id, info.state, info.state, info.size) for info in infos]

    def _known(self, address: str) -> None:
        if address not in self._nodes:
            raise NodeUnknown(address, self._nodes)

    # Within

    def _begin(self, name: str) -> None:
        self.calls.append(name)
        if error := self.failing.get(name):
            raise error

    def _find(self, session_id: str) -> FakeSession:
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionNotFound(session_id, "create it first, or look at the list of sessions")
        return session

    def _refuse_unless(self, session: FakeSession, operation: str, *allowed: str) -> None:
        if session.state.name not in allowed:
            raise WrongState(session.session_id, operation, session.state.name, allowed)

    def _status(self, state: SessionState) -> StatusTree:
        if self._level is Level.NODE:
            return state
        below: dict[str, StatusTree] = dict.fromkeys(self._nodes, state)
        return {"localhost:8001": below} if self._level is Level.MASTER else below

    def _info(self, session: FakeSession) -> SessionInfo:
        return SessionInfo(
            session.session_id,
            session.state,
            self._status(session.state),
            len(session.graph),
            causes=tuple(session.causes()),
            stalled=session.is_stalled(),
            directory=f"/fake/{session.session_id}" if self._level is Level.NODE else "",
            seconds=time.monotonic() - session.began_s if session.state is SessionState.RUNNING else 0.0,
        )

    def _tell_state(self, session_id: str) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            self._tell(Change("session", session_id, {"state": session.state.name}))

    def _tell_drops(self, session_id: str) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.flow is not None:
            self._tell(Change("drops", session_id, {"version": session.version}))

    def _tell(self, change: Change) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(change)
