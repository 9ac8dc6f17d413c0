# SPDX-License-Identifier: Apache-2.0
"""What a manager of managers makes those below it do with one session.

Rule 1: `operating` of the session is held by the caller of every operation (claim, deploy, trigger, cancel, destroy),
        so these may wait. `take`, `lost` and `order` are called by threads that must not.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial
from time import monotonic

from penstock.engine.states import SessionState
from penstock.engine.whole import Command
from penstock.errors import (
    GraphInvalid,
    NodeDown,
    PenstockError,
    SessionNotFound,
    StartRefused,
    SubManagersFailed,
)
from penstock.graph.links import Wiring
from penstock.graph.placement import Attribute, divide, places
from penstock.graph.problems import Problem
from penstock.graph.shares import share_out
from penstock.graph.spec import Graph
from penstock.ids import NodeAddress
from penstock.managers.api import NodeState
from penstock.managers.below import Below
from penstock.managers.composite_session import CompositeSession, Deployment, Order
from penstock.managers.orders import Claim, Deploy, Destroy, Done, Obey, SessionNews, Trigger, Withdraw
from penstock.runtime.build import inspect

__all__ = ["ENDED_STATES", "Spread"]

log = logging.getLogger(__name__)

ENDED_STATES = frozenset({SessionState.FINISHED, SessionState.FAILED, SessionState.CANCELLED})

_CLAIM_S = 10.0
_DEPLOY_S = 600.0
_ORDER_S = 30.0
_WAIT_S = 10.0
_ISLAND_REST = 8001


class Spread:
    """Divides sessions among the managers below, and has them do what was decided.

    Args:
        announce: told of a session and what of it has changed; must not wait.
    """

    def __init__(
        self, below: Below, attribute: Attribute, announce: Callable[[CompositeSession, str], None]
    ) -> None:
        self._below = below
        self._attribute = attribute
        self._announce = announce
        self._to_destroy: dict[tuple[str, str], Destroy] = {}  # by manager and session
        self._destroying: set[tuple[str, str]] = set()

    # Operations

    def claim(self, session: CompositeSession) -> None:
        """Let all below have the session; those that have it are not asked again.

        Raises:
            SessionExists: one below has another session of this id.
            SubManagersFailed: not all have it; another call goes on.
        """
        session_id = session.session_id
        left = {name: self._to_destroy.get((name, session_id)) for name in session.unclaimed}
        found = {name: request for name, request in left.items() if request is not None}
        done, _ = self._below.ask_all(found, _CLAIM_S)  # an earlier session of this id must not be in the way
        for name in done:
            self._to_destroy.pop((name, session_id), None)
        request = Claim(session_id=session_id, claim=session.token)
        answers, errors = self._below.ask_all(dict.fromkeys(session.unclaimed, request), _CLAIM_S)
        session.unclaimed -= answers.keys()
        _raise_joined("creating the session", errors)

    def check_placed(self, graph: Graph) -> None:
        """See that every drop names a manager below.

        Raises:
            GraphInvalid: with every drop that does not.
        """
        problems = self._misplaced(graph, places(graph, self._attribute), must_be_placed=True)
        if problems:
            raise GraphInvalid(problems)

    def deploy(self, session: CompositeSession, graph: Graph, homes: Mapping[str, str], epoch: int) -> None:
        """Check a graph, divide it, and have every share of it made ready below.

        Args:
            homes: uid of each ghost in the graph, with its node.
            epoch: number of this deployment, the same on all nodes and higher than those of all before it.
        Raises:
            GraphInvalid: with everything that is wrong, here or below; nothing is left below.
            SubManagersFailed: some below failed otherwise; likewise.
        """
        prepared, problems = inspect(graph, must_be_here=False)
        if prepared is None:
            raise GraphInvalid(problems)
        sub_of, home_of = self._placed(graph, prepared.wiring, homes)
        shares = share_out(graph, prepared.wiring, sub_of, home_of)
        members = {name: share.members for name, share in shares.items()}
        subs_of_nodes = {home: sub for home, sub in zip(home_of, sub_of, strict=True) if sub}
        deployment = Deployment(graph, prepared.wiring, sub_of, home_of, members, subs_of_nodes)
        with session.lock:
            session.deployed(deployment, epoch)
            session.epochs = {name: self._below.epoch(name) for name in session.subs}
        token = session.token
        requests = {
            name: Deploy(
                session_id=session.session_id,
                claim=token,
                epoch=epoch,
                own=name,
                homes=shares[name].homes if name in shares else {},
            )
            for name in session.subs
            if name in shares or self._below.state(name) is not NodeState.LOST
        }
        texts = {name: share.text for name, share in shares.items()}
        _, errors = self._below.ask_all(requests, _DEPLOY_S, texts)
        needed = {name: error for name, error in errors.items() if name in shares}
        if needed:
            self.withdraw(session)
            _raise_joined("deploying", needed)

    def withdraw(self, session: CompositeSession) -> None:
        """Forget what was deployed, here and below."""
        with session.lock:
            session.withdrawn()
        request = Withdraw(session_id=session.session_id, claim=session.token)
        self._below.ask_all(dict.fromkeys(session.subs, request), _CLAIM_S)

    def begin(self, session: CompositeSession) -> None:
        """Let a deployed session count as running."""
        with session.lock:
            session.state = SessionState.RUNNING
            session.started_s = monotonic()
            session.serial += 1
        for name in session.subs:
            self._below.follow(name)

    def trigger(self, session: CompositeSession, uids: Sequence[str]) -> None:
        """Have drops triggered where they live."""
        deployment = session.deployment
        assert deployment is not None
        by_sub: dict[str, list[str]] = {}
        touched: set[str] = set()
        for uid in uids:
            index = deployment.graph.index[uid]
            by_sub.setdefault(deployment.sub_of[index], []).append(uid)
            touched.add(deployment.home_of[index])
        with session.lock:
            if session.whole is not None:
                for node in touched:
                    session.whole.triggered(node)
            for name, names in by_sub.items():
                session.triggers[name] += 1
                session.pending.append(Order(name, None, tuple(names), session.triggers[name]))
        self._wait(self.order(session))

    def cancel(self, session: CompositeSession) -> None:
        """End a session because its owner wants it, and wait for those below for a while."""
        with session.lock:
            if session.whole is None:
                session.state = SessionState.CANCELLED
                session.serial += 1
            else:
                session.whole.cancelled()
                _judge(session)
        if session.deployment is None:
            self.obey(session, Command.CANCEL, SessionState.CANCELLED, ())
        self._announce(session, "session")
        self._wait(self.order(session))

    def obey(
        self, session: CompositeSession, command: Command, verdict: SessionState, causes: Sequence[str]
    ) -> None:
        """Have all below do what the owner of the session has decided, and do it here.

        Raises:
            SubManagersFailed: some below did not; it can be ordered again.
        """
        names = [name for name in session.subs if self._below.state(name) is not NodeState.LOST]
        requests = {name: _obey(session, name, command, verdict, causes) for name in names}
        answers, errors = self._below.ask_all(requests, _ORDER_S)
        with session.lock:
            for name, done in answers.items():
                if done.news is not None:
                    session.take(name, done.news)
            session.owed.update(Order(name, command) for name in session.subs if name not in answers)
        if verdict in ENDED_STATES:
            with session.lock:
                session.end(verdict)
                session.causes += [cause for cause in causes if cause not in session.causes]
            self._announce(session, "session")
        _raise_joined(command.value, errors)

    def destroy(self, session: CompositeSession) -> None:
        """Have all below forget the session; those that are lost, when they are back."""
        request = Destroy(session_id=session.session_id, claim=session.token)
        _, errors = self._below.ask_all(dict.fromkeys(session.subs, request), _ORDER_S)
        self._to_destroy.update({(name, session.session_id): request for name in errors})

    # What those below tell, and what follows

    def take(self, session: CompositeSession, sub: str, news: SessionNews) -> None:
        """Write down what a manager below tells of a session, and do what follows from it."""
        with session.lock:
            is_new = session.take(sub, news)
            has_ended = _judge(session)
        if is_new:
            self._announce(session, "drops")
            self.order(session)
        if has_ended:
            self._announce(session, "session")

    def lost(self, session: CompositeSession, sub: str, cause: str, epoch: int | None = None) -> None:
        """Note that a manager below, and all behind it, is gone.

        Args:
            epoch: of its new incarnation where it was restarted: what was deployed on that one is there.
        """
        with session.lock:
            deployment = session.deployment
            if deployment is None or session.state is not SessionState.RUNNING:
                return
            if epoch is not None and session.epochs.get(sub, 0) >= epoch:
                return
            pairs = zip(deployment.sub_of, deployment.home_of, strict=True)
            for node in {home for name, home in pairs if name == sub}:
                session.node_lost(node, cause if node == sub else f"node {node}: {cause}")
            session.status[sub] = SessionState.FAILED
            _judge(session)
        self._announce(session, "session")
        self.order(session)

    def order(self, session: CompositeSession) -> list[Future[Done]]:
        """Send what has not been done and is not under way; return what is under way now."""
        with session.lock:
            orders = [
                order
                for order in session.orders()
                if order not in session.under_way and self._below.state(order.sub) is not NodeState.LOST
            ]
            session.under_way.update(dict.fromkeys(orders))
            verdict, causes = session.verdict, tuple(session.causes)
        futures = []
        for order in orders:
            future = self._below.ask(order.sub, _request(session, order, verdict, causes), _ORDER_S)
            with session.lock:
                session.under_way[order] = future
            future.add_done_callback(partial(self._ordered, session, order))
            futures.append(future)
        return futures

    def _ordered(self, session: CompositeSession, order: Order, future: Future[Done]) -> None:
        error = future.exception()
        is_gone = isinstance(error, SessionNotFound)  # it was restarted, so there is nothing left to do
        has_ended = False
        with session.lock:
            session.under_way.pop(order, None)
            if error is None:
                news = future.result().news
                if news is not None:
                    session.take(order.sub, news)
            if error is None or is_gone:
                session.done(order)
                has_ended = _judge(session)
        if has_ended:
            self._announce(session, "session")
        if error is not None and not is_gone and not isinstance(error, NodeDown):
            log.error(
                "session %s: %s is not done on %s: %s", session.session_id, order.command, order.sub, error
            )

    def clean(self) -> None:
        """Have those below that were away forget what was deleted meanwhile."""
        for key, request in list(self._to_destroy.items()):  # others add to it meanwhile
            name, _ = key
            if key in self._destroying or self._below.state(name) is NodeState.LOST:
                continue
            self._destroying.add(key)
            self._below.ask(name, request, _ORDER_S).add_done_callback(partial(self._destroyed, key, request))

    def _destroyed(self, key: tuple[str, str], request: Destroy, future: Future[Done]) -> None:
        self._destroying.discard(key)
        if not isinstance(future.exception(), NodeDown) and self._to_destroy.get(key) is request:
            self._to_destroy.pop(key, None)

    @staticmethod
    def _wait(futures: Sequence[Future[Done]]) -> None:
        wait(futures, _WAIT_S)

    # Where drops live

    def _placed(self, graph: Graph, wiring: Wiring, homes: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Return for each drop the manager below that has it, "" for a ghost, and the node where it lives.

        Raises:
            GraphInvalid: drops name managers that are not below.
        """
        ghosts = {graph.index[uid]: home for uid, home in homes.items() if uid in graph.index}
        texts = [("" if i in ghosts else text) for i, text in enumerate(places(graph, self._attribute))]
        if problems := self._misplaced(graph, texts, must_be_placed=False):
            raise GraphInvalid(problems)
        if any(not text and i not in ghosts for i, text in enumerate(texts)):
            return self._divided(graph, wiring, texts, ghosts)
        subs = [("" if i in ghosts else self._match(text)) for i, text in enumerate(texts)]
        nodes = texts if self._attribute == "node" else places(graph, "node")
        found = [ghosts.get(i) or self._home(subs[i], nodes[i]) for i in range(len(graph))]
        return subs, found

    def _divided(
        self, graph: Graph, wiring: Wiring, texts: Sequence[str], ghosts: Mapping[int, str]
    ) -> tuple[list[str], list[str]]:
        """Place the drops that say nothing, on nodes that are there."""
        nodes = [(name, node) for name in self._below.names for node in self._below.nodes_of(name)]
        alive = [pair for pair in nodes if self._below.state(pair[0]) is NodeState.ALIVE] or nodes
        parts = divide(graph, wiring, len(alive))
        subs, homes = [], []
        for i, text in enumerate(texts):
            sub, node = alive[parts[i]]
            if i in ghosts:
                sub, node = "", ghosts[i]
            elif text:
                sub = self._match(text)
                node = self._home(sub, "")
            subs.append(sub)
            homes.append(node)
        return subs, homes

    def _home(self, sub: str, text: str) -> str:
        nodes = self._below.nodes_of(sub) if sub else ()
        return _matching(text, nodes) or (nodes[0] if nodes else text)

    def _match(self, text: str) -> str:
        default = NodeAddress._field_defaults["rest"] if self._attribute == "node" else _ISLAND_REST
        return _matching(text, self._below.names, default)

    def _misplaced(self, graph: Graph, texts: Sequence[str], *, must_be_placed: bool) -> list[Problem]:
        problems = []
        known: dict[str, bool] = {}
        for i, text in enumerate(texts):
            if not text and must_be_placed:
                message = f"Drop {graph.drops[i].oid} doesn't specify a {self._attribute} attribute"
                problems.append(Problem("PS501", message, graph.drops[i].key, f"/{graph.place(i)}"))
            elif text and not known.setdefault(text, bool(self._match(text))):
                message = f"Drop {graph.drops[i].oid}'s {self._attribute} {text} does not belong to this DM"
                hint = f"it has {', '.join(self._below.names)}"
                path = f"/{graph.place(i)}/{self._attribute}"
                problems.append(Problem("PS502", message, graph.drops[i].key, path, hint))
        return problems


