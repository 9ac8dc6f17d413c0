# SPDX-License-Identifier: Apache-2.0
"""What a manager of managers knows of one session: its drops, where they are, how they stand, what is to be ordered.

It holds copies: what those below tell is written here, and every question is answered from here.
"""

import threading
from array import array
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.engine.states import DropState, SessionState
from penstock.engine.whole import Command, Report, Whole
from penstock.graph.links import APP, Wiring
from penstock.graph.spec import Graph
from penstock.ids import SessionId
from penstock.managers.api import NO_APP, SessionInfo, States, StatusTree
from penstock.managers.changes import ChangeLog, told
from penstock.managers.freeing import Tables
from penstock.managers.gathered import Gathered
from penstock.managers.orders import SessionNews

__all__ = ["CompositeSession", "Deployment", "Order"]

_ENDED_STATES = frozenset({SessionState.FINISHED, SessionState.FAILED, SessionState.CANCELLED})
_ENDED_FROM = DropState.COMPLETED


class Order(NamedTuple):
    """Something that a manager below has to be told until it says that it is done.

    Attributes:
        uids: of a trigger; None of a command.
        number: of a trigger.
    """

    sub: str
    command: Command | None
    uids: tuple[str, ...] = ()
    number: int = 0


class Deployment(NamedTuple):
    """A graph that runs below.

    Attributes:
        sub_of: per drop the manager below that has it, "" for a ghost.
        home_of: per drop the node where it lives.
        members: per manager below, its drops by their place in its share.
        subs_of_nodes: per node with drops, the manager below at or behind which it is.
    """

    graph: Graph
    wiring: Wiring
    sub_of: Sequence[str]
    home_of: Sequence[str]
    members: Mapping[str, "array[int]"]
    subs_of_nodes: Mapping[str, str]


