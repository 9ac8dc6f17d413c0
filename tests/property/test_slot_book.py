"""The book of slots against a slow model of where every item is, and against simulated children and clocks.

No test here asserts real time: seconds are those of the simulation.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from itertools import count, pairwise
from math import ceil, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.workers.book import Book, Command, Item, Recall, Send, Start
from tests.conftest import PROVE

from .slot_model import World


def _play(seed: int, steps: int) -> None:
    rnd = random.Random(seed)
    world = World(rnd)
    world.open()
    usual = [
        world.submit,
        world.ready,
        world.begin,
        world.begin,
        world.finish,
        world.finish,
        world.recall,
        world.wait,
    ]
    rare = [world.open, world.withdraw, world.die, world.kill, world.killed, world.not_ready]
    rare += [world.dedicate, world.release, world.gone]
    for _ in range(rnd.randint(0, steps)):
        event = rnd.choice(usual if rnd.random() < 0.85 else rare)
        event()
        if rnd.random() < 0.01 and len(world.waiting) > 1:
            world.close()
        if rnd.random() < 0.8:
            world.settle()
    world.settle()
    world.wind_down()


@settings(max_examples=10_000 if PROVE else 300)
@given(st.integers(0, 2**60))
def test_no_item_is_lost_doubled_overtaken_or_starved_whatever_happens(seed: int) -> None:
    _play(seed, 120)


# Simulated time

LATENCY_S = 50e-6


class Farm:
    """Children that take items in order, each message under way for 50 us; time is simulated."""

    def __init__(self, slots: int, *, start_s: float = 0.0) -> None:
        self.book = Book(slots)
        self.now_s = 0.0
        self.start_s = start_s
        self.duration_s: dict[Item, float] = {}
        self.rest: dict[int, deque[tuple[float, Item]]] = {slot: deque() for slot in range(slots)}
        self.running: dict[int, Item | None] = dict.fromkeys(range(slots))
        self.begun_s: dict[Item, float] = {}
        self.ended_s: dict[Item, float] = {}
        self.sends: list[tuple[int, int]] = []  # holder and size
        self.recalls = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), call))

    def submit(self, holder: int, durations_s: list[float], *, kind: object = 0) -> list[Item]:
        items = [Item(holder, number, kind) for number, _ in enumerate(durations_s)]
        self.duration_s.update(zip(items, durations_s, strict=True))
        self.book.submit(holder, items)
        return items

    def run(self) -> float:
        """Play until all has ended; when the last outcome was told."""
        while True:
            for _ in range(1000):
                commands = self.book.plan(self.now_s)
                for command in commands:
                    self._perform(command)
                if not commands:
                    break
            else:
                pytest.fail("the book never stops")
            look_s = self.book.next_look_s()
            look_at_s = inf if look_s is None else self.now_s + look_s
            if not self._events:
                break
            if self._events[0][0] > look_at_s:
                self.now_s = max(look_at_s, self.now_s + 1e-9)
                continue
            self.now_s = max(self.now_s, self._events[0][0])
            while self._events and self._events[0][0] <= self.now_s:
                heapq.heappop(self._events)[2]()
        assert len(self.ended_s) == len(self.duration_s)
        return max(self.ended_s.values())

    def _perform(self, command: Command) -> None:
        slot = command.slot
        if isinstance(command, Start):
            self.at(self.now_s + self.start_s, lambda: self.book.slot_ready(slot, self.now_s))
        elif isinstance(command, Send):
            self.sends.append((command.items[0].holder, len(command.items)))
            arrives_s = self.now_s + LATENCY_S
            self.rest[slot] += [(arrives_s, item) for item in command.items]
            self.at(arrives_s, lambda: self._begin(slot))
        elif isinstance(command, Recall):
            self.recalls += 1
            taken = [item for _, item in self.rest[slot]]
            self.rest[slot].clear()
            self.book.recalled(slot, taken, self.now_s)

    def _begin(self, slot: int) -> None:
        rest = self.rest[slot]
        if self.running[slot] is None and rest and rest[0][0] <= self.now_s:
            _, item = rest.popleft()
            self.running[slot] = item
            self.begun_s[item] = self.now_s
            self.at(self.now_s + self.duration_s[item], lambda: self._end(slot, item))

    def _end(self, slot: int, item: Item) -> None:
        self.running[slot] = None
        self.at(self.now_s + LATENCY_S, lambda: self._tell(slot, item))
        self._begin(slot)

    def _tell(self, slot: int, item: Item) -> None:
        self.ended_s[item] = self.now_s
        self.book.finished(slot, item, self.duration_s[item], self.now_s)


def _ideal_s(durations_s: list[float], slots: int) -> float:
    """When everything ends if each free slot takes the next item and messages take no time."""
    free_s = [0.0] * slots
    for duration_s in durations_s:
        heapq.heappush(free_s, heapq.heappop(free_s) + duration_s)
    return max(free_s)


def _farm(slots: int = 2, holders: int = 1, *, start_s: float = 0.0) -> Farm:
    farm = Farm(slots, start_s=start_s)
    for holder in range(1, holders + 1):
        farm.book.open(holder)
    return farm


def test_long_items_keep_all_slots_busy() -> None:
    farm = _farm()
    durations_s = [0.01] * 400
    farm.submit(1, durations_s)
    assert farm.run() < 1.05 * _ideal_s(durations_s, 2)


@pytest.mark.parametrize("duration_s", [5e-6, 2e-5, 1e-4])
def test_quick_items_need_few_messages(duration_s: float) -> None:
    farm = _farm()
    durations_s = [duration_s] * 10_000
    farm.submit(1, durations_s)
    ended_s = farm.run()
    sizes = [size for _, size in farm.sends][4:]
    assert sum(sizes) / len(sizes) >= (50 if duration_s <= 1e-5 else 10)
    assert ended_s < 1.1 * _ideal_s(durations_s, 2) + 0.002


@pytest.mark.parametrize("place", range(0, 1000, 7 if PROVE else 50))
def test_a_slow_item_hides_nothing_behind_it(place: int) -> None:
    farm = _farm()
    durations_s = [50e-6] * 1000
    durations_s.insert(place, 0.2)
    farm.submit(1, durations_s)
    assert farm.run() < 1.1 * _ideal_s(durations_s, 2)


@settings(max_examples=300 if PROVE else 20)
@given(st.integers(0, 2**60))
def test_mixed_items_end_near_the_ideal(seed: int) -> None:
    rnd = random.Random(seed)
    slots = rnd.choice([1, 2, 4, 8])
    farm = _farm(slots)
    durations_s = [
        rnd.choice([2e-5, 1e-4, 1e-3, 0.02]) * rnd.uniform(0.5, 2) for _ in range(rnd.randint(1, 600))
    ]
    farm.submit(1, durations_s)
    assert farm.run() < 1.1 * _ideal_s(durations_s, slots) + max(durations_s) + 0.02


@pytest.mark.parametrize("duration_s", [5e-6, 1e-3, 0.01, 0.3])
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_a_late_holder_gets_a_slot_when_the_longest_running_item_has_ended(
    slots: int, duration_s: float
) -> None:
    farm = _farm(slots, holders=2)
    farm.submit(1, [duration_s] * min(20_000, ceil(0.3 * slots / duration_s) + 4 * slots))
    came_s = 0.006 + duration_s / 3
    late: list[Item] = []
    farm.at(came_s, lambda: late.extend(farm.submit(2, [duration_s] * 50)))
    farm.run()
    assert min(farm.begun_s[item] for item in late) - came_s < duration_s + 0.010


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("duration_s", [2e-5, 1e-3, 0.02])
def test_holders_with_equal_shares_get_on_equally_fast(slots: int, duration_s: float) -> None:
    farm = _farm(slots, holders=2)
    each = ceil(0.5 * slots / duration_s / 2)
    rows = [farm.submit(holder, [duration_s] * each) for holder in (1, 2)]
    ended_s = farm.run()
    for items in rows:
        done = sum(farm.ended_s[item] < ended_s / 2 for item in items)
        assert 0.4 * each < done < 0.6 * each


def test_quick_items_of_two_holders_take_turns_and_not_each_other_apart() -> None:
    farm = _farm(1, holders=2)
    for holder in (1, 2):
        farm.submit(holder, [5e-6] * 10_000)
    ended_s = farm.run()
    changes = sum(one != other for (one, _), (other, _) in pairwise(farm.sends))
    assert changes < ended_s / 0.004


def test_a_holder_that_did_not_ask_has_saved_no_time() -> None:
    farm = _farm(1, holders=2)
    farm.submit(2, [0.001])
    early = farm.submit(1, [0.001] * 1200)
    farm.at(0.5, lambda: farm.submit(2, [0.001] * 400) and None)
    farm.run()
    assert 0.035 < sum(0.5 < farm.ended_s[item] <= 0.6 for item in early) * 0.001 < 0.065


def test_a_quick_item_of_another_kind_does_not_wait_for_long_ones_while_a_slot_is_cold() -> None:
    farm = _farm(start_s=0.02)
    farm.submit(1, [0.001] * 3, kind="quick")
    farm.at(1.0, lambda: farm.submit(1, [10.0], kind="long") and None)
    quick: list[Item] = []
    farm.at(1.1, lambda: quick.extend(farm.submit(1, [0.001], kind="quick")))
    farm.run()
    assert farm.ended_s[quick[0]] < 1.2


def test_batches_shrink_towards_the_end() -> None:
    farm = _farm()
    farm.submit(1, [5e-6] * 10_000)
    farm.run()
    sizes = [size for _, size in farm.sends][4:]
    assert all(late <= early + 1 for early, late in pairwise(sizes) if early < 100)
    assert max(sizes[-3:]) < 20
