# SPDX-License-Identifier: Apache-2.0
"""One node's part of a session, seen from its borders: which neighbours hear what, and what they told.

Rule 1: pure. A fact is how a home drop ended, told to every node that has a ghost of it and waits for it; or what an
        app here asks of its output elsewhere. Facts of one neighbour arrive in the order in which they were told.
Rule 2: facts are numbers in a table of names that the sender makes of its own graph. The table travels with the
        first message of its stream; until it has come, later messages are passed over, they will be sent again.
Rule 3: a message is checked whole before any of it counts. What is inconsistent raises `WireError` and changes
        nothing, not even what is acknowledged.
Rule 4: `counts` are of facts, and of both ends of each channel: a fact counts as sent from `tell` on, as received
        when `receive` hands it over. `whole.py` finds by them whether anything is still on its way.

After a session's flow was closed (by an EndDrop, a cancel, its conclusion) nothing is told any more: the owner of
the session tells all nodes.
"""

import math
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from penstock.engine.outbox import Inbox, Outbox
from penstock.engine.states import DropState
from penstock.errors import WireError
from penstock.graph.links import APP, Wiring

__all__ = ["Ack", "Arrived", "Batch", "Message", "Part"]

_FACTS_PER_BATCH = 1 << 14
_CONTENTS_PER_BATCH = 256  # but for one fact that brings more
_TELLABLE = frozenset({int(DropState.COMPLETED), int(DropState.ERROR), int(DropState.SKIPPED)})
_NOTHING: Mapping[int, object] = MappingProxyType({})
_NONE_KNOWN: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Batch:
    """Facts for one neighbour, in order.

    Attributes:
        epoch: incarnation number of the sender.
        sequence: number of this message in the sender's stream, from 1.
        names: uids that facts name by their place in this table; only in message 1.
        numbers: per fact its drop's place in the table: 32-bit integers, least significant byte first.
        states: a byte per fact: COMPLETED, ERROR or SKIPPED.
        contents: what was written to data: (place of the fact in this message, data's place in the table, content).
    """

    epoch: int
    sequence: int
    names: tuple[str, ...]
    numbers: bytes
    states: bytes
    contents: tuple[tuple[int, int, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """All messages of an epoch up to a number have come."""

    epoch: int
    sequence: int


Message: TypeAlias = Batch | Ack


class Arrived(NamedTuple):
    """A fact: how a ghost ended at its home; of home data, what an app elsewhere asks of it.

    Attributes:
        drop: its index here.
        state: COMPLETED, ERROR or SKIPPED, for `Flow.remote_ended`.
        contents: what was written, by index of the data; to be kept before the flow is told.
    """

    drop: int
    state: int
    contents: Mapping[int, object]


class _Facts(NamedTuple):
    """What one message carries, before it has a number."""

    names: tuple[str, ...]
    numbers: bytes
    states: bytes
    contents: tuple[tuple[int, int, object], ...]


class _Peer:
    """What is known of one neighbour: the table for it, the table of it, and both streams."""

    def __init__(self, epoch: int, least_epoch: int) -> None:
        self.indices: list[int] = []
        self.number_of: dict[int, int] = {}
        self.outbox: Outbox[_Facts] = Outbox(epoch)
        self.inbox: Inbox[Batch] = Inbox(least_epoch)
        self.table: array[int] = array("i")  # index here by number there
        self.numbers = array("i")  # told, not yet in a message
        self.states = bytearray()
        self.contents: list[tuple[int, int, object]] = []
        self.sent = 0
        self.received = 0
        self.owes_ack = False
        self.named = False

    def add(self, number: int, state: int, contents: Iterable[tuple[int, object]]) -> None:
        """Add a fact to what is not yet in a message."""
        self.contents += [(len(self.numbers), self.number_of[data], content) for data, content in contents]
        self.numbers.append(number)
        self.states.append(state)
        self.sent += 1


class Part:
    """The borders of one node's part of a session.

    Args:
        wiring: of the part: its home drops and their neighbours.
        uids: names of drops, by index.
        homes: the ghosts, each with the name of the node that is its home.
        epoch: incarnation number of this process; higher with each session of the same id.
        least: per neighbour the oldest epoch that is not refused, where it is known: what is left of an earlier
            session of the same id, or of a process that was there before, then counts for nothing.
    """

    def __init__(
        self,
        wiring: Wiring,
        uids: Callable[[int], str],
        homes: Mapping[int, str],
        epoch: int,
        *,
        least: Mapping[str, int] = _NONE_KNOWN,
    ) -> None:
        self.wanted = bytearray(len(wiring.kinds))
        """Per drop whether any neighbour is to be told of its end."""
        self._wiring = wiring
        self._uids = uids
        self._homes = homes
        self._wanted_by: dict[int, tuple[str, ...]] = {}
        self._peers = {name: _Peer(epoch, least.get(name, 1)) for name in dict.fromkeys(homes.values())}
        self._make_tables()

    def _make_tables(self) -> None:
        named: dict[str, set[int]] = {name: set() for name in self._peers}
        for ghost, name in self._homes.items():
            told = [i for i in self._wiring.before[ghost] if i not in self._homes]
            named[name].update(told)
            if told and self._wiring.kinds[ghost] != APP:
                named[name].add(ghost)  # for what apps here write to it and ask of it
        for name, indices in named.items():
            peer = self._peers[name]
            peer.indices = sorted(indices)
            peer.number_of = {index: number for number, index in enumerate(peer.indices)}
            for index in peer.indices:
                if index not in self._homes:
                    self.wanted[index] = 1
                    self._wanted_by[index] = (*self._wanted_by.get(index, ()), name)

    # What this node tells

    def wanted_by(self, index: int) -> tuple[str, ...]:
        """Return the nodes that are to be told when a home drop has ended."""
        return self._wanted_by.get(index, ())

    def tell(self, index: int, state: int, contents: Mapping[int, object] = _NOTHING) -> None:
        """Tell all who wait for it that a home drop ended; once, what is said again is not told.

        Args:
            index: the drop.
            state: how it ended; a cancel is not told, the owner of the session tells all nodes.
            contents: what is in data, by index: of data its own, of an app those of its outputs elsewhere.
        """
        if state not in _TELLABLE or not self.wanted[index]:
            return
        self.wanted[index] = 0
        for name in self._wanted_by[index]:
            peer = self._peers[name]
            chosen = [(i, c) for i, c in contents.items() if i == index or self._homes.get(i) == name]
            peer.add(peer.number_of[index], state, chosen)

    def ask(self, index: int, state: int, contents: Mapping[int, object] = _NOTHING) -> None:
        """Tell the home of data what an app here asks of it (see `Flow.asked`): SKIPPED, COMPLETED or ERROR."""
        peer = self._peers[self._homes[index]]
        peer.add(peer.number_of[index], state, contents.items())

    def due(self, now_s: float) -> list[tuple[str, Message]]:
        """Return what is to be sent now, and to whom; what was told since the last call goes out together."""
        messages: list[tuple[str, Message]] = []
        for name, peer in self._peers.items():
            if peer.owes_ack:
                peer.owes_ack = False
                messages.append((name, Ack(peer.inbox.epoch, peer.inbox.acknowledged)))
            while peer.numbers and not peer.outbox.is_full:
                peer.outbox.put(self._pack(peer))
            epoch = peer.outbox.epoch
            messages += [(name, Batch(epoch, n, *facts)) for n, facts in peer.outbox.due(now_s)]
        return messages

    def _pack(self, peer: _Peer) -> _Facts:
        """Take as many facts as one message carries."""
        count = min(len(peer.numbers), _FACTS_PER_BATCH)
        if len(peer.contents) > _CONTENTS_PER_BATCH:
            count = min(count, max(peer.contents[_CONTENTS_PER_BATCH][0], 1))
        numbers, states = peer.numbers[:count], bytes(peer.states[:count])
        contents = tuple(entry for entry in peer.contents if entry[0] < count)
        peer.contents = [(at - count, data, content) for at, data, content in peer.contents if at >= count]
        del peer.numbers[:count], peer.states[:count]
        names = () if peer.named else tuple(map(self._uids, peer.indices))
        peer.named = True
        return _Facts(names, _to_bytes(numbers), states, contents)

    def next_due_s(self) -> float:
        """Return when `due` has something: 0 for at once, infinity for not before something happens."""
        times = [
            0.0 if peer.owes_ack or (peer.numbers and not peer.outbox.is_full) else peer.outbox.next_due_s()
            for peer in self._peers.values()
        ]
        return min(times, default=math.inf)

    # What neighbours tell

    def receive(self, name: str, message: Message, now_s: float) -> list[Arrived]:
        """Take a message of a neighbour and return the facts that it brings, in order, each once.

        The flow must be told in the same order: what an app asks of its output comes before that app's end.

        Raises:
            WireError: the message is inconsistent, or its sender is no neighbour; nothing has changed.
        """
        peer = self._peers.get(name)
        if peer is None:
            raise WireError(f"node {name!r} has no drops next to those here")
        if isinstance(message, Ack):
            peer.outbox.acknowledge(message.epoch, message.sequence, now_s)
            return []
        inbox = peer.inbox
        if message.epoch < inbox.epoch:
            return []
        begun = message.epoch == inbox.epoch and inbox.acknowledged > 0
        if message.sequence < 1 or (message.sequence > 1 and not begun):
            return []  # its table has not come
        expected = inbox.expects(message.epoch, message.sequence)
        if expected:
            self._check(name, peer, message)
        peer.owes_ack = True
        arrived: list[Arrived] = []
        for batch in inbox.take(message.epoch, message.sequence, message) if expected else ():
            arrived += _unpack(peer.table, batch)
        peer.received += len(arrived)
        return arrived

    def _check(self, name: str, peer: _Peer, batch: Batch) -> None:
        """Refuse what is inconsistent; take the table of a stream that begins."""
        count, rest = divmod(len(batch.numbers), 4)
        if rest or count != len(batch.states) or not count:
            raise WireError(f"{len(batch.numbers)} bytes of numbers for {len(batch.states)} facts")
        if (batch.sequence == 1) != bool(batch.names):
            raise WireError(f"message {batch.sequence} brings {len(batch.names)} names")
        if not _TELLABLE.issuperset(batch.states):
            raise WireError(f"a fact with state {max(batch.states)} is none")
        table = self._read_table(name, batch.names) if batch.names else peer.table
        numbers = _from_bytes(batch.numbers)
        if min(numbers) < 0 or max(numbers) >= len(table):
            raise WireError(f"a fact about drop {max(numbers)} of {len(table)}")
        kinds = self._wiring.kinds
        for at, number, _ in batch.contents:
            if not (0 <= at < count and 0 <= number < len(table)) or kinds[table[number]] == APP:
                raise WireError(f"content of drop {number} of {len(table)} with fact {at} of {count}")
        if batch.names:
            peer.table, peer.received = table, 0

    def _read_table(self, name: str, names: tuple[str, ...]) -> "array[int]":
        """Return the drops here that a neighbour's names mean.

        Raises:
            WireError: a name that means no drop on this border, or one that this node waits for is missing.
        """
        kinds, after, homes = self._wiring.kinds, self._wiring.after, self._homes
        awaited, known = set(), {}
        for ghost, home in homes.items():
            if home == name:
                here = [i for i in after[ghost] if i not in homes]
                if here:
                    awaited.add(ghost)
                    known[self._uids(ghost)] = ghost
                if here and kinds[ghost] == APP:
                    known.update((self._uids(data), data) for data in here)
        unknown = [uid for uid in names if uid not in known]
        if unknown:
            raise WireError(f"node {name!r} tells of {unknown[0]!r}, which is none of its neighbours here")
        table = array("i", [known[uid] for uid in names])
        missing = awaited.difference(table)
        if missing:
            uid = self._uids(min(missing))
            raise WireError(f"node {name!r} does not tell of {uid!r}, which this node waits for")
        return table

    def reconnected(self, name: str) -> None:
        """Send a neighbour again, at once, what it has not acknowledged, and what it has not heard of acknowledged."""
        peer = self._peers.get(name)
        if peer is not None:
            peer.outbox.reconnected()
            peer.owes_ack = peer.inbox.acknowledged > 0

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many facts were sent to each neighbour, and how many were received of each."""
        return (
            {name: peer.sent for name, peer in self._peers.items()},
            {name: peer.received for name, peer in self._peers.items()},
        )


def _unpack(table: "array[int]", batch: Batch) -> list[Arrived]:
    drops = map(table.__getitem__, _from_bytes(batch.numbers))
    arrived = list(map(Arrived._make, zip(drops, batch.states, repeat(_NOTHING))))
    contents: dict[int, dict[int, object]] = {}
    for at, number, content in batch.contents:
        contents.setdefault(at, {})[table[number]] = content
    for at, of_fact in contents.items():
        arrived[at] = arrived[at]._replace(contents=of_fact)
    return arrived


def _to_bytes(numbers: "array[int]") -> bytes:
    if sys.byteorder != "little":
        numbers = array("i", numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _from_bytes(text: bytes) -> "array[int]":
    numbers = array("i")
    numbers.frombytes(text)
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers
