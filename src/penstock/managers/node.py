# SPDX-License-Identifier: Apache-2.0
"""The manager of one node: sessions that run here, on one pool of workers, with one way to other nodes."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from penstock.config import Settings
from penstock.drops.data import DataDrop
from penstock.engine.states import LinkKind, SessionState
from penstock.engine.whole import Command
from penstock.errors import DropNotReadable, DropUnknown, SessionExists, SessionNotFound
from penstock.graph.links import APP
from penstock.graph.spec import Graph
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
from penstock.managers.freeing import Freeing
from penstock.managers.listeners import Listeners
from penstock.managers.node_session import ENDED_STATES, NodeSession
from penstock.managers.relations import Relation
from penstock.runtime.exchange import Post
from penstock.workers.pool import WorkerPool

__all__ = ["NodeManager"]

log = logging.getLogger(__name__)

_ENDERS = 4
_CLOSE_S = 30.0


class NodeManager:
    """Meets `penstock.managers.api.Manager` for the sessions of this node.

    Args:
        address: `host:rest:events:rpc` of this node, by which others know it.
        epoch: number of this incarnation of the process; higher than all before.
        work_directory: where sessions have their folders; this node's alone.
        pool: of worker processes; closed by its owner after `close`.
        post: the way to other nodes.
    """

    level = Level.NODE

    def __init__(
        self,
        address: str,
        epoch: int,
        work_directory: Path,
        pool: WorkerPool,
        post: Post,
        settings: Settings | None = None,
    ) -> None:
        self.address = address
        self.epoch = epoch
        self.work_directory = work_directory
        self.pool = pool
        self.post = post
        self.settings = replace(settings or Settings(), captures=False)
        self.on_change: Callable[[NodeSession, str], None] | None = None
        """Told of what happens to sessions that managers above have created; must not wait."""
        self._sessions: dict[str, NodeSession] = {}
        self._lock = threading.Lock()
        self._listeners = Listeners()
        self._enders = ThreadPoolExecutor(_ENDERS, "penstock-end")
        self._freeing = Freeing()

    # For sessions (managers.node_session.Host)

    def end(self, call: Callable[[], None]) -> None:
        """Make a call that may take some time."""
        with suppress(RuntimeError):  # this node closes, and closes all its sessions itself
            self._enders.submit(_guarded, call)

    def announce(self, session: NodeSession, kind: str) -> None:
        """Tell everybody who wants to know that a session has changed."""
        detail = {"state": session.state.name} if kind == "session" else {"version": session.changes.version}
        self._listeners.tell(Change(kind, session.session_id, detail))
        if session.claim and self.on_change is not None:
            self.on_change(session, kind)

    # Sessions

    def create_session(self, session_id: str) -> None:
        self.claim_session(session_id, "")

    def claim_session(self, session_id: str, claim: str) -> None:
        """Make a session for a manager above; once more with the same claim changes nothing.

        Raises:
            SessionIdInvalid, SessionExists: as `create_session`.
        """
        name = parse_session_id(session_id)
        with self._lock:
            known = self._sessions.get(name)
            if known is not None:
                if claim and known.claim == claim:
                    return
                raise SessionExists(session_id)
            session = self._sessions[name] = NodeSession(name, self, claim)
        self.announce(session, "session")

    def withdraw_session(self, session_id: str, claim: str) -> None:
        """Forget what was deployed by a manager above: the session is as new."""
        session = self.find(session_id)
        if session.claim != claim:
            raise SessionNotFound(session_id, "another manager has created the one that is here")
        session.destroy()
        with self._lock:
            if self._sessions.get(session_id) is session:  # else it was deleted meanwhile
                self._sessions[session_id] = NodeSession(session.session_id, self, claim)

    def find(self, session_id: str) -> NodeSession:
        """Return a session.

        Raises:
            SessionNotFound: there is none of that id.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionNotFound(session_id, "it was never created here, or was deleted")
        return session

    def subscribe(self, session_id: str, relations: Mapping[str, Sequence[Relation]]) -> None:
        """Note what drops of a session here are to drops of other nodes, by their addresses; before it is deployed.

        Raises:
            WrongState: it is deployed.
        """
        self.find(session_id).subscribe(relations)

    def add_graph(self, session_id: str, graph: bytes, *, placed: bool = False) -> Added:
        del placed  # all drops live here
        return self.find(session_id).add(graph)

    def link(self, session_id: str, left: str, kind: LinkKind, right: str) -> None:
        self.find(session_id).link(left, kind, right)

    def deploy(self, session_id: str, completed: Iterable[str] = ()) -> None:
        self.find(session_id).deploy(list(completed))

    def trigger(self, session_id: str, uids: Iterable[str] | None = None) -> None:
        self.find(session_id).trigger(uids)

    def cancel(self, session_id: str) -> None:
        self.find(session_id).cancel()

    def destroy(self, session_id: str) -> None:
        session = self.find(session_id)
        self._freeing.when_gone(session, session.destroy())
        with self._lock:
            is_ours = self._sessions.get(session_id) is session
            if is_ours:  # else another call was quicker, and there may be a new session of this id
                del self._sessions[session_id]
        if is_ours:
            self._listeners.tell(Change("session", session_id, {"state": "DELETED"}))

    # What is known

    def sessions(self) -> list[SessionInfo]:
        with self._lock:
            sessions = list(self._sessions.values())
        return [_info(session) for session in sessions]

    def session(self, session_id: str) -> SessionInfo:
        return _info(self.find(session_id))

    def graph(self, session_id: str) -> bytes:
        session = self.find(session_id)
        graph = session.gathered.graph()
        return b"{}" if graph is None else b"{" + b",".join(_entries(session, graph)) + b"}"

    def graph_size(self, session_id: str) -> int:
        return _info(self.find(session_id)).size

    def graph_status(self, session_id: str, since: int | None = None) -> States:
        return self.find(session_id).states(since)

    def drop(self, session_id: str, uid: str) -> DropInfo:
        session = self.find(session_id)
        graph = session.gathered.graph()
        index = None if graph is None else graph.index.get(uid)
        if graph is None or index is None or session.is_ghost(index):
            raise DropUnknown(session_id, [uid])
        fields = graph.fields(index)
        run = session.run
        if run is None:
            return DropInfo(uid, 0, NO_APP, fields=fields)
        is_app = run.prepared.wiring.kinds[index] == APP
        found = None if is_app else run.drop(index)
        failures = [failure for failure in run.failures.kept if failure.uid == uid]
        return DropInfo(
            uid,
            run.flow.state[index],
            run.flow.execution[index] if is_app else NO_APP,
            self.address,
            fields,
            int(found.size) if isinstance(found, DataDrop) and found.holds_bytes else None,
            found.url if isinstance(found, DataDrop) else "",
            [record for record in self.log(session_id) if record["drop"] == uid],
            f"{failures[0].error}: {failures[0].message}" if failures else "",
        )

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        run = self.find(session_id).run
        index = None if run is None else run.prepared.graph.index.get(uid)
        if run is None or index is None or self.find(session_id).is_ghost(index):
            if uid in self.find(session_id).gathered and run is None:
                raise DropNotReadable(uid, "holds nothing: its session was not deployed")
            raise DropUnknown(session_id, [uid])
        drop = run.drop(index)
        if not isinstance(drop, DataDrop):
            raise DropNotReadable(uid, "is an app, only data can be read")
        return cast("BinaryIO", drop.open())

    def log(self, session_id: str) -> Iterator[Mapping[str, str]]:
        run = self.find(session_id).run
        if run is None:
            return
        run.folder.flush()
        for line in run.folder.read_lines("log.jsonl"):
            moment = datetime.fromtimestamp(float(line.get("time") or 0.0), UTC)
            yield {
                "drop": str(line["drop"]),
                "time": moment.isoformat(timespec="milliseconds"),
                "stream": str(line["stream"]),
                "text": str(line["text"]),
                "node": self.address,
            }

    def log_file(self, session_id: str) -> Path | None:
        run = self.find(session_id).run
        return None if run is None else run.folder.path("log.jsonl")

    def repro_data(self, session_id: str) -> Mapping[str, Any] | None:  # Any: JSON as the translator wrote it
        return self.find(session_id).gathered.record

    def repro_status(self, session_id: str) -> bool:
        # No drop files reproducibility data yet: when the session has ended, nothing is left to wait for.
        return self.find(session_id).state in ENDED_STATES

    def nodes(self) -> list[NodeInfo]:
        return []

    def listen(self, listener: Listener) -> Callable[[], None]:
        return self._listeners.add(listener)

    # Other nodes

    def receive(self, node: str, session_id: str, message: Any) -> None:  # Any: engine.part.Message
        """Take a message of another node; one for a session that is not here is passed over."""
        session = self._sessions.get(session_id)
        if session is not None and session.exchange is not None:
            session.exchange.receive(node, message)

    def reconnected(self, node: str) -> None:
        """Tell a node again what it may have missed."""
        for session in list(self._sessions.values()):
            if session.exchange is not None:
                session.exchange.reconnected(node)

    def close(self) -> None:
        """Cancel all sessions and end all threads; the folders stay."""
        sessions = list(self._sessions.values())
        for session in sessions:  # all are told before any is waited for
            session.obey(Command.CANCEL, SessionState.CANCELLED)
        for session in sessions:
            session.close()
        self._enders.shutdown(wait=True, cancel_futures=True)
        self._freeing.close()


def _guarded(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:  # the boundary of a thread: one session's trouble is not another's
        log.exception("a session could not be closed")


def _info(session: NodeSession) -> SessionInfo:
    run = session.run
    return SessionInfo(
        session.session_id,
        session.state,
        session.state,
        session.size,
        session.told_causes(),
        session.stalled,
        "" if run is None else str(run.directory),
        session.seconds,
    )


def _entries(session: NodeSession, graph: Graph) -> Iterator[bytes]:
    for index, (spec, text) in enumerate(zip(graph.drops, graph.pieces(), strict=True)):
        if not session.is_ghost(index):
            yield msgspec.json.encode(spec.oid) + b":" + text
