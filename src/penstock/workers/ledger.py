# SPDX-License-Identifier: Apache-2.0
"""What a book is made of: items and their costs, holders, slots, commands, and changes that keep all consistent.

Prefetch is there to hide latency and for nothing else: work that has been sent cannot be shared any more. So it is
measured in seconds by the mean cost of each kind, and what is not known to be quick waits with its holder.

Pure: no thread, clock or socket; nothing is decided here. `book.py` decides, and is the only user.
Source: farm specification, "Credit" and "Ordered, batching, stragglers".

Rule 1: only `Ledger.move` writes the state of a slot.
Rule 2: an item that leaves a slot unstarted goes before all that wait with its holder.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import NamedTuple

from penstock.errors import IllegalTransition

__all__ = [
    "Command",
    "Costs",
    "Credit",
    "Death",
    "End",
    "Item",
    "Ledger",
    "Queue",
    "Recall",
    "Row",
    "Send",
    "SlotPhase",
    "SlotRow",
    "Start",
]

_SAMPLES = 8
_UNKNOWN_S = 1.0
"""What an item of unknown cost counts in sums that decide about starts: large, and yet finite."""
_NO_KIND: Hashable = object()


@dataclass(frozen=True, slots=True)
class Credit:
    """How far ahead a pool works; seconds and counts.

    Attributes:
        ahead_s: work that a slot may hold by mean cost; hides about forty round trips of 100 us.
        most: items that a slot may hold at once; bounds what a recall or a death has to move.
        watch_s: a slot that holds unstarted items and is silent for so long runs a slow one; a little over
            `ahead_s`, as all that it holds should have ended by then.
        worth_s: unstarted work for which a recall pays; two round trips.
        quick_s: items up to this cost are over sooner than anybody can react to one of them.
        start_s: waiting work per started slot that pays for one more process; about what a fork costs.
        turn_s: how long a slot stays with its holder when another one has an equal right to it; bounds how
            often quick items of two holders change places.
        starting: processes that may start at the same time; more only slow each other down.
        deaths: of its process after which an item is not run again.
        weight: of a new measurement in the mean; a single slow item is forgotten after some twenty.
        kinds: whose cost is remembered; beyond that the oldest is forgotten.
    """

    ahead_s: float = 0.004
    most: int = 512
    watch_s: float = 0.005
    worth_s: float = 0.0002
    quick_s: float = 0.0001
    start_s: float = 0.010
    turn_s: float = 0.005
    starting: int = 8
    deaths: int = 3
    weight: float = 0.2
    kinds: int = 65_536


@dataclass(slots=True, eq=False)
class Item:
    """One thing to run, the same object from submission to its end.

    Attributes:
        holder: whose it is.
        ident: the holder's own number for it.
        kind: items of one kind cost about the same.
        width: slots that it counts for while it runs.
        alone: whether it is sent to an idle slot only, with nothing behind it.
        deaths: of processes that ran it.
    """

    holder: int
    ident: int
    kind: Hashable = 0
    width: int = 1
    alone: bool = False
    deaths: int = 0


class Cost:
    """The mean of one kind; seconds."""

    __slots__ = ("mean_s",)

    def __init__(self, mean_s: float) -> None:
        self.mean_s = mean_s


class Costs:
    """Mean costs by kind: they fall slowly and rise at once.

    Attributes:
        known: by kind; `Book.finished` reads and updates it itself, as that is done for each item.
    """

    def __init__(self, credit: Credit) -> None:
        self.known: dict[Hashable, Cost] = {}
        self._credit = credit

    def learn(self, kind: Hashable, seconds: float) -> None:
        """Take the first measurement of a kind."""
        if len(self.known) >= self._credit.kinds:
            del self.known[next(iter(self.known))]
        self.known[kind] = Cost(seconds)

    def at_least(self, kind: Hashable, seconds: float) -> None:
        """Take note that an item of a known kind runs for so long already."""
        cost = self.known.get(kind)
        if cost is not None and cost.mean_s < seconds:
            cost.mean_s = seconds

    def work_s(self, items: deque[Item]) -> float:
        """Return what items cost; infinite where one is unknown."""
        known, last, mean, total = self.known, _NO_KIND, inf, 0.0
        for item in items:
            if item.kind != last:
                last = item.kind
                cost = known.get(last)
                mean = inf if cost is None else cost.mean_s
            total += mean
        return total

    def estimate_s(self, items: deque[Item], count: int) -> float:
        """Return about what `count` of these items cost, from a few of them; unknown ones count as large."""
        size, known, total = len(items), self.known, 0.0
        if not size:
            return 0.0
        samples = min(size, _SAMPLES)
        for sample in range(samples):
            cost = known.get(items[size - 1 - sample * size // samples].kind)
            total += _UNKNOWN_S if cost is None else cost.mean_s
        return total * count / samples

    def cut(self, queue: deque[Item], most: int, room_s: float, *, is_idle: bool) -> list[Item]:
        """Take from the head of a queue what a slot may hold in addition.

        Args:
            most: how many at most.
            room_s: work for which there is room.
            is_idle: whether the slot holds nothing; then it gets one item whatever that costs.
        """
        known, last, mean = self.known, _NO_KIND, inf
        batch: list[Item] = []
        while queue and len(batch) < most:
            item = queue[0]
            if item.alone or item.width > 1:
                break
            if item.kind != last:
                last = item.kind
                cost = known.get(last)
                mean = inf if cost is None else cost.mean_s
            if mean > room_s and (batch or not is_idle):
                break
            room_s -= mean
            batch.append(queue.popleft())
        return batch


class SlotPhase(StrEnum):
    """What a slot is doing; ENDING slots are given nothing any more."""

    COLD = "COLD"
    STARTING = "STARTING"
    IDLE = "IDLE"
    BUSY = "BUSY"
    DEDICATED = "DEDICATED"
    ENDING = "ENDING"


_P = SlotPhase
_LIFE_CYCLE: dict[SlotPhase, dict[str, SlotPhase]] = {
    _P.COLD: {"start": _P.STARTING, "dedicate": _P.DEDICATED},
    _P.STARTING: {"ready": _P.IDLE, "dedicate": _P.DEDICATED, "end": _P.ENDING, "died": _P.COLD},
    _P.IDLE: {"send": _P.BUSY, "dedicate": _P.DEDICATED, "end": _P.ENDING, "died": _P.COLD},
    _P.BUSY: {"empty": _P.IDLE, "end": _P.ENDING, "died": _P.COLD},
    _P.DEDICATED: {
        "ready": _P.DEDICATED,
        "release": _P.IDLE,
        "wait": _P.STARTING,  # given back before its process was up
        "end": _P.ENDING,
        "died": _P.COLD,
    },
    _P.ENDING: {"ready": _P.ENDING, "empty": _P.ENDING, "end": _P.ENDING, "died": _P.COLD},
}


class Queue:
    """A holder: its waiting items, the slots that it uses, and the time that it used by its share."""

    __slots__ = ("is_open", "items", "number", "priority", "rate", "served_s", "used")

    def __init__(self, number: int, priority: int, share: float, served_s: float) -> None:
        self.number = number
        self.priority = priority
        self.rate = 1.0 / share
        self.items: deque[Item] = deque()
        self.used = 0
        self.served_s = served_s
        self.is_open = True

    def claim(self, without: int = 0) -> tuple[int, float, float, int]:
        """Return its place in the order of who gets a free slot; `without` so many of the slots that it uses."""
        return -self.priority, (self.used - without) * self.rate, self.served_s, self.number


class Row:
    """A slot."""

    __slots__ = (
        "call", "half", "has_yielded", "holder", "is_dedicated", "is_extra", "is_recalling", "is_sealed",
        "is_stalled", "is_up", "items", "last", "number", "phase", "restarts", "since_s", "turn_s", "weight", "width",
    )  # fmt: skip

    def __init__(self, number: int, phase: SlotPhase, *, is_extra: bool) -> None:
        self.number = number
        self.phase = phase
        self.is_extra = is_extra  # in addition to the pool's slots
        self.is_dedicated = is_extra
        self.is_up = False
        self.items: deque[Item] = deque()
        self.holder: Queue | None = None  # of the items, or to whom it is dedicated
        self.last = -1  # the holder before: its things are loaded there
        self.width = 0  # slots that its item counts for
        self.weight = 0.0  # slots used by the share of the holder
        self.since_s = 0.0  # when the child was heard of last, or began
        self.turn_s = 0.0  # when the holder got the slot
        self.half = 0  # refilled with so many items left, or fewer
        self.call = 0  # the number of items left at which a plan is due
        self.is_sealed = False  # nothing may go behind a wide or lonely item
        self.is_recalling = False
        self.is_stalled = False  # silent for long: it gets nothing until it reports
        self.has_yielded = False  # was emptied for the sake of another holder
        self.restarts = 0


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process for a slot."""

    slot: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send items of one holder to a slot, behind those that it has."""

    slot: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """Take back what a slot has not begun, and tell `Book.recalled`."""

    slot: int


@dataclass(frozen=True, slots=True)
class End:
    """Let a slot's process end; nothing runs there."""

    slot: int


