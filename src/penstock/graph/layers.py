# SPDX-License-Identifier: Apache-2.0
"""Layers: in which column of a drawing a drop stands. Links lead to later layers wherever possible."""

from collections.abc import Sequence

__all__ = ["flow_order", "layers_of"]

Rows = Sequence[Sequence[int]]


def flow_order(before: Rows, after: Rows) -> list[int]:
    """Return all nodes, each behind those it waits for; a cycle is entered at its first node."""
    awaited = [len(row) for row in before]
    done = [i for i, count in enumerate(awaited) if not count]
    placed = bytearray(len(awaited))
    position, first = 0, 0
    while len(done) < len(awaited) or position < len(done):
        if position == len(done):  # only cycles and what is behind them is left
            while placed[first]:
                first += 1
            done.append(first)
        i = done[position]
        position += 1
        placed[i] = 1
        for j in after[i]:
            awaited[j] -= 1
            if not awaited[j] and not placed[j]:
                placed[j] = 1
                done.append(j)
    return done


def layers_of(before: Rows, after: Rows) -> list[int]:
    """Return per node its layer: the length of the longest way to it.

    Roots, and chains that begin at one, move up to what they feed.
    """
    order = flow_order(before, after)
    rank = [0] * len(order)
    for place, i in enumerate(order):
        rank[i] = place
    layer = [0] * len(order)
    for i in order:
        for j in after[i]:
            if rank[j] > rank[i] and layer[j] <= layer[i]:
                layer[j] = layer[i] + 1
    loose = _loose(before, after, order)
    for i in reversed(order):
        if loose[i]:
            ahead = [layer[j] for j in after[i] if rank[j] > rank[i]]
            if ahead:
                layer[i] = min(ahead) - 1
    return layer


def _loose(before: Rows, after: Rows, order: Sequence[int]) -> bytearray:
    """Mark the nodes that can move to the right: roots, and chains that begin at a root."""
    loose = bytearray(len(order))
    for i in order:
        row = before[i]
        loose[i] = not row or (len(row) == 1 and len(after[row[0]]) == 1 and loose[row[0]])
    return loose
