# SPDX-License-Identifier: Apache-2.0
"""A session over all its nodes, as its owner sees it: when it is over, how it ended, what the nodes are to do.

Rule 1: pure, without a clock. Nodes report, the owner decides; `commands` names what has not been acknowledged, the
        caller sends it when it changes and again with every beat. Nodes take each command as often as it comes.
Rule 2: the session ends once. The first of these decides: the client cancels, a node is lost or restarted (it has
        forgotten its part), all leaves have ended and nothing happens any more, an EndDrop completed.
Rule 3: nothing happens any more when the last reports of all nodes say "quiet" and the two ends of every channel
        agree on the number of facts. The reports may be of different times and any of them old: see below.
Rule 4: the verdict stays. After it nodes only acknowledge what they have done, and those that are gone are not
        waited for.

Why rule 3 holds. Let each node's report be true at its own moment, and assume that some node does something after its
moment. Take the first that does, in real time. It was quiet, so a fact woke it, which it received after its moment.
The facts of a channel arrive in order and both ends counted the same number, so this fact was not among those that
the sender had counted: it was sent after the sender's moment, by a node that did something earlier. But the first is
the earliest: contradiction. What clients trigger comes over a channel too, from the owner, and is counted likewise.

Source: channel counting, F. Mattern, "Algorithms for distributed termination detection" (1987).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from penstock.engine.states import SessionState

__all__ = ["OWNER", "Command", "Report", "Whole"]

OWNER = ""
"""The owner's name among the ends of channels; no node is called so."""


class Command(Enum):
    """What the owner tells a node."""

    CONCLUDE = "conclude"  # Flow.conclude, then the session's end
    CANCEL = "cancel"  # Flow.cancel, then the session's end
    SKIP_REST = "skip the rest"  # Flow.skip_rest; the node goes on settling and reporting


@dataclass(frozen=True, slots=True)
class Report:
    """What a node says of its part, each time that it becomes quiet or an answer changes; all of one moment.

    Attributes:
        quiet: nothing runs, is queued, settles or waits for a timer; no fact was handed over that its flow has not
            been told, and no change of its flow is there that has not been told to the neighbours.
        leaves_ended: `Flow.leaves_have_ended`.
        failed: `Flow.has_failed`.
        closed: an EndDrop completed here, or the command to skip the rest was done.
        sent: facts told, per node.
        received: facts handed over, per node; of `OWNER` the triggers done.
    """

    quiet: bool
    leaves_ended: bool
    failed: bool = False
    closed: bool = False
    sent: Mapping[str, int] = field(default_factory=dict)
    received: Mapping[str, int] = field(default_factory=dict)


class Whole:
    """A deployed session over its nodes.

    Args:
        nodes: their names; of managers of managers, those of the nodes below at any depth.
    """

    def __init__(self, nodes: Iterable[str]) -> None:
        self._reports: dict[str, Report | None] = dict.fromkeys(nodes)
        self._triggers = dict.fromkeys(self._reports, 0)
        self._orders: dict[str, Command] = {}  # not acknowledged
        self._gone: set[str] = set()
        self.verdict: SessionState | None = None
        """FINISHED, FAILED or CANCELLED; None while the session runs. Final when it is there."""
        self.causes: list[str] = []
        """Why the session failed, where it is not for a drop in ERROR."""
        self.skipping = False
        """An EndDrop completed; what remains is skipped and settles."""

    # Events

    def triggered(self, node: str) -> None:
        """Note that a trigger is on its way to a node; it counts as a fact from `OWNER`."""
        self._triggers[node] += 1

    def report(self, node: str, report: Report) -> None:
        """Take a node's word in place of its last one; the caller brings reports of one node in order."""
        if node not in self._reports or node in self._gone:
            return
        self._reports[node] = report
        if self.verdict is None:
            self._judge()

    def node_lost(self, node: str, cause: str) -> None:
        """Note that a node does not answer any more; it shall cancel its part should it come back."""
        self._give_up(node, cause)

    def node_restarted(self, node: str) -> None:
        """Note that a node was started anew: what it had of this session is gone."""
        self._give_up(node, f"node {node} was restarted and has lost its part of the session")
        self._orders.pop(node, None)

    def cancelled(self) -> None:
        """End the session: the client wants it. A verdict that is there stays."""
        if self.verdict is None:
            self._end(SessionState.CANCELLED, Command.CANCEL)

    def acknowledged(self, node: str, command: Command) -> None:
        """Note that a node has done a command."""
        if self._orders.get(node) is command:
            del self._orders[node]

    # What follows

    def commands(self) -> list[tuple[str, Command]]:
        """Return what nodes have not acknowledged."""
        return list(self._orders.items())

    @property
    def over(self) -> bool:
        """Whether there is a verdict and every node that is still there has done its part of it."""
        return self.verdict is not None and self._gone.issuperset(self._orders)

    @property
    def stalled(self) -> bool:
        """Whether the session runs, and nothing in it can go on unless a drop is triggered."""
        return self.verdict is None and not self.skipping and self._is_still() and not self._leaves_ended()

    def _give_up(self, node: str, cause: str) -> None:
        if node not in self._reports or node in self._gone:
            return
        self._gone.add(node)
        if self.verdict is None:
            self.causes.append(cause)
            self._end(SessionState.FAILED, Command.CANCEL)

    def _judge(self) -> None:
        reports = [report for report in self._reports.values() if report is not None]
        if not self.skipping and any(report.closed for report in reports):
            self.skipping = True
            self._orders = {
                node: Command.SKIP_REST
                for node, report in self._reports.items()
                if report is None or not report.closed
            }
        if not self._is_still():
            return
        if all(report.closed for report in reports) if self.skipping else self._leaves_ended():
            failed = any(report.failed for report in reports)
            self._end(SessionState.FAILED if failed else SessionState.FINISHED, Command.CONCLUDE)

    def _end(self, verdict: SessionState, command: Command) -> None:
        self.verdict = verdict
        self._orders = dict.fromkeys(self._reports, command)

    def _leaves_ended(self) -> bool:
        return all(report is not None and report.leaves_ended for report in self._reports.values())

    def _is_still(self) -> bool:
        """Whether nothing happens in the session any more, see rule 3."""
        sent = {(OWNER, node): count for node, count in self._triggers.items() if count}
        received: dict[tuple[str, str], int] = {}
        for node, report in self._reports.items():
            if report is None or not report.quiet:
                return False
            sent.update(((node, other), count) for other, count in report.sent.items() if count)
            received.update(((other, node), count) for other, count in report.received.items() if count)
        return sent == received
