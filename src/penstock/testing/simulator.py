# SPDX-License-Identifier: Apache-2.0
"""Sessions over several nodes in a world that goes wrong, many thousand times: the proof of the protocol.

    python -m penstock.testing.simulator --faults 1000000 --seed 1
    python -m penstock.testing.simulator --replay 4711

Every session has a seed. What decides is the real code (`Flow`, `Part`, `Outbox`, `Inbox`, `Whole`, `Membership`);
time, network and the running of apps are simulated. Faults: messages lost, doubled and reordered, connections cut
(also in one direction only), processes that stand still, nodes that crash and are restarted without memory. A session
that is given up is often deployed again while old messages are still on their way. `simulator_history` judges.

Read next: `simulator_node`, `simulator_owner`, `simulator_network`, `simulator_graphs`.
"""

import argparse
import sys
import time
from collections import Counter
from functools import partial

from penstock.engine.whole import OWNER
from penstock.errors import PenstockError
from penstock.testing.simulator_graphs import Scenario, random_scenario, share
from penstock.testing.simulator_history import History, Wrong
from penstock.testing.simulator_network import Network, Weather, World
from penstock.testing.simulator_node import Node, Signed
from penstock.testing.simulator_owner import Owner

__all__ = ["main", "simulate", "simulate_many"]

_CALM_S = 20.0  # from then on nothing goes wrong
_LIMIT_S = 80.0  # by then everything must have ended


class _Play:
    """One seed: a scenario, its processes and their fate."""

    def __init__(self, seed: int) -> None:
        self.scenario: Scenario = random_scenario(seed)
        self.world = world = World(seed)
        rnd = world.random
        self._calm_s = _CALM_S
        weather = Weather(
            loss=rnd.choice((0.0, 0.1, 0.2, 0.3)),
            doubling=rnd.choice((0.0, 0.1, 0.3, 0.5)),
            slow=rnd.choice((0.0, 0.1, 0.3)),
            until_s=_CALM_S,
        )
        self.network = Network(world, weather, self._deliver)
        self.nodes = {name: Node(name, world, self.network) for name in self.scenario.nodes}
        self.owner = Owner(self.scenario.nodes, world, self.network, self._busy)
        self.history = History(self.scenario)
        self._plan()

    def _deliver(self, source: str, target: str, message: object) -> None:
        if target == OWNER:
            assert isinstance(message, Signed)
            self.owner.receive(source, message)
        else:
            self.nodes[target].receive(source, message)

    def _busy(self) -> list[str]:
        return [name for name, node in self.nodes.items() if not node.is_at_rest]

    # What goes wrong

    def _plan(self) -> None:
        world, rnd = self.world, self.world.random
        names = (*self.nodes, OWNER)
        for _ in range(rnd.choice((0, 1, 3, 6))):
            source, target = rnd.sample(names, 2)
            most_s = 9.0 if rnd.random() < 0.1 else 1.5 if OWNER in (source, target) else 4.0
            self._cut(source, target, rnd.expovariate(0.7), rnd.random() * most_s, one_way=rnd.random() < 0.4)
        if rnd.random() < 0.3:
            self._pause(rnd.choice(names), rnd.expovariate(0.7), rnd.choice((0.5, 2.5, 4.0, 9.0)))
        if rnd.random() < 0.2:
            node = self.nodes[rnd.choice(self.scenario.nodes)]
            when_s = rnd.expovariate(1.0)
            world.at(when_s, "", lambda: self._crash(node))
            if rnd.random() < 0.7:
                world.at(when_s + rnd.random() * 10, "", node.restart)
        if rnd.random() < 0.05:
            world.at(rnd.expovariate(1.0), OWNER, self.owner.cancel)

    def _cut(self, source: str, target: str, when_s: float, for_s: float, *, one_way: bool) -> None:
        ways = [(source, target)] if one_way else [(source, target), (target, source)]

        def begin() -> None:
            self.world.faults["cut"] += 1
            for way in ways:
                self.network.cut(*way)

        def end() -> None:
            for way in ways:
                self.network.mend(*way)
            for name, other in ((source, target), (target, source)):
                self.world.at(self.world.now_s, name, partial(self._reconnected, name, other))

        self.world.at(when_s, "", begin)
        self.world.at(when_s + for_s, "", end)

    def _reconnected(self, name: str, other: str) -> None:
        if name == OWNER:
            self.owner.reconnected(other)
        else:
            self.nodes[name].reconnected(other)

    def _pause(self, name: str, when_s: float, for_s: float) -> None:
        def begin() -> None:
            self.world.faults["paused"] += 1
            self.world.paused_until_s[name] = self.world.now_s + for_s
            if name == OWNER:
                self.owner.pauses.append((self.world.now_s, self.world.now_s + for_s))

        self.world.at(when_s, "the world", begin)

    def _crash(self, node: Node) -> None:
        self.world.faults["crashed"] += 1
        self.history.excused.add(node.name)
        node.crash()

    # Lives of the session

    def run(self) -> None:
        """Let the session live, and once more if it was given up."""
        for life in (1, 2):
            self._deploy(life)
            if not self.world.run(self._is_done, self.world.now_s + _LIMIT_S):
                raise Wrong(f"stuck: over {self.owner.is_over}, at work {self._busy()}")
            states: dict[int, int] = {}
            for node in self.nodes.values():
                states.update(node.states())
            self.history.close(states)
            if not self.history.causes or not self._gather():
                return

    def _deploy(self, life: int) -> None:
        scenario = self.scenario
        self.history = History(scenario)
        epochs = {name: 10 * node.incarnation + life for name, node in self.nodes.items()}
        roots = {
            name: tuple(i for i in scenario.roots if scenario.homes[i] == name) for name in scenario.nodes
        }
        for name, node in self.nodes.items():
            node.deploy(life, epochs[name], share(scenario, name), self.history, epochs)
        self.owner.deploy(life, self.history, epochs, roots)

    def _is_done(self) -> bool:
        return self.owner.is_over and all(node.is_done for node in self.nodes.values())

    def _gather(self) -> bool:
        """Wait until all nodes are there again, as a client would who deploys once more."""
        for node in self.nodes.values():
            node.restart()
        return self.world.run(
            lambda: all(self.owner.knows(name, node.incarnation) for name, node in self.nodes.items()),
            self.world.now_s + 10.0,
        )


def simulate(seed: int) -> Counter[str]:
    """Play one seed and return its faults.

    Raises:
        Wrong: something happened that must not happen; the message begins with the seed.
    """
    play = _Play(seed)
    try:
        play.run()
    except (Wrong, PenstockError) as exc:
        raise Wrong(f"seed {seed}, at {play.world.now_s:.3f} s: {exc}") from exc
    return play.world.faults


def simulate_many(faults: int, seed: int) -> tuple[int, Counter[str]]:
    """Play seed after seed until there were so many faults; return how many sessions, and the faults of each kind."""
    sessions, found = 0, Counter[str]()
    while found.total() < faults:
        found += simulate(seed + sessions)
        sessions += 1
    return sessions, found


def main(arguments: list[str] | None = None) -> int:
    """Play sessions and print what was survived; a failing seed is printed and can be replayed."""
    parser = argparse.ArgumentParser(prog="python -m penstock.testing.simulator", description=main.__doc__)
    parser.add_argument("--faults", type=int, default=100_000, help="how many faults to survive (100000)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play one seed only")
    options = parser.parse_args(arguments)
    began_s = time.perf_counter()
    try:
        if options.replay is not None:
            sessions, found = 1, simulate(options.replay)
        else:
            sessions, found = simulate_many(options.faults, options.seed)
    except Wrong as exc:
        sys.stdout.write(f"{exc}\n")
        return 1
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.most_common())
    took_s = time.perf_counter() - began_s
    sys.stdout.write(f"{sessions:,} sessions, {found.total():,} faults in {took_s:.1f} s: {kinds}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
