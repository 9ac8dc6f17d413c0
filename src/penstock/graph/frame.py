# SPDX-License-Identifier: Apache-2.0
"""From places in a layout to points on paper: which way a drawing runs, how wide its columns are.

A drawing runs from left to right, as one reads, unless it would become a long thin strip; then it runs down.
"""

from collections.abc import Iterable, Sequence
from math import log

from penstock.graph.layout import Layout

__all__ = ["BOX_HEIGHT", "MARGIN", "Frame", "Point"]

BOX_HEIGHT = 42
MARGIN = 28
_PITCH = 58  # from box to box down a column
_COLUMN_GAP = 64
_ROW_GAP = 40  # between the rows of a drawing that runs down
_SIDE_GAP = 22
_ARROW_HEAD = 5
_LONG = 4.5  # width by height from which running down is looked at
_PAGE = 16 / 9

Point = tuple[float, float]


class Frame:
    """The geometry of one drawing.

    Args:
        widths: per node how wide its box must be.
        links: what `way` will be asked for.
        narrowest: the least width of a box.
    """

    def __init__(
        self, layout: Layout, widths: Sequence[int], links: Iterable[tuple[int, int]], narrowest: int
    ) -> None:
        self._layout = layout
        self._wide = [narrowest] * layout.columns
        for width, column in zip(widths, layout.column, strict=True):
            self._wide[column] = max(self._wide[column], width)
        self._starts: list[int] = []
        x = MARGIN
        for width in self._wide:
            self._starts.append(x)
            x += width + _COLUMN_GAP
        self._widest = max(self._wide, default=narrowest)
        across = (x - _COLUMN_GAP + MARGIN, round(2 * MARGIN + layout.lowest * _PITCH + BOX_HEIGHT))
        down = (
            round(2 * MARGIN + layout.lowest * (self._widest + _SIDE_GAP) + self._widest),
            2 * MARGIN + max(layout.columns, 1) * (BOX_HEIGHT + _ROW_GAP) - _ROW_GAP,
        )
        self.runs_down = across[0] > _LONG * across[1] and _strangeness(down) < _strangeness(across)
        self.width, self.height = down if self.runs_down else across
        if any(self._leads_back(start, end) for start, end in links):
            self.width += self._widest if self.runs_down else 0
            self.height += 0 if self.runs_down else _PITCH // 2

    def _leads_back(self, start: int, end: int) -> bool:
        return self._layout.column[end] <= self._layout.column[start]

    def corner(self, column: int, height: float) -> Point:
        """Return the upper left corner of a box."""
        if self.runs_down:
            return round(MARGIN + height * (self._widest + _SIDE_GAP), 1), MARGIN + column * (
                BOX_HEIGHT + _ROW_GAP
            )
        return self._starts[column], round(MARGIN + height * _PITCH, 1)

    def box_width(self, column: int) -> int:
        """Return how wide boxes are."""
        return self._widest if self.runs_down else self._wide[column]

    def way(self, start: int, end: int) -> str:
        """Return the path of the arrow between two nodes, past all boxes between them."""
        layout = self._layout
        point = self._leave(layout.column[start], layout.height[start])
        x, y = self._enter(layout.column[end], layout.height[end])
        last = (x, y - _ARROW_HEAD) if self.runs_down else (x - _ARROW_HEAD, y)
        if self._leads_back(start, end):
            return self._way_back(point, last)
        parts = [f"M{point[0]} {point[1]}"]
        for place in layout.bends.get((start, end), ()):
            parts.append(self._curve(point, self._enter(*place)))
            point = self._leave(*place)
            parts.append(f"L{point[0]} {point[1]}")
        parts.append(self._curve(point, last))
        return "".join(parts)

    def _enter(self, column: int, height: float) -> Point:
        x, y = self.corner(column, height)
        return (x + self._widest / 2, y) if self.runs_down else (x, y + BOX_HEIGHT / 2)

    def _leave(self, column: int, height: float) -> Point:
        x, y = self._enter(column, height)
        return (x, y + BOX_HEIGHT) if self.runs_down else (x + self._wide[column], y)

    def _curve(self, start: Point, end: Point) -> str:
        if self.runs_down:
            middle = (start[1] + end[1]) / 2
            return f"C{start[0]} {middle} {end[0]} {middle} {end[0]} {end[1]}"
        middle = (start[0] + end[0]) / 2
        return f"C{middle} {start[1]} {middle} {end[1]} {end[0]} {end[1]}"

    def _way_back(self, start: Point, end: Point) -> str:
        # A link of a cycle, or of a group that feeds itself: round the outside of both boxes.
        (x, y), (x_end, y_end) = start, end
        if self.runs_down:
            side = max(x, x_end) + self._widest
            return f"M{x} {y}C{side} {y + 50} {side} {y_end - 50} {x_end} {y_end}"
        side = max(y, y_end) + _PITCH
        return f"M{x} {y}C{x + 50} {side} {x_end - 50} {side} {x_end} {y_end}"


def _strangeness(size: tuple[int, int]) -> float:
    """Return how far a drawing's form is from that of a page."""
    return abs(log(size[0] / size[1] / _PAGE))
