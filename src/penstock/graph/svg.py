# SPDX-License-Identifier: Apache-2.0
"""A picture as SVG: one self-contained text, no script, no font to load, well-formed whatever the names are.

Shape tells the kind (an app is an angular, dark box; data a light, round one; a container has a double
frame), a sign in the corner tells the state; colour only repeats what shape and sign say.
"""

import re
from collections.abc import Iterator
from html import escape
from math import log10

from penstock.graph.frame import BOX_HEIGHT, MARGIN, Frame
from penstock.graph.layout import Layout, lay_out
from penstock.graph.links import APP, CONTAINER, DATA
from penstock.graph.picture import Arrow, Box, Picture, shorten

__all__ = ["draw_svg"]

_TITLE_LETTER, _SUBTITLE_LETTER, _NOTE_LETTER = 7.8, 6.3, 6.8  # mean widths of letters
_TITLE_LENGTH, _SUBTITLE_LENGTH = 24, 30
_NARROWEST = 92

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STYLE = """
text{font-family:"Helvetica Neue",Helvetica,Arial,"Liberation Sans",sans-serif;text-anchor:middle}
.t{font-size:13px;font-weight:600}.s{font-size:10.5px;opacity:.8}.n{font-size:12px;text-anchor:start;fill:#39424e}
.app rect{fill:#1d4e79;stroke:#12324e;stroke-width:1.2}.app text{fill:#fff}
.data rect{fill:#fff7e3;stroke:#b9832a;stroke-width:1.4}.data text{fill:#3d2c0c}
.box rect{fill:#eef3ee;stroke:#4d7a55;stroke-width:1.2}.box text{fill:#1e3a24}
.link,.stream,.member{fill:none;stroke:#7b8794;stroke-width:1.5}
.stream{stroke-dasharray:7 4;stroke:#7a3e9d}.member{stroke-dasharray:1.5 3.5;stroke:#4d7a55}
.head{fill:#7b8794}.heads{fill:#7a3e9d}.dim{opacity:.5}
.mark{stroke:#fff;stroke-width:1.5}.sign{font-size:11px;font-weight:700;fill:#fff}
"""

# Word for a state: sign and colour. What has not begun has no sign.
_SIGNS = {
    "COMPLETED": ("\u2713", "#2e7d32"),
    "FINISHED": ("\u2713", "#2e7d32"),
    "WRITING": ("\u25b8", "#0277bd"),
    "RUNNING": ("\u25b8", "#0277bd"),
    "ERROR": ("\u2715", "#c62828"),
    "CANCELLED": ("\u25a0", "#6d4c41"),
    "SKIPPED": ("\u00bb", "#78808a"),
    "EXPIRED": ("\u2013", "#78808a"),
    "DELETED": ("\u2013", "#78808a"),
    "mixed": ("~", "#ef6c00"),
}
_LOOKS = {APP: "app", DATA: "data", CONTAINER: "box"}
_DIM = frozenset({"SKIPPED", "CANCELLED", "EXPIRED", "DELETED"})


def draw_svg(picture: Picture) -> str:
    """Return a picture as the text of an SVG file."""
    links = [(arrow.start, arrow.end) for arrow in picture.arrows]
    layout = lay_out(len(picture.boxes), links)
    frame = Frame(layout, [_box_width(box) for box in picture.boxes], links, _NARROWEST)
    return "\n".join(_Drawing(picture, layout, frame).lines()) + "\n"


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


class _Drawing:
    """Turns boxes and arrows into lines of text."""

    def __init__(self, picture: Picture, layout: Layout, frame: Frame) -> None:
        self._picture = picture
        self._layout = layout
        self._frame = frame

    def lines(self) -> Iterator[str]:
        """Yield the lines of the file."""
        legend, legend_width = self._legend()
        width = max(
            self._frame.width, legend_width, round(len(self._picture.note) * _NOTE_LETTER) + 2 * MARGIN
        )
        height = self._frame.height + 22 + (20 if self._picture.note else 0)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">'
        )
        yield f"<title>Graph of {self._picture.drops:,} drops</title><style>{_STYLE}</style>"
        yield "<defs>" + _head("head") + _head("heads") + "</defs>"
        yield f'<rect width="{width}" height="{height}" fill="#fff"/>'
        for arrow in self._picture.arrows:
            yield self._arrow(arrow)
        for place in range(len(self._picture.boxes)):
            yield self._box(place)
        yield from legend
        yield "</svg>"

    def _arrow(self, arrow: Arrow) -> str:
        style = f' style="stroke-width:{1.5 + min(log10(arrow.links), 4) / 2:.1f}"' if arrow.links > 1 else ""
        head = (
            ""
            if arrow.style == "member"
            else f' marker-end="url(#{"heads" if arrow.style == "stream" else "head"})"'
        )
        return f'<path class="{arrow.style}" d="{self._frame.way(arrow.start, arrow.end)}"{style}{head}/>'

    def _box(self, place: int) -> str:
        box, layout = self._picture.boxes[place], self._layout
        x, y = self._frame.corner(layout.column[place], layout.height[place])
        width = self._frame.box_width(layout.column[place])
        look = _LOOKS[box.kind] + (" dim" if box.state in _DIM else "")
        title, subtitle = _labels(box)
        shapes = "".join(_shape(box.kind, x + k, y + k, width) for k in ((6, 3, 0) if box.size > 1 else (0,)))
        middle = x + width / 2
        return (
            f'<g class="{look}"><title>{_xml(box.tip)}</title>{shapes}'
            f'<text class="t" x="{middle}" y="{y + 18}">{_xml(title)}</text>'
            f'<text class="s" x="{middle}" y="{y + 32}">{_xml(subtitle)}</text></g>'
            f"{_sign(box.state, x + width - 3, y + 2)}"
        )

    def _legend(self) -> tuple[list[str], int]:
        """Return the lines of the legend, of what occurs only, and how much room they take."""
        boxes, arrows = self._picture.boxes, self._picture.arrows
        y, x = self._frame.height + 2, MARGIN
        entries: list[tuple[str, int, str]] = []  # symbol, its width, word
        for kind, word in ((APP, "app"), (DATA, "data"), (CONTAINER, "container")):
            if any(box.kind == kind for box in boxes):
                symbol = f'<g class="{_LOOKS[kind]}" transform="scale(.36)">{_shape(kind, 0, -33, 60)}</g>'
                entries.append((symbol, 28, word))
        for style, word in (("stream", "streaming"), ("member", "member of a container")):
            if any(arrow.style == style for arrow in arrows):
                entries.append((f'<path class="{style}" d="M0 -4h26"/>', 32, word))
        states = {box.state for box in boxes}
        entries += [(_sign(state, 6, -4), 18, state.lower()) for state in _SIGNS if state in states]
        lines = []
        for symbol, room, word in entries:
            text = f'<text class="n" x="{room}" y="0">{word}</text>'
            lines.append(f'<g transform="translate({x} {y})">{symbol}{text}</g>')
            x += room + 20 + round(len(word) * _NOTE_LETTER)
        if self._picture.note:
            lines.append(f'<text class="n" x="{MARGIN}" y="{y + 20}">{_xml(self._picture.note)}</text>')
        return lines, x


def _labels(box: Box) -> tuple[str, str]:
    title, subtitle = shorten(box.title, _TITLE_LENGTH), shorten(box.subtitle, _SUBTITLE_LENGTH)
    return (f"{title}  \u00d7{box.size:,}" if box.size > 1 else title), subtitle


def _box_width(box: Box) -> int:
    title, subtitle = _labels(box)
    return round(max(len(title) * _TITLE_LETTER, len(subtitle) * _SUBTITLE_LETTER)) + 30


def _shape(kind: int, x: float, y: float, width: float) -> str:
    where = f'x="{x}" y="{y}" width="{width}" height="{BOX_HEIGHT}"'
    if kind == APP:
        return f'<rect {where} rx="2"/>'
    if kind == DATA:
        return f'<rect {where} rx="{BOX_HEIGHT / 2}"/>'
    inside = f'x="{x + 3}" y="{y + 3}" width="{width - 6}" height="{BOX_HEIGHT - 6}"'
    return f'<rect {where} rx="5"/><rect {inside} rx="3"/>'


def _sign(state: str, x: float, y: float) -> str:
    if state not in _SIGNS:
        return ""
    sign, colour = _SIGNS[state]
    return (
        f'<circle class="mark" cx="{x}" cy="{y}" r="8" fill="{colour}"/>'
        f'<text class="sign" x="{x}" y="{y + 4}">{sign}</text>'
    )


def _head(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="9" markerHeight="9" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="{name}" d="M0 0L8 4L0 8L2 4Z"/></marker>'
    )
