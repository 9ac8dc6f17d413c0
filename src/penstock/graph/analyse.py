# SPDX-License-Identifier: Apache-2.0
"""Values to knowledge: is the graph sound, in which order can it run, what is the longest way through it."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from penstock.graph.links import APP, Row, Wiring, wire
from penstock.graph.problems import Problem
from penstock.graph.rules import Rules, read_rules
from penstock.graph.spec import Graph

__all__ = [
    "CriticalPath",
    "Findings",
    "check",
    "critical_path",
    "cycles",
    "leaves",
    "order",
    "roots",
    "weights",
]


class Findings(NamedTuple):
    """What a look at the whole graph brought."""

    wiring: Wiring
    rules: Rules
    problems: list[Problem]


class CriticalPath(NamedTuple):
    """The longest way through a graph.

    Attributes:
        drops: indices from a root to a leaf.
        weight: sum of the weights on the way; seconds where `execution_time` is in seconds.
        apps: how many apps are on the way.
    """

    drops: list[int]
    weight: float
    apps: int


def check(graph: Graph) -> Findings:
    """Follow all links, read all rules, and tell everything that is wrong; classes are not looked at."""
    wiring, problems = wire(graph)
    rules, more = read_rules(graph, wiring)
    problems = problems + more + _classes_missing(graph, wiring)
    if len(order(wiring)) < len(graph):
        problems += [_cycle_problem(graph, cycle) for cycle in cycles(wiring)]
    return Findings(wiring, rules, problems)


def roots(wiring: Wiring) -> list[int]:
    """Return the drops with nothing before them: what somebody must trigger."""
    return [i for i, row in enumerate(wiring.before) if not row]


def leaves(wiring: Wiring) -> list[int]:
    """Return the drops with nothing after them: when they have ended, so has the session."""
    return [i for i, row in enumerate(wiring.after) if not row]


def order(wiring: Wiring) -> list[int]:
    """Return the drops so that each stands behind all it waits for; those in or behind a cycle are left out."""
    after = wiring.after
    awaited = [len(row) for row in wiring.before]
    done = [i for i, count in enumerate(awaited) if not count]
    for i in done:  # grows while we walk
        for j in after[i]:
            awaited[j] -= 1
            if not awaited[j]:
                done.append(j)
    return done


def cycles(wiring: Wiring) -> list[list[int]]:
    """Return one cycle through each knot of drops that wait for each other, drop by drop.

    Knots are strongly connected components (Tarjan's algorithm, without recursion).
    """
    return [_walk_round(wiring.after, set(knot)) for knot in _knots(wiring)]


def critical_path(graph: Graph, wiring: Wiring) -> CriticalPath:
    """Return the way with the largest sum of weights.

    An app weighs its `execution_time`, else its `weight`, else 1; data weighs nothing, as its transport on
    one node takes no time.
    """
    weight = weights(graph, wiring)
    best = [0.0] * len(graph)
    previous = [-1] * len(graph)
    last, longest = -1, -1.0
    for i in order(wiring):
        best[i] += weight[i]
        if best[i] > longest:
            last, longest = i, best[i]
        for j in wiring.after[i]:
            if previous[j] < 0 or best[i] > best[j]:
                best[j], previous[j] = best[i], i
    path = []
    while last >= 0:
        path.append(last)
        last = previous[last]
    path.reverse()
    return CriticalPath(path, max(longest, 0.0), sum(wiring.kinds[i] == APP for i in path))


def weights(graph: Graph, wiring: Wiring) -> list[float]:
    """Return what each drop costs, as `critical_path` counts it."""
    return [
        _number(time, _number(weight, 1.0)) if kind == APP else 0.0
        for kind, (time, weight) in zip(wiring.kinds, graph.columns("execution_time", "weight"), strict=True)
    ]


def _number(value: Any, default: float) -> float:  # Any: JSON as the author wrote it
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return max(number, 0.0) if math.isfinite(number) else default


def _classes_missing(graph: Graph, wiring: Wiring) -> list[Problem]:
    return [
        Problem(
            "PS205", "the app names no class", spec.key, f"/{graph.place(i)}/dropclass", "add a dropclass"
        )
        for i, spec in enumerate(graph.drops)
        if not spec.dropclass and wiring.kinds[i] == APP
    ]


def _cycle_problem(graph: Graph, cycle: Sequence[int]) -> Problem:
    uids = [graph.drops[i].key for i in cycle]
    names = " -> ".join([*uids, uids[0]])
    hint = "remove one of these links; loops are unrolled by the translator"
    return Problem(
        "PS303", f"these drops wait for each other: {names}", uids[0], f"/{graph.place(cycle[0])}", hint
    )


def _knots(wiring: Wiring) -> Iterable[list[int]]:
    after = wiring.after
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    for start in sorted(set(range(len(after))) - set(order(wiring))):
        if start in number:
            continue
        work = [(start, iter(after[start]))]
        number[start] = low[start] = len(number)
        stack.append(start)
        on_stack.add(start)
        while work:
            i, row = work[-1]
            for j in row:
                if j not in number:
                    number[j] = low[j] = len(number)
                    stack.append(j)
                    on_stack.add(j)
                    work.append((j, iter(after[j])))
                    break
                if j in on_stack:
                    low[i] = min(low[i], number[j])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[i])
                if low[i] == number[i]:
                    knot = _pop_knot(stack, on_stack, i)
                    if len(knot) > 1 or i in after[i]:
                        yield knot


def _pop_knot(stack: list[int], on_stack: set[int], root: int) -> list[int]:
    knot = []
    while True:
        j = stack.pop()
        on_stack.discard(j)
        knot.append(j)
        if j == root:
            return knot


def _walk_round(after: Sequence[Row], knot: set[int]) -> list[int]:
    """Return a shortest way from the knot's first drop back to itself, inside the knot."""
    start = min(knot)
    previous: dict[int, int] = {}
    way = [next(i for i in _nearest_first(after, knot, start, previous) if start in after[i])]
    while way[-1] != start:
        way.append(previous[way[-1]])
    return way[::-1]


def _nearest_first(
    after: Sequence[Row], knot: set[int], start: int, previous: dict[int, int]
) -> Iterator[int]:
    """Yield the drops of a knot by their distance from one of them; `previous` takes how each is reached."""
    queue = deque([start])
    while True:  # somebody in a knot leads back to its start, and there the caller stops
        i = queue.popleft()
        yield i
        for j in after[i]:
            if j in knot and j != start and j not in previous:
                previous[j] = i
                queue.append(j)
