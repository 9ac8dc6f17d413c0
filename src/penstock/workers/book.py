# SPDX-License-Identifier: Apache-2.0
"""The book of a node's pool: where every item is, and what is to be done next.

Pure: no thread, process, socket or clock; times are arguments, monotonic seconds. One thread owns a book: it tells
what happened and then asks `Book.plan` what to do. Read `ledger.py` first.

Rule 1: an item is in one place: it waits in its holder's queue, or is on one slot, or is out of the book.
Rule 2: a slot's items belong to one holder and end in the order in which they were sent; the first one runs.
Rule 3: what a slot has not begun can be taken back at any moment; what it has begun is never taken back.
Rule 4: who is blamed for a death had begun; the others go back to the front of their queue as if never sent.
"""

from collections.abc import Iterable, Sequence
from math import inf

from penstock.errors import IllegalTransition
from penstock.workers.ledger import (
    Command,
    Credit,
    Death,
    End,
    Item,
    Ledger,
    Queue,
    Recall,
    Row,
    Send,
    SlotPhase,
    SlotRow,
    Start,
)

__all__ = [
    "Book",
    "Command",
    "Credit",
    "Death",
    "End",
    "Item",
    "Recall",
    "Send",
    "SlotPhase",
    "SlotRow",
    "Start",
]

_DEFAULT = Credit()


