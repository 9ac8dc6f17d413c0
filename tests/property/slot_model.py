"""A slow, obvious model of where every item of a pool is, and random events for a book and for the model alike.

Children are plain lists; nothing is indexed and nothing is fast.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import ceil, inf

import pytest

from penstock.workers.book import Book, Command, Credit, End, Item, Recall, Send, SlotPhase, Start

CREDIT = Credit(most=6, starting=2)


@dataclass
class Child:
    """A slot as the model sees it: a plain list whose first `begun` items the child has taken.

    If it has taken two, the outcome of the first is under way.
    """

    items: list[Item] = field(default_factory=list)
    begun: int = 0
    is_up: bool = False
    is_ending: bool = False
    is_recalled: bool = False
    dedicated: str = ""  # "", "extra" or "counted"


class World:
    """Random holders and children around a book, and beside it a model of where every item is."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd
        self.slots = rnd.choice([1, 2, 2, 3, 5])
        self.book = Book(self.slots, CREDIT)
        self.now_s = 0.0
        self.waiting: dict[int, list[Item]] = {}
        self.priority: dict[int, int] = {}
        self.children: dict[int, Child] = {}  # only those with a process
        self.out: dict[Item, str] = {}
        self.made: list[Item] = []
        self.deaths: dict[Item, int] = {}
        self.means: dict[object, float] = {}
        self.numbers = count()

    # What the model knows

    def mean(self, item: Item) -> float:
        return self.means.get(item.kind, inf)

    def pool(self) -> list[Child]:
        return [child for child in self.children.values() if not child.dedicated]

    def capacity(self) -> int:
        return self.slots - sum(child.dedicated == "counted" for child in self.children.values())

    def width(self, child: Child) -> int:
        return max(1, min(child.items[0].width, self.slots)) if child.items else 0

    def leave(self, item: Item, how: str) -> None:
        assert item not in self.out, "ended twice"
        self.out[item] = how

    def back(self, items: list[Item], orphans: list[Item]) -> None:
        """Items wait again, before the others, unless their holder is closed."""
        for item in reversed(items):
            if item.holder in self.waiting:
                self.waiting[item.holder].insert(0, item)
                assert all(item is not orphan for orphan in orphans)
            else:
                assert any(item is orphan for orphan in orphans)
                self.leave(item, "orphan")

    # What can happen

    def open(self) -> None:
        holder = next(self.numbers)
        self.waiting[holder] = []
        self.priority[holder] = self.rnd.choice([0, 0, 0, 1])
        self.book.open(holder, priority=self.priority[holder], share=self.rnd.choice([1.0, 1.0, 0.5, 3.0]))

    def close(self) -> None:
        holder = self.rnd.choice(list(self.waiting))
        left = self.book.close(holder)
        assert left == self.waiting.pop(holder)
        for item in left:
            self.leave(item, "closed")

    def withdraw(self) -> None:
        holder = self.rnd.choice(list(self.waiting))
        left = self.book.withdraw(holder)
        assert left == self.waiting[holder]
        self.waiting[holder] = []
        for item in left:
            self.leave(item, "withdrawn")

    def submit(self) -> None:
        rnd = self.rnd
        holder = rnd.choice(list(self.waiting))
        items = [
            Item(
                holder,
                next(self.numbers),
                rnd.choice("qqqm?"),
                rnd.choice([1] * 9 + [2, 9]),
                rnd.random() < 0.1,
            )
            for _ in range(rnd.choice([1, 1, 3, 20]))
        ]
        front = rnd.random() < 0.3
        self.made += items
        self.waiting[holder] = items + self.waiting[holder] if front else self.waiting[holder] + items
        self.book.submit(holder, items, front=front)

    def some(self, wanted: Callable[[Child], bool]) -> tuple[int, Child] | tuple[None, None]:
        found = [(slot, child) for slot, child in self.children.items() if wanted(child)]
        return self.rnd.choice(found) if found else (None, None)

    def ready(self) -> None:
        slot, child = self.some(lambda child: not child.is_up and child.dedicated != "extra")
        if slot is not None:
            child.is_up = True
            self.book.slot_ready(slot, self.now_s)

    def not_ready(self) -> None:
        slot, _ = self.some(lambda child: not child.is_up)
        if slot is not None:
            del self.children[slot]
            self.book.died(slot, [], self.now_s)

    def begin(self) -> None:
        _, child = self.some(lambda child: child.is_up and child.begun < min(2, len(child.items)))
        if child is not None:
            child.begun += 1

    def finish(self) -> None:
        slot, child = self.some(lambda child: child.begun > 0)
        if slot is not None:
            self.tell(slot, child)

    def tell(self, slot: int, child: Child) -> None:
        """Tell the outcome of the item that a child began first."""
        item = child.items.pop(0)
        child.begun -= 1
        self.leave(item, "finished")
        seconds = {"q": 2e-5, "m": 1e-3, "?": 1.0}[item.kind] * self.rnd.choice([0.5, 1, 1, 2])  # type: ignore[index]
        before = self.means.get(item.kind)
        late = before is None or seconds > before
        self.means[item.kind] = seconds if late else before + (seconds - before) * CREDIT.weight
        self.now_s += self.rnd.choice([0.0, seconds])
        self.book.finished(slot, item, seconds, self.now_s)

    def recall(self) -> None:
        """Answer a recall, or take items back unasked."""
        unasked = self.rnd.random() < 0.2
        slot, child = self.some(
            lambda child: child.is_recalled or (unasked and child.is_up and not child.dedicated)
        )
        if slot is not None:
            self.take_back(slot, child)

    def take_back(self, slot: int, child: Child) -> None:
        taken, child.items = child.items[child.begun :], child.items[: child.begun]
        child.is_recalled = False
        self.back(taken, self.book.recalled(slot, taken, self.now_s))

    def die(self) -> None:
        slot, child = self.some(lambda child: child.is_up and not child.dedicated)
        if slot is not None:
            self.end(slot, child, blame=True)

    def kill(self) -> None:
        slot, child = self.some(lambda child: not child.dedicated and not child.is_ending)
        if slot is not None:
            self.book.ending(slot)
            child.is_ending = True
            if self.rnd.random() < 0.7:
                self.take_back(slot, child)

    def killed(self) -> None:
        slot, child = self.some(lambda child: child.is_ending)
        if slot is not None:
            self.end(slot, child, blame=False)

    def end(self, slot: int, child: Child, *, blame: bool) -> None:
        while child.begun > 1:
            self.tell(slot, child)  # what a child has sent is read before its death is
        begun, rest = child.items[: child.begun], child.items[child.begun :]
        del self.children[slot]
        death = self.book.died(slot, rest, self.now_s, blame=blame)
        self.back(rest, list(death.orphans))
        assert death.culprit is (begun[0] if begun else None)
        again = False
        for item in begun:
            self.deaths[item] = self.deaths.get(item, 0) + blame
            again = blame and self.deaths[item] < CREDIT.deaths and item.holder in self.waiting
            assert item.deaths == self.deaths[item]
            if again:
                assert item.alone
                self.waiting[item.holder].insert(0, item)
            else:
                self.leave(item, "died")
        assert death.again == again

    def dedicate(self) -> None:
        counts = self.rnd.random() < 0.5
        slot = self.book.dedicate(self.rnd.choice(list(self.waiting)), counts=counts)
        if slot is None:
            assert counts
            return
        child = self.children.setdefault(slot, Child())
        assert not child.items
        assert not child.dedicated
        assert (slot >= self.slots) is not counts
        child.dedicated = "counted" if counts else "extra"
        self.settle()

    def release(self) -> None:
        slot, child = self.some(lambda child: bool(child.dedicated) and not child.is_ending)
        if slot is None:
            return
        self.book.release(slot)
        if child.dedicated == "extra":
            child.is_ending = True
        else:
            child.dedicated = ""

    def gone(self) -> None:
        slot, _ = self.some(lambda child: bool(child.dedicated))
        if slot is not None:
            del self.children[slot]
            self.book.gone(slot)

    def wait(self) -> None:
        self.now_s += self.rnd.choice([1e-4, 1e-3, 0.006, 0.02])

    # What the book wants

    def settle(self) -> None:
        """Do what the book says until it says nothing, and compare."""
        is_answered = self.rnd.random() < 0.7
        for _ in range(1000):
            commands = self.book.plan(self.now_s)
            for command in commands:
                self.perform(command)
            for command in commands:  # a plan is checked as a whole: no item may come back or go amid it
                if isinstance(command, Send):
                    self.refuse_some(command)
                if isinstance(command, Recall) and is_answered:
                    self.take_back(command.slot, self.children[command.slot])
            if not commands:
                break
        else:
            pytest.fail("the book never stops")
        self.compare()

    def perform(self, command: Command) -> None:
        if isinstance(command, Start):
            if command.slot < self.slots:
                assert command.slot not in self.children or self.children[command.slot].dedicated
                child = self.children.setdefault(command.slot, Child())
                starting = [one for one in self.pool() if not one.is_up and not one.is_ending]
                assert child.dedicated or len(starting) <= CREDIT.starting
        elif isinstance(command, End):
            assert self.children[command.slot].dedicated == "extra"
        elif isinstance(command, Recall):
            child = self.children[command.slot]
            assert child.items
            assert not child.is_recalled
            assert not child.dedicated
            child.is_recalled = True
        else:
            self.check_send(self.children[command.slot], list(command.items))
            self.send(command)

    def send(self, command: Send) -> None:
        child, items = self.children[command.slot], list(command.items)
        child.items += items
        del self.waiting[items[0].holder][: len(items)]

    def refuse_some(self, command: Send) -> None:
        """Let the holder say of some items that they shall not be sent after all."""
        for item in command.items:
            if self.rnd.random() < 0.02:
                self.children[command.slot].items.remove(item)
                self.leave(item, "refused")
                self.book.refused(command.slot, item)

    def check_send(self, child: Child, items: list[Item]) -> None:
        holder = items[0].holder
        assert child.is_up
        assert not child.is_ending
        assert not child.is_recalled
        assert not child.dedicated
        waiting = self.waiting[holder]
        assert items == waiting[: len(items)], "not the next ones in their order"
        assert {item.holder for item in child.items} <= {holder}
        usable = sum(not one.is_ending for one in self.pool())
        assert len(items) <= max(1, ceil(len(waiting) / (2 * usable)))
        together = child.items + items
        assert len(together) <= CREDIT.most
        if len(together) > 1:
            assert not any(item.alone or item.width > 1 for item in together)
            assert all(self.mean(item) <= CREDIT.ahead_s for item in together)
            assert sum(map(self.mean, together)) <= CREDIT.ahead_s * (1 + 1e-9)
        if not child.items:
            others = [self.priority[one] for one, queue in self.waiting.items() if queue and self.fits(one)]
            assert self.priority[holder] >= max(others, default=0)
            need = max(1, min(items[0].width, self.capacity()))
            assert sum(map(self.width, self.pool())) + need <= self.capacity() + self.slack()

    def fits(self, holder: int) -> bool:
        """Whether what comes next of a holder waits for others, and not for what the holder itself runs."""
        own = sum(
            self.width(child) for child in self.pool() if child.items and child.items[0].holder == holder
        )
        return own + max(1, min(self.waiting[holder][0].width, self.capacity())) <= self.capacity()

    def slack(self) -> int:
        """The model does not know to what a wide item was clamped when it was sent."""
        return sum(self.width(child) - 1 for child in self.pool() if child.items)

    def compare(self) -> None:
        rows = {row.slot: row for row in self.book.slots_view()}
        for slot in range(self.slots):
            assert (rows[slot].state == SlotPhase.COLD) == (slot not in self.children)
        for slot, child in self.children.items():
            row = rows[slot]
            assert row.outstanding == len(child.items)
            if child.dedicated and not child.is_ending:
                assert row.state == SlotPhase.DEDICATED
            elif child.is_ending:
                assert row.state == SlotPhase.ENDING
            elif not child.is_up:
                assert row.state == SlotPhase.STARTING
            else:
                assert row.state == (SlotPhase.BUSY if child.items else SlotPhase.IDLE)
            assert row.holder == (child.items[0].holder if child.items else row.holder)
        places = [item for queue in self.waiting.values() for item in queue]
        places += [item for child in self.children.values() for item in child.items]
        places += self.out
        assert len(places) == len(set(places)) == len(self.made)

    def wind_down(self) -> None:
        """When all events stop and children keep finishing, everything ends."""
        while any(child.dedicated and not child.is_ending for child in self.children.values()):
            self.release()
        for _ in range(200 + 20 * len(self.made)):
            for event in (self.killed, self.ready, self.begin, self.finish, self.recall):
                event()
                self.settle()
            look_s = self.book.next_look_s()
            self.now_s += min(look_s, 0.01) if look_s is not None else 1e-3
            self.settle()
            if len(self.out) == len(self.made):
                return
        pytest.fail(f"{len(self.made) - len(self.out)} items never end: {self.book.slots_view()}")
