# SPDX-License-Identifier: Apache-2.0
"""Where the boxes of a drawing stand: in layers, with few crossings and straight lines where possible.

The classic four steps: layers (`layers.py`), bends in long links so that they pass between boxes, an order
inside each layer (barycentres, swept forward and back), and heights (each box as near to its neighbours as
the boxes around it allow).
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import NamedTuple

from penstock.graph.layers import Rows, layers_of

__all__ = ["Layout", "lay_out"]

_MOST_BENDS = 20_000
_SWEEPS, _UNCOUNTED_SWEEPS = 12, 4
_SETTLING = 40
_STIFFNESS = 6.0  # how much more straight links count than near boxes
_COUNTED_LINKS = 6_000  # up to here crossings are counted, to keep the best of all sweeps
_BEND_GAP = 0.45  # room that a bend takes, in boxes


class Layout(NamedTuple):
    """Places in a grid that has columns to the right and heights (in boxes) downwards.

    Attributes:
        column: per node its column.
        height: per node its height; the topmost is 0.
        bends: per link that passes columns, (column, height) of each one passed.
        columns: how many there are.
        lowest: the largest height.
    """

    column: Sequence[int]
    height: Sequence[float]
    bends: dict[tuple[int, int], list[tuple[int, float]]]
    columns: int
    lowest: float


def lay_out(size: int, links: Sequence[tuple[int, int]]) -> Layout:
    """Find places for nodes 0 to `size` - 1 and the links between them; links to itself are left out."""
    before: list[list[int]] = [[] for _ in range(size)]
    after: list[list[int]] = [[] for _ in range(size)]
    for start, end in dict.fromkeys(links):
        if start != end:
            after[start].append(end)
            before[end].append(start)
    grid = _Grid(before, after)
    grid.order()
    grid.settle()
    top = min(grid.height, default=0.0)
    height = [h - top for h in grid.height]
    bends = {link: [(grid.layer[b], height[b]) for b in row] for link, row in grid.bends.items()}
    return Layout(grid.layer[:size], height[:size], bends, len(grid.layers), max(height, default=0.0))


class _Grid:
    """Nodes and bends in layers; links join neighbouring layers only."""

    def __init__(self, before: Rows, after: Rows) -> None:
        self.size = len(before)
        self.layer = layers_of(before, after)
        self.bends: dict[tuple[int, int], list[int]] = {}
        self._left: list[list[int]] = [[] for _ in before]
        self._right: list[list[int]] = [[] for _ in before]
        spans = sum(max(self.layer[j] - self.layer[i] - 1, 0) for i, row in enumerate(after) for j in row)
        for i, row in enumerate(after):
            for j in row:
                self._join(i, j, with_bends=spans <= _MOST_BENDS)
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for i in self._depth_first():
            self.layers[self.layer[i]].append(i)
        self.height = [0.0] * len(self.layer)

    def _join(self, i: int, j: int, *, with_bends: bool) -> None:
        distance = self.layer[j] - self.layer[i]
        if distance < 1 or (distance > 1 and not with_bends):
            return  # drawn, but without a say in where things stand
        last = i
        for column in range(self.layer[i] + 1, self.layer[j]):
            bend = len(self.layer)
            self.layer.append(column)
            self._left.append([last])
            self._right.append([])
            self._right[last].append(bend)
            self.bends.setdefault((i, j), []).append(bend)
            last = bend
        self._right[last].append(j)
        self._left[j].append(last)

    def _depth_first(self) -> list[int]:
        """Return all nodes so that chains stay together: a good order to begin with."""
        seen = bytearray(len(self.layer))
        found: list[int] = []
        for root in sorted(range(len(self.layer)), key=lambda i: (len(self._left[i]) > 0, self.layer[i], i)):
            stack = [root]
            while stack:
                i = stack.pop()
                if not seen[i]:
                    seen[i] = 1
                    found.append(i)
                    stack.extend(reversed(self._right[i]))
        return found

    def order(self) -> None:
        """Order each layer by the mean place of its neighbours, forward and back, and keep the best order."""
        if sum(map(len, self._right)) > _COUNTED_LINKS:
            for sweep in range(_UNCOUNTED_SWEEPS):
                self._sweep(forward=sweep % 2 == 0)
            return
        best, fewest = [list(row) for row in self.layers], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            self._sweep(forward=sweep % 2 == 0)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.layers], crossings
        self.layers = best

    def _sweep(self, *, forward: bool) -> None:
        for row in self.layers[1:] if forward else self.layers[-2::-1]:
            self._sort(row, self._left if forward else self._right)

    def _sort(self, row: list[int], side: Rows) -> None:
        neighbours = {j for i in row for j in side[i]}
        place: dict[int, int] = {}
        for column in {self.layer[j] for j in neighbours}:
            place.update((j, k) for k, j in enumerate(self.layers[column]))
        scale = max(place.values(), default=0) / max(len(row) - 1, 1)
        centre = {
            i: sum(place[j] for j in side[i]) / len(side[i]) if side[i] else k * scale
            for k, i in enumerate(row)
        }
        row.sort(key=centre.__getitem__)

    def _crossings(self) -> int:
        total = 0
        for row, following in zip(self.layers, self.layers[1:], strict=False):
            place = {j: k for k, j in enumerate(following)}
            ends: list[int] = []
            for i in row:
                targets = sorted(place[j] for j in self._right[i])
                total += sum(len(ends) - bisect_right(ends, target) for target in targets)
                for target in targets:
                    insort(ends, target)
        return total

    def settle(self) -> None:
        """Give each box a height near its neighbours', in the order found, without overlap."""
        for row in self.layers:
            height = 0.0
            for above, i in zip([None, *row], row, strict=False):
                height += self._gap(above, i)
                self.height[i] = height
        for sweep in range(_SETTLING):
            rows = self.layers if sweep % 2 == 0 else self.layers[::-1]
            sides = (self._left, self._right) if sweep % 2 == 0 else (self._right, self._left)
            for row in rows:
                self._align(row, sides[0], sides[1] if sweep >= _SETTLING // 4 else None)

    def _align(self, row: list[int], side: Rows, other: Rows | None) -> None:
        wanted, weights, offsets = [], [], []
        offset = 0.0
        for above, i in zip([None, *row], row, strict=False):
            offset += self._gap(above, i)
            near = [*side[i], *other[i]] if other is not None else side[i]
            offsets.append(offset)
            wanted.append(self._pull(i, near) - offset)
            weights.append(_STIFFNESS if i >= self.size else 1.0 if near else 0.1)
        for i, height, offset in zip(row, _monotone(wanted, weights), offsets, strict=True):
            self.height[i] = height + offset

    def _pull(self, i: int, near: Sequence[int]) -> float:
        """Return the height to which a node is drawn; bends follow bends most, so that links get straight."""
        if i < self.size:
            return sum(self.height[j] for j in near) / len(near) if near else self.height[i]
        pulls = [_STIFFNESS if j >= self.size else 1.0 for j in near]
        return sum(self.height[j] * pull for j, pull in zip(near, pulls, strict=True)) / sum(pulls)

    def _gap(self, above: int | None, i: int) -> float:
        if above is None:
            return 0.0
        return ((1.0 if above < self.size else _BEND_GAP) + (1.0 if i < self.size else _BEND_GAP)) / 2


def _monotone(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the rising numbers that are nearest to `wanted` (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for value, weight in zip(wanted, weights, strict=True):
        count = 1
        while pools and pools[-1][0] > value:
            mean, more, members = pools.pop()
            value = (value * weight + mean * more) / (weight + more)
            weight += more
            count += members
        pools.append((value, weight, count))
    return [mean for mean, _, members in pools for _ in range(members)]
