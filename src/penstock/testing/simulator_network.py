# SPDX-License-Identifier: Apache-2.0
"""A world in which time is a number: events in order, and a network that loses, doubles, delays and reorders.

Everything random comes from one seeded generator, so a seed names a whole history.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

__all__ = ["Network", "Weather", "World"]

_MOST_AT_ONCE = 20_000


class World:
    """Time, chance, and processes that may stand still.

    Args:
        seed: of everything random.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(f"world {seed}")
        self.now_s = 0.0
        self.faults: Counter[str] = Counter()
        self.paused_until_s: dict[str, float] = {}
        self._events: list[tuple[float, int, str, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when_s: float, process: str, action: Callable[[], None]) -> None:
        """Let something happen at a time, in a process: if that stands still, when it goes on."""
        heapq.heappush(self._events, (when_s, next(self._order), process, action))

    def run(self, finished: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until all is done; whether it was before the limit, and no process kept time from passing."""
        at_once = 0
        while self._events and not finished():
            when_s, _, process, action = heapq.heappop(self._events)
            at_once = 0 if when_s > self.now_s else at_once + 1
            if when_s > limit_s or at_once > _MOST_AT_ONCE:
                return False
            self.now_s = max(self.now_s, when_s)
            paused_s = self.paused_until_s.get(process, 0.0)
            if paused_s > self.now_s:
                self.at(paused_s, process, action)
            else:
                action()
        return finished()


@dataclass(frozen=True)
class Weather:
    """How bad a network is: chances per message.

    Attributes:
        until_s: when the faults end and the network becomes perfect.
    """

    loss: float
    doubling: float
    slow: float
    until_s: float


class Network:
    """Messages between processes.

    Args:
        deliver: called with (source, target, message) for each that comes.
    """

    def __init__(self, world: World, weather: Weather, deliver: Callable[[str, str, object], None]) -> None:
        self._world = world
        self._weather = weather
        self._deliver = deliver
        self._cut: Counter[tuple[str, str]] = Counter()
        self._numbers = itertools.count(1)
        self._newest: dict[tuple[str, str], int] = {}

    def cut(self, source: str, target: str) -> None:
        """Let nothing through in one direction until it is mended; also what is on its way is lost."""
        self._cut[source, target] += 1

    def mend(self, source: str, target: str) -> None:
        """Undo one cut."""
        self._cut[source, target] -= 1

    def send(self, source: str, target: str, message: object) -> None:
        """Send a message; it comes never, once or twice."""
        world, weather = self._world, self._weather
        if self._cut[source, target] > 0:
            world.faults["lost"] += 1
            return
        rnd, bad = world.random, world.now_s < weather.until_s
        if bad and rnd.random() < weather.loss:
            world.faults["lost"] += 1
            return
        copies = 1
        if bad and rnd.random() < weather.doubling:
            world.faults["doubled"] += 1
            copies = 2
        number = next(self._numbers)
        for _ in range(copies):
            delay_s = rnd.random() * 0.02
            if bad and rnd.random() < weather.slow:
                delay_s += rnd.random() * rnd.choice((0.1, 1.0, 3.0))
            world.at(world.now_s + delay_s, target, lambda: self._arrive(source, target, number, message))

    def _arrive(self, source: str, target: str, number: int, message: object) -> None:
        if self._cut[source, target] > 0:
            self._world.faults["lost"] += 1
            return
        if number < self._newest.get((source, target), 0):
            self._world.faults["reordered"] += 1
        self._newest[source, target] = max(number, self._newest.get((source, target), 0))
        self._deliver(source, target, message)
