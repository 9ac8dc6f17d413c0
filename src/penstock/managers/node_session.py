# SPDX-License-Identifier: Apache-2.0
"""One session of a node manager, from its creation to its end.

Drops are gathered until it is deployed; then a `runtime.Session` runs them and an `Exchange` speaks with the nodes
where their neighbours live. Who created the session owns it and decides when it is over: this node itself, or the
manager above whose claim it bears.

Rule 1: operations take `_operating`, one at a time. What only looks takes no lock that anybody holds while waiting.
Rule 2: an operation that fails leaves the session as it was.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import time_ns
from typing import Protocol

import numpy as np

from penstock.config import Settings
from penstock.engine.session import SessionEvent, advance
from penstock.engine.states import LinkKind, SessionState
from penstock.engine.whole import OWNER, Command, Report, Whole
from penstock.errors import DirectoryInUse, DropUnknown, WrongState
from penstock.graph import analyse
from penstock.graph.spec import Graph
from penstock.ids import NodeAddress, SessionId
from penstock.managers.api import Added, States
from penstock.managers.changes import ChangeLog, told, under_way
from penstock.managers.freeing import Tables
from penstock.managers.gathered import Gathered
from penstock.managers.orders import SessionNews
from penstock.managers.relations import Relation, check_kinds, wired
from penstock.runtime.build import Prepared, prepare
from penstock.runtime.exchange import Exchange, Post
from penstock.runtime.folder import Folder
from penstock.runtime.ghosts import NO_GHOSTS, Ghosts, find_ghosts, pass_over
from penstock.runtime.places import find_places
from penstock.runtime.result import RunResult
from penstock.runtime.session import Session
from penstock.workers.pool import WorkerPool

__all__ = ["ENDED_STATES", "Host", "NodeSession"]

ENDED_STATES = frozenset({SessionState.FINISHED, SessionState.FAILED, SessionState.CANCELLED})

_OPEN = (SessionState.PRISTINE, SessionState.BUILDING)
_FOLDERS = 1000
_CAUSES = 10


class Host(Protocol):
    """What a session asks of its node."""

    address: str
    epoch: int
    pool: WorkerPool
    settings: Settings
    work_directory: Path
    post: Post

    def end(self, call: Callable[[], None]) -> None:
        """Make a call that may take some time, on a thread of the node."""

    def announce(self, session: "NodeSession", kind: str) -> None:
        """Tell listeners and the manager above that something has changed; must not wait."""


class NodeSession:
    """A session, and all that can be done to it.

    Args:
        claim: says which manager above has created it; "" where a client did.
    """

    def __init__(self, session_id: SessionId, host: Host, claim: str = "") -> None:
        self.session_id = session_id
        self.claim = claim
        self.causes: list[str] = []
        self.report: Report | None = None
        self.run: Session | None = None
        self.exchange: Exchange | None = None
        self.changes = ChangeLog()
        self.serial = 0
        """Grows with everything that happens to the session."""
        self._triggered = 0
        self._seen = (0, b"")
        self._own = host.address
        self._epoch = 0
        self._host = host
        self._state = SessionState.PRISTINE
        self._gathered = Gathered()
        self._ghosts = NO_GHOSTS
        self._relations: dict[str, list[Relation]] = {}
        self._whole = Whole([host.address])
        self._operating = threading.Lock()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._result: RunResult | None = None
        self._is_doomed = False

    # Operations

    def add(self, text: bytes) -> Added:
        """Add drops; see `Manager.add_graph`."""
        with self._operating:
            self._need("adding drops", _OPEN)
            count = self._gathered.add(text)
            if count:
                self._become(advance(self._state, SessionEvent.GRAPH_ADDED))
            return Added(count, len(self._gathered))

    def link(self, left: str, kind: LinkKind, right: str) -> None:
        """Add a link; see `Manager.link`."""
        with self._operating:
            self._need("linking", _OPEN)
            self._gathered.link(self.session_id, left, kind, right)

    def subscribe(self, relations: Mapping[str, Sequence[Relation]]) -> None:
        """Note what drops here are to drops of other nodes; see `relations.py`."""
        with self._operating:
            self._need("subscribing", _OPEN)
            named = {str(NodeAddress.parse(node)): check_kinds(rows) for node, rows in relations.items()}
            for node, rows in named.items():
                self._relations.setdefault(node, []).extend(rows)

    def deploy(self, completed: Sequence[str]) -> None:
        """Make the session run what was gathered; see `Manager.deploy`."""
        with self._operating:
            self._need("deploying", _OPEN)
            if missing := [uid for uid in completed if uid not in self._gathered]:
                raise DropUnknown(self.session_id, missing)
            graph = self._gathered.graph()
            if graph is None:
                self._become(advance(self._state, SessionEvent.DEPLOY_STARTED))
                return
            graph, homes = wired(self.session_id, graph, self._relations)
            self._epoch = time_ns()
            self._deploy(graph, homes)
        self.trigger(completed)

    def deploy_share(self, text: bytes, homes: Mapping[str, str], own: str, epoch: int) -> None:
        """Make the session run a share of a graph, given by the manager above; nothing is triggered.

        Args:
            homes: uid of each drop that lives on another node, with that node's address.
            own: the address by which those nodes know this one.
            epoch: number of the deployment, the same on all nodes and higher than those of all before it.
        """
        with self._operating:
            self._need("deploying", _OPEN)
            self._own, self._epoch = own, epoch
            gathered = Gathered()
            gathered.add(text)
            graph = gathered.graph()
            before, self._gathered = self._gathered, gathered
            try:
                if graph is None:
                    self._become(SessionState.RUNNING)  # it has no part in the session but its end
                else:
                    self._deploy(graph, homes)
            except BaseException:
                self._gathered = before
                raise

    def _deploy(self, graph: Graph, homes: Mapping[str, str]) -> None:
        before = self._state
        if before is SessionState.PRISTINE:
            self._state = advance(before, SessionEvent.GRAPH_ADDED)
        self._become(advance(self._state, SessionEvent.DEPLOY_STARTED))
        try:
            session, ghosts = self._made(prepare(graph, import_users=False, must_be_here=False), homes)
            least = self._epoch if self.claim else 0  # nobody has told the other nodes ours
            try:
                exchange = Exchange(
                    session, ghosts, self._own, (self._epoch, least), self._host.post, self._reported
                )
            except BaseException:
                session.close()
                raise
            session.watch(self._heard, exchange.rest)
        except BaseException:
            self._become(before)
            raise
        self.run, self.exchange, self._ghosts = session, exchange, ghosts
        self._become(SessionState.RUNNING)
        exchange.start()

    def _made(self, prepared: Prepared, homes: Mapping[str, str]) -> tuple[Session, Ghosts]:
        """Return the session, deployed in a folder of its own."""
        host = self._host
        if prepared.foreign:
            prepared = pass_over(prepared, homes)
        prepared, placement = find_places(prepared, host.pool, None, self.session_id, may_import=False)
        prepared, ghosts = find_ghosts(prepared, homes)
        if placement is not None:
            for index in (*ghosts.homes, *ghosts.fetched):
                placement.away[index] = 0
        crew = None if placement is None else (host.pool, placement)
        for number in range(1, _FOLDERS):
            name = self.session_id if number == 1 else f"{self.session_id}~{number}"
            folder = Folder(host.work_directory / name)
            session = Session(self.session_id, prepared, folder, host.settings, crew, ghosts)
            try:
                session.deploy()
            except DirectoryInUse:  # what a deleted session of this id has left
                session.close()
                if number + 1 == _FOLDERS or not folder.directory.is_dir():
                    raise
            except BaseException:
                session.close()
                raise
            else:
                break
        return session, ghosts

    def trigger(self, uids: Iterable[str] | None) -> None:
        """Complete data and start apps; see `Manager.trigger`."""
        run = self._running("triggering")
        index = run.prepared.graph.index
        if uids is None:
            rows = [i for i in analyse.roots(run.prepared.wiring) if i not in self._ghosts.homes]
        else:
            names = list(uids)
            if missing := [uid for uid in names if uid not in index or index[uid] in self._ghosts.homes]:
                raise DropUnknown(self.session_id, missing)
            rows = [index[uid] for uid in names]
        assert self.exchange is not None
        if not self.claim:
            self._whole.triggered(self._host.address)
        self.exchange.trigger(rows)

    def trigger_once(self, number: int, uids: Iterable[str]) -> None:
        """Do what the owner has triggered, unless that was done already.

        Args:
            number: 1 for the first of the session, and so on.
        """
        with self._operating:
            if number > self._triggered:
                self.trigger(uids)
                self._triggered = number

    def cancel(self) -> None:
        """End everything; see `Manager.cancel`."""
        with self._operating:
            if self.state in (SessionState.FINISHED, SessionState.FAILED):
                raise WrongState(self.session_id, "cancelling", self.state.name, ("RUNNING",))
            self._whole.cancelled()
            self._cancel()
        self.close_run()

    def _cancel(self, *, failed: bool = False) -> None:
        if self.run is None:
            self._become(SessionState.FAILED if failed else SessionState.CANCELLED)
            self._closed.set()
            return
        assert self.exchange is not None
        self.exchange.end()
        self.run.cancel(failed=failed)
        self._ended()

    def obey(self, command: Command, verdict: SessionState, causes: Sequence[str] = ()) -> None:
        """Do what the owner says; again is no different from once.

        Args:
            verdict: how the session as a whole has ended, RUNNING where it has not.
            causes: why it failed.
        """
        with self._operating:
            if self.state in ENDED_STATES:
                return
            self.causes += [cause for cause in causes if cause not in self.causes]
            run = self.run
            failed = verdict is SessionState.FAILED
            if command is Command.CANCEL:
                self._cancel(failed=failed)
            elif run is None:
                if command is Command.CONCLUDE:
                    self._become(verdict)
            elif command is Command.SKIP_REST:
                with run.lock:
                    run.skip_rest()
            else:
                with run.lock:
                    run.conclude(failed=failed)
                self._ended()

    def _ended(self) -> None:
        """Give back what only a running session needs."""
        assert self.exchange is not None
        self.exchange.rest()
        self._announce("session")
        self._host.end(self.close_run)

    def close_run(self) -> None:
        """End all threads, processes and files of what has run; returns when they are gone."""
        run, exchange = self.run, self.exchange
        with self._closing:
            if run is None or exchange is None or self._closed.is_set():
                return
            exchange.end()
            run.close()
            if self.claim:
                exchange.close()  # else other nodes may still wait for what was told and not acknowledged
            if not self._is_doomed:
                self._result = RunResult(run)
                self._result.write()
            self._closed.set()

    def destroy(self) -> Tables:
        """End the session and give back all it has, but for data that is to stay; return what fills the memory."""
        self._is_doomed = True
        self.close()
        graphs, run = self._gathered.graphs, self.run
        if run is None:
            return Tables(graphs)
        run.let_go()
        run.clear()
        run.watch(_pass_over, _pass)  # so that nothing of the session holds this object
        prepared = run.prepared
        named: list[str] = self.__dict__.pop("_uids", [])  # as `cached_property` keeps it
        return Tables((*graphs, prepared.graph), (prepared.wiring.before, prepared.wiring.after, named))

    def close(self) -> None:
        """End the session and close all threads and files; its folder stays."""
        if self.state not in ENDED_STATES:
            self.obey(Command.CANCEL, SessionState.CANCELLED)
        if self.run is not None and self.exchange is not None:
            self.close_run()
            self.exchange.close()
            self._result = None  # whose end lets the run go; until then its data can be read

    # What happens

    def _heard(self, rows: Sequence[int]) -> None:
        assert self.exchange is not None
        self.changes.note(rows)
        self.exchange.hear(rows)

    def _reported(self, report: Report) -> None:
        """Take a report of the exchange; on the telling thread."""
        self.report = report
        self._announce("drops")
        if self.claim:
            return
        address, whole = self._host.address, self._whole
        whole.report(address, self._alone(report) if self._ghosts.homes else report)
        for _, command in whole.commands():
            whole.acknowledged(address, command)
            self.obey(command, whole.verdict or SessionState.RUNNING)

    def _alone(self, report: Report) -> Report:
        """Return a report of a session whose other parts nobody here knows: it ends when its own drops have ended."""
        run = self.run
        assert run is not None
        with run.lock:
            has_ended = not any(run.flow.waiting())
        triggers = {OWNER: report.received.get(OWNER, 0)}
        return replace(report, leaves_ended=has_ended, sent={}, received=triggers)

    def _announce(self, kind: str) -> None:
        self.serial += 1  # only to be seen to grow: two threads at once may count for one
        self._host.announce(self, kind)

    def _become(self, state: SessionState) -> None:
        self._state = state
        self._announce("session")

    def _need(self, operation: str, allowed: Sequence[SessionState]) -> None:
        if self.state not in allowed:
            raise WrongState(self.session_id, operation, self.state.name, [state.name for state in allowed])

    def _running(self, operation: str) -> Session:
        run = self.run
        if run is None or run.state is not SessionState.RUNNING:
            raise WrongState(self.session_id, operation, self.state.name, [SessionState.RUNNING.name])
        return run

    # Questions

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        run = self.run
        return self._state if run is None else run.state

    @property
    def stalled(self) -> bool:
        """Whether it runs and nothing in it can go on unless somebody triggers a drop."""
        return not self.claim and self.state is SessionState.RUNNING and self._whole.stalled

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return 0.0 if self.run is None else self.run.age_s()

    @property
    def size(self) -> int:
        """How many drops live here."""
        return len(self._gathered) if self.run is None else len(self.run.flow) - len(self._ghosts.homes)

    @property
    def gathered(self) -> Gathered:
        """Its drops."""
        return self._gathered

    @cached_property
    def _uids(self) -> list[str]:
        assert self.run is not None
        return [spec.key for spec in self.run.prepared.graph.drops]

    def is_ghost(self, index: int) -> bool:
        """Whether a drop lives on another node."""
        return index in self._ghosts.homes

    def states(self, since: int | None) -> States:
        """Return the states of drops; indices are those of the share where there are ghosts.

        Raises:
            WrongState: it was not deployed.
        """
        run = self.run
        if run is None:
            raise WrongState(self.session_id, "asking for states", self.state.name, ["RUNNING"])
        with run.lock:
            states = told(
                self.changes, since, self._uids, run.prepared.wiring.kinds, run.flow.state, run.flow.execution
            )
        if not self._ghosts.homes:
            return states
        return _without(states, self._ghosts.homes)

    def news(self, known: tuple[int, int]) -> SessionNews | None:
        """Return what the manager above does not know, None for nothing.

        Args:
            known: the serial and the version that it knows.
        """
        self._look()
        serial, report = self.serial, self.report  # first: what happens from now on will be news once more
        if serial <= known[0]:
            return None
        states = None if self.run is None else self.states(known[1] or None)
        rows: Sequence[int] = ()
        if states is not None:
            rows = range(len(states.uids)) if states.indices is None else states.indices
        return SessionNews(
            epoch=self._epoch,
            serial=serial,
            status=int(self.state),
            version=0 if states is None else states.version,
            indices=np.asarray(rows, np.int32).tobytes(),
            states=b"" if states is None else states.state,
            execution=b"" if states is None else states.execution,
            reports={} if report is None else {self._own: report},
            lost={},
            causes=self.told_causes(),
        )

    def _look(self) -> None:
        """Let it be news that drops have ended, or others are under way: no report may tell of that."""
        run = self.run
        if run is not None and run.state is SessionState.RUNNING:
            with run.lock:
                rows = under_way(run.flow.state, run.prepared.wiring.kinds, run.flow.execution).tobytes()
            if (seen := (self.changes.version, rows)) != self._seen:
                self._seen = seen
                self.serial += 1

    def told_causes(self) -> tuple[str, ...]:
        """Return why the session fails: what was told from above, and the first failures of drops."""
        failures = () if self.run is None else self.run.failures.kept[:_CAUSES]
        told = [
            f"drop {f.uid}: {f.error}: {f.message.splitlines()[0] if f.message else ''}" for f in failures
        ]
        return (*self.causes, *told)


def _pass_over(_: Sequence[int]) -> None:
    return None


def _pass() -> None:
    return None


def _without(states: States, ghosts: Mapping[int, str]) -> States:
    """Return the states without those of ghosts."""
    rows = states.indices if states.indices is not None else range(len(states.uids))
    kept = [k for k, row in enumerate(rows) if row not in ghosts]
    return States(
        states.version,
        [rows[k] for k in kept],
        [states.uids[k] for k in kept],
        bytes(states.state[k] for k in kept),
        bytes(states.execution[k] for k in kept),
    )