def _judge(session: CompositeSession) -> bool:
    """Let the verdict be the session's state when all that are there have done their part; whether it is so now.

    The session's lock is held, so whoever calls announces it afterwards: listeners may ask for the session.
    """
    whole = session.whole
    if whole is None or session.state is not SessionState.RUNNING or whole.verdict is None or not whole.over:
        return False
    session.end(whole.verdict)
    return True


def _matching(text: str, names: Sequence[str], default_rest: int = 8000) -> str:
    """Return which of some addresses a text means: the same in full, or the only one of that host and REST port."""
    if text in names or not text:
        return text
    try:
        wanted = NodeAddress.parse(text)
    except StartRefused:
        return ""
    if ":" not in text:
        wanted = wanted._replace(rest=default_rest)
    if str(wanted) in names:
        return str(wanted)
    if text.count(":") > 1:
        return ""
    near = [name for name in names if NodeAddress.parse(name)[:2] == wanted[:2]]
    return near[0] if len(near) == 1 else ""


def _request(
    session: CompositeSession, order: Order, verdict: SessionState, causes: tuple[str, ...]
) -> Trigger | Obey:
    if order.command is None:
        return Trigger(
            session_id=session.session_id, claim=session.token, uids=order.uids, number=order.number
        )
    return _obey(session, order.sub, order.command, verdict, causes)


def _obey(
    session: CompositeSession, sub: str, command: Command, verdict: SessionState, causes: Sequence[str]
) -> Obey:
    known = session.known.get(sub, (0, 0))
    return Obey(
        session_id=session.session_id,
        claim=session.token,
        command=command,
        verdict=verdict,
        causes=tuple(causes),
        known=known,
    )


def _raise_joined(operation: str, errors: Mapping[str, PenstockError]) -> None:
    """Raise what several managers told as one error: of their common kind where they have one."""
    if not errors:
        return
    graphs = [error for error in errors.values() if isinstance(error, GraphInvalid)]
    if len(graphs) == len(errors):
        raise GraphInvalid([problem for error in graphs for problem in error.problems])
    first = next(iter(errors.values()))
    if (
        not isinstance(first, NodeDown | SubManagersFailed)
        and len({error.code for error in errors.values()}) == 1
    ):
        raise first
    raise SubManagersFailed(operation, errors)
