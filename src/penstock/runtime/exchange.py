# SPDX-License-Identifier: Apache-2.0
"""A session's dealings with the nodes where its neighbours live.

What ends here and matters elsewhere is told as facts (`engine/part.py` knows to whom, and what is not acknowledged);
facts that come are applied to the flow. Data that was written elsewhere is fetched when its row is settled. When
all is at rest here, a report says so to whoever decides that the session is over.

Rule 1: the session's lock comes first, then `_lock`, which guards the part. What may wait is done without either:
        contents are looked at on the node's telling thread, fetched on the session's slots.
Rule 2: a fact is taken from its stream and applied to the flow in one go under the session's lock; so no report
        counts a message as received whose effect it does not show.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby
from typing import NamedTuple, Protocol, cast

import msgspec

from penstock.drops.data import Buffer, DataDrop
from penstock.engine.part import Ack, Arrived, Message, Part
from penstock.engine.states import DropState
from penstock.engine.whole import OWNER, Report
from penstock.errors import DropUnknown
from penstock.runtime.ghosts import Ghosts
from penstock.runtime.held import HeldHere, Holding, held_here, holding_of, is_here, take
from penstock.runtime.relay import Relay, Streams
from penstock.runtime.session import Session
from penstock.wire.data import Region

__all__ = ["Exchange", "Post"]


_ACK_S = 0.005


class Post(Streams, Protocol):
    """How messages leave this node, and when its own calls run."""

    def now_s(self) -> float: ...

    def send(self, own: str, node: str, session_id: str, message: Message) -> None:
        """Send a message to a node that knows this one as `own`; it may be lost."""
        ...

    def read(self, node: str, session_id: str, uid: str) -> AbstractContextManager[Iterable[Buffer]]:
        """Read what another node holds of a drop; raises `PenstockError` where it cannot be had."""

    def soon(self, call: Callable[[], None]) -> None:
        """Make a call on the telling thread, after those asked for before."""
        ...

    def later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Make a call on some thread after some time; the answer cancels it. The call must not wait."""


class _End(NamedTuple):
    """Something to tell: how a drop ended here, or what an app here asks of its output elsewhere."""

    row: int
    state: int
    is_asked: bool = False


