# SPDX-License-Identifier: Apache-2.0
"""A simulated node: the real flow and part of a session, with apps that only take time.

Content of data is the set of the apps that wrote it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from penstock.engine.flow import Flow
from penstock.engine.outbox import Inbox, Outbox
from penstock.engine.part import Ack, Arrived, Batch, Part
from penstock.engine.states import DropState
from penstock.engine.whole import OWNER, Command, Report
from penstock.testing.simulator_graphs import Scenario, Share, end_app
from penstock.testing.simulator_history import History, Wrong
from penstock.testing.simulator_network import Network, World

__all__ = ["BEAT_S", "Beat", "Done", "Node", "Order", "Signed", "StreamAck", "Streamed"]

BEAT_S = 1.0
_WRITING, _COMPLETED = int(DropState.WRITING), int(DropState.COMPLETED)


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """A message of a stream between owner and node: reports one way, triggers the other."""

    epoch: int
    sequence: int
    payload: object


@dataclass(frozen=True, slots=True)
class StreamAck:
    """The acknowledgement of such messages."""

    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Order:
    """A command of the owner, for one life of the session."""

    life: int
    command: Command


@dataclass(frozen=True, slots=True)
class Done:
    """A command was done, or the node knows no such life."""

    life: int
    command: Command


@dataclass(frozen=True, slots=True)
class Signed:
    """What a node says to the owner, with the incarnation that says it."""

    incarnation: int
    body: object


class _Session:
    """One life of the session on one node."""

    def __init__(
        self, life: int, epoch: int, own: Share, scenario: Scenario, least: Mapping[str, int]
    ) -> None:
        self.life = life
        self.share = own
        self.flow = Flow(
            own.wiring, own.rules, settling=own.settling, ends=own.ends, remote=own.ghosts.keys()
        )
        self.part = Part(
            own.wiring, lambda row: scenario.uids[own.indices[row]], own.ghosts, epoch, least=least
        )
        self.reports: Outbox[Report] = Outbox(epoch)
        self.triggers: Inbox[tuple[int, ...]] = Inbox(epoch)
        self.triggered = 0
        self.tasks = 0
        self.content: dict[int, set[str]] = {}
        self.last = Report(quiet=False, leaves_ended=False)
        self.concluded = False
        self.batches_sent: dict[str, int] = {}
        self.batches_kept: dict[str, int] = {}  # acknowledged


class Node:
    """One node process; `crash` takes all it knows."""

    def __init__(self, name: str, world: World, network: Network) -> None:
        self.name = name
        self.incarnation = 1
        self.alive = True
        self.session: _Session | None = None
        self._world = world
        self._network = network
        self._history: History
        self._wake_s = math.inf
        self._beat(1)

    def _beat(self, incarnation: int) -> None:
        if self.alive and incarnation == self.incarnation:
            self._tell_owner(Beat())
            self._world.at(self._world.now_s + BEAT_S, self.name, lambda: self._beat(incarnation))

    def deploy(self, life: int, epoch: int, own: Share, history: History, least: Mapping[str, int]) -> None:
        """Begin a life of the session."""
        self._history = history
        self.session = _Session(life, epoch, own, history.scenario, least)
        self._step()

    def crash(self) -> None:
        """Lose everything."""
        self.alive = False
        self.session = None

    def restart(self) -> None:
        """Begin again, knowing nothing."""
        if not self.alive:
            self.alive = True
            self.incarnation += 1
            self._beat(self.incarnation)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing runs, waits or settles here, in truth."""
        session = self.session
        return session is None or (not session.tasks and not session.flow.ready)

    @property
    def is_done(self) -> bool:
        """Whether the part of the session here has ended."""
        return self.session is None or self.session.concluded

    def states(self) -> dict[int, int]:
        """Return the states of the home drops, by index of the whole."""
        session = self.session
        if session is None:
            return {}
        own = session.share
        return {i: session.flow.state[row] for row, i in enumerate(own.indices) if row not in own.ghosts}

    # Messages

    def receive(self, source: str, message: object) -> None:
        """Take a message from the network."""
        session = self.session
        if not self.alive:
            return
        if isinstance(message, Order):
            self._obey(message)
        elif session is None:
            return
        elif isinstance(message, Batch | Ack):
            if source in session.share.ghosts.values():  # others are of an earlier life
                arrived = session.part.receive(source, message, self._world.now_s)
                if isinstance(message, Ack):
                    session.batches_kept[source] = max(session.batches_kept.get(source, 0), message.sequence)
                self._apply(session, source, arrived)
        elif isinstance(message, StreamAck):
            session.reports.acknowledge(message.epoch, message.sequence, self._world.now_s)
        elif isinstance(message, Streamed):
            self._trigger(session, message)
        self._step()

    def _apply(self, session: _Session, source: str, arrived: list[Arrived]) -> None:
        for fact in arrived:
            self._history.arrived(source, self.name, session.share.indices[fact.drop], fact.state)
            for row, writers in fact.contents.items():
                assert isinstance(writers, frozenset)
                session.content.setdefault(row, set()).update(writers)
            session.flow.remote_ended((fact.drop,), fact.state)

    def _trigger(self, session: _Session, message: Streamed) -> None:
        assert isinstance(message.payload, tuple)
        for indices in session.triggers.take(message.epoch, message.sequence, message.payload):
            rows = {i: row for row, i in enumerate(session.share.indices)}
            session.flow.trigger(rows[i] for i in indices)
            session.triggered += 1
        if message.epoch == session.triggers.epoch:
            self._tell_owner(StreamAck(message.epoch, session.triggers.acknowledged))

    def _obey(self, order: Order) -> None:
        session = self.session
        if session is not None and session.life == order.life:
            if order.command is Command.SKIP_REST:
                session.flow.skip_rest()
            elif order.command is Command.CANCEL:
                session.flow.cancel()
                session.concluded = True
            else:
                if not session.concluded and not self.is_at_rest:
                    raise Wrong(f"{self.name} is to conclude and is not at rest")
                session.flow.conclude()
                session.concluded = True
        if session is None or session.life >= order.life:
            self._tell_owner(Done(order.life, order.command))

    def reconnected(self, peer: str) -> None:
        """Hear from the transport that a connection was cut and is there again."""
        session = self.session
        if not self.alive or session is None:
            return
        if peer == OWNER:
            session.reports.reconnected()
            self._step()
            return
        session.part.reconnected(peer)
        open_before = session.batches_sent.get(peer, 0) > session.batches_kept.get(peer, 0)
        sent = self._flush(session)
        if open_before and peer not in sent:
            raise Wrong(f"{self.name} sends {peer} nothing after a reconnect")
        self._step()

    def _tell_owner(self, body: object) -> None:
        self._network.send(self.name, OWNER, Signed(self.incarnation, body))

    # Work

    def _step(self) -> None:
        """Do all that is to be done now."""
        session = self.session
        if session is None:
            return
        flow = session.flow
        while flow.ready or flow.changes or flow.asked:
            ready, flow.ready = flow.ready, []
            changes, flow.changes = flow.changes, []
            asked, flow.asked = flow.asked, []
            for row in ready:
                self._start(session, row)
            if not flow.closed:
                self._tell(session, asked, changes)
        self._flush(session)
        self._report(session)
        self._set_alarm(session)

    def _tell(self, session: _Session, asked: list[tuple[int, int]], changes: list[int]) -> None:
        part, own, flow = session.part, session.share, session.flow
        for row, state in asked:
            part.ask(row, state, {row: frozenset(session.content.get(row, ()))})
            self._history.told(self.name, own.ghosts[row], own.indices[row], state)
        for row in changes:
            if not part.wanted[row]:
                continue
            written = (row,) if not flow.is_app(row) else own.wiring.after[row]
            uid = self._history.scenario.uids[own.indices[row]]
            contents = {
                data: frozenset(session.content.get(data, ()) if data == row else {uid})
                for data in written
                if data == row or uid in session.content.get(data, ())
            }
            for peer in part.wanted_by(row):
                self._history.told(self.name, peer, own.indices[row], flow.state[row])
            part.tell(row, flow.state[row], contents)

    def _flush(self, session: _Session) -> set[str]:
        now_s, sent = self._world.now_s, set()
        for peer, message in session.part.due(now_s):
            self._network.send(self.name, peer, message)
            if isinstance(message, Batch):
                sent.add(peer)
                session.batches_sent[peer] = max(session.batches_sent.get(peer, 0), message.sequence)
        return sent

    def _report(self, session: _Session) -> None:
        quiet = not session.tasks
        flow = session.flow
        if quiet or flow.closed != session.last.closed:
            sent, received = session.part.counts()
            received[OWNER] = session.triggered
            report = Report(quiet, flow.leaves_have_ended(), flow.has_failed(), flow.closed, sent, received)
            if report != session.last:
                session.last = report
                session.reports.put(report)
        for sequence, payload in session.reports.due(self._world.now_s):
            self._tell_owner(Streamed(session.reports.epoch, sequence, payload))

    def _set_alarm(self, session: _Session) -> None:
        when_s = min(session.part.next_due_s(), session.reports.next_due_s())
        if when_s < self._wake_s:
            self._wake_s = when_s
            self._world.at(when_s, self.name, lambda: self._wake(when_s))

    def _wake(self, when_s: float) -> None:
        if when_s == self._wake_s:
            self._wake_s = math.inf
        if self.alive:
            self._step()

    def _start(self, session: _Session, row: int) -> None:
        session.tasks += 1
        rnd = self._world.random
        wait_s = rnd.random() * rnd.choice((0.0, 0.01, 0.1))
        self._world.at(self._world.now_s + wait_s, self.name, lambda: self._begin(session, row))

    def _begin(self, session: _Session, row: int) -> None:
        if session is not self.session:
            return
        flow, own = session.flow, session.share
        if not flow.begin((row,)):
            session.tasks -= 1
            self._step()
            return
        if flow.is_app(row):
            complete = [data for data in own.wiring.before[row] if flow.state[data] == _COMPLETED]
            contents = {own.indices[data]: frozenset(session.content.get(data, ())) for data in complete}
            self._history.began(self.name, own.indices[row], contents)
        rnd = self._world.random
        run_s = rnd.random() * rnd.choice((0.01, 0.1, 0.1, 1.0))
        self._world.at(self._world.now_s + run_s, self.name, lambda: self._finish(session, row))

    def _finish(self, session: _Session, row: int) -> None:
        if session is not self.session:
            return
        session.tasks -= 1
        if session.flow.is_app(row):
            self._finish_app(session, row)
        else:
            session.flow.data_completed(row)
        self._step()

    def _finish_app(self, session: _Session, row: int) -> None:
        flow, own = session.flow, session.share
        index = own.indices[row]
        ending = self._history.scenario.endings[index]
        early = dict(ending.early)
        for data in own.wiring.after[row]:
            i = own.indices[data]
            if i in early or not (ending.fails or i in ending.skips):
                session.content.setdefault(data, set()).add(self._history.scenario.uids[index])
                if flow.state[data] <= _WRITING:
                    flow.data_writing(data)
        end_app(flow, row, ending, {own.indices[data]: data for data in own.wiring.after[row]})
