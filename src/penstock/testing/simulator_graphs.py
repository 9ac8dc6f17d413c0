# SPDX-License-Identifier: Apache-2.0
"""Random sessions for the simulator: a graph, where its drops live, how its apps end, what one node makes of it.

How an app ends is a function of the seed and its uid, never of when or where it runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from penstock.engine.flow import Flow
from penstock.engine.states import DropState
from penstock.graph.links import APP, DATA, Wiring
from penstock.graph.rules import Rules

__all__ = ["Ending", "Scenario", "Share", "end_app", "random_scenario", "reference", "share"]

_WRITABLE, _COMPLETED, _ERROR = int(DropState.WRITING), int(DropState.COMPLETED), int(DropState.ERROR)


@dataclass(frozen=True)
class Ending:
    """How an app ends when it runs: it fails, or finishes and skips some of its outputs.

    Attributes:
        early: outputs that it completes or fails itself, before it ends; nobody else writes to them.
    """

    fails: bool = False
    skips: frozenset[int] = frozenset()
    early: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Scenario:
    """One graph over several nodes.

    Attributes:
        homes: per drop the node where it lives.
        settling: data whose completion takes work wherever it lives.
        ends: data whose completion ends the session.
        endings: by app.
    """

    wiring: Wiring
    rules: Rules
    uids: tuple[str, ...]
    nodes: tuple[str, ...]
    homes: tuple[str, ...]
    settling: frozenset[int]
    ends: frozenset[int]
    endings: dict[int, Ending]

    @property
    def roots(self) -> list[int]:
        """The drops that nobody else starts."""
        return [i for i, row in enumerate(self.wiring.before) if not row]


@dataclass(frozen=True)
class Share:
    """One node's part of a scenario: its drops and their neighbours, in the order of the whole.

    Attributes:
        indices: per row its place in the whole.
        ghosts: rows whose home is another node, with that node.
        settling: rows whose completion takes work: content to be fetched, or as the scenario says.
    """

    wiring: Wiring
    rules: Rules
    indices: tuple[int, ...]
    ghosts: dict[int, str]
    settling: frozenset[int]
    ends: frozenset[int]


def random_scenario(seed: int) -> Scenario:
    """Return a random layered graph on one to four nodes."""
    rnd = Random(f"graph {seed}")
    nodes = tuple(f"n{i}" for i in range(rnd.choice((1, 2, 2, 3, 3, 4))))
    wiring = _random_wiring(rnd)
    size = len(wiring.kinds)
    uids = tuple(f"{'a' if kind == APP else 'd'}{i}" for i, kind in enumerate(wiring.kinds))
    apps = [i for i in range(size) if wiring.kinds[i] == APP]
    data = [i for i in range(size) if wiring.kinds[i] != APP]
    rules = Rules(
        threshold={i: rnd.choice((33, 50, 100)) for i in apps if rnd.random() < 0.3},
        block_skip={i for i in range(size) if rnd.random() < 0.3},
    )
    trouble = rnd.choice((0.0, 0.1, 0.3))
    ends = {rnd.choice(data)} if rnd.random() < 0.15 else set()
    near = rnd.random()  # how often a drop lives where the one before it lives
    homes: list[str] = []
    for _ in range(size):
        homes.append(homes[-1] if homes and rnd.random() < near else rnd.choice(nodes))
    return Scenario(
        wiring,
        rules,
        uids,
        nodes,
        tuple(homes),
        frozenset(i for i in data if rnd.random() < 0.2),
        frozenset(ends),
        {i: _ending(seed, uids[i], wiring, i, trouble) for i in apps},
    )


def _random_wiring(rnd: Random) -> Wiring:
    kinds = bytearray()
    before: list[list[int]] = []
    after: list[list[int]] = []

    def add(kind: int) -> int:
        kinds.append(kind)
        before.append([])
        after.append([])
        return len(kinds) - 1

    def link(start: int, end: int) -> None:
        after[start].append(end)
        before[end].append(start)

    above = [add(DATA) for _ in range(rnd.randint(1, 4))]
    for _ in range(rnd.randint(1, rnd.choice((3, 6, 12)))):
        apps = [add(APP) for _ in range(rnd.randint(1, 7))]
        below = [add(DATA) for _ in range(rnd.randint(1, 7))]
        for app in apps:
            for data in rnd.sample(above, min(len(above), rnd.choice((0, 1, 1, 2, 3)))):
                link(data, app)
            for data in rnd.sample(below, min(len(below), rnd.choice((0, 1, 1, 2, 3)))):
                link(app, data)
        above = above + below if rnd.random() < 0.4 else below
    return Wiring(kinds, [tuple(row) for row in before], [tuple(row) for row in after], {}, {})


def _ending(seed: int, uid: str, wiring: Wiring, app: int, trouble: float) -> Ending:
    digest = blake2b(f"{seed} {uid}".encode(), digest_size=8).digest()
    rnd = Random(digest)
    outputs = wiring.after[app]
    own = [data for data in outputs if len(wiring.before[data]) == 1]
    early = tuple(
        (data, _ERROR if rnd.random() < trouble else _COMPLETED) for data in own if rnd.random() < trouble
    )
    if rnd.random() < trouble / 2:
        return Ending(fails=True, early=early)
    if outputs and rnd.random() < trouble:
        skipped = rnd.choice(outputs)
        if skipped not in dict(early):
            return Ending(skips=frozenset({skipped}), early=early)
    return Ending(early=early)


def share(scenario: Scenario, node: str) -> Share:
    """Return the part of one node."""
    whole, homes = scenario.wiring, scenario.homes
    home = {i for i, name in enumerate(homes) if name == node}
    rows = sorted(home.union(*(whole.before[i] for i in home), *(whole.after[i] for i in home)))
    row_of = {i: row for row, i in enumerate(rows)}

    def linked(links: list[tuple[int, ...]], i: int) -> tuple[int, ...]:
        return tuple(row_of[j] for j in links[i] if j in row_of and (i in home or j in home))

    wiring = Wiring(
        bytearray(whole.kinds[i] for i in rows),
        [linked(whole.before, i) for i in rows],
        [linked(whole.after, i) for i in rows],
        {},
        {},
    )
    rules = Rules(
        threshold={row_of[i]: percent for i, percent in scenario.rules.threshold.items() if i in row_of},
        block_skip={row_of[i] for i in scenario.rules.block_skip if i in row_of},
    )
    fetched = {
        i
        for i in rows
        if whole.kinds[i] != APP
        and (any(j not in home for j in whole.before[i]) if i in home else wiring.after[row_of[i]])
    }
    return Share(
        wiring,
        rules,
        tuple(rows),
        {row: homes[i] for row, i in enumerate(rows) if i not in home},
        frozenset(row_of[i] for i in fetched | (scenario.settling & home)),
        frozenset(row_of[i] for i in scenario.ends if i in row_of),
    )


def reference(scenario: Scenario) -> bytes:
    """Return the states that one node alone would come to, if nothing ended the session early."""
    flow = Flow(scenario.wiring, scenario.rules)
    flow.trigger(scenario.roots)
    while flow.ready:
        ready, flow.ready = flow.ready, []
        for app in flow.begin(ready):
            end_app(flow, app, scenario.endings[app], {i: i for i in scenario.wiring.after[app]})
    flow.conclude()
    return bytes(flow.state)


def end_app(flow: Flow, app: int, ending: Ending, row_of: Mapping[int, int]) -> None:
    """Let an app end as it does.

    Args:
        row_of: the outputs' rows in this flow.
    """
    for data, state in ending.early:
        if flow.state[row_of[data]] <= _WRITABLE:
            note = flow.data_completed if state == _COMPLETED else flow.data_failed
            note(row_of[data])
    if ending.fails:
        flow.app_failed(app)
        return
    for data in ending.skips:
        if flow.state[row_of[data]] <= _WRITABLE:
            flow.skip(row_of[data])
    flow.apps_finished((app,))