class Book:
    """Where the items of a pool are, and what is to be done next."""

    def __init__(self, slots: int, credit: Credit = _DEFAULT) -> None:
        self._ledger = Ledger(slots, credit)
        self._planner = _Planner(self._ledger)
        # Used for each item, so without a detour:
        self._rows = self._ledger.rows
        self._known = self._ledger.costs.known
        self._weight = credit.weight

    # Holders

    def open(self, holder: int, *, priority: int = 0, share: float = 1.0) -> None:
        """Let a holder submit items; higher priorities go first, equal ones get slots by their shares."""
        if holder in self._ledger.holders or share <= 0:
            raise IllegalTransition("open", f"open with share {share:g}", f"holder {holder}")
        self._ledger.holders[holder] = Queue(holder, priority, share, self._ledger.served_s)

    def close(self, holder: int) -> list[Item]:
        """Forget a holder and return its waiting items; those on slots stay until they end."""
        waiting = self.withdraw(holder)
        self._ledger.holders.pop(holder).is_open = False
        return waiting

    def submit(self, holder: int, items: Iterable[Item], *, front: bool = False) -> None:
        """Let items wait, behind the others of their holder or before them."""
        queue = self._ledger.queue(holder, "submit")
        if not queue.items and not queue.used:
            queue.served_s = max(queue.served_s, self._ledger.served_s)  # who did not ask has saved nothing
        if front:
            queue.items.extendleft(reversed(list(items)))
        else:
            queue.items.extend(items)
        self._ledger.wake(queue)

    def waiting(self, holder: int) -> int:
        """Return how many items of a holder wait."""
        return len(self._ledger.queue(holder, "waiting").items)

    def withdraw(self, holder: int) -> list[Item]:
        """Take all waiting items of a holder out of the book."""
        queue = self._ledger.queue(holder, "withdraw")
        waiting = list(queue.items)
        queue.items.clear()
        self._ledger.waiting.pop(queue, None)
        self._ledger.is_due = True
        return waiting

    # What slots tell

    def slot_ready(self, slot: int, now_s: float) -> None:
        """Take note that a slot's process is up; to be told of dedicated ones of the pool's slots too."""
        row = self._ledger.row(slot, "slot_ready")
        self._ledger.move(row, "ready")
        row.is_up = True
        row.since_s = now_s

    def finished(self, slot: int, item: Item, seconds: float, now_s: float) -> None:
        """Take note that an item has ended, well or not, after running for some seconds."""
        row = self._rows.get(slot) or self._ledger.row(slot, "finished")
        items = row.items
        if items and items[0] is item:
            items.popleft()
        else:
            self._ledger.remove(row, item, "finished")
        row.since_s = now_s
        row.is_stalled = False
        row.holder.served_s += seconds * row.weight  # type: ignore[union-attr]  # who has items has a holder
        cost = self._known.get(item.kind)
        if cost is None:
            self._ledger.costs.learn(item.kind, seconds)
        elif seconds <= cost.mean_s:
            cost.mean_s += (seconds - cost.mean_s) * self._weight
        else:
            cost.mean_s = seconds
            if not self._ledger.waiting:
                self._ledger.is_due = True  # what is on slots may be worth sharing now
        if len(items) <= row.call:
            self._ledger.ran_low(row)

    def refused(self, slot: int, item: Item) -> None:
        """Take an item of a `Send` out of the book that its holder did not want to be sent after all."""
        row = self._ledger.row(slot, "refused")
        self._ledger.remove(row, item, "refused")
        self._ledger.ran_low(row)

    def recalled(self, slot: int, items: Sequence[Item], now_s: float) -> list[Item]:
        """Take back all unstarted items, whether the book asked for it or not; they wait again before the others.

        Returns those that are out of the book because their holder has been closed.
        """
        row = self._ledger.row(slot, "recalled")
        self._planner.now_s = now_s
        row.is_recalling = False
        self._ledger.is_due = True
        orphans = self._ledger.take_back(row, items, "recalled")
        # What is left has begun, even if several: outcomes are under way. To ask again would be to ask for ever.
        self._ledger.deep.pop(row, None)
        row.half = len(row.items)
        row.call = 0
        if row.items:
            self._ledger.hungry[row] = None
        elif items:
            self._ledger.emptied(row)
        return orphans

    def ending(self, slot: int) -> None:
        """Take note that a slot's process is about to be killed."""
        row = self._ledger.row(slot, "ending")
        self._ledger.move(row, "end")
        self._ledger.deep.pop(row, None)

    def died(self, slot: int, not_begun: Sequence[Item], now_s: float, *, blame: bool = True) -> Death:
        """Take note that a slot's process is dead, and of the items that it had not begun.

        Args:
            blame: whether the item that ran may be at fault; without, the process was killed on purpose and the
                item is out of the book.
        """
        row = self._ledger.row(slot, "died")
        self._planner.now_s = now_s
        if len(row.items) - len(not_begun) > 1:
            raise IllegalTransition(row.phase, "died with more than one item begun", f"slot {slot}")
        orphans = self._ledger.take_back(row, not_begun, "died")
        culprit = row.items.popleft() if row.items else None
        again = False
        if culprit is not None and blame:
            culprit.deaths += 1
            culprit.alone = True
            is_spared = culprit.deaths < self._ledger.credit.deaths
            again = is_spared and self._ledger.requeue(row.holder, [culprit])
        self._bury(row)
        return Death(culprit, again, tuple(orphans))

    # Dedicated slots

    def dedicate(self, holder: int, *, counts: bool = False) -> int | None:
        """Return a slot for one long-lived object of a holder; the book sends nothing there.

        Args:
            counts: whether it is one of the pool's slots, or else a new one in addition.
        Returns:
            None if it is to be one of the pool's and none is free now.
        """
        queue = self._ledger.queue(holder, "dedicate")
        if counts:
            if self._ledger.used >= self._ledger.capacity:
                return None
            ledger = self._ledger
            free = (*ledger.idle, *ledger.starting, *ledger.cold)
            row = next((row for row in free if not row.is_recalling), None)
            if row is None:
                return None
            self._ledger.capacity -= 1
        else:
            row = self._ledger.add_row()
        if row.phase is SlotPhase.COLD:
            self._planner.orders.append(Start(row.number))
        self._ledger.move(row, "dedicate")
        row.is_dedicated = True
        row.holder = queue
        return row.number

    def release(self, slot: int) -> None:
        """Give a dedicated slot back to the pool; one in addition to the pool's slots ends."""
        row = self._ledger.row(slot, "release")
        if row.phase is SlotPhase.ENDING and not row.is_extra:
            return  # it comes back when its process is dead
        if row.is_extra:
            self._ledger.move(row, "end")
            if Start(slot) in self._planner.orders:
                self._bury(row)  # there is no process yet
            else:
                self._planner.orders.append(End(slot))
            return
        self._ledger.move(row, "release" if row.is_up else "wait")
        row.is_dedicated = False
        row.holder = None
        self._ledger.capacity += 1

    def gone(self, slot: int) -> None:
        """Take note that the process of a dedicated slot is dead."""
        self._bury(self._ledger.row(slot, "gone"))

    # Decisions

    def plan(self, now_s: float) -> list[Command]:
        """Return what to do now, in this order; the book takes it as done."""
        return self._planner.plan(now_s)

    def next_look_s(self) -> float | None:
        """Return how long after the last plan the next one is due though nothing happens; None for never."""
        planner = self._planner
        return None if planner.look_at_s == inf else max(0.0, planner.look_at_s - planner.now_s)

    def slack_s(self) -> float:
        """Return for how long all slots have quick items, by mean cost; 0 if one may want something before that.

        Items that are not quick may have something to ask meanwhile, and then wait for the answer.
        """
        ledger = self._ledger
        if ledger.idle or ledger.starting or not ledger.busy:
            return 0.0
        slack_s = inf
        for row in ledger.busy:
            cost = self._known.get(row.items[-1].kind) if row.items else None
            if cost is None or cost.mean_s > ledger.credit.quick_s:
                return 0.0
            slack_s = min(slack_s, cost.mean_s * len(row.items))
        return slack_s

    def slots_view(self) -> list[SlotRow]:
        """Return the slots for people, in the order of their numbers."""
        rows = [row for _, row in sorted(self._ledger.rows.items())]
        holders = [row.holder.number if row.holder else None for row in rows]
        return [
            SlotRow(row.number, row.phase, holder, len(row.items), row.restarts)
            for row, holder in zip(rows, holders, strict=True)
        ]

    def _bury(self, row: Row) -> None:
        self._ledger.bury(row)
        self._planner.orders = [order for order in self._planner.orders if order.slot != row.number]