class Exchange:
    """What one session tells other nodes and hears from them.

    Args:
        own: the address by which the other nodes know this one.
        epoch: number of this deployment, and the least number of messages that count: what earlier deployments of the
            session have on their way does not. Names of streams bear the least one, which all nodes agree on.
        report: given each new report; called on the telling thread.
    """

    def __init__(
        self,
        session: Session,
        ghosts: Ghosts,
        own: str,
        epoch: tuple[int, int],
        post: Post,
        report: Callable[[Report], None],
    ) -> None:
        self._session = session
        self._own = own
        self._post = post
        self._send_report = report
        self._homes = ghosts.homes
        self._wiring = session.prepared.wiring
        self._lock = threading.Lock()
        self._part = Part(
            self._wiring,
            session.uid,
            ghosts.homes,
            epoch[0],
            least=dict.fromkeys(ghosts.homes.values(), epoch[1]),
        )
        self._wanted = self._part.wanted
        self._ended: deque[_End] = deque()
        self._streamed: deque[tuple[int, int]] = deque()
        self._is_telling = False
        self._where: dict[int, dict[str, Holding]] = {}
        """Per row what each node holds of it, as it said last: every app that ends there tells of all that is there."""
        self._cancel_timer: Callable[[], None] | None = None
        self._timer_s = math.inf
        self._last: Report | None = None
        self._triggers = 0
        self._is_closed = False
        self._owes_ack = False
        self._relay = Relay(session, ghosts, own, epoch[1], post)
        session.fetch = self._fetch
        session.forward = self._relay.write

    def start(self) -> None:
        """Report for the first time: there may be nothing to run here."""
        self._relay.start()
        with self._session.lock:
            self.rest()

    def trigger(self, rows: Sequence[int]) -> None:
        """Complete data and start apps for the session's owner; every call counts in the next report."""
        with self._session.lock:
            self._triggers += 1
            self._session.flow.trigger(rows)
            self._session.spread()
            self.rest()

    # What happens here; the session's lock is held

    def hear(self, changes: Sequence[int]) -> None:
        """Take note of drops that have ended here."""
        flow, wanted = self._session.flow, self._wanted
        if self._relay:
            self._streamed.extend([(i, flow.state[i]) for i in changes])
            self.rest()
        if flow.closed:  # by an EndDrop, a cancel, the end: the owner of the session tells all nodes
            flow.asked.clear()
            return
        if flow.asked:
            self._ended.extend(_End(index, state, is_asked=True) for index, state in flow.asked)
            flow.asked.clear()
        self._ended.extend([_End(i, flow.state[i]) for i in changes if wanted[i]])
        if self._ended:
            self.rest()

    def rest(self) -> None:
        """Take note that there may be something to tell or to report."""
        if not self._is_telling and not self._is_closed:
            self._is_telling = True
            self._post.soon(self._tell)

    # The telling thread

    def _tell(self) -> None:
        while True:
            with self._session.lock:
                ends, streamed = list(self._ended), list(self._streamed)
                self._ended.clear()
                self._streamed.clear()
                if not ends and not streamed:
                    self._is_telling = False
                    report = self._look()
                    break
            for index, state in streamed:
                self._relay.ended(index, state)
            facts = [(end, self._contents(end)) for end in ends]
            with self._lock:
                for end, contents in facts:
                    tell = self._part.ask if end.is_asked else self._part.tell
                    tell(end.row, end.state, contents)
            self._pump()
        if report != self._last and not self._is_closed:
            self._last = report
            self._send_report(report)

    def _look(self) -> Report:
        """Return how things stand here. The session's lock is held, and nothing waits to be told."""
        session, flow = self._session, self._session.flow
        with self._lock:
            sent, received = self._part.counts()
        return Report(
            quiet=session.is_quiet(),
            leaves_ended=flow.leaves_have_ended(),
            failed=flow.has_failed(),
            closed=flow.closed,
            sent=sent,
            received={**received, OWNER: self._triggers},
        )

    def _contents(self, end: _End) -> dict[int, object]:
        """Return where the data is that others will want to have together with a fact."""
        if end.state != DropState.COMPLETED:
            return {}
        wanted = [end.row]
        if self._session.flow.is_app(end.row):
            wanted = [i for i in self._wiring.after[end.row] if i in self._homes]
        found: dict[int, object] = {}
        for index in wanted:
            drop = self._session.drop(index)
            if isinstance(drop, DataDrop) and drop.moves:
                found[index] = msgspec.to_builtins(holding_of(drop), builtin_types=(bytes,))
        return found

    def _pump(self) -> None:
        """Send what is due, and see to it that somebody comes back for the rest."""
        with self._lock:
            if self._is_closed:
                return
            now_s = self._post.now_s()
            messages = self._part.due(now_s)
            due_s = self._part.next_due_s()
            if due_s < self._timer_s:
                if self._cancel_timer is not None:
                    self._cancel_timer()
                self._timer_s = due_s
                self._cancel_timer = self._post.later(max(0.0, due_s - now_s), self._again)
        for node, message in messages:
            self._post.send(self._own, node, self._session.session_id, message)

    def _again(self) -> None:
        with self._lock:
            self._cancel_timer, self._timer_s = None, math.inf
        self._pump()

    # What comes from other nodes

    def receive(self, node: str, message: Message) -> None:
        """Take a message of another node.

        Raises:
            WireError: it is inconsistent; nothing has changed.
        """
        with self._session.lock:
            with self._lock:
                if self._is_closed:
                    return
                arrived = self._part.receive(node, message, self._post.now_s())
            for fact in arrived:
                for index, content in fact.contents.items():
                    self._where.setdefault(index, {})[node] = _holding(content)
            for state, facts in groupby(arrived, _state_of):
                self._session.remote_ended([fact[0] for fact in facts], state)
            if arrived:
                self.rest()  # the counts have changed, even where nothing runs because of it
        if isinstance(message, Ack):
            self._pump()  # there may be room for what had to wait
        else:
            self._acknowledge_soon()

    def _acknowledge_soon(self) -> None:
        """Acknowledge together with what is told meanwhile, or several messages with one."""
        with self._lock:
            if self._owes_ack or self._is_closed:
                return
            self._owes_ack = True
        self._post.later(_ACK_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._owes_ack = False
        self._pump()

    def reconnected(self, node: str) -> None:
        """Tell another node again what it may have missed."""
        with self._lock:
            self._part.reconnected(node)
        self._pump()

    def _fetch(self, index: int) -> None:
        """Bring the content of a drop here, before it completes; on a slot of the session."""
        where = self._where.pop(index, {})
        drop = cast("DataDrop", self._session.drop(index))
        if self._relay.brings(index):
            self._relay.wait(index)
            return
        if index in self._homes and (producers := self._wiring.before[index]):
            are_here = [i not in self._homes for i in producers]
            if all(are_here):
                return  # all of it was written here
            if any(are_here) and not any(is_here(drop, holding) for holding in where.values()):
                drop.discard()  # its home has all of it, what was written here too
        for node, holding in where.items():
            take(drop, holding, node, partial(self._post.read, node, self._session.session_id, drop.uid))

    def held(self, uid: str) -> HeldHere | Region:
        """Return what this node holds of a drop, for another node that reads it.

        Raises:
            DropUnknown: the session has no such drop here.
            DropNotReadable: it holds nothing that could be brought elsewhere.
        """
        index = self._session.prepared.graph.index.get(uid)
        drop = None if index is None else self._session.drop(index)
        if not isinstance(drop, DataDrop):
            raise DropUnknown(self._session.session_id, [uid])
        return self._session.region(drop.index) or held_here(drop)

    def end(self) -> None:
        """Let nobody here wait for other nodes any more; before the session is closed."""
        self._relay.end()

    def close(self) -> None:
        """Tell and hear nothing any more; after the session is closed."""
        with self._lock:
            self._is_closed = True
            if self._cancel_timer is not None:
                self._cancel_timer()
                self._cancel_timer = None
            self._send_report = _pass_over
        self._relay.close()


def _pass_over(_: Report) -> None:
    return None


def _state_of(fact: Arrived) -> int:
    return fact.state


def _holding(content: object) -> Holding:
    try:
        return msgspec.convert(content, Holding)
    except msgspec.ValidationError as exc:
        return Holding(0, trouble=f"what was told of it cannot be read: {exc}")
