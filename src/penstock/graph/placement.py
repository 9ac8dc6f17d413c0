# SPDX-License-Identifier: Apache-2.0
"""Where drops shall live: what a graph says, and a division for those graphs that say nothing."""

from collections.abc import Sequence
from itertools import chain
from typing import Literal

from penstock.graph.analyse import weights
from penstock.graph.links import APP, Wiring
from penstock.graph.spec import Graph

__all__ = ["Attribute", "divide", "places"]

Attribute = Literal["node", "island"]


def places(graph: Graph, attribute: Attribute) -> list[str]:
    """Return what each drop says of where it lives, as it was written; "" where it says nothing."""
    return [value.strip() if isinstance(value, str) else "" for (value,) in graph.columns(attribute)]


def divide(graph: Graph, wiring: Wiring, count: int) -> list[int]:
    """Return a part for each drop, from 0 to `count` - 1: about equal work, few links between parts.

    METIS does it where the extra `metis` is installed; otherwise consecutive blocks in topological order, which
    keeps chains together.
    """
    if count <= 1 or len(graph) <= 1:
        return [0] * len(graph)
    try:
        import pymetis
    except ImportError:
        return _blocks(graph, wiring, count)
    neighbours: list[list[int]] = [[] for _ in range(len(graph))]
    for i, row in enumerate(wiring.after):
        for j in chain(row, wiring.children.get(i, ())):
            neighbours[i].append(j)
            neighbours[j].append(i)
    work = [max(1, round(10 * weight)) for weight in weights(graph, wiring)]
    _, parts = pymetis.part_graph(min(count, len(graph)), adjacency=neighbours, vweights=work)
    return [int(part) for part in parts]


def _blocks(graph: Graph, wiring: Wiring, count: int) -> list[int]:
    cost = [
        weight if kind == APP else 0.01
        for weight, kind in zip(weights(graph, wiring), wiring.kinds, strict=True)
    ]
    whole = sum(cost)
    parts = [0] * len(graph)
    done = 0.0
    for i in _in_depth(wiring):
        parts[i] = min(count - 1, int(done * count / whole)) if whole else 0
        done += cost[i]
    return parts


def _in_depth(wiring: Wiring) -> Sequence[int]:
    """Return a topological order that follows each branch to where it joins others, before it takes the next."""
    awaited = [len(row) for row in wiring.before]
    stack = [i for i, count in enumerate(awaited) if not count]
    stack.reverse()
    found: list[int] = []
    while stack:
        i = stack.pop()
        found.append(i)
        for j in reversed(wiring.after[i]):
            awaited[j] -= 1
            if not awaited[j]:
                stack.append(j)
    return found