class CompositeSession:
    """One session. Everything but `operating` is guarded by `lock`, which is held for a few lines.

    Args:
        claim: says which manager above has created it; "" where a client did.
        token: the claim by which those below know the session.
        subs: the managers below.
    """

    def __init__(self, session_id: SessionId, claim: str, token: str, subs: Sequence[str]) -> None:
        self.session_id = session_id
        self.claim = claim
        self.token = token
        self.operating = threading.Lock()
        self.lock = threading.Lock()
        self.gathered = Gathered()
        self.state = SessionState.PRISTINE
        self.causes: list[str] = []
        self.serial = 0
        self.subs = tuple(subs)
        self.unclaimed = set(subs)
        self.status: dict[str, StatusTree] = dict.fromkeys(subs, SessionState.PRISTINE)
        self.known: dict[str, tuple[int, int]] = {}
        self.changes = ChangeLog()
        self.deployment: Deployment | None = None
        self.epoch = 0
        self.epochs: dict[str, int] = {}
        """Incarnation of each manager below when it was deployed."""
        self.whole: Whole | None = None
        self.reports: dict[str, Report] = {}
        self.lost: dict[str, str] = {}
        self.triggers: dict[str, int] = {}
        self.done_triggers = 0
        self.pending: list[Order] = []
        self.bystanders: set[str] = set()
        """Managers below that have the session and no drop of it."""
        self.owed: set[Order] = set()
        """What the manager above has ordered and some below, who were lost, have not done."""
        self.under_way: dict[Order, object] = {}
        self.started_s = 0.0
        self.seconds = 0.0
        self._uids: list[str] = []
        self._state = np.zeros(0, np.uint8)
        self._execution = np.zeros(0, np.uint8)

    def deployed(self, deployment: Deployment, epoch: int) -> None:
        """Begin to keep the states of drops; `epoch` is the number of the deployment."""
        size = len(deployment.graph)
        self.deployment, self.epoch = deployment, epoch
        self._uids = [spec.key for spec in deployment.graph.drops]
        self._state = np.zeros(size, np.uint8)
        self._execution = np.zeros(size, np.uint8)
        self.whole = None if self.claim else Whole(deployment.subs_of_nodes)
        self.triggers = dict.fromkeys(deployment.members, 0)
        self.bystanders = set(self.subs) - deployment.members.keys()

    def withdrawn(self) -> None:
        """Forget what was deployed."""
        self.deployment = self.whole = None
        self.epoch = 0
        self.known.clear()
        self.reports.clear()
        self.pending.clear()
        self.changes = ChangeLog()

    def tables(self) -> Tables:
        """Return what fills the memory."""
        graphs, deployment = self.gathered.graphs, self.deployment
        if deployment is None:
            return Tables(graphs)
        wiring = deployment.wiring
        return Tables((*graphs, deployment.graph), (wiring.before, wiring.after, self._uids))

    def take(self, sub: str, news: SessionNews) -> bool:
        """Write down what a manager below tells; False where it was known, or is of an earlier deployment."""
        serial, _ = self.known.get(sub, (0, 0))
        if news.epoch != self.epoch or news.serial <= serial:
            return False
        self.known[sub] = (news.serial, news.version)
        self.status[sub] = _tree(news.status)
        self.causes += [cause for cause in news.causes if cause not in self.causes]
        if self.deployment is not None and sub in self.deployment.members:
            self._take_states(self.deployment.members[sub], news)
        self.reports.update(news.reports)
        if self.whole is not None:
            for node, report in news.reports.items():
                self.whole.report(node, report)
        for node, cause in news.lost.items():
            self.node_lost(node, cause)
        self.serial += 1
        return True

    def _take_states(self, members: "array[int]", news: SessionNews) -> None:
        places = np.frombuffer(news.indices, np.int32)
        if not len(places):
            return
        rows: npt.NDArray[np.int32] = np.frombuffer(members, np.int32)[places]
        states = np.frombuffer(news.states, np.uint8)
        ended = rows[(states >= _ENDED_FROM) & (self._state[rows] != states)]
        self._state[rows] = states
        self._execution[rows] = np.frombuffer(news.execution, np.uint8)
        self.changes.note(ended.tolist())

    def node_lost(self, node: str, cause: str) -> None:
        """Note that a node below is gone."""
        if self.state is SessionState.RUNNING and node not in self.lost:
            self.lost[node] = cause
            self.serial += 1
            if self.whole is not None:
                self.whole.node_lost(node, cause)
                self.causes += [text for text in self.whole.causes if text not in self.causes]

    # What is to be ordered

    def orders(self) -> list[Order]:
        """Return what those below have not done yet."""
        found = [*self.pending, *self.owed]
        if self.whole is not None and self.deployment is not None:
            below = {(self.sub_of_node(node), command) for node, command in self.whole.commands()}
            found += [Order(sub, command) for sub, command in below]
            if self.whole.verdict is not None:
                found += [Order(sub, Command.CONCLUDE) for sub in self.bystanders]
        return found

    def done(self, order: Order) -> None:
        """Note that a manager below has done something."""
        self.owed.discard(order)
        if order.command is None:
            self.pending = [other for other in self.pending if other != order]
        elif self.whole is not None:
            self.bystanders.discard(order.sub)
            for node, command in self.whole.commands():
                if command is order.command and self.sub_of_node(node) == order.sub:
                    self.whole.acknowledged(node, command)
            if self.whole.verdict is not None and order.command is not Command.SKIP_REST:
                self.status[order.sub] = self.whole.verdict

    def sub_of_node(self, node: str) -> str:
        """Return the manager below at or behind which a node is."""
        assert self.deployment is not None
        return self.deployment.subs_of_nodes[node]

    def end(self, verdict: SessionState) -> None:
        """Note how the session has ended, here and on every manager below."""
        self.seconds = self.age_s()
        self.state = verdict
        self.status.update({sub: verdict for sub, told in self.status.items() if not isinstance(told, dict)})
        self.pending.clear()
        self.serial += 1

    # Questions

    @property
    def size(self) -> int:
        """How many drops live below."""
        if self.claim and self.deployment is not None:
            return sum(1 for sub in self.deployment.sub_of if sub)
        return len(self.gathered)

    @property
    def verdict(self) -> SessionState:
        """How the session has ended, or will when all below have done their part; its state where it goes on."""
        return self.state if self.whole is None or self.whole.verdict is None else self.whole.verdict

    @property
    def stalled(self) -> bool:
        """Whether it runs and nothing in it can go on unless somebody triggers a drop."""
        return self.state is SessionState.RUNNING and self.whole is not None and self.whole.stalled

    def age_s(self) -> float:
        """How long it has run, or ran; seconds."""
        return self.seconds or (monotonic() - self.started_s if self.started_s else 0.0)

    def status_tree(self, nodes: Mapping[str, Sequence[str]]) -> StatusTree:
        """Return the state on each manager below.

        Args:
            nodes: of each manager of managers below, the nodes behind it.
        """
        found: dict[str, StatusTree] = {}
        for sub in self.subs:
            told = self.state if self.deployment is None else self.status[sub]
            is_flat = isinstance(told, SessionState) and nodes.get(sub)
            found[sub] = dict.fromkeys(nodes[sub], told) if is_flat else told
        return found

    def info_at(self, sub: str) -> SessionInfo:
        """Return what is known of the session's part on one manager below."""
        status = self.state if self.deployment is None else self.status[sub]
        members = self.deployment.members.get(sub, ()) if self.deployment is not None else ()
        own = sum(1 for i in members if self.deployment is not None and self.deployment.sub_of[i] == sub)
        state = status if isinstance(status, SessionState) else self.state
        return SessionInfo(self.session_id, state, status, own, tuple(self.causes), seconds=self.age_s())

    def is_followed(self, sub: str) -> bool:
        """Whether a manager below may have something new to tell."""
        return self.deployment is not None and not _has_ended(self.status[sub])

    def news(self, version: int, nodes: Mapping[str, Sequence[str]]) -> SessionNews:
        """Return what the manager above does not know, who knows the changes up to a version."""
        states = None if self.deployment is None else self.states(version if version else None)
        rows: Sequence[int] = ()
        if states is not None:
            rows = range(len(states.uids)) if states.indices is None else states.indices
        return SessionNews(
            epoch=self.epoch,
            serial=self.serial,
            status=_numbers(self.status_tree(nodes)),
            version=self.changes.version,
            indices=np.asarray(rows, np.int32).tobytes(),
            states=b"" if states is None else states.state,
            execution=b"" if states is None else states.execution,
            reports=dict(self.reports),
            lost=dict(self.lost),
            causes=tuple(self.causes),
        )

    def state_of(self, uid: str) -> tuple[int, int]:
        """Return state and execution of a drop of the deployment, as in `States`."""
        assert self.deployment is not None
        index = self.deployment.graph.index[uid]
        is_app = self.deployment.wiring.kinds[index] == APP
        return int(self._state[index]), int(self._execution[index]) if is_app else NO_APP

    def states(self, since: int | None) -> States:
        """Return the states of drops; those of ghosts are left out."""
        assert self.deployment is not None
        kinds = self.deployment.wiring.kinds
        states = told(
            self.changes, since, self._uids, kinds, self._state.tobytes(), self._execution.tobytes()
        )
        sub_of = self.deployment.sub_of
        rows = states.indices if states.indices is not None else range(len(sub_of))
        if not self.claim or all(sub_of[row] for row in rows):
            return states
        kept = [k for k, row in enumerate(rows) if sub_of[row]]
        return States(
            states.version,
            [rows[k] for k in kept],
            [states.uids[k] for k in kept],
            bytes(states.state[k] for k in kept),
            bytes(states.execution[k] for k in kept),
        )


def _has_ended(status: StatusTree) -> bool:
    if isinstance(status, dict):
        return all(map(_has_ended, status.values()))
    return status in _ENDED_STATES


def _numbers(status: StatusTree) -> object:
    if isinstance(status, dict):
        return {name: _numbers(below) for name, below in status.items()}
    return int(status)


def _tree(status: object) -> StatusTree:
    if isinstance(status, dict):
        return {str(name): _tree(below) for name, below in status.items()}
    return SessionState(int(str(status)))