class _Planner:
    """Decides what is to be done.

    Attributes:
        orders: what is to be done already.
        look_at_s: when to look again although nothing happens; a lower bound.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._credit = ledger.credit
        self._held: Queue | None = None  # who has some room for a wide item and waits for more
        self._yielded: Row | None = None
        self.orders: list[Command] = []
        self.now_s = 0.0
        self.look_at_s = inf

    def plan(self, now_s: float) -> list[Command]:
        """Return what to do now, and take it as done."""
        self.now_s = now_s
        ledger = self._ledger
        if ledger.is_due or now_s >= self.look_at_s:
            if now_s >= self.look_at_s:
                self._watch()
            if ledger.waiting:
                self._fill()
            ledger.is_due = False
            if ledger.waiting:
                self._start()
                self._yield()
            else:
                self._share_out()
        orders, self.orders = self.orders, []
        return orders

    def _fill(self) -> None:
        """Give waiting items to idle slots, then to those that run low."""
        self._held = self._held if self._held in self._ledger.waiting else None
        while (queue := self._next()) is not None:
            row = self._idle_row(queue)
            room = self._ledger.capacity - self._ledger.used
            need = self._ledger.need(queue.items[0])
            if need > room > 0:
                self._held = queue
            if need > room or row is None:
                break
            self._held = None
            self._send(row, queue)
        for row in tuple(self._ledger.hungry):
            if not self._ledger.waiting:
                break
            if (holder := row.holder) is None or not holder.items or row.phase is not SlotPhase.BUSY:
                continue
            if len(row.items) > row.half or row.is_sealed or row.is_stalled or row.is_recalling:
                continue
            if self._held is not None and holder.priority <= self._held.priority:
                continue
            if len(self._ledger.waiting) == 1 or not self._has_rival(row, holder):
                self._send(row, holder)

    def _next(self) -> Queue | None:
        """Return the holder who gets the next free slot: whom room is kept for, or who has used least."""
        fitting = self._fitting()
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        best = min(fitting, key=Queue.claim)
        held = self._held
        return held if held in fitting and held.priority >= best.priority else best

    def _fitting(self) -> list[Queue]:
        """Return who waits and would have room if all others had ended."""
        capacity, need = self._ledger.capacity, self._ledger.need
        return [queue for queue in self._ledger.waiting if queue.used + need(queue.items[0]) <= capacity]

    def _send(self, row: Row, queue: Queue) -> None:
        items, waiting = row.items, queue.items
        is_idle = not items
        if is_idle and (waiting[0].alone or waiting[0].width > 1):
            batch = [waiting.popleft()]
            row.is_sealed = True
        else:
            share = 2 * max(1, len(self._ledger.idle) + len(self._ledger.busy) + len(self._ledger.starting))
            most = min(self._credit.most - len(items), -(-len(waiting) // share))
            room_s = self._credit.ahead_s - (0.0 if is_idle else self._ledger.costs.work_s(items))
            batch = self._ledger.costs.cut(waiting, most, room_s, is_idle=is_idle)
            if not batch:
                return
            row.is_sealed = False
        if is_idle:
            self._ledger.take_slot(row, queue, self._ledger.need(batch[0]), self.now_s)
        self._ledger.served_s = max(self._ledger.served_s, queue.served_s)
        items.extend(batch)
        self._ledger.hungry.pop(row, None)
        row.has_yielded = False
        row.half = row.call = len(items) >> 1
        if len(items) > 1:
            self._ledger.deep[row] = None
            self.look_at_s = min(self.look_at_s, row.since_s + self._credit.watch_s)
        if not waiting:
            del self._ledger.waiting[queue]
        self.orders.append(Send(row.number, tuple(batch)))

    def _watch(self) -> None:
        """Take unstarted items from behind those that run long."""
        look_at_s = inf
        for row in self._ledger.deep:
            if len(row.items) < 2 or row.is_recalling:
                continue
            due_s = row.since_s + self._credit.watch_s
            if due_s > self.now_s:
                look_at_s = min(look_at_s, due_s)
                continue
            row.is_stalled = True
            self._ledger.costs.at_least(row.items[0].kind, self._credit.watch_s)
            self._recall(row)
        self.look_at_s = look_at_s

    def _start(self) -> None:
        """Start processes for items that none takes."""
        while self._ledger.cold and len(self._ledger.starting) < self._credit.starting:
            ready = len(self._ledger.idle) + len(self._ledger.starting)
            if self._ledger.used + ready >= self._ledger.capacity:
                return
            started = ready + len(self._ledger.busy)
            if started and not self._pays(started):
                return
            row = next(iter(self._ledger.cold))
            self._ledger.move(row, "start")
            self.orders.append(Start(row.number))

    def _pays(self, started: int) -> bool:
        """Whether enough waits for one more process, or for too long."""
        queue = self._next()
        if queue is None or self._ledger.used + self._ledger.need(queue.items[0]) > self._ledger.capacity:
            return False  # what is to come next waits for room, not for a process
        count = sum(len(one.items) for one in self._ledger.waiting)
        if count <= len(self._ledger.starting) + len(self._ledger.idle):
            return False
        least_s, work_s = self._credit.start_s * started, 0.0
        for one in self._ledger.waiting:
            work_s += self._ledger.costs.estimate_s(one.items, len(one.items))
            if work_s > least_s:
                return True
        if self._ledger.starting or self._ledger.idle or self.look_at_s <= self.now_s + self._credit.start_s:
            return False  # the latter: some slot is not silent, or this is asked again in a moment
        due_s = max((row.since_s for row in self._ledger.busy), default=inf) + self._credit.start_s
        if due_s > self.now_s:
            self.look_at_s = min(self.look_at_s, due_s)
            return False
        return True  # all slots are silent: what waits is quick, but waits behind slow ones

    def _share_out(self) -> None:
        """Take unstarted items from the slots that have most of them, for slots that have nothing to do."""
        takers = min(len(self._ledger.idle), self._ledger.capacity - self._ledger.used)
        least_s = self._credit.worth_s
        if takers <= 0:
            if not self._ledger.cold or self._ledger.starting or self._ledger.used >= self._ledger.capacity:
                return
            takers, least_s = 1, self._credit.start_s * max(1, len(self._ledger.busy))
        loads = []
        for row in self._ledger.deep:
            if row.is_recalling:
                takers -= 1
            elif len(row.items) > 1:
                work_s = self._ledger.costs.estimate_s(row.items, len(row.items) - 1)
                if work_s > least_s:
                    loads.append((-work_s, row.number, row))
        for _, _, row in sorted(loads)[: max(0, takers)]:
            self._recall(row)

    def _yield(self) -> None:
        """Take unstarted items from a holder that uses more than its part, so that the next free slot is another's.

        One slot at a time: the others run empty within moments, as they are not refilled.
        """
        if len(self._ledger.holders) == 1 or (self._yielded is not None and self._yielded.has_yielded):
            return
        if (queue := self._next()) is None:
            return
        worst: tuple[tuple[int, float, float, int], int] | None = None
        for row in self._ledger.deep:
            holder = row.holder
            if holder is None or holder is queue or len(row.items) < 2 or row.is_recalling:
                continue
            claim = holder.claim(row.width)
            if queue.claim()[:2] < claim[:2] and (worst is None or (claim, row.number) > worst):
                worst = claim, row.number
        if worst is not None:
            self._yielded = self._ledger.rows[worst[1]]
            self._yielded.has_yielded = True
            self._recall(self._yielded)

    def _has_rival(self, row: Row, holder: Queue) -> bool:
        """Whether somebody else who waits would get a slot if it became free now."""
        claim = holder.claim(row.width)
        best = min((queue.claim() for queue in self._fitting() if queue is not holder), default=None)
        if best is None:
            return False
        if best[:2] == claim[:2]:
            return best < claim and self.now_s - row.turn_s >= self._credit.turn_s
        return best < claim

    def _idle_row(self, queue: Queue) -> Row | None:
        """Return an idle slot, if possible one that the holder used before, else the one used last."""
        found = None
        for row in reversed(self._ledger.idle):
            if not row.is_recalling:
                if row.last == queue.number:
                    return row
                found = found or row
        return found

    def _recall(self, row: Row) -> None:
        row.is_recalling = True
        self.orders.append(Recall(row.number))