Command = Start | Send | Recall | End


class Death(NamedTuple):
    """The conclusions of a process's death.

    Attributes:
        culprit: the item that was begun and has no outcome.
        again: whether it waits again; else it is out of the book.
        orphans: unstarted items that are out of the book because their holder has been closed.
    """

    culprit: Item | None
    again: bool
    orphans: tuple[Item, ...] = ()


class SlotRow(NamedTuple):
    """A slot as people see it; `holder` is None while nothing is there."""

    slot: int
    state: SlotPhase
    holder: int | None
    outstanding: int
    restarts: int


class Ledger:
    """Where all items of a pool are.

    Attributes:
        waiting: holders with waiting items.
        capacity: the pool's slots without those that are dedicated.
        used: of them, those that items count for.
        served_s: the clock of fair shares: that of whom something was sent last.
        deep: busy slots that may hold unstarted items; others need no look.
        hungry: busy slots that would take more.
        is_due: whether something happened that a plan must look at.
    """

    def __init__(self, slots: int, credit: Credit) -> None:
        self.credit = credit
        self.costs = Costs(credit)
        self.holders: dict[int, Queue] = {}
        self.waiting: dict[Queue, None] = {}
        self.rows = {number: Row(number, _P.COLD, is_extra=False) for number in range(slots)}
        self._phases: dict[SlotPhase, dict[Row, None]] = {phase: {} for phase in SlotPhase}
        self.cold, self.starting = self._phases[_P.COLD], self._phases[_P.STARTING]
        self.idle, self.busy = self._phases[_P.IDLE], self._phases[_P.BUSY]
        self.cold.update(dict.fromkeys(self.rows.values()))
        self.next_number = slots
        self.capacity = slots
        self.used = 0
        self.served_s = 0.0
        self.deep: dict[Row, None] = {}
        self.hungry: dict[Row, None] = {}
        self.is_due = False

    def queue(self, holder: int, event: str) -> Queue:
        """Return a holder that is open."""
        try:
            return self.holders[holder]
        except KeyError:
            raise IllegalTransition("closed", event, f"holder {holder}") from None

    def row(self, slot: int, event: str) -> Row:
        """Return a slot that exists."""
        try:
            return self.rows[slot]
        except KeyError:
            raise IllegalTransition("unknown", event, f"slot {slot}") from None

    def add_row(self) -> Row:
        """Return a new slot in addition to the pool's."""
        row = self.rows[self.next_number] = Row(self.next_number, _P.COLD, is_extra=True)
        self.next_number += 1
        return row

    def move(self, row: Row, event: str) -> None:
        """Change the state of a slot.

        Raises:
            IllegalTransition: the event is not possible in its state.
        """
        after = _LIFE_CYCLE[row.phase].get(event)
        if after is None:
            raise IllegalTransition(row.phase, event, f"slot {row.number}")
        self._phases[row.phase].pop(row, None)
        self._phases[after][row] = None
        row.phase = after
        self.is_due = True

    def need(self, item: Item) -> int:
        """Return how many slots an item takes up."""
        return max(1, min(item.width, self.capacity))

    def wake(self, queue: Queue) -> None:
        """Take note of new waiting items."""
        if queue.items:
            self.waiting[queue] = None
            self.is_due = True

    def take_slot(self, row: Row, queue: Queue, width: int, now_s: float) -> None:
        """Give an idle slot to a holder."""
        self.move(row, "send")
        row.holder = queue
        row.last = queue.number
        row.width = width
        row.weight = width * queue.rate
        row.since_s = row.turn_s = now_s
        queue.used += width
        self.used += width

    def ran_low(self, row: Row) -> None:
        """Take note that a slot may want more; it is its holder's no longer when it is empty."""
        left = len(row.items)
        row.call = left >> 1
        self.hungry[row] = None
        self.is_due = True
        if not left:
            self.emptied(row)

    def emptied(self, row: Row) -> None:
        """Take note that a slot holds nothing any more."""
        self._leave_slot(row)
        self.move(row, "empty")

    def remove(self, row: Row, item: Item, event: str) -> None:
        """Take one item off a slot, wherever it stands there."""
        try:
            row.items.remove(item)
        except ValueError:
            place = f"item {item.ident} of holder {item.holder} on slot {row.number}"
            raise IllegalTransition("not there", event, place) from None

    def take_back(self, row: Row, items: Sequence[Item], event: str) -> list[Item]:
        """Let unstarted items of a slot wait again; return them if their holder has been closed."""
        for item in reversed(items):
            if row.items and row.items[-1] is item:
                row.items.pop()
            else:
                self.remove(row, item, event)
        return [] if self.requeue(row.holder, items) else list(items)

    def requeue(self, queue: Queue | None, items: Sequence[Item]) -> bool:
        """Let items wait again before the others, unless their holder has been closed."""
        if queue is None or not queue.is_open:
            return False
        queue.items.extendleft(reversed(items))
        self.wake(queue)
        return True

    def bury(self, row: Row) -> None:
        """Make a slot cold whose process is dead, or forget it if it was an additional one."""
        if row.items:
            raise IllegalTransition(row.phase, "gone while it holds items", f"slot {row.number}")
        self._leave_slot(row)
        self.move(row, "died")
        row.restarts += 1
        row.is_up = row.is_recalling = False
        if row.is_extra:
            del self.cold[row]
            del self.rows[row.number]
        elif row.is_dedicated:
            row.is_dedicated = False
            self.capacity += 1

    def _leave_slot(self, row: Row) -> None:
        if row.holder is not None:
            row.holder.used -= row.width
        self.used -= row.width
        self.deep.pop(row, None)
        self.hungry.pop(row, None)
        row.holder = None
        row.width = 0
        row.is_stalled = row.has_yielded = False
