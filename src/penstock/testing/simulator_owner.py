# SPDX-License-Identifier: Apache-2.0
"""The simulated owner of a session: the real `Whole` and `Membership`, with a shell that forgets nothing."""

import math
from collections.abc import Callable, Mapping

from penstock.engine.outbox import Inbox, Outbox
from penstock.engine.whole import OWNER, Command, Report, Whole
from penstock.leases.membership import Lost, Membership, PeerState, Restarted
from penstock.testing.simulator_history import History, Wrong
from penstock.testing.simulator_network import Network, World
from penstock.testing.simulator_node import BEAT_S, Beat, Done, Order, Signed, StreamAck, Streamed

__all__ = ["Owner"]

_LOST_S = 6.0
_NOTICED_PAUSE_S = 2.0


class Owner:
    """The manager that a client created the session at.

    Args:
        busy: names the nodes that are not at rest, in truth; only the judge is told.
    """

    def __init__(
        self, nodes: tuple[str, ...], world: World, network: Network, busy: Callable[[], list[str]]
    ) -> None:
        self.members = Membership(beat_s=BEAT_S)
        self.pauses: list[tuple[float, float]] = []  # begin and end
        self._nodes = nodes
        self._world = world
        self._network = network
        self._busy = busy
        self._heard_s = dict.fromkeys(nodes, 0.0)
        self._incarnation = dict.fromkeys(nodes, 1)
        self._life = 0
        self._wake_s = math.inf
        self._history: History | None = None
        self._whole = Whole(())
        self._ordered: dict[str, Command] = {}
        self._reports: dict[str, Inbox[Report]] = {}
        self._triggers: dict[str, Outbox[tuple[int, ...]]] = {}
        for node in nodes:
            self.members.expect(node, 0.0, epoch=1)
        self._tick()

    @property
    def is_over(self) -> bool:
        """Whether the present life of the session is over."""
        return self._whole.over

    def deploy(
        self, life: int, history: History, epochs: Mapping[str, int], roots: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Begin a life of the session: every node has its part; what starts it is sent."""
        self._life, self._history = life, history
        self._whole = Whole(self._nodes)
        self._ordered.clear()
        self._reports = {node: Inbox(epochs[node]) for node in self._nodes}
        self._triggers = {node: Outbox(epochs[node]) for node in self._nodes}
        self._incarnation = {node: self.members.epoch(node) or 1 for node in self._nodes}
        for node, indices in roots.items():
            if indices:
                self._whole.triggered(node)
                self._triggers[node].put(indices)
        self._step()

    def cancel(self) -> None:
        """Do what the client wants."""
        if self._history is not None and self._history.verdict is None:
            self._history.cancelled = True
            self._whole.cancelled()
            self._step()

    def receive(self, node: str, signed: Signed) -> None:
        """Take a message from the network."""
        now_s, body = self._world.now_s, signed.body
        self.members.heard(node, signed.incarnation, now_s)
        if signed.incarnation >= self._incarnation[node]:
            self._heard_s[node] = now_s
        if isinstance(body, Beat):
            return
        if isinstance(body, Done):
            if body.life == self._life:
                self._whole.acknowledged(node, body.command)
        elif node not in self._reports:
            return
        elif isinstance(body, StreamAck):
            self._triggers[node].acknowledge(body.epoch, body.sequence, now_s)
        elif isinstance(body, Streamed):
            assert isinstance(body.payload, Report)
            inbox = self._reports[node]
            for report in inbox.take(body.epoch, body.sequence, body.payload):
                self._whole.report(node, report)
                self._note_verdict()
            if body.epoch == inbox.epoch:
                self._network.send(OWNER, node, StreamAck(body.epoch, inbox.acknowledged))
        self._step()

    def reconnected(self, node: str) -> None:
        """Hear from the transport that a connection was cut and is there again."""
        if node in self._triggers:
            self._triggers[node].reconnected()
        self._step()

    def knows(self, node: str, incarnation: int) -> bool:
        """Whether a node is there for the owner, as this incarnation."""
        return self.members.state(node) is PeerState.ALIVE and self.members.epoch(node) == incarnation

    def _tick(self) -> None:
        now_s = self._world.now_s
        for event in self.members.tick(now_s):
            if isinstance(event, Lost):
                self._check_loss(event)
                self._whole.node_lost(event.peer, f"node {event.peer} is silent for {event.silent_s:.1f} s")
            elif isinstance(event, Restarted) and event.epoch > self._incarnation[event.peer]:
                self._incarnation[event.peer] = event.epoch
                self._whole.node_restarted(event.peer)
        self._ordered.clear()  # so all is said again
        self._step()
        self._world.at(now_s + BEAT_S, OWNER, self._tick)

    def _check_loss(self, event: Lost) -> None:
        now_s = self._world.now_s
        silent_s = now_s - self._heard_s[event.peer]
        paused = any(
            until_s - since_s > _NOTICED_PAUSE_S + BEAT_S and now_s - until_s < _LOST_S
            for since_s, until_s in self.pauses
        )
        if silent_s < _LOST_S or paused:
            raise Wrong(f"{event.peer} is called lost after {silent_s:.1f} s; paused: {paused}")
        if self._history is not None:
            self._history.excused.add(event.peer)

    def _step(self) -> None:
        self._note_verdict()
        for node, command in self._whole.commands():
            if self._ordered.get(node) is not command:
                self._ordered[node] = command
                self._network.send(OWNER, node, Order(self._life, command))
        now_s, when_s = self._world.now_s, math.inf
        for node, outbox in self._triggers.items():
            for sequence, payload in outbox.due(now_s):
                self._network.send(OWNER, node, Streamed(outbox.epoch, sequence, payload))
            when_s = min(when_s, outbox.next_due_s())
        if when_s < self._wake_s:
            self._wake_s = when_s
            self._world.at(when_s, OWNER, lambda: self._wake(when_s))

    def _wake(self, when_s: float) -> None:
        if when_s == self._wake_s:
            self._wake_s = math.inf
        self._step()

    def _note_verdict(self) -> None:
        history, verdict = self._history, self._whole.verdict
        if history is not None and verdict is not None and verdict is not history.verdict:
            history.judged(verdict, self._whole.causes, self._busy())
