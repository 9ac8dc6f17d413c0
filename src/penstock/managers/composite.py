# SPDX-License-Identifier: Apache-2.0
"""A manager of managers: sessions that are spread over those below it, at any depth.

It checks and divides graphs, decides (or lets the manager above decide) when a session is over, and answers all
questions from what it has been told. `composite_session.py` has what it knows of one session, `below.py` how it
speaks with those below, `spread.py` what it makes them do.

Rule 1: what is ordered is written down first and repeated with every beat until it is done or its manager is lost.
Rule 2: no lock is held while somebody below is asked, but `operating` of a session: its operations are done one
        after the other.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Any, BinaryIO

import msgspec

from penstock.engine.session import SessionEvent, advance
from penstock.engine.states import DropState, LinkKind, SessionState
from penstock.errors import (
    DropNotReadable,
    DropUnknown,
    NodeUnknown,
    SessionExists,
    SessionNotFound,
    WrongState,
)
from penstock.graph import analyse
from penstock.graph.placement import Attribute
from penstock.ids import parse_session_id
from penstock.managers.api import (
    NO_APP,
    Added,
    Change,
    DropInfo,
    Level,
    Listener,
    NodeInfo,
    SessionInfo,
    States,
)
from penstock.managers.below import Below, Sub
from penstock.managers.composite_session import CompositeSession
from penstock.managers.freeing import Freeing
from penstock.managers.listeners import Listeners
from penstock.managers.orders import LookAt, News, ReadLog, SessionNews
from penstock.managers.spread import ENDED_STATES, Spread

__all__ = ["CompositeManager"]

_OPEN = (SessionState.PRISTINE, SessionState.BUILDING)
_LOOK_S = 10.0


class CompositeManager:
    """Meets `penstock.managers.api.Manager` over managers below.

    Args:
        address: of this manager.
        epoch: number of this incarnation of the process.
        attribute: the field of drops that says which manager below has them: "node" or "island".
        connect: returns the full address of a manager, and a way to it, not started.
    """

    def __init__(
        self,
        level: Level,
        address: str,
        epoch: int,
        below: Below,
        attribute: Attribute,
        connect: Callable[[str], tuple[str, Sub]],
    ) -> None:
        self.level = level
        self._connect = connect
        self.address = address
        self.epoch = epoch
        self.below = below
        self.spread = Spread(below, attribute, self._announce)
        self.on_change: Callable[[str], None] | None = None
        """Told the claim of a session that a manager above has created, when it changes; must not wait."""
        self._sessions: dict[str, CompositeSession] = {}
        self._lock = threading.Lock()
        self._listeners = Listeners()
        self._freeing = Freeing()
        self._created = 0

    def start(self) -> None:
        """Begin to watch those below."""
        self.below.start(self)

    def close(self) -> None:
        """End all connections; sessions go on below."""
        self.below.close()
        self._freeing.close()

    # Sessions

    def create_session(self, session_id: str) -> None:
        self.claim_session(session_id, "")

    def claim_session(self, session_id: str, claim: str) -> None:
        """Make a session, for a manager above where there is a claim; once more with the same claim goes on."""
        name = parse_session_id(session_id)
        with self._lock:
            session = self._sessions.get(name)
            if session is None:
                self._created += 1
                token = f"{self.address}#{self.epoch}#{self._created}"
                session = self._sessions[name] = CompositeSession(name, claim, token, self.below.names)
        with session.operating:
            if not session.unclaimed or self._sessions.get(name) is not session:  # somebody else was quicker
                if claim and session.claim == claim:
                    return
                raise SessionExists(session_id)
            self.spread.claim(session)
        self._announce(session, "session")

    def find(self, session_id: str) -> CompositeSession:
        """Return a session that all below have.

        Raises:
            SessionNotFound: there is none of that id.
        """
        session = self._sessions.get(session_id)
        if session is None or session.unclaimed:
            raise SessionNotFound(session_id, "it was never created here, or was deleted")
        return session

    @contextmanager
    def operating(self, session_id: str) -> Iterator[CompositeSession]:
        """Lend a session to one operation after the other.

        Raises:
            SessionNotFound: there is none, or not any more.
        """
        session = self.find(session_id)
        with session.operating:
            if self._sessions.get(session_id) is not session:
                raise SessionNotFound(session_id, "it was deleted just now")
            yield session

    def add_graph(self, session_id: str, graph: bytes, *, placed: bool = False) -> Added:
        """Add drops.

        Args:
            placed: refuse drops that do not say where they live.
        """
        with self.operating(session_id) as session:
            _need(session, "adding drops", _OPEN)
            check = self.spread.check_placed if placed else None
            count = session.gathered.add(graph, check)
            if count:
                self._become(session, advance(session.state, SessionEvent.GRAPH_ADDED))
            return Added(count, len(session.gathered))

    def link(self, session_id: str, left: str, kind: LinkKind, right: str) -> None:
        with self.operating(session_id) as session:
            _need(session, "linking", _OPEN)
            session.gathered.link(session_id, left, kind, right)

    def deploy(self, session_id: str, completed: Iterable[str] = ()) -> None:
        uids = list(completed)
        with self.operating(session_id) as session:
            _need(session, "deploying", _OPEN)
            if missing := [uid for uid in uids if uid not in session.gathered]:
                raise DropUnknown(session_id, missing)
            graph = session.gathered.graph()
            if graph is None:
                self._become(session, advance(session.state, SessionEvent.DEPLOY_STARTED))
                return
            self._become(session, advance(session.state, SessionEvent.DEPLOY_STARTED))
            try:
                self.spread.deploy(session, graph, {}, time_ns())
            except BaseException:
                self._become(session, SessionState.BUILDING)
                raise
            self.spread.begin(session)
            self._announce(session, "session")
            if uids:
                self.spread.trigger(session, uids)

    def trigger(self, session_id: str, uids: Iterable[str] | None = None) -> None:
        with self.operating(session_id) as session:
            _need(session, "triggering", (SessionState.RUNNING,))
            deployment = session.deployment
            assert deployment is not None
            drops, index = deployment.graph.drops, deployment.graph.index
            names = [drops[i].key for i in analyse.roots(deployment.wiring)] if uids is None else list(uids)
            if missing := [uid for uid in names if uid not in index]:
                raise DropUnknown(session_id, missing)
            self.spread.trigger(session, names)

    def cancel(self, session_id: str) -> None:
        with self.operating(session_id) as session:
            if session.state in (SessionState.FINISHED, SessionState.FAILED):
                raise WrongState(session_id, "cancelling", session.state.name, ("RUNNING",))
            self.spread.cancel(session)

    def destroy(self, session_id: str) -> None:
        with self._lock:
            session = self._sessions.get(session_id)
        if session is None:
            raise SessionNotFound(session_id, "it was never created here, or was deleted")
        with session.operating:
            if self._sessions.get(session_id) is not session:
                raise SessionNotFound(session_id, "it was deleted just now")
            if session.state not in ENDED_STATES:
                self.spread.cancel(session)
            self.spread.destroy(session)
            with self._lock:
                self._sessions.pop(session_id, None)
            self._freeing.when_gone(session, session.tables())
        self._listeners.tell(Change("session", session_id, {"state": "DELETED"}))

    # What is known

    def sessions(self) -> list[SessionInfo]:
        with self._lock:
            sessions = [session for session in self._sessions.values() if not session.unclaimed]
        return [self._info(session) for session in sessions]

    def session(self, session_id: str) -> SessionInfo:
        return self._info(self.find(session_id))

    def _info(self, session: CompositeSession) -> SessionInfo:
        with session.lock:
            return SessionInfo(
                session.session_id,
                session.state,
                session.status_tree(self.below.behind()),
                session.size,
                tuple(session.causes),
                session.stalled,
                "",
                session.age_s(),
            )

    def graph(self, session_id: str) -> bytes:
        session = self.find(session_id)
        graph = session.gathered.graph()
        if graph is None:
            return b"{}"
        entries = zip(graph.drops, graph.pieces(), strict=True)
        return b"{" + b",".join(msgspec.json.encode(spec.oid) + b":" + text for spec, text in entries) + b"}"

    def graph_size(self, session_id: str) -> int:
        return self.find(session_id).size

    def graph_status(self, session_id: str, since: int | None = None) -> States:
        session = self.find(session_id)
        with session.lock:
            if session.deployment is None:
                raise WrongState(session_id, "asking for states", session.state.name, ["RUNNING"])
            return session.states(since)

    def drop(self, session_id: str, uid: str) -> DropInfo:
        session = self.find(session_id)
        sub = self._sub_of(session, uid)
        if not sub:
            graph = session.gathered.graph()
            assert graph is not None
            return DropInfo(uid, 0, NO_APP, fields=graph.fields(graph.index[uid]))
        seen = self.below.ask(sub, LookAt(session_id=session_id, uid=uid), _LOOK_S).result(2 * _LOOK_S)
        return DropInfo(**{name: getattr(seen, name) for name in seen.__struct_fields__})

    def _sub_of(self, session: CompositeSession, uid: str) -> str:
        """Return the manager below that has a drop, "" where the session was not deployed.

        Raises:
            DropUnknown: the session has no such drop.
        """
        deployment = session.deployment
        if deployment is None:
            if uid not in session.gathered:
                raise DropUnknown(session.session_id, [uid])
            return ""
        index = deployment.graph.index.get(uid)
        if index is None or not deployment.sub_of[index]:
            raise DropUnknown(session.session_id, [uid])
        return deployment.sub_of[index]

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        session = self.find(session_id)
        sub = self._sub_of(session, uid)
        if not sub:
            raise DropNotReadable(uid, "holds nothing: its session was not deployed")
        with session.lock:
            state, execution = session.state_of(uid)
        if state != DropState.COMPLETED:  # as far as is known here, which may be a moment old
            seen = self.drop(session_id, uid)
            state, execution = seen.state, seen.execution
        if execution != NO_APP:
            raise DropNotReadable(uid, "is an app, only data can be read")
        if state != DropState.COMPLETED:
            raise DropNotReadable(uid, f"is {DropState(state).name}, only COMPLETED data can be read")
        return self.below.open_data(sub, session_id, uid)

    def log(self, session_id: str) -> Iterator[Mapping[str, str]]:
        session = self.find(session_id)
        for sub in session.subs:
            after = 0
            while True:
                request = ReadLog(session_id=session_id, after=after)
                page = self.below.ask(sub, request, _LOOK_S).result(2 * _LOOK_S)
                yield from page.records
                after = page.after
                if not after:
                    break

    def log_file(self, session_id: str) -> Path | None:
        self.find(session_id)
        return None

    def repro_data(self, session_id: str) -> Mapping[str, Any] | None:  # Any: JSON as the translator wrote it
        return self.find(session_id).gathered.record

    def repro_status(self, session_id: str) -> bool:
        # No drop files reproducibility data yet: when the session has ended, nothing is left to wait for.
        return self.find(session_id).state in ENDED_STATES

    def nodes(self) -> list[NodeInfo]:
        return self.below.infos()

    # Who is below

    def add_node(self, address: str) -> None:
        """Take a manager in; one that is in already is left as it is. Sessions that exist do without it."""
        name, sub = self._connect(address)
        self.below.add(name, sub)

    def remove_node(self, address: str) -> None:
        """Let a manager go; it is lost to sessions that run there.

        Raises:
            NodeUnknown: it is none of those below.
        """
        name, _ = self._connect(address)
        self.below.remove(name)
        self.lost(name, f"{name} was taken out of this deployment")

    def islands(self) -> list[str]:
        """Return the addresses of the islands right below, none at an island."""
        return list(self.below.names) if self.level is Level.MASTER else []

    def sub_sessions(self, address: str) -> list[SessionInfo]:
        """Return the sessions of one manager below, as far as they are known here.

        Raises:
            NodeUnknown: it is none of those below.
        """
        name, _ = self._connect(address)
        if name not in self.below.names:
            raise NodeUnknown(address, list(self.below.names))
        with self._lock:
            sessions = [session for session in self._sessions.values() if name in session.subs]
        return [session.info_at(name) for session in sessions if not session.unclaimed]

    def listen(self, listener: Listener) -> Callable[[], None]:
        return self._listeners.add(listener)

    # What those below tell (managers.below.Events)

    def known(self, sub: str) -> dict[str, tuple[int, int]]:
        with self._lock:
            sessions = list(self._sessions.values())
        return {s.session_id: s.known.get(sub, (0, 0)) for s in sessions if s.is_followed(sub)}

    def news(self, sub: str, news: News) -> None:
        for session_id, told in news.sessions.items():
            session = self._sessions.get(session_id)
            if session is not None:
                self.spread.take(session, sub, told)
        for session_id in news.gone:
            session = self._sessions.get(session_id)
            if session is not None:
                self.spread.lost(session, sub, f"{sub} does not have the session any more")

    def lost(self, sub: str, cause: str, epoch: int | None = None) -> None:
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            self.spread.lost(session, sub, cause, epoch)
        self._listeners.tell(Change("node", "", {"node": sub, "state": self.below.state(sub).value}))

    def tick(self) -> None:
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            self.spread.order(session)
        self.spread.clean()

    def told(self, session: CompositeSession, known: tuple[int, int]) -> SessionNews | None:
        """Return what is new of a session for the manager above, None for nothing."""
        serial, version = known
        with session.lock:
            return None if session.serial <= serial else session.news(version, self.below.behind())

    def _become(self, session: CompositeSession, state: SessionState) -> None:
        with session.lock:
            session.state = state
            session.serial += 1
        self._announce(session, "session")

    def _announce(self, session: CompositeSession, kind: str) -> None:
        detail = {"state": session.state.name} if kind == "session" else {"version": session.changes.version}
        self._listeners.tell(Change(kind, session.session_id, detail))
        if session.claim and self.on_change is not None:
            self.on_change(session.claim)


def _need(session: CompositeSession, operation: str, allowed: tuple[SessionState, ...]) -> None:
    if session.state not in allowed:
        names = [state.name for state in allowed]
        raise WrongState(session.session_id, operation, session.state.name, names)
